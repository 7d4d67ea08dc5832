"""Brightness, contrast, saturation and hue in one pass over the pixels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114])
"""Shares of red, green and blue in grey, ITU-R BT.601, as in Pillow."""

_TO_YUV = np.array([_LUMA, 0.492 * (np.eye(3)[2] - _LUMA), 0.877 * (np.eye(3)[0] - _LUMA)])

_TURN = tuple(
    np.linalg.inv(_TO_YUV) @ part @ _TO_YUV
    for part in (
        np.diag([1.0, 0.0, 0.0]),
        np.diag([0.0, 1.0, 1.0]),
        np.array([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
    )
)
"""A turn of U and V as a sum: what it keeps, what goes with its cosine, what with its sine."""


class Colors(NamedTuple):
    """How much of each; a factor of 1 and a hue of 0 change nothing.

    Attributes:
        brightness: Factor of every value.
        contrast: Factor of the distance from the mean grey of the picture.
        saturation: Factor of the distance from the pixel's own grey.
        hue: Turn of the hue, as a share of the whole circle.
    """

    brightness: jax.Array
    contrast: jax.Array
    saturation: jax.Array
    hue: jax.Array


def stacked(first: Colors, second: Colors) -> Colors:
    """Returns the colours of one change upon the other."""
    return Colors(
        first.brightness * second.brightness,
        first.contrast * second.contrast,
        first.saturation * second.saturation,
        first.hue + second.hue,
    )


def random_colors(
    key: jax.Array, *, brightness: float, contrast: float, saturation: float, hue: float
) -> Colors:
    """Draws factors uniform in 1 plus and minus each strength, and a hue within plus and minus.

    The ranges are those of torchvision's `ColorJitter`.
    """
    limits = jnp.array([brightness, contrast, saturation, hue])
    drawn = limits * jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
    return Colors(1.0 + drawn[0], 1.0 + drawn[1], 1.0 + drawn[2], drawn[3])


def recolor(image: jax.Array, colors: Colors) -> jax.Array:
    """Changes brightness, then contrast, then saturation, then hue.

    Each of the four is linear, so that all are one matrix on the three values of a pixel; values
    are cut off once, at the end. The first three are those of Pillow's `ImageEnhance`. The hue
    turns in the plane of U and V, which keeps greys and the luma as they are; the angle of HSV that
    Pillow and torchvision turn is no linear map, and makes blue as light as yellow.
    Source: https://beesbuzz.biz/code/16-hsv-color-transforms

    Args:
        image: Floats [height, width, 3], 0 to 255.
        colors: How much of each.

    Returns:
        Floats [height, width, 3], 0 to 255.
    """
    angle = 2.0 * jnp.pi * colors.hue
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    grey, chroma, crossed = (jnp.asarray(part, jnp.float32) for part in _TURN)
    gain = colors.brightness * colors.contrast
    matrix = gain * (grey + colors.saturation * (cosine * chroma + sine * crossed))
    mean = (image.mean((0, 1)) * _LUMA).sum()
    shift = colors.brightness * (1.0 - colors.contrast) * mean
    rows = [image[..., source, None] * matrix[None, None, :, source] for source in range(3)]
    return jnp.clip(rows[0] + rows[1] + rows[2] + shift, 0.0, 255.0)
