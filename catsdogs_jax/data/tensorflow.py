"""The one door to TensorFlow, which reads pictures and must not touch the accelerators."""

import contextlib
import functools
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType
from typing import Any


@functools.cache
def _prepared() -> ModuleType:
    # Pictures are only decoded and resized here: oneDNN would bring nothing but warnings.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with _quiet_stderr():
        import tensorflow

        # Hidden before anything else runs: TensorFlow otherwise takes the whole memory of a GPU,
        # and locks a TPU away from JAX.
        for kind in ("GPU", "TPU"):
            tensorflow.config.set_visible_devices([], kind)
        tensorflow.constant(0)  # Starts the runtime, which has more to say.
    return tensorflow


def tf() -> Any:
    """Returns the `tensorflow` module with its GPUs and TPUs hidden."""
    return _prepared()


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Holds back what C++ writes to stderr; shows it all if the block fails.

    TensorFlow greets every process with a screenful about oneDNN and missing CUDA drivers, before
    its own log level is read.
    """
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(real, held.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)
