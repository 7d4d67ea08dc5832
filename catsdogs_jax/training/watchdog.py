"""Tells where a run hangs: the stack of every thread, when no step has ended for long."""

import faulthandler
import time
from typing import Self

_STDERR = 2
"""As a file descriptor: what notebooks put in the place of `sys.stderr` has none."""


class Watchdog:
    """Writes the stack of every thread to stderr, again and again, while a run stands still.

    It does not end the run, which may only be slow. The timer is in C, so a thread that never
    lets Python go is shown as well. Source: `faulthandler.dump_traceback_later`.

    Args:
        seconds: After how long; none: never.
    """

    def __init__(self, seconds: float | None):
        self._seconds = seconds
        self._set_at = float("inf")

    def __enter__(self) -> Self:
        self._set_at = float("-inf")
        self.pat()
        return self

    def __exit__(self, *_: object) -> None:
        if self._seconds is not None:
            faulthandler.cancel_dump_traceback_later()
            self._set_at = float("inf")

    def pat(self) -> None:
        """Says that the run moves, after a step or a batch; does nothing unless it is entered."""
        now = time.monotonic()
        # Setting the timer starts a thread, so not after each of many short steps.
        if self._seconds is not None and now - self._set_at > self._seconds / 100:
            self._set_at = now
            faulthandler.dump_traceback_later(self._seconds, repeat=True, file=_STDERR)
