"""Promises of the start of a process."""

import ctypes

import pytest

from catsdogs_jax import runtime


def test_the_allocator_is_left_alone_where_it_is_not_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("touched the C library"))
    monkeypatch.setattr(runtime.sys, "platform", "darwin")
    runtime.keep_freed_memory()
    monkeypatch.setattr(runtime.sys, "platform", "linux")
    monkeypatch.setattr(runtime.platform, "libc_ver", lambda: ("musl", "1"))
    runtime.keep_freed_memory()
