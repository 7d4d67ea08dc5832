"""Promises of the shells' completion."""

import shutil
import subprocess
from pathlib import Path

import pytest

import catsdogs_jax
from catsdogs_jax import completion


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "catsdogs"
    path.write_text(completion.script("bash"))
    return path


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("catsdogs tr", "train"),
        ("catsdogs train --wor", "--workdir"),
        ("catsdogs train --config.train.opt", "--config.train.optimizer"),
        ("catsdogs train --config.train.optimizer lam", "lamb"),
        ("catsdogs predict --workdir RU", "RUNS"),
        ("catsdogs predict --workdir RUNS --out FI", "FILE"),
        ("catsdogs predict --workdir FI", ""),
    ],
)
def test_bash_completes_commands_flags_config_keys_choices_and_files(
    line: str, offered: str, script: Path, tmp_path: Path
) -> None:
    (tmp_path / "RUNS").mkdir()
    (tmp_path / "FILE").touch()
    ask = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_catsdogs'
    words = ["bash", "-c", f"{ask}; echo ${{COMPREPLY[*]}}", "-", str(script), *line.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == offered


@pytest.mark.parametrize("shell", ["fish", "zsh"])
def test_the_other_shells_can_read_their_scripts(shell: str, tmp_path: Path) -> None:
    text = completion.script(shell)
    assert "config.train.optimizer" in text
    if shutil.which(shell):
        (tmp_path / "script").write_text(text)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_every_command_that_takes_config_keys_completes_them() -> None:
    package = Path(catsdogs_jax.__file__).parent
    taking = [
        path.stem
        for path in package.glob("*.py")
        if path.stem != "cli" and "split_overrides(" in path.read_text()
    ]
    assert set(taking) == set(completion.TAKE_CONFIG_KEYS)
