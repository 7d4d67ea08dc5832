"""Promises of augmentation: a pure function of a picture and its key."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from catsdogs_jax.augment.augment import augment as eager_augment
from catsdogs_jax.config import AugmentConfig

IMAGES: Any = np.random.default_rng(0).integers(0, 256, (6, 12, 12, 3)).astype(np.uint8)
KEYS = jax.random.split(jax.random.key(0), 6)
AFFINE = AugmentConfig(flip=True, zoom=(0.8, 1.2), shear=5.0)
EVERYTHING = AugmentConfig(
    flip=True,
    zoom=(0.8, 1.2),
    shear=5.0,
    rotate=20.0,
    translate=0.1,
    crop=(0.3, 1.0),
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    policy="randaugment",
    erase=0.5,
    erase_fill="noise",
)
augment = jax.jit(eager_augment, static_argnums=0)


def test_nothing_asked_for_changes_nothing_and_computes_nothing() -> None:
    np.testing.assert_array_equal(augment(AugmentConfig(), KEYS, IMAGES), IMAGES)
    program = jax.make_jaxpr(eager_augment, static_argnums=0)(AugmentConfig(), KEYS, IMAGES)
    assert [str(step.primitive) for step in program.eqns] == ["convert_element_type"]


def test_the_range_of_what_is_off_does_not_matter() -> None:
    off = AugmentConfig(
        flip=True,
        crop_ratio=(0.5, 2.0),
        policy_operations=5,
        policy_strength=0.9,
        erase_area=(0.3, 0.5),
        erase_fill="noise",
        cutmix_share=0.1,
        mix_probability=0.2,
    )
    plain, found = (
        str(jax.make_jaxpr(eager_augment, static_argnums=0)(config, KEYS, IMAGES))
        for config in (AugmentConfig(flip=True), off)
    )
    assert found == plain


ALONE = [
    ("rotate", 20.0),
    ("translate", 0.2),
    ("crop", (0.3, 0.8)),
    ("brightness", 0.4),
    ("contrast", 0.4),
    ("saturation", 0.4),
    ("hue", 0.2),
    ("policy", "trivial"),
    ("policy", "randaugment"),
    ("erase", 1.0),
]


@pytest.mark.parametrize(("name", "value"), ALONE)
def test_each_option_acts_alone(name: str, value: Any) -> None:
    varied = augment(AugmentConfig(**{name: value}), KEYS, IMAGES)
    changed = (np.asarray(varied) != IMAGES).any((1, 2, 3))
    assert changed.mean() >= 0.5
    assert changed.all() or name == "policy"


def test_what_is_drawn_for_one_option_does_not_change_with_another() -> None:
    """So a flip, a zoom and a shear are the seed's experiment's whatever else is on."""
    keys: Any = jax.random.split(jax.random.key(2), 64)
    grey: Any = np.full((64, 12, 12, 3), 90, np.uint8)
    grey[:, :, :4] = 30
    alone = np.asarray(augment(AFFINE, keys, grey))
    both = np.asarray(augment(dataclasses.replace(AFFINE, brightness=0.3), keys, grey))
    factor = both / alone
    assert np.ptp(factor, axis=(1, 2, 3)).max() < 1e-4
    assert factor.min() < 0.8
    assert factor.max() > 1.2


@pytest.mark.parametrize("config", [AFFINE, EVERYTHING, AugmentConfig(flip=True)])
def test_a_picture_does_not_depend_on_its_neighbours(config: AugmentConfig) -> None:
    order = np.array([3, 0, 5, 1, 2, 4])
    whole, shuffled = augment(config, KEYS, IMAGES), augment(config, KEYS[order], IMAGES[order])
    np.testing.assert_allclose(np.asarray(whole)[order], shuffled, atol=1e-4)


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
    assert varied.dtype == np.float32
    assert varied.min() >= 0
    assert varied.max() <= 255.001


def test_crops_are_cut_from_pictures_decoded_with_a_margin() -> None:
    config = AugmentConfig(margin=1.5)
    varied = np.asarray(augment(config, KEYS, IMAGES))
    assert varied.shape == (6, 8, 8, 3)
    np.testing.assert_allclose(varied.mean((1, 2)), IMAGES.mean((1, 2)), atol=12)
    smaller = augment(dataclasses.replace(config, size=5), KEYS, IMAGES)
    assert smaller.shape == (6, 5, 5, 3)
    np.testing.assert_allclose(smaller.mean((1, 2)), IMAGES.mean((1, 2)), atol=12)
    cropped = augment(dataclasses.replace(config, crop=(0.3, 1.0), flip=True), KEYS, IMAGES)
    assert cropped.shape == (6, 8, 8, 3)
