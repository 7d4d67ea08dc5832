"""Promises of the regression guard."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare, harness
from benchmarks.compare import entry, story
from benchmarks.harness import Row


def table(ratio: float) -> dict[str, Any]:
    ours = {"case": "step", "system": "catsdogs_jax", "ratio": None}
    return {"cpu": "c", "versions": {}, "rows": [ours, {**ours, "system": "p", "ratio": ratio}]}


def test_the_commit_that_made_a_ratio_fall_is_named() -> None:
    history = [entry(table(ratio), at) for ratio, at in ((2.0, "a"), (1.9, "b"), (1.5, "c"))]
    lines = story(history)
    assert lines == ["step / p (c): a 2, b 1.9, c 1.5", "  fell from 1.9 to 1.5 with c"]


def test_ratios_of_another_cpu_are_another_story() -> None:
    slow = {**entry(table(1.0), "b"), "cpu": "d"}
    assert all("fell" not in line for line in story([entry(table(2.0), "a"), slow]))


def test_tables_are_added_to_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.json").write_text(json.dumps(table(1.25)))
    command = ["compare", str(tmp_path / "t.json"), "--history", str(tmp_path / "h.jsonl")]
    monkeypatch.setattr(sys, "argv", command)
    compare.main()
    compare.main()
    assert len((tmp_path / "h.jsonl").read_text().splitlines()) == 2
    assert "1.25" in capsys.readouterr().out


def test_ratios_are_above_one_where_ours_is_the_better(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"catsdogs_jax": [10.0, 30.0, 20.0], "pytorch": [5.0, 6.0, 4.0]}

    class Fake:
        about = {"unit": "images/s", "versions": {"a": "1"}}

        def __init__(self, task: str, system: str, options: object):
            self.system = system

        def round(self) -> dict[str, float]:
            return {"value": values[self.system].pop(0)}

        def close(self) -> None:
            pass

    monkeypatch.setattr(harness, "Worker", Fake)
    flags = argparse.Namespace(only=None, quick=False, rounds=3)
    rows, versions = harness.compare("case", "task", ["pytorch"], {}, flags)
    assert versions == {"a": "1"}
    assert rows[0] == Row("case", "catsdogs_jax", 20.0, "images/s", None, 10.0, 30.0, 3)
    assert rows[1] == Row("case", "pytorch", 5.0, "images/s", 4.0, 4.0, 6.0, 3)
    values.update({"catsdogs_jax": [10.0] * 3, "pytorch": [20.0] * 3})
    rows, _ = harness.compare("case", "task", ["pytorch"], {}, flags, unit="MiB")
    assert rows[1].ratio == 2.0
