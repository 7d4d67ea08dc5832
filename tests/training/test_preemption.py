"""Promises of signals."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from catsdogs_jax.signals import NUMBERS
from catsdogs_jax.training.preemption import SignalStop


@pytest.fixture(autouse=True)
def _usual_signals() -> Iterator[None]:
    usual = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in usual.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_signal_is_noted_and_the_second_ends_at_once(number: signal.Signals) -> None:
    with SignalStop() as stop:
        assert stop.requested(1) is None
        os.kill(os.getpid(), number)
        assert stop.requested(1) == number
        assert all(signal.getsignal(n) == signal.SIG_DFL for n in NUMBERS)
    assert all(signal.getsignal(n) == signal.SIG_DFL for n in NUMBERS)


def test_without_a_signal_the_handlers_are_put_back() -> None:
    usual = [signal.getsignal(number) for number in NUMBERS]
    with SignalStop():
        assert [signal.getsignal(number) for number in NUMBERS] != usual
    assert [signal.getsignal(number) for number in NUMBERS] == usual


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_outside_of_training_ends_with_its_exit_code(number: int, signals: int) -> None:
    """Start, scan and compilation: the second signal ends even what does not come back."""
    code = f"""
import os, time
from catsdogs_jax import cli
def main(argv):
    os.kill(os.getpid(), {number})
    time.sleep(60)
def stubborn(argv):
    try:
        main(argv)
    finally:
        main(argv)
cli.run({"main" if signals == 1 else "stubborn"})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    if signals == 2:
        assert done.returncode == -number  # A shell sees 128 + number.
    else:
        assert done.returncode == 128 + number
        assert done.stderr.count("\n") == 1
        assert f"stopped by signal {number:d}" in done.stderr


def test_a_thread_that_gets_no_signals_can_still_train() -> None:
    def enter() -> None:
        with SignalStop() as stop:
            found.append(stop.requested(1))

    found: list[int | None] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [None]
