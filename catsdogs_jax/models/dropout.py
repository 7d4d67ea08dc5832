"""Dropout whose mask is drawn for each picture by the picture's own key."""

import jax
import jax.numpy as jnp
from flax import nnx


class Dropout(nnx.Module):
    """Sets a share of the values of each picture to zero and scales the others up.

    Unlike `nnx.Dropout`, which draws one mask for the array, the mask of a picture does not depend
    on the batch around it: it stays the same on any number of devices and for any micro-batch.
    Source: Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html

    Args:
        rate: Share of the values that are dropped, 0 to below 1.
    """

    def __init__(self, rate: float):
        self.rate = rate

    def __call__(self, x: jax.Array, keys: jax.Array | None) -> jax.Array:
        """Returns an array like x [batch, ...]; x itself without keys [batch]."""
        if keys is None or self.rate == 0.0:
            return x
        kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - self.rate, x.shape[1:]))(keys)
        return jnp.where(kept, x / (1.0 - self.rate), 0.0).astype(x.dtype)
