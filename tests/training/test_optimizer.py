"""Promises of the learning rate and the update rule."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from catsdogs_jax.config import TrainConfig
from catsdogs_jax.training.optimizer import make_optimizer, make_schedule


def rates(steps: int = 100, **options: object) -> np.ndarray:
    config = TrainConfig(learning_rate=1.0, **options)  # type: ignore[arg-type]
    schedule = make_schedule(config, steps)
    return np.array([float(jnp.asarray(schedule(step))) for step in range(steps)])


def test_a_constant_rate_is_constant() -> None:
    np.testing.assert_array_equal(rates(schedule="constant"), 1.0)


def test_warm_up_rises_from_zero_in_its_share() -> None:
    found = rates(schedule="constant", warmup=0.1)
    np.testing.assert_allclose(found[:11], np.arange(11) / 10, rtol=1e-6)
    np.testing.assert_array_equal(found[10:], 1.0)


def test_cosine_falls_to_nothing() -> None:
    found = rates(schedule="cosine", warmup=0.1)
    assert found.argmax() == 10
    assert (np.diff(found[10:]) < 0).all()
    assert found[-1] < 1e-3


def test_one_cycle_peaks_after_its_warm_up() -> None:
    assert rates(schedule="one_cycle").argmax() == 30
    found = rates(schedule="one_cycle", warmup=0.2)
    assert found.argmax() == 20
    assert found[0] == pytest.approx(1 / 25)
    assert found[-1] < 0.01


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_clipping_bounds_the_gradient(name: str) -> None:
    params = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    gradient = {"kernel": jnp.full((2, 2), 1e6), "bias": jnp.zeros(2)}
    config = TrainConfig(optimizer=name, momentum=0.0, clip_norm=1.0, learning_rate=1.0)  # type: ignore[arg-type]
    rule = make_optimizer(config, 10)
    updates: Any = rule.update(gradient, rule.init(params), params)[0]
    assert np.linalg.norm(updates["kernel"]) <= 2.0 + 1e-5


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decay_shrinks_kernels_but_no_biases(name: str) -> None:
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zero = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    config = TrainConfig(optimizer=name, weight_decay=0.1, momentum=0.0, learning_rate=1.0)  # type: ignore[arg-type]
    rule = make_optimizer(config, 10)
    updates: Any = rule.update(zero, rule.init(params), params)[0]
    np.testing.assert_allclose(updates["kernel"], -0.1, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)
