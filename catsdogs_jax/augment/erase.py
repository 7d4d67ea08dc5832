"""Random erasing."""

from typing import Literal

import jax
import jax.numpy as jnp

_RATIO = (0.3, 3.3)


def random_erase(
    key: jax.Array,
    image: jax.Array,
    *,
    probability: float,
    area: tuple[float, float],
    fill: Literal["mean", "noise"],
) -> jax.Array:
    """Covers a random rectangle that lies inside the picture.

    Source: Zhong et al., 2017, https://arxiv.org/abs/1708.04896; ratios as there.

    Args:
        key: Random key of one picture.
        image: Floats [size, size, 3], 0 to 255.
        probability: Share of the pictures in which something is erased.
        area: Range of the rectangle's share of the picture.
        fill: The picture's mean colour, or a random value for each pixel and channel.
    """
    wanted_key, area_key, ratio_key, place_key, fill_key = jax.random.split(key, 5)
    size = image.shape[0]
    share = jax.random.uniform(area_key, (), minval=area[0], maxval=area[1])
    log_ratio = jax.random.uniform(
        ratio_key, (), minval=jnp.log(_RATIO[0]), maxval=jnp.log(_RATIO[1])
    )
    stretch = jnp.exp(log_ratio / 2)
    shape = jnp.sqrt(share) * jnp.array([1.0 / stretch, stretch])
    sides = jnp.round(size * jnp.minimum(shape, 1.0))
    corner = jnp.floor(jax.random.uniform(place_key, (2,)) * (size - sides + 1.0))
    covered = rectangle(size, corner, corner + sides)
    if fill == "mean":
        colour = image.mean((0, 1), keepdims=True)
    else:
        # Three of the four bytes of each random number: a third of the numbers.
        words = jax.random.bits(fill_key, image.shape[:2], jnp.uint32)
        colour = jax.lax.bitcast_convert_type(words, jnp.uint8)[..., :3].astype(jnp.float32)
    covered &= jax.random.bernoulli(wanted_key, probability)
    return jnp.where(covered[..., None], colour, image)


def rectangle(size: int, corner: jax.Array, end: jax.Array) -> jax.Array:
    """Returns bool [size, size], true from a corner [2] up to, but without, an end [2], (y, x)."""
    places = jnp.arange(size, dtype=jnp.float32)
    rows = (places >= corner[0]) & (places < end[0])
    columns = (places >= corner[1]) & (places < end[1])
    return rows[:, None] & columns[None, :]
