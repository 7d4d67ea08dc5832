"""Dropout and drop path whose masks are drawn for each picture by the picture's own key."""

from collections.abc import Sequence

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


class DropPath(nnx.Module):
    """Leaves out the branch of a residual block for a share of the pictures: stochastic depth.

    Source: Huang et al., 2016, https://arxiv.org/abs/1603.09382, scaled up as in timm.

    Args:
        rate: Share of the pictures for which the branch is left out, 0 to below 1.
        number: Place of the block in the model: each block draws for itself.
    """

    def __init__(self, rate: float, number: int):
        self.rate, self.number = rate, number

    def __call__(self, x: jax.Array, keys: jax.Array | None) -> jax.Array:
        """Returns an array like x [batch, ...]; x itself without keys [batch]."""
        if keys is None or self.rate == 0.0:
            return x
        own = jax.vmap(jax.random.fold_in, (0, None))(keys, self.number)
        kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - self.rate))(own)
        kept = kept.reshape(-1, *[1] * (x.ndim - 1))
        return jnp.where(kept, x / (1.0 - self.rate), 0.0).astype(x.dtype)


def drop_path_rates(greatest: float, depths: Sequence[int]) -> list[list[float]]:
    """Returns the rate of each block of each stage, rising evenly from 0 at the first block.

    Args:
        greatest: Rate of the last block.
        depths: Blocks of each stage.
    """
    last = max(sum(depths) - 1, 1)
    starts = [sum(depths[:stage]) for stage in range(len(depths))]
    return [
        [greatest * (start + block) / last for block in range(depth)]
        for start, depth in zip(starts, depths, strict=True)
    ]
