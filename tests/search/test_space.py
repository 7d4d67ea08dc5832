"""Promises of the space of a search: mistakes end in one line before any work."""

import json
from pathlib import Path
from typing import Any

import pytest

from catsdogs_jax.errors import UserError
from catsdogs_jax.search.space import Space, read_space

RATE = {"low": 1e-4, "high": 1e-2, "log": True}


@pytest.mark.parametrize("suffix", [".toml", ".json", ".py"])
def test_the_three_kinds_of_files_say_the_same(tmp_path: Path, suffix: str) -> None:
    tree = {"train": {"learning_rate": RATE}, "model.widths": [[4], [4, 8]]}
    texts = {
        ".toml": "train.learning_rate = {low = 1e-4, high = 1e-2, log = true}\n"
        '"model.widths" = [[4], [4, 8]]\n',
        ".json": json.dumps(tree),
        ".py": f"def get_space():\n    return {tree!r}\n",
    }
    path = tmp_path / f"space{suffix}"
    path.write_text(texts[suffix])
    space = read_space(path)
    assert space.entries == {"train.learning_rate": RATE, "model.widths": [[4], [4, 8]]}
    assert space.values({"train.learning_rate": 0.001, "model.widths": "[4, 8]"}) == {
        "train.learning_rate": 0.001,
        "model.widths": [4, 8],
    }


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"train.learning_rat": RATE}, "Did you mean 'train.learning_rate'"),
        ({"train.learning_rate": {"low": 1e-4, "hihg": 1}}, "'hihg'.*Did you mean 'high'"),
        ({"train.learning_rate": {"low": 1e-4}}, "has no high"),
        ({"train.learning_rate": {"low": 0, "high": 1}}, "must be above 0"),
        ({"train.learning_rate": {"low": 1e-2, "high": 1e-4}}, "train.learning_rate.*1e-04|0.0001"),
        ({"train.learning_rate": 0.1}, "give .low, high."),
        ({"model.hidden": {"low": 1.5, "high": 3}}, "must be an integer"),
        ({"train.optimizer": ["adam", "adamv"]}, "Did you mean 'adam'"),
        ({"train.optimizer": {"low": "adam", "high": "sgd"}}, "give choices"),
        ({"train.optimizer": []}, "no choices"),
        ({"model": ["seed_cnn"]}, "'model' is a group"),
        ({"seed": [1, 2]}, "chooses luck"),
        ({"data.validation_share": [0.1, 0.2]}, "trials on other pictures cannot be compared"),
        ({"checkpoint.metric": ["loss", "accuracy"]}, "what the search compares"),
        ({}, "the space is empty"),
    ],
)
def test_a_mistake_is_named(entries: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Space(entries)


def test_sequences_of_python_are_the_lists_that_a_storage_gives_back() -> None:
    space = Space({"model.widths": [(16, 32), (32, 32, 64)], "model.hidden": range(16, 65, 16)})
    assert space.entries == {
        "model.widths": [[16, 32], [32, 32, 64]],
        "model.hidden": [16, 32, 48, 64],
    }
    assert space.values({"model.widths": "[16, 32]"}) == {"model.widths": [16, 32]}
    with pytest.raises(UserError, match="cannot be written down: .16. is no number"):
        Space({"model.hidden": {16}})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no space file"):
        read_space(tmp_path / "none.toml")
    (tmp_path / "space.yaml").write_text("")
    with pytest.raises(UserError, match=r"must end in .toml, .json, .py"):
        read_space(tmp_path / "space.yaml")
    (tmp_path / "space.toml").write_text("= 3")
    with pytest.raises(UserError, match=r"space.toml' failed"):
        read_space(tmp_path / "space.toml")
