"""Normalisation of each place of each picture, in float32 throughout."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx


class LayerNorm(nnx.LayerNorm):
    """Values of a place to mean 0 and variance 1, then scaled and moved.

    `nnx.LayerNorm` in bfloat16 rounds scale and bias, and so adds their gradients over batch and
    devices in 8 bits. Here only the result is rounded.

    Args:
        channels: Values of a place.
        dtype: Type of the result.
        rngs: Random keys; none is drawn.
    """

    def __init__(self, channels: int, dtype: Any, rngs: nnx.Rngs):
        super().__init__(channels, epsilon=1e-6, dtype=jnp.float32, rngs=rngs)
        self.type = dtype

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        """Returns [..., channels] for [..., channels]; see `nnx.LayerNorm`."""
        return super().__call__(x, mask=mask).astype(self.type)
