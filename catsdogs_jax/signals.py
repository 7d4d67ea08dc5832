"""The two signals that end a program: Ctrl-C and what schedulers send before they kill."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Handlers:
    """Sets one handler for both signals, and puts back those that were there.

    Args:
        handle: `(number, frame)`, called in the main thread between two operations of Python.
    """

    def __init__(self, handle: Callable[[int, FrameType | None], None]):
        self._handle = handle
        self._former: dict[int, Any] = {}

    def install(self) -> None:
        """Sets the handler; does nothing in a thread other than the main one, which gets none."""
        if threading.current_thread() is threading.main_thread():
            for number in NUMBERS:
                self._former[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        """Puts back what was there, unless a signal came meanwhile: the next is to end at once."""
        for number, handler in self._former.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)
        self._former.clear()


def act_at_once() -> None:
    """Lets the system end the process at the next signal, even inside a long computation."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_DFL)
