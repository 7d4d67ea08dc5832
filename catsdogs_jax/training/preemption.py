"""Who may end a run early: SIGTERM and Ctrl-C (a second one at once), or an observer."""

import os
import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Protocol, Self

from catsdogs_jax.signals import Handlers, act_at_once


class Stop(Protocol):
    """Something that may ask the training loop to stop."""

    def requested(self, step: int) -> int | None:
        """Returns the number of the signal to stop for after this step, or none."""
        ...


Observer = Callable[[float, Mapping[str, float]], None]
"""Is told, at each evaluation, the share of the run that is done and the validation metrics (epoch,
accuracy, loss). What it raises ends the run without a result; what was saved before stays."""


def unobserved(share: float, metrics: Mapping[str, float]) -> None:
    """Lets a run go its way."""


class AgreedStop:
    """Lets all processes of a run stop after the same step, when any of them gets SIGTERM.

    JAX notes the signal, tells the others, and names a step that none has reached yet. Ctrl-C does
    the same; a second Ctrl-C ends the process.
    """

    _number = 0
    """What JAX was asked last, in any run of this process: what they agree on is above all of it,
    also where the signal came between two runs."""

    def __init__(self) -> None:
        self._agreed, self._last = False, -1

    def __enter__(self) -> Self:
        self._former = signal.signal(signal.SIGINT, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._former)

    def requested(self, step: int) -> int | None:
        """Returns SIGTERM from the step on that was agreed on."""
        from jax.experimental import multihost_utils

        if step != self._last:
            # JAX names the number after the last one: calls of several steps would pass it by.
            self._last = step
            AgreedStop._number += 1
        reached = multihost_utils.reached_preemption_sync_point
        self._agreed = self._agreed or reached(AgreedStop._number)
        return signal.SIGTERM if self._agreed else None

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


class SignalStop:
    """Notes the first SIGTERM or SIGINT while it is entered; the second ends the process."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._handlers = Handlers(self._note)

    def __enter__(self) -> Self:
        self._handlers.install()
        return self

    def __exit__(self, *_: object) -> None:
        self._handlers.restore()

    def requested(self, step: int) -> int | None:
        """Returns the signal that was received, if any; the step does not matter."""
        del step
        return self._received

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._received = number
        act_at_once()
