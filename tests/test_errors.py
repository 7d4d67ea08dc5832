"""Promises of the words that lead a user on."""

import re
import tomllib
from pathlib import Path

import pytest

from catsdogs_jax.errors import extra, nearest

REPOSITORY = Path(__file__).parents[1]
SOURCES = [
    *(REPOSITORY / "catsdogs_jax").rglob("*.py"),
    *(REPOSITORY / "docs").glob("*.md"),
    REPOSITORY / "README.md",
]


def test_an_extra_is_installed_from_the_clone_and_leaves_the_others() -> None:
    assert extra("export") == (
        "in the clone: `uv sync --inexact --extra export`, or `pip install -e '.[export]'`"
    )
    assert "uv run --no-default-groups --extra beam --extra records " in extra("beam", "records")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nobody_is_told_to_install_this_package_from_an_index(path: Path) -> None:
    """It is on none."""
    told = re.findall(r"install[^\n]*catsdogs-jax.*", path.read_text(encoding="utf-8"))
    assert told == []


def test_every_extra_that_a_message_or_page_names_is_there() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set()
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"--extra (\w+)", text))
        for words in re.findall(r"\bextra\((['\"]\w+['\"](?:, ['\"]\w+['\"])*)\)", text):
            named |= set(re.findall(r"\w+", words))
    assert named
    assert named <= set(project["optional-dependencies"])


@pytest.mark.parametrize(
    ("word", "allowed", "hint"),
    [
        ("AdamW", ["adam", "adamw"], " Did you mean 'adamw'?"),
        ("Cat", ["Dog", "cats"], " Did you mean 'cats'?"),
        ("bird", ["cats", "dogs"], ""),
        ("lr", ["loss", "steps"], ""),
    ],
)
def test_a_hint_ignores_case_and_is_not_far_fetched(
    word: str, allowed: list[str], hint: str
) -> None:
    assert nearest(word, allowed) == hint
