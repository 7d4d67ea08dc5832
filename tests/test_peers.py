"""Promises of heartbeats: a process that is gone is named, one that is there never."""

import io
import itertools
import sys
import threading
from typing import NoReturn

import pytest

from catsdogs_jax import peers
from catsdogs_jax.peers import Peers


class Store:
    """Keeps values in memory; does not answer while it is frozen."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.frozen = False

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        assert allow_overwrite
        if self.frozen:
            raise ConnectionError
        self.values[key] = value

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]:
        if self.frozen:
            raise ConnectionError
        return [item for item in self.values.items() if item[0].startswith(key)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(peers.time, "monotonic", lambda: now[0])
    return now


def run_of(count: int) -> tuple[Store, list[Peers]]:
    store = Store()
    return store, [Peers(store, n, count, silence=30) for n in range(count)]


def test_processes_that_beat_are_never_taken_for_gone(clock: list[float]) -> None:
    _, run = run_of(3)
    for _ in range(100):
        clock[0] += 29
        for one in run:
            one.beat()
        assert [one.gone() for one in run] == [None, None, None]


def test_a_silent_process_is_named_with_its_place_after_30_s(clock: list[float]) -> None:
    _, run = run_of(3)
    for one in run:
        one.beat()
    for seconds, process in itertools.product(range(32), (0, 1)):
        clock[0] = seconds
        run[process].beat()
        assert (run[0].gone() is None) == (clock[0] <= 30)
    assert (run[0].gone() or "").startswith("process 2 (on ")
    assert run[1].gone() is None  # It looks at the first alone, which tells it in the end.


def test_a_process_that_never_came_is_named(clock: list[float]) -> None:
    _, run = run_of(2)
    clock[0] = 31
    run[0].beat()
    assert run[0].gone() == "process 1"


def test_what_the_first_process_found_is_told_to_the_others(clock: list[float]) -> None:
    store, run = run_of(3)
    store.key_value_set("catsdogs/first/lost", "process 2 (on there)", allow_overwrite=True)
    run[1].beat()
    assert run[1].gone() == "process 2 (on there)"


def test_a_first_process_that_does_not_answer_is_gone_for_the_others(clock: list[float]) -> None:
    store, run = run_of(2)
    run[0].beat()
    run[1].beat()
    store.frozen = True
    clock[0] = 29
    assert run[1].gone() is None
    clock[0] = 31
    assert (run[1].gone() or "").startswith("process 0 (on ")


class Closed(io.StringIO):
    """Output that nobody reads any more."""

    def write(self, _: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the end of the process be an exception."""

    def leave(code: int) -> NoReturn:
        raise SystemExit(code)

    monkeypatch.setattr(peers.os, "_exit", leave)


@pytest.mark.usefixtures("exits")
@pytest.mark.parametrize("fault", ["fails", "hangs"])
def test_the_first_process_ends_though_the_store_does_not_take_what_it_tells_the_others(
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
) -> None:
    store, run = run_of(2)
    clock[0] = 31
    run[0].beat()
    answer = threading.Event()
    if fault == "hangs":
        monkeypatch.setattr(peers, "_TELL_SECONDS", 0.05)
        monkeypatch.setattr(store, "key_value_set", lambda *_, **__: answer.wait())
    store.frozen = True
    with pytest.raises(SystemExit, match=str(peers.EXIT_CODE)):
        run[0]._look_on()
    answer.set()
    assert capsys.readouterr().err.startswith("error: process 1 has not been heard of for 30 s")


@pytest.mark.usefixtures("exits")
def test_a_process_ends_though_nobody_reads_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, Closed())
    with pytest.raises(SystemExit, match=str(peers.EXIT_CODE)):
        peers.end("process 1", 30)


def test_threads_that_watch_have_ended_when_the_run_has() -> None:
    _, (first, _) = run_of(2)
    with first.watched():
        assert [one.name for one in threading.enumerate()].count("heartbeats") == 2
    assert "heartbeats" not in [one.name for one in threading.enumerate()]
