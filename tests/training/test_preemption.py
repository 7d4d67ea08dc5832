"""Promises of signals."""

import os
import signal
import threading

import pytest

from catsdogs_jax.training.preemption import SignalStop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted_and_the_second_acts_as_usual(number: signal.Signals) -> None:
    usual = signal.getsignal(number)
    with SignalStop() as stop:
        assert stop.requested(1) is None
        os.kill(os.getpid(), number)
        assert stop.requested(1) == number
        assert signal.getsignal(number) == usual
    assert signal.getsignal(number) == usual


def test_a_thread_that_gets_no_signals_can_still_train() -> None:
    def enter() -> None:
        with SignalStop() as stop:
            found.append(stop.requested(1))

    found: list[int | None] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [None]
