"""The one door to TensorFlow, which must not touch the accelerators.

TensorFlow Datasets and CLU's writers need it; its import takes longer than all the rest of a start,
so that nothing on the way to the first step may ask for it.
"""

import contextlib
import ctypes
import functools
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

_GREETING = re.compile(r"WARNING: All log messages before|[IWE]\d{4} |To enable the following")
_NOTHING = re.compile(r"(?!)")
_NATIVE = "python/lib_pywrap_tensorflow_common.*"
"""Which of TensorFlow's libraries brings all others with it."""


@functools.cache
def _prepared() -> ModuleType:
    # TensorFlow computes nothing here: oneDNN would bring nothing but warnings.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with _quiet_stderr():
        load_native()
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


def load_native() -> None:
    """Loads the gigabyte of TensorFlow's C++ before the import would, where it is known.

    The import holds the interpreter's lock while it loads a library: the thread that reads pictures
    stood still for more than half a second, and so did the devices. A call of a C function does
    not hold it.
    """
    found = importlib.util.find_spec("tensorflow")
    if found is None or found.origin is None:
        return
    for library in Path(found.origin).parent.glob(_NATIVE):
        load = ctypes.CDLL(None).dlopen
        load.argtypes, load.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
        load(os.fsencode(library), os.RTLD_NOW)  # If it fails, the import says why.


def call_module(*operands: Any, **attributes: Any) -> Any:
    """Calls TensorFlow's operation that runs a StableHLO module, which `tf.raw_ops` lacks."""
    tf()
    from tensorflow.compiler.tf2xla.python import xla

    return xla.call_module(*operands, **attributes)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Holds back the greetings that C++ writes to stderr; shows them if the block fails.

    TensorFlow greets every process with a screenful about oneDNN and missing CUDA drivers, before
    its own log level is read. What others have to say meanwhile is shown at the end.
    """
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        greeting = _GREETING
        try:
            yield
        except BaseException:
            greeting = _NOTHING
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            lines = held.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not greeting.match(line)))
