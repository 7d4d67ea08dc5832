"""What the server of processes imports once: not the package, which each child imports changed."""

# ruff: noqa: F401
import flax.linen
import hypothesis.strategies
import jax.numpy
import ml_collections
import optax
import PIL.Image
import pytest
import scipy.stats
import sklearn.metrics
