"""Promises of the one front door."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import catsdogs_jax
from catsdogs_jax import doctor, front
from catsdogs_jax.errors import UserError


@pytest.mark.parametrize("name", front.COMMANDS)
def test_every_command_exists_and_its_help_shows_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        front.main([name, "--help"])
    assert ended.value.code == 0
    assert f"example:\n  python -m catsdogs_jax.{name}" in capsys.readouterr().out


def test_every_module_with_a_main_is_a_command() -> None:
    package = Path(catsdogs_jax.__file__).parent
    mains = {path.stem for path in package.glob("*.py") if "def main(" in path.read_text()}
    assert mains - {"front"} == set(front.COMMANDS)


def test_a_mistyped_command_gets_the_nearest_right_one() -> None:
    with pytest.raises(UserError, match="Did you mean 'train'"):
        front.main(["trian"])


def test_help_and_version_import_nothing_slow(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; from catsdogs_jax import front; front.main(['--help']); "
        "front.main(['--version']); print(*sorted({'jax', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
    assert all(name in done.stdout for name in front.COMMANDS)
    assert catsdogs_jax.__version__ in done.stdout


def test_doctor_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    facts = dict(doctor.examine()[0])
    assert facts["devices"].startswith("8 × ")
    assert facts["jax"] == importlib.import_module("jax").__version__


def test_doctor_says_where_python_compiles_everything_at_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.setattr("sys.pycache_prefix", str(tmp_path))  # Where nothing is kept.
    assert "PYTHONDONTWRITEBYTECODE is set: unset it" in dict(doctor.examine()[0])["bytecode"]
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    assert dict(doctor.examine()[0])["bytecode"] == "kept"


def test_doctor_names_a_cache_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CATSDOGS_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("catsdogs_jax.runtime.start", lambda: None)
    with pytest.raises(SystemExit) as ended:
        doctor.main([])
    assert ended.value.code == 1
    assert "wrong: the cache cannot be made" in capsys.readouterr().out
