"""Promises of the resampling: what Keras's generator does, by SciPy's arithmetic."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from catsdogs_jax.augment import affine
from catsdogs_jax.augment.affine import Map, after, random_rotation, random_translation, rotation

# Compiled as a whole: operation by operation takes the compiler many times longer.
resample = jax.jit(affine.resample, static_argnames="size")
resample_by_products = jax.jit(
    affine.resample_by_products, static_argnames=("sheared", "turned", "size")
)
random_affine = jax.jit(affine.random_affine, static_argnames="flip")
zoomed = jax.jit(affine.zoomed, static_argnums=1)

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 31, 3)).astype(np.float32)


SQUARE = np.random.default_rng(1).integers(0, 256, (41, 41, 3)).astype(np.float32)
SMOOTH = ndimage.gaussian_filter(SQUARE, (2, 2, 0)) * 4 - 384
TURNS = [(10.0, 0.5), (44.0, 1.0), (90.0, 0.01), (-135.0, 1.0)]


def keras_affine(image: np.ndarray, matrix: np.ndarray, shift: Any = 0.0) -> np.ndarray:
    """The core of keras.preprocessing.image.apply_affine_transform, order 1, fill "nearest"."""
    centre = (np.array(image.shape[:2]) - 1) / 2
    offset: Any = centre - matrix @ centre + shift
    channels = [
        ndimage.affine_transform(image[..., c], matrix, offset, order=1, mode="nearest")
        for c in range(3)
    ]
    return np.stack(channels, axis=-1)


@pytest.mark.parametrize("seed", range(6))
def test_resampling_equals_what_keras_computes(seed: int) -> None:
    key = jax.random.key(seed)
    matrix = random_affine(key, flip=True, zoom=(0.6, 1.4), shear_degrees=20.0)
    expected = keras_affine(IMAGE, np.asarray(matrix))
    np.testing.assert_allclose(resample(jnp.array(IMAGE), matrix), expected, atol=2e-3)


def test_the_identity_changes_nothing() -> None:
    np.testing.assert_allclose(resample(jnp.array(IMAGE), jnp.eye(2)), IMAGE, atol=1e-4)


def test_matrices_stay_within_their_ranges() -> None:
    keys = jax.random.split(jax.random.key(0), 500)
    draw = jax.vmap(
        lambda k: affine.random_affine(k, flip=True, zoom=(0.8, 1.2), shear_degrees=10.0)
    )
    matrices = np.asarray(jax.jit(draw)(keys))
    mirror = np.sign(matrices[:, 1, 1])
    angle = np.arctan2(-matrices[:, 0, 1], matrices[:, 1, 1] * 1.0) * 180 / np.pi
    angle = np.where(
        mirror > 0, angle, np.arctan2(matrices[:, 0, 1], -matrices[:, 1, 1]) * 180 / np.pi
    )
    scale_x = np.hypot(matrices[:, 0, 1], matrices[:, 1, 1])
    for scale in (matrices[:, 0, 0], scale_x):
        assert 0.8 <= scale.min() < 0.81
        assert 1.19 < scale.max() <= 1.2 + 1e-6
    assert np.abs(angle).max() <= 10.001
    assert np.abs(angle).max() > 9
    assert 0.4 < (mirror < 0).mean() < 0.6
    assert (matrices[:, 1, 0] == 0).all()


@pytest.mark.parametrize("shear", [0.0, 0.2, 20.0])
def test_products_give_what_the_gather_gives(shear: float) -> None:
    for seed in range(5):
        matrix = random_affine(
            jax.random.key(seed), flip=True, zoom=(0.6, 1.5), shear_degrees=shear
        )
        found = resample_by_products(jnp.asarray(IMAGE), matrix, sheared=shear > 0)
        np.testing.assert_allclose(found, resample(jnp.asarray(IMAGE), matrix), atol=0.02)


@pytest.mark.parametrize("zoom", [0.5, 0.85, 1.0, 1.15])
def test_a_zoom_known_in_advance_is_the_same_resampling(zoom: float) -> None:
    expected = resample(jnp.asarray(IMAGE), zoom * jnp.eye(2))
    np.testing.assert_allclose(zoomed(jnp.asarray(IMAGE)[None], zoom)[0], expected, atol=2e-3)


def test_an_offset_is_scipys_in_sides_of_the_picture() -> None:
    matrix, offset = np.array([[0.7, 0.2], [-0.3, 0.9]], np.float32), np.array([0.1, -0.2])
    expected = keras_affine(IMAGE, matrix, offset * np.array(IMAGE.shape[:2]))
    found = resample(jnp.asarray(IMAGE), jnp.asarray(matrix), jnp.asarray(offset, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=5e-3)


@pytest.mark.parametrize("degrees", [7.0, -20.0, 90.0])
def test_a_turn_is_pillows_clockwise(degrees: float) -> None:
    expected = [
        np.asarray(Image.fromarray(SQUARE[..., c]).rotate(-degrees, Image.Resampling.BILINEAR))
        for c in range(3)
    ]
    found = resample(jnp.asarray(SQUARE), *rotation(jnp.deg2rad(degrees)))
    inside = np.hypot(*np.mgrid[-20:21, -20:21]) < 19
    np.testing.assert_allclose(found[inside], np.stack(expected, -1)[inside], atol=0.01)


def test_maps_after_each_other_are_one_map() -> None:
    first = Map(jnp.array([[0.9, 0.1], [0.2, 1.1]]), jnp.array([0.1, -0.3]))
    second = Map(jnp.array([[0.5, -0.4], [0.0, 0.8]]), jnp.array([-0.2, 0.05]))
    place = np.array([0.3, 0.4])
    for inner, outer in ((first, second), (first, Map(second.matrix)), (Map(first.matrix), second)):
        shown = place
        for step in (inner, outer):
            shown = np.asarray(step.matrix) @ shown
            shown = shown if step.offset is None else shown + np.asarray(step.offset)
        joined = after(outer, inner)
        assert joined.offset is not None
        np.testing.assert_allclose(joined.matrix @ place + joined.offset, shown, rtol=1e-5)


def test_turns_and_shifts_fill_their_ranges() -> None:
    keys = jax.random.split(jax.random.key(0), 500)
    turns = np.asarray(jax.jit(jax.vmap(lambda key: random_rotation(key, 30.0).matrix))(keys))
    angles = np.rad2deg(np.arctan2(turns[:, 1, 0], turns[:, 0, 0]))
    shifts = np.asarray(jax.jit(jax.vmap(lambda key: random_translation(key, 0.1).offset))(keys))
    for found, limit in ((angles, 30.0), (shifts[:, 0], 0.1), (shifts[:, 1], 0.1)):
        assert -limit <= found.min() < -0.97 * limit
        assert 0.97 * limit < found.max() <= limit * (1 + 1e-5)


def test_products_with_an_offset_give_what_the_gather_gives() -> None:
    matrix, offset = jnp.array([[0.6, 0.2], [0.0, -0.5]]), jnp.array([0.1, -0.2])
    found = resample_by_products(jnp.asarray(SQUARE), matrix, offset, sheared=True)
    np.testing.assert_allclose(found, resample(jnp.asarray(SQUARE), matrix, offset), atol=0.02)


@pytest.mark.parametrize(("degrees", "levels"), TURNS)
def test_products_turn_a_picture_nearly_as_the_gather_does(degrees: float, levels: float) -> None:
    place = after(rotation(jnp.deg2rad(degrees)), Map(0.5 * jnp.eye(2), jnp.array([0.05, -0.1])))
    expected = resample(jnp.asarray(SMOOTH), *place)
    found = resample_by_products(jnp.asarray(SMOOTH), *place, sheared=False, turned=True)
    gaps = np.abs(found - expected)
    assert SMOOTH.std() > 40
    assert gaps.mean() < levels
    assert gaps.max() < 8 * levels


def test_a_smaller_result_shows_the_whole_picture_or_a_block_of_it_as_it_is() -> None:
    slope = np.add.outer(3.0 * np.arange(40), 2.0 * np.arange(40))[..., None].astype(np.float32)
    whole = np.asarray(resample(jnp.array(slope), jnp.eye(2), size=16))
    places = (np.arange(16) + 0.5) * 40 / 16 - 0.5
    np.testing.assert_allclose(whole[..., 0], np.add.outer(3.0 * places, 2.0 * places), atol=1e-3)
    block = resample(
        jnp.array(SQUARE[:40, :40]), 0.5 * jnp.eye(2), jnp.array([0.1, -0.05]), size=20
    )
    np.testing.assert_allclose(block, SQUARE[14:34, 8:28], atol=1e-3)


def test_products_give_a_smaller_result_as_the_gather_does() -> None:
    picture, offset = jnp.array(SMOOTH), jnp.array([0.1, -0.2])
    slanted = jnp.array([[0.6, 0.1], [0.0, 0.7]])
    expected = resample(picture, slanted, offset, size=29)
    found = resample_by_products(picture, slanted, offset, sheared=True, size=29)
    assert found.shape == (29, 29, 3)
    np.testing.assert_allclose(found, expected, atol=2e-2)
    turned = 0.6 * rotation(jnp.float32(np.pi / 18)).matrix
    expected = resample(picture, turned, offset, size=29)
    found = resample_by_products(picture, turned, offset, sheared=False, turned=True, size=29)
    np.testing.assert_allclose(found, expected, atol=1.0)
