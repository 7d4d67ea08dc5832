"""What every command shares: flags, one-line errors, exit codes."""

import argparse
import contextlib
import functools
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from catsdogs_jax.errors import Interrupted, UserError, check_path, explained
from catsdogs_jax.signals import Handlers, act_at_once


class _Signalled(BaseException):
    """A signal came; no handler of errors on the way is to take it for one."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


_ON_A_DISK = ("workdir", "out")
_GO_ON = ("train", "sweep", "check")
"""Commands that keep what they have done; `predict` goes on with --resume, not as it is."""


class _Parser(argparse.ArgumentParser):
    """Knows what is a path: "~/a" is below home, as no shell says behind an equals sign."""

    def parse_known_args(self, *args: Any, **options: Any) -> Any:
        flags, others = super().parse_known_args(*args, **options)
        for name, value in vars(flags).items():
            if isinstance(value, str) and value.startswith("~/"):
                setattr(flags, name, os.path.expanduser(value))
            if name in _ON_A_DISK:
                check_path(f"--{name}", str(value))
        return flags, others


def parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """Returns an argument parser whose help shows an example."""
    made = _Parser(
        prog=f"python -m catsdogs_jax.{name}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def add_require(made: argparse.ArgumentParser) -> None:
    """Adds the flag that refuses a silent fall back to the CPU, for `runtime.start`."""
    text = "stop if JAX does not find one, in place of computing on the CPU"
    made.add_argument("--require", choices=("tpu", "gpu"), help=text)


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Calls `main(argv)` and ends the process with the exit code that fits.

    0: done. 2: a mistake, or a full disk and the like, that the user can mend, told in one line.
    128 + n: stopped by signal n, or 141 (SIGPIPE) where nobody reads what is printed, as in
    `... | head`: Python ignores that signal, but a shell's pipes expect its code. Anything else is
    a bug of ours and shows its traceback.
    """
    debug = "--debug" in sys.argv
    handlers = Handlers(_interrupt)
    handlers.install()
    hook = sys.unraisablehook
    if not debug:
        sys.unraisablehook = functools.partial(_show_unraisable, hook)
    try:
        _call(main)
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            os._exit(128 + signal.SIGPIPE)  # As in `_finish`; what is left to print has no reader.
        told = explained(error) if isinstance(error, OSError) else error
        if told is None:
            raise
        if debug:
            traceback.print_exc()
        _finish(f"error: {told}", 2)
    except Interrupted as stop:
        _finish(str(stop), 128 + stop.signal_number)
    except _Signalled as stop:
        told = f"stopped by signal {stop.number}"
        if _command() in _GO_ON:
            told += ": what was saved before is whole, and the same command goes on from there"
        _finish(told, 128 + stop.number)
    finally:
        sys.unraisablehook = hook
        handlers.restore()


def split_overrides(
    made: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, Mapping[str, str]]:
    """Parses flags, and `--config.a.b=value` or `--config.a.b value` as overrides.

    Returns:
        The flags, and the overrides by dotted key without `config.`.

    Raises:
        UserError: An override has no value.
    """
    own: list[str] = []
    overrides: dict[str, str] = {}
    rest = iter(argv)
    for word in rest:
        if not word.startswith("--config."):
            own.append(word)
            continue
        key, equals, value = word.removeprefix("--config.").partition("=")
        if not equals:
            value = next(rest, "--")
            if value.startswith("--"):
                raise UserError(f"--config.{key} needs a value: --config.{key}=VALUE")
        overrides[key] = value
    return made.parse_args(own), overrides


def default_workdir(config_path: str) -> Path:
    """Returns `runs/NAME` for a config file NAME.py."""
    return Path("runs") / Path(config_path).stem


def _command() -> str:
    """Returns the name of the command: of `python -m catsdogs_jax.plan` or of `catsdogs plan`."""
    name, *words = sys.argv
    module = Path(name).stem
    return words[0] if module in ("catsdogs", "front") and words else module


def _call(main: Callable[[Sequence[str]], None]) -> None:
    """Calls a command, and writes what it printed, as a failure in Python's own end is a mess."""
    try:
        main(sys.argv[1:])
    except SystemExit:  # --help
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _nobody_reads() -> bool:
    """Returns whether the reader of standard output or error is gone, not that of a network."""
    poll = select.poll()
    for stream in (1, 2):
        poll.register(stream, 0)
    return any(found & (select.POLLERR | select.POLLHUP) for _, found in poll.poll(0))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ends what a command does outside of training: start, scan, compilation, the last plots."""
    del frame
    act_at_once()
    raise _Signalled(number)


def _show_unraisable(
    show: Callable[["sys.UnraisableHookArgs"], Any], given: "sys.UnraisableHookArgs"
) -> None:
    """Leaves out the writes that Orbax has given up after one failed, which is told by itself."""
    error = given.exc_value
    if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
        show(given)


def _finish(message: str, code: int) -> None:
    for text, stream in (("", sys.stdout), (f"{message}\n", sys.stderr)):
        with contextlib.suppress(BrokenPipeError):  # The code is for those who do not read.
            stream.write(text)
            stream.flush()
    # Background threads of TensorFlow and Orbax may outlive an error; a plain exit could wait
    # for them for ever.
    os._exit(code)
