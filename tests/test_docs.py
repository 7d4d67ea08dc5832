"""Promises of the pages: every command that they show is one that the program takes."""

import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from catsdogs_jax import cli, completion, front
from catsdogs_jax.config.reader import options

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.py"))
_COMMAND = re.compile(r"\bcatsdogs (?=[a-z_]+ )|\bpython -m catsdogs_jax\.(?=[a-z_]+ )")


def fenced(text: str) -> str:
    """Returns what stands in the fences of a page that name no language: the commands."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return "\n".join(block for language, block in fences if not language)


def commands(path: Path) -> Iterator[list[str]]:
    """Yields the words of each whole command of ours in fenced blocks, or of a config's head."""
    text = path.read_text(encoding="utf-8")
    shown = fenced(text) if path.suffix == ".md" else text.split('"""')[1]
    for line in shown.replace("\\\n", " ").splitlines():
        if match := _COMMAND.search(line):
            words = shlex.split(re.split(r" [|;>]|&&", line[match.end() :])[0], comments=True)
            if words[0] in front.COMMANDS and "..." not in words:
                yield words


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_name_that_a_page_imports_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("catsdogs_jax"):
                module = importlib.import_module(str(node.module))
                for name in node.names:
                    inner = f"{node.module}.{name.name}"
                    assert hasattr(module, name.name) or importlib.util.find_spec(inner), inner


def test_the_pages_name_each_command() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert [name for name in front.COMMANDS if f"catsdogs {name}" not in text] == []


@pytest.mark.parametrize("path", PAGES + CONFIGS, ids=lambda path: path.name)
def test_every_command_of_a_page_has_flags_and_keys_that_exist(path: Path) -> None:
    for name, *words in commands(path):
        made = importlib.import_module(f"catsdogs_jax.{name}").parser()
        if name not in completion.TAKE_CONFIG_KEYS:
            made.parse_args(words)
            continue
        flags, overrides = cli.split_overrides(made, words)
        config = getattr(flags, "config", None)
        if config and config.startswith("configs/"):
            assert (REPOSITORY / config).is_file(), words
        assert set(overrides) <= {option.key for option in options()}, words
