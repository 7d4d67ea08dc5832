"""Variation of batches, inside jit, on the device. Knows nothing of files or models."""

from catsdogs_jax.augment.affine import zoomed
from catsdogs_jax.augment.augment import augment
from catsdogs_jax.augment.mix import mix

__all__ = ["augment", "mix", "zoomed"]
