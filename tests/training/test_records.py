"""Promises of the records: every line once, whatever was cut off."""

import json
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.progress import Progress, Stopwatch
from catsdogs_jax.training.records import Records
from catsdogs_jax.training.rows import read_rows

Tiny = Callable[..., Config]
SPEED = {"images_per_second": 100.0, "data_wait": 0.5}


def metrics(step: int) -> dict[str, dict[str, float]]:
    values = {"epoch": step / 2, "accuracy": 0.5, "loss": 1.0 / step}
    return {"train": values, "validation": values}


def write(folder: Path, config: Config, steps: range, resume_after: int = 0) -> None:
    progress = Progress(make_plan(config, 24), resume_after, 8, in_memory=False, held_out=9)
    with Records(folder, folder / "metrics.jsonl", resume_after, progress, config) as records:
        for step in steps:
            records.write(step, metrics(step), SPEED)


def test_each_split_and_step_is_one_line_without_times(tmp_path: Path, tiny: Tiny) -> None:
    write(tmp_path, tiny(), range(1, 3))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines[:2]] == [
        {"step": 1, "split": "train", "epoch": 0.5, "accuracy": 0.5, "loss": 1.0},
        {"step": 1, "split": "validation", "epoch": 0.5, "accuracy": 0.5, "loss": 1.0},
    ]
    assert len(lines) == 4


def test_a_resumed_run_leaves_the_same_file(tmp_path: Path, tiny: Tiny) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for folder in (whole, resumed):
        folder.mkdir()
    write(whole, tiny(), range(1, 6))
    write(resumed, tiny(), range(1, 5))
    with (resumed / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 5, "spl')  # Killed in the middle of a line.
    write(resumed, tiny(), range(3, 6), resume_after=2)
    assert (whole / "metrics.jsonl").read_bytes() == (resumed / "metrics.jsonl").read_bytes()


def test_tensorboard_gets_every_scalar_and_the_speed(tmp_path: Path, tiny: Tiny) -> None:
    write(tmp_path, tiny(), range(1, 3))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert tags >= {"train/loss", "validation/accuracy", "images_per_second", "data_wait"}
    assert [event.step for event in events.Tensors("train/loss")] == [1, 2]


@pytest.mark.parametrize("at", ["__init__", "write_scalars", "close"])
def test_events_that_cannot_be_written_are_a_warning_and_the_lines_are_whole(
    tmp_path: Path,
    tiny: Tiny,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    full = tf().errors.ResourceExhaustedError(None, None, "No space left on device")
    from clu import metric_writers

    monkeypatch.setattr(metric_writers.SummaryWriter, at, Mock(side_effect=full))
    write(tmp_path, tiny(), range(1, 3))
    said = capfd.readouterr().err
    assert said.count("warning: TensorBoard fails (No space left on device)") == 1
    assert "Traceback" not in said
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 4


def test_lines_are_plain_where_there_is_no_terminal(
    tmp_path: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, tiny(), range(3, 4))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    legend, first, remedy = out.splitlines()
    assert "validation, n = 9 [95 % interval]" in legend
    for words in ("step 3", "train accuracy  50.0 %", "validation accuracy", "100 images/s"):
        assert words in first
    assert "wait 50.0%" in first
    assert "--config.data.cache_mb" in remedy


def test_a_missing_file_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "none.jsonl") == []


def test_the_stopwatch_tells_speed_and_share_of_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 14.0, 24.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    watch = Stopwatch(batch=20)
    watch.restart(waited=1.0)
    for _ in range(2):
        watch.tick()
    assert watch.read(waited=3.0) == {"images_per_second": 10.0, "data_wait": 0.5}
    assert watch.images_per_second == 10.0
