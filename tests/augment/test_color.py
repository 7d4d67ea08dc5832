"""Promises of the colour changes: Pillow's, and one pass is all of them in turn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from catsdogs_jax.augment.color import Colors, random_colors, recolor, stacked

IMAGE = np.random.default_rng(0).integers(40, 200, (16, 16, 3)).astype(np.uint8)
NEUTRAL = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


def changed(image: np.ndarray, **values: float) -> np.ndarray:
    colors = Colors(**{name: jnp.float32(v) for name, v in {**NEUTRAL, **values}.items()})
    return np.asarray(recolor(jnp.asarray(image, jnp.float32), colors))


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.25])
@pytest.mark.parametrize(
    ("name", "enhancer"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_each_factor_is_pillows(name: str, enhancer: type, factor: float) -> None:
    expected = np.asarray(enhancer(Image.fromarray(IMAGE)).enhance(factor), np.float32)
    found = changed(IMAGE, **{name: factor})
    np.testing.assert_allclose(found, expected, atol=1.6)  # Pillow rounds, greys too.


@pytest.mark.parametrize("hue", [-0.5, -0.1, 0.0, 0.2, 1.0])
def test_the_hue_turns_u_and_v(hue: float) -> None:
    def split(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        return luma, 0.492 * (blue - luma) + 1j * 0.877 * (red - luma)

    calm = IMAGE // 4 + 90  # Nothing is cut off at 0 or 255.
    luma, chroma = split(calm)
    found_luma, found_chroma = split(changed(calm, hue=hue))
    np.testing.assert_allclose(found_luma, luma, atol=1e-3)
    np.testing.assert_allclose(found_chroma, chroma * np.exp(2j * np.pi * hue), atol=1e-3)


def test_a_third_of_a_turn_makes_red_green_as_in_hsv() -> None:
    red = np.full((2, 2, 3), (140, 100, 100), np.uint8)
    assert changed(red, hue=1 / 3)[0, 0].argmax() == 1


def test_one_pass_is_the_changes_in_turn() -> None:
    values = {"brightness": 0.9, "contrast": 1.1, "saturation": 0.7, "hue": 0.1}
    expected = IMAGE.astype(np.float32)
    for name, value in values.items():
        expected = changed(expected, **{name: value})
    np.testing.assert_allclose(changed(IMAGE, **values), expected, atol=1e-2)


def test_values_are_cut_off_at_black_and_white() -> None:
    found = changed(np.array([[[0, 128, 255]]]), brightness=1.9, saturation=1.9)
    assert found.min() == 0
    assert found.max() == 255


def test_factors_fill_their_ranges_and_stack() -> None:
    keys = jax.random.split(jax.random.key(0), 500)
    strengths = {"brightness": 0.4, "contrast": 0.3, "saturation": 0.2, "hue": 0.1}
    drawn = jax.jit(jax.vmap(lambda key: random_colors(key, **strengths)))(keys)
    for name, limit in strengths.items():
        found = np.asarray(getattr(drawn, name)) - NEUTRAL[name]
        assert -limit - 1e-6 <= found.min() < -0.97 * limit
        assert 0.97 * limit < found.max() <= limit + 1e-6
    twice = stacked(drawn, drawn)
    np.testing.assert_allclose(twice.contrast, drawn.contrast**2, rtol=1e-6)
    np.testing.assert_allclose(twice.hue, 2 * drawn.hue, rtol=1e-6)
