"""Promises of what travels with the weights."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task

SOME = Preprocessing(
    32,
    "crop",
    Task("binary", ("a", "b")),
    zooms=(0.9, 1.0),
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.1, 0.5),
)


def test_it_survives_json() -> None:
    assert Preprocessing.from_dict(json.loads(json.dumps(SOME.to_dict()))) == SOME


def test_thresholds_survive_json_and_stay_hashable() -> None:
    several = Preprocessing(32, "crop", Task("multilabel", ("a", "b")), threshold=(0.25, 0.5))
    again = Preprocessing.from_dict(json.loads(json.dumps(several.to_dict())))
    assert again == several
    assert hash(again) == hash(several)


def test_what_version_1_saved_is_still_read() -> None:
    old = {
        "format_version": 1,
        "image_size": 32,
        "resize": "crop",
        "task": {"kind": "multilabel", "classes": ["a", "b"]},
        "threshold": 0.5,
        "mirror": False,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    }
    found = Preprocessing.from_dict(old)
    assert found == Preprocessing(32, "crop", Task("multilabel", ("a", "b")))
    assert found.task.spell(np.array([0.6, 0.4]), found.threshold) == "a"


def test_a_newer_format_is_refused_with_the_mend() -> None:
    with pytest.raises(UserError, match="format 99.*upgrade"):
        Preprocessing.from_dict({**SOME.to_dict(), "format_version": 99})


def test_pixels_are_scaled_then_normalized() -> None:
    images = jnp.full((1, 2, 2, 3), 255, jnp.uint8)
    expected = np.broadcast_to([2.5, 6.0, 1.4], (1, 2, 2, 3))
    np.testing.assert_allclose(SOME.normalize(images), expected, rtol=1e-5)
