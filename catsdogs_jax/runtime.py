"""What a process sets before its first computation."""

import contextlib
import ctypes
import hashlib
import io
import logging
import os
import platform
import shutil
import sys
import warnings
from pathlib import Path

from catsdogs_jax.errors import UserError, extra

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1
_DETERMINISTIC = "xla_gpu_deterministic_ops"
_COMPILED_BYTES = 2**30
_WORTH_KEEPING_SECONDS = 0.1


def start(require: str | None = None, *, deterministic: bool = True) -> None:
    """Prepares JAX, the allocator and the loggers; called by commands, never by an import.

    Args:
        require: Platform that must be there, "tpu" or "gpu"; none: any.
        deterministic: Whether GPUs may take only operations that repeat to the bit.

    Raises:
        UserError: JAX has not the platform that is required.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for stream in (sys.stdout, sys.stderr):
        # Names of files need not be text in any encoding; to print one is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    from absl import logging as absl_logging

    # Orbax logs tracebacks of errors that it raises as well; ours are one line.
    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("jax").setLevel(logging.ERROR)
    # Odd metadata; a picture that cannot be decoded raises, and is quarantined with the reason.
    warnings.filterwarnings("ignore", module="PIL")
    if deterministic:
        repeat_on_gpus()
    keep_freed_memory()
    keep_compilations()
    allow_open_files()
    if require is not None:
        require_platform(require)


def repeat_on_gpus() -> None:
    """Asks XLA for operations on GPUs that give the same bits each time, unless told otherwise.

    CPUs and TPUs do that anyway, and ignore it. Must come before JAX's first computation.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _DETERMINISTIC not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --{_DETERMINISTIC}=true".strip()


def require_platform(wanted: str) -> None:
    """Refuses to go on where JAX has fallen back to another platform, as it does silently.

    Raises:
        UserError: JAX's devices are of another platform.
    """
    import jax

    try:
        found = jax.default_backend()
    except RuntimeError as error:  # JAX_PLATFORMS names one that is not there.
        found = f"none ({str(error).splitlines()[0]})"
    if found != wanted:
        name = {"gpu": "cuda", "tpu": "tpu"}[wanted]
        raise UserError(
            f"--require={wanted}, but JAX has found {found}: on a machine with a "
            f"{wanted.upper()} install its extra ({extra(name)}), unset JAX_PLATFORMS, or leave "
            "out --require"
        )


def unused_accelerator(used: str) -> str | None:
    """Returns what to do about an accelerator that JAX leaves idle; none if there is none.

    Args:
        used: The platform that JAX computes on.
    """
    if used != "cpu" or os.environ.get("JAX_PLATFORMS"):  # Or CPUs were asked for.
        return None
    if shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists():
        return f"there is an NVIDIA GPU, but JAX does not use it: {extra('cuda')}"
    if Path("/dev/accel0").exists():
        return f"there is a TPU, but JAX does not use it: {extra('tpu')}"
    return None


def keep_compilations() -> None:
    """Keeps what JAX and the kernels compile in the cache folder, JAX's least used forgotten first.

    Each kind of CPU has a folder of its own, as its code may not run on another. Does nothing if
    a folder is configured already (`JAX_COMPILATION_CACHE_DIR`) or none can be made.
    """
    import jax

    from catsdogs_jax.data.places import cache_folder
    from catsdogs_jax.kernels.compiler import keep_machine_code
    from catsdogs_jax.kernels.emitter import host

    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    machine = hashlib.sha256(repr(host()).encode()).hexdigest()[:16]
    folder = cache_folder() / "compiled" / machine
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    keep_machine_code(folder / "kernels")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", _COMPILED_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING_SECONDS)


def allow_open_files() -> None:
    """Raises the number of files that this process may have open to the most that it may ask for.

    The usual 1,024 are fewer than the shards of a large data set, each of which stays open.
    """
    try:
        import resource
    except ImportError:  # Not Unix.
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS names no limit, and then has one.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


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
