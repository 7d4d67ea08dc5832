"""Promises of a whole run that nothing goes wrong silently."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.errors import UserError
from catsdogs_jax.evaluate import evaluate_folder
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.checkpoint import Checkpoints
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.state import TrainState
from catsdogs_jax.training.trainer import Trainer, build_trainer

Tiny = Callable[..., Config]


def trainer_of(config: Config) -> Trainer:
    dataset = load_dataset(config)
    plan = make_plan(config, len(dataset.splits["train"]))
    return build_trainer(config, dataset.preprocessing, make_sharding(1), plan, ())


def state_of_step(config: Config, trainer: Trainer, step: int) -> TrainState:
    """Takes the steps one by one, as a run does."""
    state, pictures = trainer.initialize(), load_dataset(config).splits["train"]
    for batch in pictures.training_batches(0, step, config.data.batch_size, config.seed):
        state, _ = trainer.train(state, jax.device_put(batch, trainer.sharding.batch))
    return state


def test_a_loss_that_is_not_finite_stops_with_step_rate_files_and_the_state_before(
    tiny: Tiny, tmp_path: Path
) -> None:
    overflow = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1e25, "ema_decay": 0.9}
    config = tiny(train=overflow, model={"convolutions": "native"}, eval={"every_steps": 6})
    workdir = tmp_path / "run"
    with pytest.raises(UserError, match=r"training loss is .* learning rate 1e\+25") as raised:
        train_and_evaluate(config, workdir)
    told = json.loads(RunFolder(workdir).failure.read_text())
    step, files = told["step"], told["files"]
    assert f"at step {step} (" in str(raised.value)
    assert f"saved as step {step - 1}" in str(raised.value)
    assert "try --config.train.learning_rate=1e+24 or" in str(raised.value)
    assert ", ".join(map(repr, files[:5])) in str(raised.value)
    dataset, trainer = load_dataset(config), trainer_of(config)
    batches = dataset.splits["train"].training_batches(step - 1, step, 8, config.seed)
    indices = next(iter(batches))["index"]
    assert files == [dataset.splits["train"].pictures[index].file for index in indices]
    with Checkpoints(RunFolder(workdir).checkpoints, config.checkpoint) as checkpoints:
        assert checkpoints.latest_step == step - 1
        saved = checkpoints.restore(step - 1, trainer.abstract_state())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(saved.params))
    jax.tree.map(np.testing.assert_array_equal, saved, state_of_step(config, trainer, step - 1))
    assert RunFolder(workdir).metrics.read_text() == ""


@pytest.mark.heavy
def test_after_a_failure_no_step_changes_anything(tiny: Tiny) -> None:
    config = tiny(train={"ema_decay": 0.9}, model={"convolutions": "native"})
    trainer, pictures = trainer_of(config), load_dataset(config).splits["train"]
    state = state_of_step(config, trainer, 1)
    broken = jax.tree.map(lambda leaf: leaf * np.float32("nan"), state.params)
    expected = jax.device_get((broken, state.optimizer, state.sums, state.step))
    state = TrainState(
        state.step,
        broken,
        state.statistics,
        state.optimizer,
        state.average,
        state.average_statistics,
        state.sums,
        state.failed,
    )
    for batch in pictures.training_batches(1, 3, config.data.batch_size, config.seed):
        state, metrics = trainer.train(state, jax.device_put(batch, trainer.sharding.batch))
        assert bool(metrics["failed"])
    assert bool(state.failed)
    found = jax.device_get((state.params, state.optimizer, state.sums, state.step))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.heavy
def test_leaks_stand_in_the_result_of_training_and_of_evaluation(
    tiny: Tiny, tmp_path: Path, colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(colours / "train/red/3.png", colours / "validation/red/copy.png")
    result = train_and_evaluate(tiny(train={"steps": 3}), tmp_path / "run")
    assert (
        "leak: 'train/red/3.png' (train) and 'validation/red/copy.png'" in capsys.readouterr().out
    )
    assert "that training has seen" in result.farewell()
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(colours / "validation", tmp_path / "elsewhere/pictures")
    other = evaluate_folder(tmp_path / "run", tmp_path / "elsewhere/pictures", tmp_path / "out")
    for values, split, prefix in (
        (result.values, "validation", "validation/"),
        (other.values, "test", ""),
    ):
        assert values["leaks"] == 1
        pair = {"kind": "exact copy", "first": "train/red/3.png", "second": f"{prefix}red/copy.png"}
        assert values["leak_pairs"] == [pair]
        assert values["splits"][split]["n"] == 10
        assert values["splits"][split]["without_leaks"]["n"] == 9
