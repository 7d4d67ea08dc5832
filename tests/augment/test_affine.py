"""Promises of the resampling: what Keras's generator does, by SciPy's arithmetic."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from catsdogs_jax.augment.affine import random_affine, resample, resample_by_products, zoomed

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 31, 3)).astype(np.float32)


def keras_affine(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The core of keras.preprocessing.image.apply_affine_transform, order 1, fill "nearest"."""
    centre = (np.array(image.shape[:2]) - 1) / 2
    offset: Any = centre - matrix @ centre
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
    draw = jax.vmap(lambda k: random_affine(k, flip=True, zoom=(0.8, 1.2), shear_degrees=10.0))
    matrices = np.asarray(draw(keys))
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
