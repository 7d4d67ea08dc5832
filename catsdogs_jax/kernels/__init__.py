"""Machine code for the CPU at hand, called by XLA. Knows nothing of models, files or training.

XLA's CPU backend hands convolutions to generic matrix products, which pack their operands anew for
every call. The kernels here are direct convolutions in the sense of Georganas et al., 2018
(https://arxiv.org/abs/1808.05567): sums stay in vector registers, pictures are read where they
lie, and pooling, bias and ReLU happen before anything is stored. They are written with llvmlite's
IR builder, compiled for the vector registers of the machine in about a tenth of a second, and
reached through XLA's foreign function interface.
"""
