"""Promises of the learning rate and the update rule."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import MuonDimensionNumbers, _muon

from catsdogs_jax.config import TrainConfig
from catsdogs_jax.training.muon import muon, orthogonalized
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


def test_linear_goes_straight_to_its_end() -> None:
    found = rates(schedule="linear", warmup=0.1)
    assert found.argmax() == 10
    np.testing.assert_allclose(np.diff(found[10:]), -1 / 90, rtol=1e-3)
    config = TrainConfig(learning_rate=1.0, schedule="linear", warmup=0.1, final_rate=0.25)
    assert float(jnp.asarray(make_schedule(config, 100)(100))) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("schedule", "middle"), [("linear", 0.55), ("cosine", 0.55), ("exponential", 0.1**0.5)]
)
def test_a_final_rate_is_where_the_schedule_ends(schedule: str, middle: float) -> None:
    found = [
        float(jnp.asarray(make_schedule(TrainConfig(**options), 100)(step)))  # type: ignore[arg-type]
        for options in [{"learning_rate": 1.0, "schedule": schedule, "final_rate": 0.1}]
        for step in (0, 50, 100)
    ]
    np.testing.assert_allclose(found, [1.0, middle, 0.1], rtol=1e-5)


def test_wsd_is_stable_between_its_warm_up_and_its_cooldown() -> None:
    config = TrainConfig(learning_rate=1.0, schedule="wsd", warmup=0.1, cooldown=0.3)
    found = [float(jnp.asarray(make_schedule(config, 100)(step))) for step in range(101)]
    assert found[0] == 0
    np.testing.assert_allclose(found[10:71], 1.0)
    assert found[69] == 1.0
    assert found[71] < 1.0
    assert found[85] == pytest.approx(0.5)
    assert found[100] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_clipping_bounds_the_gradient(name: str) -> None:
    params = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    gradient = {"kernel": jnp.full((2, 2), 1e6), "bias": jnp.zeros(2)}
    momentum = {"momentum": 0.0} if name == "sgd" else {}
    updates = first_update(name, params, gradient, clip_norm=1.0, **momentum)
    assert np.linalg.norm(updates["kernel"]) <= 2.0 + 1e-5


@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb", "lion", "muon"])
def test_decay_shrinks_kernels_but_no_biases(name: str) -> None:
    params = {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
    zero = {"dense": {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}}
    momentum = {"momentum": 0.0} if name == "sgd" else {}
    updates = first_update(name, params, zero, weight_decay=0.1, **momentum)["dense"]
    # LAMB's trust ratio makes the step as long as the kernel.
    np.testing.assert_allclose(updates["kernel"], -1.0 if name == "lamb" else -0.1, rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0)


def first_update(name: str, params: Any, gradient: Any, **options: Any) -> Any:
    config = TrainConfig(optimizer=name, learning_rate=1.0, **options)  # type: ignore[arg-type]
    rule = make_optimizer(config, 10)
    return rule.update(gradient, rule.init(params), params)[0]


NETWORK = {
    "conv": {"kernel": jnp.ones((3, 3, 4, 8)), "bias": jnp.ones(8)},
    "depthwise": {"kernel": jnp.ones((3, 3, 1, 8))},
    "attention": {
        "query": {"kernel": jnp.ones((8, 2, 4))},
        "out": {"kernel": jnp.ones((2, 4, 8)), "bias": jnp.ones(8)},
    },
    "norm": {"scale": jnp.ones(8)},
    "position": jnp.ones((1, 16, 8)),
    "head": {"kernel": jnp.ones((8, 3))},
}


@pytest.mark.heavy
def test_muon_orthogonalises_hidden_kernels_and_leaves_the_rest_to_adamw() -> None:
    rng = np.random.default_rng(0)
    gradient = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), NETWORK)
    updates = first_update("muon", NETWORK, gradient)
    matrices = {
        "conv": updates["conv"]["kernel"].reshape(36, 8),
        "query": updates["attention"]["query"]["kernel"].reshape(8, 8),
        "out": updates["attention"]["out"]["kernel"].reshape(8, 8),
    }
    for name, matrix in matrices.items():
        stretches = np.linalg.svd(matrix, compute_uv=False) / np.sqrt(max(matrix.shape)) / 0.2
        assert 0.4 < stretches.min() <= stretches.max() < 1.4, name
    adamw = first_update("adamw", NETWORK, gradient, betas=(0.9, 0.999))
    for path in (("conv", "bias"), ("depthwise", "kernel"), ("norm", "scale"), ("head", "kernel")):
        found, like = (tree[path[0]][path[1]] for tree in (updates, adamw))
        np.testing.assert_array_equal(np.sign(found), np.sign(like))
        assert np.ptp(np.abs(found)) < 1e-4  # The first step of Adam has one length for all.


def test_muons_steps_are_those_of_optax() -> None:
    def matrices(params: Any) -> Any:
        numbers = jax.tree.map(lambda _: None, params)
        numbers["conv"]["kernel"] = MuonDimensionNumbers((0, 1, 2), 3)
        numbers["attention"]["query"]["kernel"] = MuonDimensionNumbers(0, (1, 2))
        numbers["attention"]["out"]["kernel"] = MuonDimensionNumbers((0, 1), 2)
        return numbers

    like = optax.contrib.muon(-1.0, muon_weight_dimension_numbers=matrices, consistent_rms=0.2)
    rule, rng = muon(), np.random.default_rng(1)
    states = rule.init(NETWORK), like.init(NETWORK)
    for _ in range(3):
        gradient = jax.tree.map(
            lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), NETWORK
        )
        ours, first = rule.update(gradient, states[0], NETWORK)
        theirs, second = like.update(gradient, states[1], NETWORK)
        states = first, second
        for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(mine, other, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("shape", [(3456, 384), (64, 64), (16, 200)])
def test_a_badly_conditioned_matrix_is_orthogonalised_as_by_iterating_on_all_of_it(
    shape: tuple[int, int],
) -> None:
    rng, rank = np.random.default_rng(0), min(shape)
    left, right = (np.linalg.qr(rng.normal(size=(side, rank)))[0] for side in shape)
    matrix = jnp.asarray((left * np.logspace(0, -4, rank)) @ right.T, jnp.float32)
    found = orthogonalized(matrix)
    quintic = jnp.array([3.4445, -4.7750, 2.0315])
    expected = _muon.orthogonalize_via_newton_schulz(matrix, quintic)
    assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


def test_lion_steps_by_the_sign_and_lamb_by_the_length_of_the_kernel() -> None:
    params = {"dense": {"kernel": 3.0 * jnp.ones((2, 2))}}
    gradient = {"dense": {"kernel": jnp.array([[1.0, -2.0], [0.5, -4.0]])}}
    sign = np.sign(gradient["dense"]["kernel"])
    found = first_update("lion", params, gradient)["dense"]["kernel"]
    np.testing.assert_allclose(found, -sign)
    found = first_update("lamb", params, gradient)["dense"]["kernel"]
    np.testing.assert_allclose(found, -3.0 * sign, rtol=1e-4)


def test_betas_and_epsilon_are_those_given() -> None:
    params, gradient = {"kernel": jnp.zeros((1, 1))}, {"kernel": jnp.full((1, 1), 2.0)}
    found = first_update("adam", params, gradient, epsilon=2.0)["kernel"]
    np.testing.assert_allclose(found, -0.5, rtol=1e-5)
    config = TrainConfig(optimizer="adam", learning_rate=1.0, betas=(0.5, 0.5))
    rule = make_optimizer(config, 10)
    state = rule.update(gradient, rule.init(params), params)[1]
    second: Any = rule.update({"kernel": jnp.zeros((1, 1))}, state, params)[0]
    mean, square = 0.5 / 0.75, 1.0 / 0.75  # 0.5 * 0.5 * 2 and 0.5 * 0.5 * 4, made unbiased
    np.testing.assert_allclose(second["kernel"], -mean / np.sqrt(square), rtol=1e-5)
