"""Promises of checkpoints whatever happens to the disk: never used broken, never lost whole."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from catsdogs_jax.classifier import load
from catsdogs_jax.config import CheckpointConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.training import checkpoint
from catsdogs_jax.training.checkpoint import Checkpoints
from catsdogs_jax.training.integrity import MANIFEST, METADATA, why_broken
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.state import TrainState, create_state

PREPROCESSING = Preprocessing(16, "crop", Task("binary", ("a", "b")))
CONFIG = CheckpointConfig(keep_latest=3)


def state_at(step: int) -> TrainState:
    values = np.random.default_rng(step).normal(size=(64, 64)).astype(np.float32)
    state = create_state({"kernel": values}, {"mean": values[0]}, optax.adam(1.0), average=True)
    return jax.device_put(state, make_sharding(1).replicated)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of steps 1 (best), 2 and 3."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    with Checkpoints(folder, CONFIG) as checkpoints:
        for step, accuracy in {1: 0.9, 2: 0.8, 3: 0.7}.items():
            metrics = {"accuracy": accuracy, "loss": 1 - accuracy}
            checkpoints.save(state_at(step), step, PREPROCESSING, metrics)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def largest(step: Path) -> Path:
    return max((p for p in step.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(path: Path, place: float = 0.5) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 4
    path.write_bytes(data)


def keep_only_the_marker(step: Path) -> None:
    for path in step.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "commit_success.txt":
            path.unlink()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda step: os.truncate(largest(step), 1000), "has 1,000 bytes, not"),
    "bit-flipped": (lambda step: flip(largest(step)), "has other content than was written"),
    "half deleted": (lambda step: shutil.rmtree(step / "progress"), "is missing"),
    "emptied": (lambda step: [os.truncate(p, 0) for p in step.rglob("d/*")], "has 0 bytes"),
    "marker without data": (keep_only_the_marker, f"{METADATA} is missing"),
    "without manifest": (lambda step: (step / MANIFEST).unlink(), f"{MANIFEST} is missing"),
    "manifest flipped": (lambda step: flip(step / MANIFEST, 0), "not readable"),
    "metadata emptied": (lambda step: os.truncate(step / METADATA, 0), "not readable"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_broken_checkpoint_is_passed_over_and_named(
    folder: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harm, reason = DAMAGES[damage]
    harm(folder / "3")
    with Checkpoints(folder, CONFIG) as checkpoints:
        assert checkpoints.latest_step == 2
        restored = checkpoints.restore(2, make_sharding(1).abstract(state_at(2)))
        checkpoints.save(state_at(3), 3, PREPROCESSING, None)
    jax.tree.map(np.testing.assert_array_equal, restored, state_at(2))
    said = capsys.readouterr().err
    assert "checkpoint of step 3 is broken" in said
    assert reason in said
    assert (folder.parent / "broken_checkpoints/3").is_dir()  # Nothing is deleted.
    assert not why_broken(folder / "3")


def test_the_run_walks_back_to_the_newest_that_is_whole(folder: Path) -> None:
    for step in ("2", "3"):
        flip(largest(folder / step))
    with Checkpoints(folder, CONFIG) as checkpoints:
        assert checkpoints.latest_step == 1


def test_a_flipped_bit_in_any_file_is_noticed_or_harmless(folder: Path) -> None:
    expected = state_at(3)
    for path in [p for p in sorted((folder / "3").rglob("*")) if p.is_file()]:
        whole = path.read_bytes()
        flip(path, 0.9)
        if not why_broken(folder / "3"):  # One of the two files that Orbax writes last.
            with Checkpoints(folder, CONFIG) as checkpoints:
                like = make_sharding(1).abstract(expected)
                jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(3, like), expected)
                assert checkpoints.best_step == 1
        path.write_bytes(whole)


def test_a_broken_best_gives_way_to_the_next_best_and_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(largest(folder / "1"))
    with Checkpoints(folder, CONFIG, read_only=True) as checkpoints:
        assert checkpoints.require_best_step() == 2
    assert "checkpoint of step 1 is broken" in capsys.readouterr().err
    assert (folder / "1").is_dir()  # A reader moves nothing.
    for step in ("2", "3"):
        flip(largest(folder / step))
    with (
        Checkpoints(folder, CONFIG, read_only=True) as checkpoints,
        pytest.raises(UserError, match="every checkpoint in .* is broken: step 1"),
    ):
        checkpoints.require_best_step()


def test_a_failed_background_save_stops_the_run_and_keeps_the_earlier_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "write_manifest", fail)

    def save_and_go_on() -> None:
        with Checkpoints(folder, CheckpointConfig(keep_latest=1)) as checkpoints:
            checkpoints.save(state_at(4), 4, PREPROCESSING, None)
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:  # The steps of a run.
                checkpoints.check()

    with pytest.raises(UserError, match=r"step 4 cannot be saved.*No space left.*from step 3"):
        save_and_go_on()
    assert {p.name for p in folder.iterdir() if p.name.isdigit()} == {"1", "2", "3"}
    assert not any(why_broken(folder / step) for step in "123")


def test_a_folder_that_was_removed_is_noticed_at_the_next_save(folder: Path) -> None:
    with Checkpoints(folder, CONFIG) as checkpoints:
        shutil.rmtree(folder)
        with pytest.raises(UserError, match="was removed while the run went on"):
            checkpoints.save(state_at(4), 4, PREPROCESSING, None)
        assert not folder.exists()


def test_what_reads_back_differently_is_not_called_done(folder: Path) -> None:
    with Checkpoints(folder, CONFIG) as checkpoints:
        checkpoints.prove(3, state_at(3))
        with pytest.raises(UserError, match="does not hold the state of the run"):
            checkpoints.prove(3, state_at(2))
        flip(largest(folder / "3"))
        with pytest.raises(UserError, match="reads back differently .*other content"):
            checkpoints.prove(3, state_at(3))


@pytest.mark.parametrize("form", ["without_manifest", "with_manifest"])
def test_a_run_of_each_earlier_format_predicts_what_it_did(form: str) -> None:
    golden = Path(__file__).parents[1] / "golden"
    expected = json.loads((golden / form / "prediction.json").read_text())
    (found,) = load(golden / form, devices=1).predict([golden / "red.png"])
    assert found.predicted == expected["predicted"] == "red"
    assert found.probabilities == pytest.approx(expected["probabilities"], rel=1e-4)
