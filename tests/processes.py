"""Runs that are stopped, real processes that train together, and what runs are compared by."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_to_dict

REPOSITORY = Path(__file__).parents[1]


class StopAfter:
    """Asks to stop after a step, or the call of several steps that holds it."""

    def __init__(self, step: int):
        self.step = step

    def requested(self, step: int) -> int | None:
        return signal.SIGTERM if step >= self.step else None


def launched(
    tmp_path: Path,
    config: Config,
    processes: int,
    before: Sequence[str] = (),
    more: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Starts a run below `tmp_path` in processes of one device each.

    Args:
        tmp_path: Where its config and its run folder `run` go.
        config: The run.
        processes: How many.
        before: Words of a command that each of them is started by.
        more: Flags of `train`.
    """
    tree = json.dumps(config_to_dict(config)).replace("null", "None").replace("true", "True")
    text = (
        f"import ml_collections\n\ndef get_config():\n    return ml_collections.ConfigDict({tree})"
    )
    (tmp_path / "config.py").write_text(text.replace("false", "False"))
    train = [sys.executable, "-m", "catsdogs_jax.train", "--config", str(tmp_path / "config.py")]
    start = [sys.executable, "launch/local.py", "-n", str(processes), "--", *before]
    environment = {**os.environ, "XLA_FLAGS": ""}  # One device in each process.
    return subprocess.Popen(
        [*start, *train, "--workdir", str(tmp_path / "run"), *more],
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def ended(run: subprocess.Popen[bytes]) -> str:
    """Waits until all processes have come to the end of their run; returns what they said."""
    said, _ = run.communicate()
    assert run.returncode == 0, said.decode()
    return said.decode()


def stopped(run: subprocess.Popen[bytes]) -> str:
    """Asks all processes to stop, and returns what they said."""
    assert run.stdout is not None
    run.send_signal(signal.SIGTERM)
    said = run.stdout.read().decode()
    assert run.wait() == 128 + signal.SIGTERM, said
    return said


def rows_of(run: Path, until: float = float("inf")) -> list[dict[str, Any]]:
    """Returns the lines of `metrics.jsonl` up to a step."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [row for row in map(json.loads, lines) if row["step"] <= until]


def until_rows(run: subprocess.Popen[bytes], folder: Path, count: int) -> None:
    """Waits until a run has written so many lines, or has ended."""
    while run.poll() is None and len(rows_of(folder)) < count:
        time.sleep(0.05)


def assert_same_rows(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Losses within 1e-5, and the same pictures at the same places under the same keys."""
    for one, other in zip(found, expected, strict=True):
        for word in ("split", "digest"):
            assert one.pop(word, None) == other.pop(word, None)
        assert one == pytest.approx(other, rel=1e-5)
