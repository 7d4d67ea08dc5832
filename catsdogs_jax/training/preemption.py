"""SIGTERM and Ctrl-C ask a run to save and stop; a second one ends it at once."""

import signal
import threading
from types import FrameType
from typing import Protocol, Self


class Stop(Protocol):
    """Something that may ask the training loop to stop."""

    def requested(self, step: int) -> int | None:
        """Returns the number of the signal to stop for after this step, or none."""
        ...


class SignalStop:
    """Notes the first SIGTERM or SIGINT while it is entered; the second acts as usual."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._former: dict[int, object] = {}

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread only; elsewhere there is nothing to install.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def requested(self, step: int) -> int | None:
        """Returns the signal that was received, if any; the step does not matter."""
        del step
        return self._received

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._former.clear()
