"""Promises of random erasing."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from catsdogs_jax.augment.erase import random_erase

IMAGE = jnp.asarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)), jnp.float32)


def erased(probability: float, fill: Literal["mean", "noise"] = "mean") -> np.ndarray:
    keys = jax.random.split(jax.random.key(0), 300)

    def one(key: jax.Array) -> jax.Array:
        return random_erase(key, IMAGE, probability=probability, area=(0.05, 0.2), fill=fill)

    return np.asarray(jax.jit(jax.vmap(one))(keys))


def test_what_is_erased_is_a_rectangle_of_the_mean_colour_and_the_rest_stays() -> None:
    pictures = erased(1.0)
    changed = (pictures != np.asarray(IMAGE)).any(-1)
    for picture, place in zip(pictures, changed, strict=True):
        rows, columns = np.flatnonzero(place.any(1)), np.flatnonzero(place.any(0))
        box = np.ix_(np.arange(rows[0], rows[-1] + 1), np.arange(columns[0], columns[-1] + 1))
        assert place[box].all()
        np.testing.assert_allclose(picture[box] - np.asarray(IMAGE.mean((0, 1))), 0, atol=1e-3)
    shares = changed.mean((1, 2))
    assert 0.03 < shares.min() < 0.07
    assert 0.18 < shares.max() < 0.22
    assert changed[:, [0, -1]].any((0, 2)).all()  # The borders are reached.
    assert changed[:, :, [0, -1]].any((0, 1)).all()


def test_the_probability_is_the_share_of_the_pictures() -> None:
    changed = (erased(0.3) != np.asarray(IMAGE)).any((1, 2, 3))
    assert changed.mean() == pytest.approx(0.3, abs=0.08)


def test_noise_is_even_over_the_range_of_pixels() -> None:
    pictures = erased(1.0, "noise")
    noise = pictures[pictures != np.asarray(IMAGE)]
    assert noise.mean() == pytest.approx(127.5, abs=2)
    assert noise.min() == 0
    assert noise.max() == 255
