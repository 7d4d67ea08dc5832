"""Promises of augmentation: a pure function of a picture and its key."""

from typing import Any

import jax
import numpy as np
import pytest

from catsdogs_jax.augment import augment
from catsdogs_jax.config import AugmentConfig

IMAGES: Any = np.random.default_rng(0).integers(0, 256, (6, 12, 12, 3)).astype(np.uint8)
KEYS = jax.random.split(jax.random.key(0), 6)
EVERYTHING = AugmentConfig(flip=True, zoom=(0.8, 1.2), shear=5.0)


def test_nothing_asked_for_changes_nothing() -> None:
    np.testing.assert_array_equal(augment(AugmentConfig(), KEYS, IMAGES), IMAGES)


@pytest.mark.parametrize("config", [EVERYTHING, AugmentConfig(flip=True)])
def test_a_picture_does_not_depend_on_its_neighbours(config: AugmentConfig) -> None:
    whole = augment(config, KEYS, IMAGES)
    part = augment(config, KEYS[2:3], IMAGES[2:3])
    np.testing.assert_allclose(whole[2:3], part, atol=1e-4)


def test_another_key_gives_another_picture() -> None:
    same: Any = np.repeat(IMAGES[:1], 6, axis=0)
    varied = np.asarray(augment(EVERYTHING, KEYS, same))
    assert len({picture.tobytes() for picture in varied}) == 6


def test_a_flip_mirrors_left_to_right_about_half_of_the_pictures() -> None:
    keys = jax.random.split(jax.random.key(1), 400)
    images: Any = np.repeat(IMAGES[:1], 400, axis=0)
    varied = np.asarray(augment(AugmentConfig(flip=True), keys, images))
    mirrored = (varied == images[:, :, ::-1]).all((1, 2, 3))
    unchanged = (varied == images).all((1, 2, 3))
    assert (mirrored | unchanged).all()
    assert 150 < mirrored.sum() < 250


def test_values_stay_within_the_range_of_pixels() -> None:
    varied = np.asarray(augment(EVERYTHING, KEYS, IMAGES))
    assert varied.min() >= 0
    assert varied.max() <= 255.001
