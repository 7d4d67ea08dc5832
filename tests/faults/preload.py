"""What the server of processes imports once, so that its children need not; starts no thread."""

# ruff: noqa: F401
import scipy.stats
import sklearn.metrics
import tensorflow

import catsdogs_jax.train
import catsdogs_jax.training.writers
