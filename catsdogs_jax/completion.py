"""Prints a script with which a shell completes what one types: catsdogs completion bash."""

import argparse
import importlib
from collections.abc import Sequence
from typing import Final

import shtab

from catsdogs_jax import cli, front
from catsdogs_jax.config.reader import options

_WHERE: Final = {
    "bash": "~/.local/share/bash-completion/completions/catsdogs",
    "fish": "~/.config/fish/completions/catsdogs.fish",
    "zsh": "~/.zfunc/_catsdogs  # and, before compinit in ~/.zshrc: fpath=(~/.zfunc $fpath)",
}
TAKE_CONFIG_KEYS: Final = ("check", "find_lr", "plan", "sweep", "train")
_FILES: Final = ("CONFIG", "FILE", "FILE_OR_DIR", "OUT", "PNG", "WHAT")
_FOLDERS: Final = ("DATA", "DIR", "RUN")
"""What a flag calls its value in its help says what completes it."""


def main(argv: Sequence[str]) -> None:
    """Prints the script of the shell that is named."""
    print(script(parser().parse_args(argv).shell))


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "completion",
        "Print a script with which a shell completes commands, flags, config keys and files.",
        "\n  ".join(
            f"python -m catsdogs_jax.completion {shell} > {where}"
            for shell, where in _WHERE.items()
        ),
    )
    made.add_argument("shell", choices=sorted(_WHERE), help="the shell")
    return made


def script(shell: str) -> str:
    """Returns what `shell`, one of bash, fish and zsh, is to read."""
    return shtab.complete(_every_command(), shell)


def _every_command() -> argparse.ArgumentParser:
    """Returns one parser, `catsdogs`, which has the commands below it."""
    root = argparse.ArgumentParser(prog="catsdogs")
    root.add_argument("--version", action="store_true", help="print the version")
    commands = root.add_subparsers()
    for name, words in front.COMMANDS.items():
        command = parser() if name == "completion" else _parser_of(name)
        if name in TAKE_CONFIG_KEYS:
            _add_config_keys(command)
        for action in command._actions:
            _say_what_completes(action)
        commands.add_parser(name, help=words, parents=[command], add_help=False)
    return root


def _parser_of(name: str) -> argparse.ArgumentParser:
    return importlib.import_module(f"catsdogs_jax.{name}").parser()


def _add_config_keys(command: argparse.ArgumentParser) -> None:
    for option in options():
        choices = option.choices or None
        command.add_argument(f"--config.{option.key}", choices=choices, help=option.help)


def _say_what_completes(action: argparse.Action) -> None:
    if action.metavar in _FILES:
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif action.metavar in _FOLDERS or action.metavar == ("A", "B"):
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


if __name__ == "__main__":
    cli.run(main)
