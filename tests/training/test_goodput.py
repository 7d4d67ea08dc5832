"""Promises of the account of time: no part twice, kills are survived, repeated steps counted."""

import json
from pathlib import Path

import pytest

from catsdogs_jax.training import goodput
from catsdogs_jax.training.goodput import Goodput


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(goodput.time, "perf_counter", lambda: now[0])
    return now


def call(path: Path, clock: list[float], first: int, last: int, waited: float = 0.0) -> Goodput:
    """Starts for 5 s, 2 of them compiling; each step takes 1 s, with 3 s for a save at the end."""
    account = Goodput(path, clock[0])
    clock[0] += 5
    account.begin(first, compiling=2)
    with account.spend("step"):
        clock[0] += last - first
        with account.spend("checkpoint"):
            clock[0] += 3
        account.keep(last, waited)
    return account


def test_parts_do_not_overlap_and_add_up_to_the_whole(clock: list[float], tmp_path: Path) -> None:
    account = call(tmp_path / "kept.json", clock, 0, 10, waited=4)
    clock[0] += 7
    found = account.summary()
    assert found["seconds"] == {
        "start": 3,
        "compile": 2,
        "step": 6,
        "data_wait": 4,
        "evaluation": 0,
        "checkpoint": 3,
        "end": 7,
    }
    assert found["share"] == pytest.approx(6 / 25)
    assert found["calls"] == 1


def test_a_call_goes_on_with_the_account_of_the_one_before(
    clock: list[float], tmp_path: Path
) -> None:
    call(tmp_path / "kept.json", clock, 0, 10)
    found = call(tmp_path / "kept.json", clock, 6, 12).summary()
    assert found["calls"] == 2
    assert found["seconds"]["step"] == 16
    assert found["seconds"]["start"] == 6
    assert found["repeated_steps"] == 4
    assert found["repeated_seconds"] == pytest.approx(4)
    assert found["share"] == pytest.approx(12 / 32)


def test_what_a_killed_call_did_since_its_last_checkpoint_is_counted_as_repeated(
    clock: list[float], tmp_path: Path
) -> None:
    path = tmp_path / "kept.json"
    killed = Goodput(path, clock[0])
    killed.begin(0, compiling=0)
    with killed.spend("step"):
        for step in range(1, 13):
            clock[0] += 1
            killed.note(step, 0.0)
            if step == 4:
                killed.keep(step, 0.0)  # The checkpoint. Notes follow after 5 more and at the end.
    found = call(path, clock, 4, 20).summary()
    assert found["repeated_steps"] == 9 - 4  # Of the steps beyond the last note nothing is known.
    assert found["seconds"]["step"] == 9 + 16


def test_a_time_that_no_call_kept_is_not_in_the_account(clock: list[float], tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    call(path, clock, 0, 10)
    assert json.loads(path.read_text())["seconds"]["step"] == 10
    clock[0] += 1000
    assert Goodput(path, clock[0]).summary()["seconds"]["step"] == 10
