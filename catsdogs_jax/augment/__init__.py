"""Variation of batches, inside jit, on the device. Knows nothing of files or models."""

from catsdogs_jax.augment.affine import zoomed
from catsdogs_jax.augment.augment import augment

__all__ = ["augment", "zoomed"]
