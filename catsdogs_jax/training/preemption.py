"""Who may end a run early: SIGTERM and Ctrl-C (a second one at once), or an observer."""

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
