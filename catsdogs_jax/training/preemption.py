"""SIGTERM and Ctrl-C ask a run to save and stop; a second one ends it at once."""

from types import FrameType
from typing import Protocol, Self

from catsdogs_jax.signals import Handlers, act_at_once


class Stop(Protocol):
    """Something that may ask the training loop to stop."""

    def requested(self, step: int) -> int | None:
        """Returns the number of the signal to stop for after this step, or none."""
        ...


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
