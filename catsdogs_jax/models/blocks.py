"""The seams of a model, at which its activations may be kept while those between are not."""

import jax
from jax.ad_checkpoint import checkpoint_name

BLOCK = "block"
"""The name that `train.remat=blocks` looks for."""

PRODUCT = "product"
"""The name that `train.remat=products` looks for, besides native operations."""


def block_end(x: jax.Array) -> jax.Array:
    """Returns x, marked as what one block of a model hands to the next."""
    return checkpoint_name(x, BLOCK)


def product(x: jax.Array) -> jax.Array:
    """Returns x, marked as the result of products that are hidden in a custom gradient."""
    return checkpoint_name(x, PRODUCT)
