"""Prints what a run would find here, and what is wrong: python -m catsdogs_jax.doctor."""

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from catsdogs_jax import __version__, cli, runtime
from catsdogs_jax.cores import cores

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow")
_LEAST_MEMORY, _LEAST_DISK = 4 * 2**30, 5 * 2**30


def examine() -> tuple[list[tuple[str, str]], list[str]]:
    """Returns pairs of name and value, and a line for each thing that is wrong, with its mend."""
    facts = [
        ("catsdogs_jax", __version__),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        *((name, _version(name)) for name in _PACKAGES),
        ("bytecode", _bytecode()),
    ]
    wrong: list[str] = []
    for part in (_devices, _memory, _cache):
        found, words = part()
        facts += found
        wrong += words
    return facts, wrong


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _bytecode() -> str:
    """Returns whether Python compiles all packages at each start again, which takes seconds."""
    import jax

    assert jax.__file__ is not None
    if Path(importlib.util.cache_from_source(jax.__file__)).exists() or not sys.dont_write_bytecode:
        return "kept"
    return (
        "made anew at each start, as PYTHONDONTWRITEBYTECODE is set: unset it, or run once "
        f"{Path(sys.executable).name} -m compileall -q {Path(jax.__file__).parents[1]}"
    )


def _devices() -> tuple[list[tuple[str, str]], list[str]]:
    import jax

    try:
        devices = jax.devices()
    except RuntimeError as error:
        wanted = os.environ.get("JAX_PLATFORMS", "")
        words = f"JAX finds no device (JAX_PLATFORMS={wanted!r}): {error}"
        return [("devices", "none")], [f"{words}; unset JAX_PLATFORMS to take what is there"]
    facts = [("devices", f"{len(devices)} × {devices[0].device_kind} ({devices[0].platform})")]
    told = runtime.unused_accelerator(devices[0].platform)
    return facts, [told] if told else []


def _memory() -> tuple[list[tuple[str, str]], list[str]]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    facts = [("processors", str(cores())), ("memory", _gibibytes(total))]
    if total < _LEAST_MEMORY:
        return facts, [f"{_gibibytes(total)} of memory is little: try --config.data.cache_mb=0"]
    return facts, []


def _cache() -> tuple[list[tuple[str, str]], list[str]]:
    from catsdogs_jax.data.places import cache_folder

    folder = cache_folder()
    mend = "set CATSDOGS_CACHE to a folder that can be written"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return [("cache", str(folder))], [f"the cache cannot be made ({error}): {mend}"]
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    facts = [("cache", f"{folder}, {_gibibytes(used)} used, {_gibibytes(free)} free")]
    wrong = []
    if not os.access(folder, os.W_OK):
        wrong.append(f"the cache {str(folder)!r} cannot be written: {mend}")
    if free < _LEAST_DISK:
        wrong.append(f"only {_gibibytes(free)} free beside the cache: make room, or {mend}")
    return facts, wrong


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def main(argv: Sequence[str]) -> None:
    """Prints versions, devices, memory and caches; exits with 1 if something is wrong."""
    parser().parse_args(argv)
    runtime.start()
    facts, wrong = examine()
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        print(f"{name:<{width}}  {value}")
    for words in wrong:
        print(f"wrong: {words}")
    if wrong:
        raise SystemExit(1)
    print("nothing is wrong")


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    return cli.parser(
        "doctor",
        "Print versions, devices, memory and caches, and what is wrong.",
        "python -m catsdogs_jax.doctor",
    )


if __name__ == "__main__":
    cli.run(main)
