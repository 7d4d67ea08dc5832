"""Promises of compiled kernels: kept for later processes, and never run where a file was hurt."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import pytest

from catsdogs_jax.kernels import compiler

ADDS_ONE = "define i64 @f(i64 %x) {\n  %y = add i64 %x, 1\n  ret i64 %y\n}"
ADDS_TWO = ADDS_ONE.replace("%x, 1", "%x, 2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(compiler, "_folder", None)
    compiler.keep_machine_code(tmp_path / "kernels")
    return tmp_path / "kernels"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    compile_anew = compiler._machine_code

    def counted(module: str, machine: object) -> bytes:
        done.append(module)
        return compile_anew(module, machine)

    monkeypatch.setattr(compiler, "_machine_code", counted)
    return done


def function(module: str) -> Callable[[int], int]:
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    return kind(compiler.compile_function(module, "f"))


def test_what_was_compiled_once_is_not_compiled_again(
    folder: Path, compilations: list[str]
) -> None:
    for _ in range(2):
        assert function(ADDS_ONE)(41) == 42
        assert function(ADDS_TWO)(40) == 42
    assert compilations == [ADDS_ONE, ADDS_TWO]
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("hurt", [lambda b: b[:-9], lambda b: b"", lambda b: b[:-1] + b"\1"])
def test_a_kept_file_that_was_hurt_is_compiled_again(
    folder: Path, compilations: list[str], hurt: Callable[[bytes], bytes]
) -> None:
    function(ADDS_ONE)
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(hurt(whole))
    assert function(ADDS_ONE)(41) == 42
    assert len(compilations) == 2
    assert kept.read_bytes() == whole


def test_code_for_another_cpu_is_not_taken(
    folder: Path, compilations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    function(ADDS_ONE)
    cpu, _ = compiler.host()
    monkeypatch.setattr(compiler, "host", lambda: (cpu, "-avx512f"))
    assert function(ADDS_ONE)(41) == 42
    assert len(compilations) == 2
    assert len(list(folder.iterdir())) == 2


def test_a_folder_that_takes_nothing_is_no_reason_to_fail(folder: Path) -> None:
    folder.write_text("a file")
    assert function(ADDS_ONE)(41) == 42


def test_the_oldest_are_forgotten_where_too_many_are_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "_MOST_KEPT", 3)
    for number in range(5):
        function(ADDS_ONE.replace("%x, 1", f"%x, {number}"))
    assert len(list(folder.iterdir())) == 3
