"""Promises of the start of a process."""

import ctypes
import os

import pytest

from catsdogs_jax import runtime
from catsdogs_jax.errors import UserError


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
