"""Promises of equalize: Pillow's result to the level, on every kind of device."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps

from catsdogs_jax.augment.tone import _by_comparing, _by_counting, equalize


def dark(random: np.random.Generator) -> np.ndarray:
    return random.normal(60, 25, (40, 50, 3))


def bright(random: np.random.Generator) -> np.ndarray:
    return random.exponential(20, (40, 50, 3)) * -1 + 255


def of_few_levels(random: np.random.Generator) -> np.ndarray:
    return random.integers(0, 3, (40, 50, 3)) * 100.0


def of_few_pixels(random: np.random.Generator) -> np.ndarray:
    return random.integers(0, 256, (9, 9, 3)).astype(float)


def of_one_level(random: np.random.Generator) -> np.ndarray:
    return np.full((40, 50, 3), float(random.integers(1, 255)))


@pytest.mark.parametrize("made", [dark, bright, of_few_levels, of_few_pixels, of_one_level])
@pytest.mark.parametrize("formulation", [_by_counting, _by_comparing])
def test_a_picture_is_equalized_as_pillow_does(
    made: Callable[[np.random.Generator], np.ndarray],
    formulation: Callable[[jax.Array], jax.Array],
) -> None:
    image = made(np.random.default_rng(0)).clip(0, 255).astype(np.uint8)
    expected = np.asarray(ImageOps.equalize(Image.fromarray(image)))
    channels = jax.jit(jax.vmap(formulation, 2, 2))(jnp.asarray(image, jnp.int32))
    np.testing.assert_array_equal(channels, expected)


def test_only_pictures_that_want_it_are_equalized_and_others_keep_their_fractions() -> None:
    images = dark(np.random.default_rng(0))[None].clip(0, 255).astype(np.float32).repeat(2, 0)
    found = jax.jit(jax.vmap(equalize))(jnp.asarray(images), jnp.array([True, False]))
    rounded = Image.fromarray(np.round(images[0]).astype(np.uint8))
    np.testing.assert_array_equal(found[0], np.asarray(ImageOps.equalize(rounded)))
    np.testing.assert_array_equal(found[1], images[1])
