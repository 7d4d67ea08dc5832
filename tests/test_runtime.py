"""Promises of the start of a process."""

import ctypes
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from catsdogs_jax import runtime
from catsdogs_jax.config import Config
from catsdogs_jax.errors import UserError

COMPILE = """
import sys, jax
from catsdogs_jax import runtime
from catsdogs_jax.training.compilation import compile_or_recall
runtime._WORTH_KEEPING_SECONDS = 0
if len(sys.argv) > 1:
    runtime._COMPILED_BYTES = int(sys.argv[1])
runtime.start()
print(jax.config.jax_compilation_cache_max_size)
for n in range(5):
    def function(x): return x @ x + n
    function.__name__ = f"number_{n}"
    print(compile_or_recall(jax.jit(function).lower(jax.numpy.ones((4, 4))))[1])
"""
"""Compiles five functions and says for each whether it was in the cache."""

ANNOUNCE = """
import json, sys
from catsdogs_jax import runtime, train
from catsdogs_jax.config.reader import config_from_dict
def announce(*arguments):
    say(*arguments)
    sys.exit()
say, train.announce = train.announce, announce
runtime._WORTH_KEEPING_SECONDS = 0
runtime.start()
train.train_and_evaluate(config_from_dict(json.loads(sys.argv[1])), sys.argv[2])
"""
"""Begins a run, up to its first step."""


def run(cache: Path, script: str, *arguments: object) -> list[str]:
    """Runs a script in a process of its own and returns the lines that it prints."""
    environment = {**os.environ, "CATSDOGS_CACHE": str(cache)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def compiled(cache: Path) -> dict[str, int]:
    """Returns the bytes of what is kept, by the name of the function."""
    files = (cache / "compiled").glob("*/*-cache")
    return {file.name.removeprefix("jit_").rsplit("-", 2)[0]: file.stat().st_size for file in files}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A cache folder that one process has filled, and what that said."""
    cache = tmp_path_factory.mktemp("first")
    return cache, run(cache, COMPILE)


def test_the_next_process_finds_what_one_has_compiled(first: tuple[Path, list[str]]) -> None:
    cache, (most, *recalled) = first
    assert int(most) == 2**30
    assert recalled == ["False"] * 5
    assert {f"number_{n}" for n in range(5)} <= set(compiled(cache))
    assert run(cache, COMPILE)[1:] == ["True"] * 5


def test_the_oldest_is_forgotten_where_what_is_compiled_takes_too_much(
    first: tuple[Path, list[str]], tmp_path: Path
) -> None:
    most = 3 * max(compiled(first[0]).values())
    run(tmp_path, COMPILE, most)
    kept = compiled(tmp_path)
    assert "number_0" not in kept
    assert "number_4" in kept
    assert sum(kept.values()) <= most


@pytest.mark.heavy
def test_a_run_says_how_many_steps_an_earlier_one_had_compiled(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    config = json.dumps(dataclasses.asdict(tiny()))
    for number, recalled in (("one", 0), ("two", 2)):
        said = run(tmp_path / "cache", ANNOUNCE, config, tmp_path / number)
        assert f"compiled  {recalled} of 2 steps were in the cache of compiled functions" in said


def test_the_allocator_is_left_alone_where_it_is_not_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("touched the C library"))
    monkeypatch.setattr(runtime.sys, "platform", "darwin")
    runtime.keep_freed_memory()
    monkeypatch.setattr(runtime.sys, "platform", "linux")
    monkeypatch.setattr(runtime.platform, "libc_ver", lambda: ("musl", "1"))
    runtime.keep_freed_memory()


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_a_required_accelerator_that_is_not_there_is_an_error(platform: str) -> None:
    with pytest.raises(UserError, match=f"--require={platform}, but JAX has found cpu"):
        runtime.require_platform(platform)


def test_gpus_repeat_to_the_bit_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    runtime.repeat_on_gpus()
    runtime.repeat_on_gpus()
    expected = "--xla_cpu_enable_fast_math=false --xla_gpu_deterministic_ops=true"
    assert os.environ["XLA_FLAGS"] == expected
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=false")
    runtime.repeat_on_gpus()
    assert os.environ["XLA_FLAGS"] == "--xla_gpu_deterministic_ops=false"


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ("/dev/nvidia0", "an NVIDIA GPU, .* `uv sync .*--extra cuda`"),
        ("/dev/accel0", "a TPU, .*tpu"),
    ],
)
def test_a_run_tells_of_an_accelerator_that_is_left_idle(
    monkeypatch: pytest.MonkeyPatch, there: str, words: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == there)
    monkeypatch.delenv("JAX_PLATFORMS")
    assert re.search(words, runtime.unused_accelerator("cpu") or "")
    assert runtime.unused_accelerator("gpu") is None
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert runtime.unused_accelerator("cpu") is None


LIMITED = """
import resource
from catsdogs_jax import runtime
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
runtime.allow_open_files()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
"""


def test_as_many_files_may_be_open_as_the_machine_allows() -> None:
    subprocess.run([sys.executable, "-c", LIMITED], check=True)
