"""Promises of TrivialAugment and RandAugment: Pillow's operations, drawn as often as the papers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from catsdogs_jax.augment.affine import resample
from catsdogs_jax.augment.color import recolor
from catsdogs_jax.augment.policy import (
    OPERATIONS,
    RANDAUGMENT,
    TRIVIAL,
    Adjustments,
    Ranges,
    adjustments,
    apply_tones,
    rand_augment,
    trivial_augment,
)

NOISE = np.random.default_rng(0).integers(30, 220, (33, 33, 3)).astype(np.uint8)
Pillow = Callable[[Image.Image], Image.Image]


def operation(
    name: str, magnitude: float, sign: float = 1.0, ranges: Ranges = TRIVIAL
) -> Adjustments:
    index = jnp.int32(OPERATIONS.index(name))
    return adjustments(index, jnp.float32(magnitude), jnp.float32(sign), ranges)


@jax.jit
def _carried_out(drawn: Adjustments, image: jax.Array) -> jax.Array:
    return recolor(apply_tones(resample(image, *drawn.map), drawn), drawn.colors)


def carried_out(drawn: Adjustments, image: np.ndarray = NOISE) -> np.ndarray:
    return np.asarray(_carried_out(drawn, jnp.asarray(image, jnp.float32)))


def sheared(horizontal: float, vertical: float) -> Pillow:
    # Pillow's places are corners of pixels, from the upper left; ours are from the centre.
    size = NOISE.shape[0]
    matrix = (1, horizontal, -horizontal * size / 2, vertical, 1, -vertical * size / 2)
    return lambda image: image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )


PILLOW: dict[str, tuple[float, Pillow]] = {
    "identity": (1.0, lambda image: image),
    "shear_x": (0.3, sheared(0.3 * 0.99, 0)),
    "shear_y": (0.3, sheared(0, 0.3 * 0.99)),
    "rotate": (0.2, lambda image: image.rotate(-27, Image.Resampling.BILINEAR)),
    "brightness": (0.1, lambda image: ImageEnhance.Brightness(image).enhance(1.099)),
    "contrast": (0.2, lambda image: ImageEnhance.Contrast(image).enhance(1.198)),
    "saturation": (0.1, lambda image: ImageEnhance.Color(image).enhance(1.099)),
    "sharpness": (0.9, lambda image: ImageEnhance.Sharpness(image).enhance(1.891)),
    "posterize": (0.5, lambda image: ImageOps.posterize(image, 5)),
    "solarize": (0.4, lambda image: ImageOps.solarize(image, 153)),
    "autocontrast": (0.5, ImageOps.autocontrast),
    "equalize": (0.5, ImageOps.equalize),
}


@pytest.mark.parametrize("name", PILLOW)
def test_an_operation_is_pillows(name: str) -> None:
    magnitude, pillow = PILLOW[name]
    expected = np.asarray(pillow(Image.fromarray(NOISE)), np.float32)
    found = carried_out(operation(name, magnitude))
    inside = np.hypot(*np.mgrid[-16:17, -16:17]) < 11  # Outside, Pillow is black.
    np.testing.assert_allclose(found[inside], expected[inside], atol=2.1)  # Pillow rounds.


@pytest.mark.parametrize(("name", "axis"), [("translate_y", 0), ("translate_x", 1)])
def test_a_translation_moves_by_whole_pixels(name: str, axis: int) -> None:
    share = 3 / 33 / TRIVIAL.translate
    found = carried_out(operation(name, share, sign=-1.0))
    expected = np.roll(NOISE, 3, axis).astype(np.float32)
    kept = (slice(3, None), slice(None)) if axis == 0 else (slice(None), slice(3, None))
    np.testing.assert_allclose(found[kept], expected[kept], atol=0.01)


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in ("autocontrast", "equalize")])
def test_nothing_but_solarize_autocontrast_and_equalize_acts_at_magnitude_zero(name: str) -> None:
    image = NOISE / 1.01  # Fractions stay as well.
    np.testing.assert_allclose(carried_out(operation(name, 0.0), image), image, atol=1e-3)


def test_trivial_augment_draws_every_operation_alike_and_one_at_a_time() -> None:
    keys = jax.random.split(jax.random.key(0), 2600)
    drawn = jax.jit(jax.vmap(lambda key: trivial_augment(key, 1.0)))(keys)
    neutral = operation("identity", 0.0)
    changes = np.zeros((2600,), int)
    for found, none in zip(jax.tree.leaves(drawn), jax.tree.leaves(neutral), strict=True):
        differs = np.asarray(found) != np.asarray(none)
        changes += differs.reshape(len(keys), -1).any(axis=1)
    assert set(changes.tolist()) == {0, 1}
    # Magnitudes near zero round to no change of posterize.
    assert np.mean(changes == 0) == pytest.approx(1 / 14, abs=0.03)
    assert np.mean(drawn.autocontrast) == pytest.approx(1 / 14, abs=0.02)
    assert np.mean(drawn.equalize) == pytest.approx(1 / 14, abs=0.02)
    turns = np.abs(np.rad2deg(np.arctan2(drawn.map.matrix[:, 1, 0], drawn.map.matrix[:, 0, 0])))
    assert turns.max() > 120


def test_strength_limits_trivial_augment() -> None:
    keys = jax.random.split(jax.random.key(0), 500)
    drawn = jax.jit(jax.vmap(lambda key: trivial_augment(key, 0.2)))(keys)
    assert np.abs(np.asarray(drawn.colors.brightness) - 1).max() <= 0.2 * 0.99 + 1e-6
    assert np.asarray(drawn.levels).max() <= 2


def test_rand_augment_stacks_operations_of_one_magnitude() -> None:
    keys = jax.random.split(jax.random.key(0), 400)
    one = jax.jit(jax.vmap(lambda key: rand_augment(key, 0.5, 1)))(keys)
    several = jax.jit(jax.vmap(lambda key: rand_augment(key, 0.5, 4)))(keys)
    factors = np.unique(np.round(np.asarray(one.colors.contrast), 4))
    np.testing.assert_allclose(factors, [0.55, 1.0, 1.45], atol=1e-3)
    assert np.unique(np.asarray(one.levels)).tolist() == [1, 4]
    assert np.asarray(several.colors.contrast).max() > 1.45**2 - 1e-3
    assert np.mean(several.autocontrast) > 2 * np.mean(one.autocontrast)
    assert RANDAUGMENT.rotate == 30.0
