"""Promises of checkpoints: the latest and the best are kept, and restored to the bit."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from catsdogs_jax.config import CheckpointConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.training.checkpoint import Checkpoints
from catsdogs_jax.training.muon import muon
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.state import TrainState, create_state

PREPROCESSING = Preprocessing(16, "crop", Task("binary", ("a", "b")))


def state_at(step: int, average: bool = True) -> TrainState:
    params = {"layer": {0: jnp.arange(6.0).reshape(2, 3) + step}}
    state = create_state(params, {"mean": jnp.ones(3) * step}, optax.adam(1.0), average=average)
    state = dataclasses.replace(state, step=jnp.int32(step))
    return jax.device_put(state, make_sharding(1).replicated)


def steps_in(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir() if path.name.isdigit()}


def save_all(folder: Path, accuracies: dict[int, float | None], **options: Any) -> None:
    with Checkpoints(folder, CheckpointConfig(**options)) as checkpoints:
        for step, accuracy in accuracies.items():
            metrics = None if accuracy is None else {"accuracy": accuracy, "loss": 1 - accuracy}
            checkpoints.save(state_at(step), step, PREPROCESSING, metrics)


AVERAGES = ("average", "average_statistics")


def test_the_latest_and_the_best_are_kept(tmp_path: Path) -> None:
    save_all(tmp_path, {1: 0.5, 2: 0.9, 3: 0.6, 4: 0.7, 5: None}, keep_latest=2)
    assert steps_in(tmp_path) == {2, 4, 5}
    with Checkpoints(tmp_path, CheckpointConfig(), read_only=True) as checkpoints:
        assert checkpoints.latest_step == 5
        assert checkpoints.best_step == 2


def test_the_best_by_loss_is_the_lowest(tmp_path: Path) -> None:
    save_all(tmp_path, {1: 0.9, 2: 0.2, 3: 0.5}, keep_latest=1, metric="loss")
    assert steps_in(tmp_path) == {1, 3}


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_what_is_restored_is_what_was_saved(
    tmp_path: Path, asynchronous: bool, average: bool
) -> None:
    config = CheckpointConfig(asynchronous=asynchronous)
    saved = state_at(7, average)
    with Checkpoints(tmp_path, config) as checkpoints:
        checkpoints.save(saved, 7, PREPROCESSING, None)
        checkpoints.wait()
        like = make_sharding(1).abstract(saved)
        restored = checkpoints.restore(7, like)
        assert checkpoints.preprocessing(7) == PREPROCESSING
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    jax.tree.map(np.testing.assert_array_equal, restored, saved)


def test_a_checkpoint_is_restored_onto_other_devices(tmp_path: Path) -> None:
    save_all(tmp_path, {1: 0.5})
    sharding = make_sharding(8)
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        restored = checkpoints.restore(1, sharding.abstract(state_at(1)))
    assert restored.params["layer"][0].sharding.is_equivalent_to(sharding.replicated, 2)


def test_the_average_is_what_predicts(tmp_path: Path) -> None:
    state = state_at(1)
    averages = (jax.tree.map(lambda x: x + 100, tree) for tree in (state.params, state.statistics))
    state = dataclasses.replace(state, **dict(zip(AVERAGES, averages, strict=True)))
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(state, 1, PREPROCESSING, None)
        checkpoints.wait()
        like = make_sharding(1).abstract((state.params, state.statistics))
        params, statistics = checkpoints.restore_variables(1, *like, average=True)
    np.testing.assert_array_equal(params["layer"][0], state.params["layer"][0] + 100)
    np.testing.assert_array_equal(statistics["mean"], state.statistics["mean"] + 100)


def test_a_checkpoint_without_averaged_statistics_gives_the_last_ones(tmp_path: Path) -> None:
    state = dataclasses.replace(state_at(1), average_statistics=None)
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(state, 1, PREPROCESSING, None)
        checkpoints.wait()
    with Checkpoints(tmp_path, CheckpointConfig(), read_only=True) as checkpoints:
        like = make_sharding(1).abstract((state.params, state.statistics))
        _, statistics = checkpoints.restore_variables(1, *like, average=True)
        restored = checkpoints.restore(1, make_sharding(1).abstract(state_at(1)))
    np.testing.assert_array_equal(statistics["mean"], state.statistics["mean"])
    assert restored.average_statistics is not None
    np.testing.assert_array_equal(restored.average_statistics["mean"], state.statistics["mean"])
    jax.jit(lambda state: state, donate_argnums=0)(restored)  # As steps do: none lies there twice.


def test_a_state_of_another_rule_is_refused_with_what_to_do(tmp_path: Path) -> None:
    save_all(tmp_path, {1: 0.5})
    other = dataclasses.replace(state_at(1), optimizer=muon().init(state_at(1).params))
    with (
        Checkpoints(tmp_path, CheckpointConfig(), read_only=True) as checkpoints,
        pytest.raises(UserError, match="step 1 in .* does not fit this run .*--workdir"),
    ):
        checkpoints.restore(1, make_sharding(1).abstract(other))


def test_no_checkpoint_says_to_train_first(tmp_path: Path) -> None:
    with (
        Checkpoints(tmp_path, CheckpointConfig()) as checkpoints,
        pytest.raises(UserError, match="train first"),
    ):
        checkpoints.require_best_step()


def test_the_end_of_another_process_is_not_told_as_a_failed_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer")
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        with pytest.raises(UserError, match="cannot be saved"), checkpoints._explained():
            raise lost
        monkeypatch.setattr("catsdogs_jax.hosts.several", lambda: True)
        with pytest.raises(ValueError, match="Gloo AllGather"), checkpoints._explained():
            raise lost
        monkeypatch.undo()
