"""Promises of the regression guard."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare, harness
from benchmarks.compare import entry, story
from benchmarks.harness import Row

Keep = Callable[[dict[str, Any], str], list[str]]


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


@pytest.fixture
def keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keep:
    """Returns a function that gives a table to compare and returns the commits of the history."""

    def keep(table: dict[str, Any], at: str) -> list[str]:
        (tmp_path / "t.json").write_text(json.dumps(table))
        command = ["compare", str(tmp_path / "t.json"), "--history", str(tmp_path / "h.jsonl")]
        monkeypatch.setattr(sys, "argv", command)
        monkeypatch.setattr(compare, "commit", lambda: at)
        compare.main()
        history = tmp_path / "h.jsonl"
        lines = history.read_text().splitlines() if history.exists() else []
        return [json.loads(line)["commit"] for line in lines]

    return keep


def test_tables_are_added_to_the_history(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    assert keep(table(1.25), "a") == ["a"]
    assert keep(table(1.5), "b") == ["a", "b"]
    assert "a 1.25, b 1.5" in capsys.readouterr().out
    assert keep({**table(1.5), "commit": "measured"}, "b") == ["a", "b", "measured"]


@pytest.mark.parametrize("at", ["b+", ""])
def test_what_no_commit_holds_is_shown_but_not_kept(
    keep: Keep, capsys: pytest.CaptureFixture[str], at: str
) -> None:
    keep(table(2.0), "a")
    assert keep(table(1.0), at) == ["a"]
    said = capsys.readouterr()
    assert "fell from 2 to 1" in said.out
    (line,) = said.err.splitlines()
    assert "t.json is not kept" in line
    assert "commit first" in line
    assert keep({**table(1.0), "commit": "c+"}, "c") == ["a"]


def test_a_table_without_ratios_is_not_kept(keep: Keep, capsys: pytest.CaptureFixture[str]) -> None:
    alone = table(1.0)
    alone["rows"] = alone["rows"][:1]
    assert keep(alone, "a") == []
    assert "no ratios" in capsys.readouterr().err


def test_the_spread_of_a_ratio_is_shown_beside_it_and_older_lines_have_none() -> None:
    spread = table(1.5)
    spread["rows"][1] |= {"ratio_low": 1.25, "ratio_high": 1.75}
    old = {name: value for name, value in entry(table(2.0), "a").items() if name != "spreads"}
    assert story([old, entry(spread, "b")])[0] == "step / p (c): a 2, b 1.5 (1.25 to 1.75)"


def test_the_kept_history_can_be_told() -> None:
    lines = compare.HISTORY.read_text().splitlines()
    assert story([json.loads(line) for line in lines])


def test_a_commit_is_marked_where_files_differ_from_it_but_not_for_its_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "benchmarks"
    monkeypatch.setattr(harness, "__file__", str(here / "harness.py"))
    assert harness.commit() == ""
    here.mkdir()
    assert harness.commit() == ""
    for name in ("benchmarks/history.jsonl", "code.py"):
        (tmp_path / name).write_text("")
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    clean = harness.commit()
    assert clean
    assert "+" not in clean
    (here / "history.jsonl").write_text("more")
    assert harness.commit() == clean
    (tmp_path / "code.py").write_text("more")
    assert harness.commit() == f"{clean}+"


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
    spread = {"ratio_low": 2.0, "ratio_high": 5.0}
    assert rows[1] == Row("case", "pytorch", 5.0, "images/s", 4.0, 4.0, 6.0, 3, **spread)
    values.update({"catsdogs_jax": [10.0] * 3, "pytorch": [20.0] * 3})
    rows, _ = harness.compare("case", "task", ["pytorch"], {}, flags, unit="MiB")
    assert (rows[1].ratio, rows[1].ratio_low, rows[1].ratio_high) == (2.0, 2.0, 2.0)
