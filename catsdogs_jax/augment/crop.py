"""Random resized crop, as part of the one resampling."""

import jax
import jax.numpy as jnp

from catsdogs_jax.augment.affine import Map


def random_crop(key: jax.Array, *, area: tuple[float, float], ratio: tuple[float, float]) -> Map:
    """Draws a rectangle of a square picture and returns the map that shows it as the whole.

    The area is uniform, the ratio of width to height uniform in its logarithm among those with
    which a rectangle of this area fits, the place uniform among those inside. torchvision's
    `RandomResizedCrop` draws area and ratio again until they fit instead, and so takes large areas
    a little less often.
    Source: Szegedy et al., 2015, https://arxiv.org/abs/1409.4842

    Args:
        key: Random key of one picture.
        area: Range of the share of the picture's area, above 0 to 1.
        ratio: Range of width divided by height, with 1 inside.
    """
    area_key, ratio_key, place_key = jax.random.split(key, 3)
    share = jax.random.uniform(area_key, (), minval=area[0], maxval=area[1])
    widest = -jnp.log(share)
    low = jnp.maximum(jnp.log(ratio[0]), -widest)
    high = jnp.minimum(jnp.log(ratio[1]), widest)
    stretch = jnp.exp(0.5 * (low + (high - low) * jax.random.uniform(ratio_key)))
    sides = jnp.sqrt(share) * jnp.array([1.0 / stretch, stretch])
    return crop(sides, jax.random.uniform(place_key, (2,)) * (1.0 - sides))


def crop(sides: jax.Array, corner: jax.Array) -> Map:
    """Returns the map that shows a rectangle of a picture as the whole.

    Args:
        sides: [2], height and width as shares of the picture's.
        corner: [2], the upper left corner as shares of the picture's sides.
    """
    return Map(jnp.diag(sides), corner + sides / 2 - 0.5)
