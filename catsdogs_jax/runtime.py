"""What a process sets before its first computation."""

import ctypes
import logging
import os
import platform
import sys
import warnings

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def start() -> None:
    """Prepares JAX, the allocator and the loggers; called by commands, never by an import."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
    logging.getLogger("jax").setLevel(logging.ERROR)
    # Odd metadata; a picture that cannot be decoded raises, and is quarantined with the reason.
    warnings.filterwarnings("ignore", module="PIL")
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Tells glibc to reuse big buffers instead of giving them back to the kernel.

    Each training step allocates and frees the same large activations; without this, every step
    pays for their page faults again. Does nothing where the C library is not glibc.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
