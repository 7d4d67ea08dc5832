"""Promises of the command line: one line for a mistake, and exit codes that schedulers know."""

import argparse
import errno
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from catsdogs_jax import cli, train_and_evaluate
from catsdogs_jax.config import Config
from catsdogs_jax.errors import Interrupted, UserError
from catsdogs_jax.signals import NUMBERS


class Exited(Exception):
    """Stands for the end of the process."""


def run(monkeypatch: pytest.MonkeyPatch, error: BaseException, *argv: str) -> int:
    codes = []

    def leave(code: int) -> None:
        codes.append(code)
        raise Exited

    def main(_: object) -> None:
        raise error

    monkeypatch.setattr(cli.os, "_exit", leave)
    monkeypatch.setattr(sys, "argv", ["command", *argv])
    with pytest.raises(Exited):
        cli.run(main)
    return codes[0]


def test_a_user_error_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, UserError("x is 3: use 4")) == 2
    assert capsys.readouterr().err == "error: x is 3: use 4\n"


def test_an_error_of_the_system_is_one_line_with_the_mend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "runs/a/result.json")
    assert run(monkeypatch, full) == 2
    expected = "error: 'runs/a/result.json': No space left on device: make room, and give"
    assert capsys.readouterr().err.startswith(expected)


@pytest.mark.parametrize(
    ("command", "flag"),
    [("train", "workdir"), ("evaluate", "out"), ("check", "out"), ("predict", "out")],
)
def test_a_url_for_what_is_written_is_refused_and_makes_no_folder_of_that_name(
    command: str, flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    needed = {"train": ["--config=c.py"], "predict": ["--workdir=r", "a.jpg"], "check": ["pets"]}
    argv = needed.get(command, ["--workdir=r", "--data=d"])
    main = importlib.import_module(f"catsdogs_jax.{command}").main
    with pytest.raises(UserError, match=f"--{flag} is 'gs://b/runs', a URL.*mount the bucket"):
        main([*argv, f"--{flag}=gs://b/runs"])
    with pytest.raises(UserError, match="workdir is 'gs://b/runs', a URL"):
        train_and_evaluate(Config(), "gs://b/runs")
    assert not list(tmp_path.iterdir())


def test_home_is_known_behind_an_equals_sign_too() -> None:
    made = cli.parser("train", "", "")
    made.add_argument("--workdir")
    assert made.parse_args(["--workdir=~/runs"]).workdir == str(Path.home() / "runs")
    assert made.parse_args([]).workdir is None


def test_a_bug_of_ours_keeps_its_traceback() -> None:
    def main(_: object) -> None:
        raise OSError("odd")

    with pytest.raises(OSError, match="odd"):
        cli.run(main)


def unread(main: str) -> tuple[int, str]:
    """Returns exit code and errors of a command whose standard output has no reader any more."""
    code = f"from catsdogs_jax import cli, errors\n{main}\ncli.run(main)"
    environment = {key: text for key, text in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    return process.returncode, told


@pytest.mark.parametrize(
    "body", ["print('x\\n' * 10**6)", "print('x')", "cli.parser('a', '', '').parse_args(['-h'])"]
)
def test_a_reader_that_leaves_ends_a_command_quietly(body: str) -> None:
    assert unread(f"main = lambda _: {body}") == (128 + signal.SIGPIPE, "")


def test_a_mistake_is_told_though_nobody_reads_the_rest() -> None:
    main = "def main(_):\n print('x')\n raise errors.UserError('x is 3: use 4')"
    assert unread(main) == (2, "error: x is 3: use 4\n")


def test_a_broken_connection_is_no_reader_that_left() -> None:
    def main(_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        cli.run(main)


def test_writes_given_up_after_an_error_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorStore, of a save that ended with another error; whatever else is, as before."""
    shown = []
    monkeypatch.setattr(sys, "argv", ["command"])
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    given_up, other = RuntimeError("Event loop is closed"), RuntimeError("odd")

    def main(_: object) -> None:
        for error in (given_up, other):
            sys.unraisablehook(cast("Any", SimpleNamespace(exc_value=error)))

    cli.run(main)
    assert [given.exc_value for given in shown] == [other]
    assert sys.unraisablehook == shown.append


def test_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, UserError("x"), "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Interrupted("saved", signal.SIGTERM), 143),
        (Interrupted("saved", signal.SIGINT), 130),
    ],
)
def test_a_signal_ends_with_128_and_its_number(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    assert run(monkeypatch, error) == code


@pytest.mark.parametrize(
    ("argv", "goes_on"),
    [
        (["/package/catsdogs_jax/train.py", "--config", "c.py"], True),
        (["/bin/catsdogs", "train"], True),
        (["/package/catsdogs_jax/front.py", "sweep"], True),
        (["/package/catsdogs_jax/plan.py", "--config", "c.py"], False),
        (["/bin/catsdogs", "plan"], False),
        (["/package/catsdogs_jax/predict.py", "train", "--workdir=r"], False),
    ],
)
def test_only_a_command_that_saves_is_said_to_go_on(
    argv: list[str],
    goes_on: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    def leave(code: int) -> None:
        assert code == 130
        raise Exited

    monkeypatch.setattr(cli.os, "_exit", leave)
    monkeypatch.setattr(sys, "argv", argv)
    before = [signal.getsignal(number) for number in NUMBERS]
    with pytest.raises(Exited):
        cli.run(main)
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)  # The second signal was to end the process at once.
    told = capsys.readouterr().err
    assert told.startswith("stopped by signal 2")
    assert ("the same command goes on" in told) == goes_on


def test_overrides_are_told_from_flags() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    words = ["--config", "a.py", "--config.seed=3", "--config.data.dir", "some where"]
    flags, overrides = cli.split_overrides(parser, words)
    assert flags.config == "a.py"
    assert overrides == {"seed": "3", "data.dir": "some where"}


@pytest.mark.parametrize("words", [["--config.seed"], ["--config.seed", "--workdir"]])
def test_an_override_without_a_value_is_an_error(words: list[str]) -> None:
    with pytest.raises(UserError, match="--config.seed needs a value"):
        cli.split_overrides(argparse.ArgumentParser(), words)
