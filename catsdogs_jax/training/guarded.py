"""CLU metric writers whose errors are told in one line.

Importing CLU imports TensorFlow, so this module is imported only once TensorFlow is prepared.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clu import metric_writers

from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.errors import UserError


class Guarded(metric_writers.LoggingWriter):
    """A writer that ends with its first error, which CLU's thread would show as a traceback.

    Args:
        begin: Makes the writer.
        failed: Is told the first line of the error.
        errors: Those that are caught.
    """

    def __init__(
        self,
        begin: Callable[[], Any],
        failed: Callable[[str], None],
        errors: tuple[type[Exception], ...],
    ):
        super().__init__()
        self._failed, self._errors = failed, errors
        self._writer: Any = None
        self._writer = self._try(begin)

    def _try(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except self._errors as error:
            self._writer = None
            said = str(error).strip().splitlines()
            self._failed(said[0] if said else type(error).__name__)

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


class Events(Guarded):
    """TensorBoard's events; where they cannot be written, as on a full disk, the run is to stop.

    Args:
        folder: Where they go.
    """

    def __init__(self, folder: Path):
        self._folder, self._reason = folder, ""
        errors = (tf().errors.OpError, OSError)
        super().__init__(lambda: metric_writers.SummaryWriter(str(folder)), self._keep, errors)

    def _keep(self, reason: str) -> None:
        self._reason = reason

    def check(self) -> None:
        """Says if something was not written.

        Raises:
            UserError: With the reason.
        """
        if self._reason:
            raise UserError(
                f"TensorBoard's events cannot be written in {str(self._folder)!r} "
                f"({self._reason}): make room, and give the same command again"
            )
