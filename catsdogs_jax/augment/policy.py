"""TrivialAugment and RandAugment, drawn as parameters of the other operations.

A switch inside `vmap` would compute every operation for every picture. Here a policy draws numbers
that change nothing unless their operation is chosen: the geometric ones join the one resampling,
brightness, contrast and saturation the one pass over the colours.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from catsdogs_jax.augment.affine import Map, after, rotation
from catsdogs_jax.augment.color import Colors, stacked
from catsdogs_jax.augment.tone import autocontrast, equalize, posterize, sharpen, solarize

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "contrast",
    "saturation",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)


class Ranges(NamedTuple):
    """The greatest magnitude of each operation.

    Attributes:
        shear: Tangent of the angle.
        translate: Share of the side.
        rotate: Degrees.
        enhance: Distance from 1 of the factors of brightness, contrast, saturation and sharpness.
        bits: Bits that posterize takes away.
    """

    shear: float
    translate: float
    rotate: float
    enhance: float
    bits: int


TRIVIAL = Ranges(shear=0.99, translate=32 / 224, rotate=135.0, enhance=0.99, bits=6)
"""The wide space of Müller and Hutter, 2021, https://arxiv.org/abs/2103.10158, as torchvision has
it; its 32 pixels are taken of 224."""

RANDAUGMENT = Ranges(shear=0.3, translate=150 / 331, rotate=30.0, enhance=0.9, bits=4)
"""Cubuk et al., 2019, https://arxiv.org/abs/1909.13719, as torchvision has it."""


class Adjustments(NamedTuple):
    """What a policy drew for a picture.

    Attributes:
        map: Shear, translation and rotation.
        colors: Brightness, contrast and saturation.
        sharpness: Factor of `sharpen`.
        levels: Of `posterize`.
        threshold: Of `solarize`.
        autocontrast: Whether to.
        equalize: Whether to.
    """

    map: Map
    colors: Colors
    sharpness: jax.Array
    levels: jax.Array
    threshold: jax.Array
    autocontrast: jax.Array
    equalize: jax.Array


def trivial_augment(key: jax.Array, strength: float) -> Adjustments:
    """Draws one operation, with a magnitude uniform from nothing to `strength` of its range."""
    own_key, magnitude_key = jax.random.split(key)
    return _drawn(own_key, strength * jax.random.uniform(magnitude_key), TRIVIAL)


def rand_augment(key: jax.Array, strength: float, operations: int) -> Adjustments:
    """Draws some operations, each with the magnitude `strength` of its range.

    The paper carries them out in the order of drawing; here the geometric ones come first, then
    those on colours in the order of `apply_tones` and `recolor`.
    """
    keys = jax.random.split(key, operations)
    drawn = _drawn(keys[0], jnp.float32(strength), RANDAUGMENT)
    for number in range(1, operations):
        drawn = _both(drawn, _drawn(keys[number], jnp.float32(strength), RANDAUGMENT))
    return drawn


def adjustments(
    operation: jax.Array, magnitude: jax.Array, sign: jax.Array, ranges: Ranges
) -> Adjustments:
    """Returns what one operation does.

    Args:
        operation: Index in `OPERATIONS`.
        magnitude: Share of the range, 0 to 1.
        sign: 1 or -1, the direction of the operations that have one.
        ranges: The greatest magnitudes.
    """

    def if_chosen(name: str, value: jax.Array, otherwise: float) -> jax.Array:
        return jnp.where(operation == OPERATIONS.index(name), value, otherwise)

    signed = sign * magnitude
    turn = rotation(if_chosen("rotate", jnp.deg2rad(ranges.rotate) * signed, 0.0))
    shear_x, shear_y = (if_chosen(f"shear_{axis}", ranges.shear * signed, 0.0) for axis in "xy")
    shear = jnp.array([[0.0, shear_y], [shear_x, 0.0]])
    shift = [if_chosen(f"translate_{axis}", ranges.translate * signed, 0.0) for axis in "yx"]
    factor = 1.0 + ranges.enhance * signed
    taken = jnp.round(ranges.bits * magnitude)
    return Adjustments(
        map=Map(turn.matrix + shear, jnp.array(shift)),
        colors=Colors(
            if_chosen("brightness", factor, 1.0),
            if_chosen("contrast", factor, 1.0),
            if_chosen("saturation", factor, 1.0),
            jnp.zeros(()),
        ),
        sharpness=if_chosen("sharpness", factor, 1.0),
        levels=if_chosen("posterize", jnp.exp2(taken), 1.0),
        threshold=if_chosen("solarize", 255.0 * (1.0 - magnitude), 256.0),
        autocontrast=operation == OPERATIONS.index("autocontrast"),
        equalize=operation == OPERATIONS.index("equalize"),
    )


def apply_tones(image: jax.Array, drawn: Adjustments) -> jax.Array:
    """Carries out what is neither geometry nor `recolor`, on floats [height, width, 3]."""
    image = autocontrast(sharpen(image, drawn.sharpness), drawn.autocontrast)
    image = equalize(image, drawn.equalize)
    return solarize(posterize(image, drawn.levels), drawn.threshold)


def _drawn(key: jax.Array, magnitude: jax.Array, ranges: Ranges) -> Adjustments:
    operation_key, sign_key = jax.random.split(key)
    operation = jax.random.randint(operation_key, (), 0, len(OPERATIONS))
    return adjustments(
        operation, magnitude, jax.random.rademacher(sign_key, dtype=jnp.float32), ranges
    )


def _both(first: Adjustments, second: Adjustments) -> Adjustments:
    return Adjustments(
        map=after(first.map, second.map),
        colors=stacked(first.colors, second.colors),
        sharpness=first.sharpness * second.sharpness,
        levels=jnp.maximum(first.levels, second.levels),
        threshold=jnp.minimum(first.threshold, second.threshold),
        autocontrast=first.autocontrast | second.autocontrast,
        equalize=first.equalize | second.equalize,
    )
