"""Promises of what a person has marked in a data set."""

import dataclasses
from pathlib import Path

import pytest

from catsdogs_jax.data.listing import Example, Examples, Listing
from catsdogs_jax.data.marks import apply_marks
from catsdogs_jax.errors import UserError

EXAMPLES = Examples.of(Example(f"cat/{i}.jpg", ("cat",), "train") for i in range(3))
LISTING = Listing(Path("root"), EXAMPLES)


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_marked_pictures_are_left_out_and_relabelled(tmp_path: Path) -> None:
    exclude = write(tmp_path / "exclude.csv", "file,reason\ncat/1.jpg,dark\n")
    relabel = write(tmp_path / "relabel.csv", "file,label\ncat/2.jpg,dog\n")
    found = apply_marks(LISTING, exclude, relabel)
    assert [(e.file, e.labels) for e in found.examples] == [
        ("cat/0.jpg", ("cat",)),
        ("cat/2.jpg", ("dog",)),
    ]
    assert not found.multilabel
    several = write(tmp_path / "several.csv", "file,label\ncat/2.jpg,dog|cat\n")
    assert apply_marks(LISTING, "", several).multilabel
    assert apply_marks(LISTING, "", "") == LISTING


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\ncat/7.jpg\n", "Did you mean 'cat/"),
        ("name\ncat/1.jpg\n", "no column 'file'"),
        ("file\ncat/0.jpg\ncat/1.jpg\ncat/2.jpg\n", "every picture"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        apply_marks(LISTING, write(tmp_path / "exclude.csv", text), "")


def test_a_table_may_name_what_is_left_out_already(tmp_path: Path) -> None:
    """As that of `check` does, of a pack or a TFDS set with pictures that cannot be used."""
    exclude = write(tmp_path / "exclude.csv", "file,reason\ncat/bad.jpg,broken\n")
    listing = dataclasses.replace(LISTING, quarantined=(("cat/bad.jpg", "broken"),))
    assert apply_marks(listing, exclude, "") == listing


def test_a_row_that_ends_early_is_refused(tmp_path: Path) -> None:
    table = write(tmp_path / "relabel.csv", "file,label\ncat/1.jpg\n")
    with pytest.raises(UserError, match="row of 'cat/1.jpg' without a label"):
        apply_marks(LISTING, "", table)


def test_a_missing_table_is_refused() -> None:
    with pytest.raises(UserError, match="no such file"):
        apply_marks(LISTING, "nowhere.csv", "")


def test_a_file_with_two_labels_is_refused_and_the_same_label_twice_is_not(tmp_path: Path) -> None:
    rows = "file,label,reason\ncat/1.jpg,dog|cat,like a\ncat/0.jpg,dog,\n"
    same = write(tmp_path / "same.csv", f"{rows}cat/1.jpg,cat|dog,like b\n")
    assert apply_marks(LISTING, "", same).examples[1].labels == ("dog", "cat")
    other = write(tmp_path / "other.csv", f"{rows}cat/1.jpg,cat,like b\n")
    words = r"relabel=.*other.csv gives 'cat/1.jpg' the label 'dog\|cat' and the label 'cat'"
    with pytest.raises(UserError, match=words):
        apply_marks(LISTING, "", other)


def test_a_label_that_is_no_utf_8_is_refused_unless_a_class_has_that_name(tmp_path: Path) -> None:
    table = tmp_path / "latin.csv"
    table.write_bytes("file,label\ncat/1.jpg,kätzchen\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"label 'k\\udce4tzchen', which is no UTF-8: save"):
        apply_marks(LISTING, "", str(table))
    named = Examples.of([*EXAMPLES, Example("k/1.jpg", ("k\udce4tzchen",), "train")])
    found = apply_marks(Listing(Path("root"), named), "", str(table)).examples
    assert found[1].labels == found[3].labels
