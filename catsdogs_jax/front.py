"""The command `catsdogs`: one name before all others, `catsdogs train --config ...`.

Each command is a module with `main(argv)`, imported when it is called: `catsdogs --help` takes no
longer than Python itself.
"""

import importlib
from collections.abc import Sequence
from typing import Final

from catsdogs_jax import __version__, cli
from catsdogs_jax.errors import UserError, nearest

COMMANDS: Final = {
    "train": "train a classifier from pictures",
    "evaluate": "measure a trained model on a folder of labelled pictures",
    "predict": "classify picture files",
    "explain": "show what speaks for a class, beside the picture",
    "report": "write one page about a finished run, or compare two",
    "export": "write a model for use elsewhere, or verify what was written",
    "serve": "answer over HTTP, with a page to drop pictures on",
    "check": "look at a folder of pictures, or at an augmentation, before training",
    "find_lr": "draw the loss over the learning rate and suggest one",
    "plan": "say what a run needs, on TPUs that are not there or here",
    "sweep": "search over settings, or train a population",
    "draw": "draw a folder of animals to try things with",
    "doctor": "print versions, devices, memory and caches, and what is wrong",
    "completion": "print what makes a shell complete commands, flags and config keys",
}
"""Names of modules of this package, and a line of what each does."""

_EXAMPLE = "catsdogs train --config configs/quickstart.py --workdir runs/quickstart"


def usage() -> str:
    """Returns what `catsdogs --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {words}" for name, words in COMMANDS.items()]
    return "\n".join(
        [
            "usage: catsdogs COMMAND ...",
            "",
            "Train image classifiers from folders of pictures.",
            "",
            "commands:",
            *lines,
            "",
            "catsdogs COMMAND --help lists its flags. catsdogs --version prints the version.",
            "",
            f"example:\n  {_EXAMPLE}",
        ]
    )


def main(argv: Sequence[str]) -> None:
    """Calls the command that the first word names with the rest of the words.

    Raises:
        UserError: There is no such command.
    """
    name, *rest = argv or ["--help"]
    if name in ("--help", "-h", "help"):
        print(usage())
    elif name == "--version":
        print(f"catsdogs_jax {__version__}")
    elif name in COMMANDS:
        importlib.import_module(f"catsdogs_jax.{name}").main(rest)
    else:
        hint = nearest(name, list(COMMANDS))
        raise UserError(f"no command {name!r}; there are {', '.join(COMMANDS)}.{hint}")


def run() -> None:
    """The entry point of the console script."""
    cli.run(main)


if __name__ == "__main__":
    run()
