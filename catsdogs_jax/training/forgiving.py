"""CLU metric writers that may fail: what they show is kept elsewhere too.

Importing CLU imports TensorFlow, so this module is imported only once TensorFlow is prepared.
"""

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clu import metric_writers

from catsdogs_jax.data.tensorflow import tf


class Forgiving(metric_writers.LoggingWriter):
    """A writer whose first error is told in one line, and ends the writing, not the run.

    CLU would show the traceback of its thread, and raise the error somewhere later.

    Args:
        name: Of whatever it writes to.
        begin: Makes the writer.
        consequence: What follows from an error, in words.
        errors: Those that are forgiven.
    """

    def __init__(
        self,
        name: str,
        begin: Callable[[], Any],
        consequence: str,
        errors: tuple[type[Exception], ...],
    ):
        super().__init__()
        self._name, self._consequence, self._errors = name, consequence, errors
        self._writer: Any = None
        self._writer = self._try(begin)

    def _try(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except self._errors as error:
            self._writer = None
            said = str(error).strip().splitlines()
            reason = said[0] if said else type(error).__name__
            print(f"warning: {self._name} fails ({reason}): {self._consequence}", file=sys.stderr)

    def _forward(self, method: str, *arguments: Any) -> None:
        if self._writer is not None:
            self._try(lambda: getattr(self._writer, method)(*arguments))

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Forwards."""
        self._forward("write_scalars", step, scalars)

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Forwards."""
        self._forward("write_images", step, images)

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Forwards."""
        self._forward("write_hparams", hparams)

    def flush(self) -> None:
        """Forwards."""
        self._forward("flush")

    def close(self) -> None:
        """Forwards."""
        self._forward("close")


def tensorboard(folder: Path) -> Forgiving:
    """Returns a writer of TensorBoard's events, which a full disk does not make fail a run.

    Args:
        folder: Where they go.
    """
    consequence = "events from here on are missing; metrics.jsonl has the numbers"
    errors = (tf().errors.OpError, OSError)
    begin = functools.partial(metric_writers.SummaryWriter, str(folder))
    return Forgiving("TensorBoard", begin, consequence, errors)
