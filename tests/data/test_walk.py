"""Promises of the walk: the order of sorted paths, whatever their names; nothing that is hidden."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catsdogs_jax.data.sources import list_folder
from catsdogs_jax.data.walk import files_below
from catsdogs_jax.errors import UserError

NAMES = st.text("ab-.0Z ü", min_size=1, max_size=3).filter(lambda name: name[0] != ".")


@given(st.lists(st.lists(NAMES, min_size=1, max_size=4), min_size=1, max_size=12))
def test_files_come_in_the_order_of_their_paths(paths: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for parts in paths:
            path = Path(folder).joinpath(*parts)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            except (FileExistsError, NotADirectoryError):  # A file is where a folder should be.
                continue
        expected = [
            os.path.relpath(os.path.join(where, name), folder)
            for where, _, names in os.walk(folder)
            for name in names
        ]
        assert list(files_below(Path(folder))) == sorted(expected)


def test_hidden_folders_and_linked_ones_hold_no_pictures(tmp_path: Path) -> None:
    for name in ("cat/a.jpg", "cat/.ipynb_checkpoints/a-checkpoint.jpg", "dog/b.jpg", "cat/t.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "cat/again").symlink_to(tmp_path / "cat")
    (tmp_path / "cat/linked.jpg").symlink_to(tmp_path / "cat/a.jpg")
    (tmp_path / "cat/broken.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "cat/circle.jpg").symlink_to(tmp_path / "cat/circle.jpg")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    found = [example.file for example in list_folder(tmp_path).examples]
    names = ("a", "broken", "circle", "linked")
    assert found == [*(f"cat/{name}.jpg" for name in names), "dog/b.jpg"]


def test_a_class_folder_may_be_a_link(tmp_path: Path) -> None:
    for name in ("data/dog/b.jpg", "elsewhere/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "data/cat").symlink_to(tmp_path / "elsewhere")
    found = [(e.file, e.labels) for e in list_folder(tmp_path / "data").examples]
    assert found == [("cat/a.jpg", ("cat",)), ("dog/b.jpg", ("dog",))]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing/' cannot be read .No such file"):
        list(files_below(tmp_path / "missing", tmp_path))
