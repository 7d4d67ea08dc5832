"""Promises of the sources: every usual layout is read, and an unclear one is named."""

import json
from pathlib import Path

import pytest

from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.sources import Example, find_files, list_folder, list_source, list_table
from catsdogs_jax.errors import UserError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def test_a_folder_per_class_is_one_listing_without_splits(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.jpg", "cat/a.JPG", "cat/deeper/c.png")
    assert list_folder(tmp_path).examples == (
        Example("cat/a.JPG", ("cat",), None),
        Example("cat/deeper/c.png", ("cat",), None),
        Example("dog/b.jpg", ("dog",), None),
    )


@pytest.mark.parametrize("held_out", ["validation", "val", "valid", "Validation"])
def test_split_folders_are_known_by_their_usual_names(tmp_path: Path, held_out: str) -> None:
    touch(tmp_path, "train/cat/a.jpg", f"{held_out}/cat/b.jpg", "test/cat/c.jpg")
    splits = {example.file: example.split for example in list_folder(tmp_path).examples}
    assert splits == {
        "train/cat/a.jpg": "train",
        f"{held_out}/cat/b.jpg": "validation",
        "test/cat/c.jpg": "test",
    }


def test_kaggles_flat_names_tell_the_class(tmp_path: Path) -> None:
    touch(tmp_path, "cat.0.jpg", "dog.12.jpg", "sea-lion_7.jpg")
    assert [e.labels[0] for e in list_folder(tmp_path).examples] == ["cat", "dog", "sea-lion"]


def test_flat_names_below_split_folders_work_too(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat.0.jpg", "validation/dog.0.jpg")
    assert [e.labels[0] for e in list_folder(tmp_path).examples] == ["cat", "dog"]


def test_what_is_no_picture_by_its_name_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg", "cat/Thumbs.db", "cat/.DS_Store", "cat/notes.txt", ".cache/x.jpg")
    assert [e.file for e in list_folder(tmp_path).examples] == ["cat/a.jpg"]


def test_odd_file_names_are_kept_as_they_are(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a b'c\"d\n.jpg", "dog/ü.jpg")
    assert [e.file for e in list_folder(tmp_path).examples] == ["cat/a b'c\"d\n.jpg", "dog/ü.jpg"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["train/cat/a.jpg", "extra/b.jpg"], ["train", "extra", "move the others away"]),
        (["val/cat/a.jpg", "validation/cat/a.jpg"], ["same split twice", "val, validation"]),
        (["cat/a.jpg", "dog/notes.txt"], ["class 'dog' has no pictures"]),
        (["holiday.jpg"], ["cannot tell the class of 'holiday.jpg'", "cat.0.jpg"]),
        (["readme.md"], ["no pictures in"]),
    ],
)
def test_an_unclear_folder_is_named(tmp_path: Path, names: list[str], words: list[str]) -> None:
    touch(tmp_path, *names)
    with pytest.raises(UserError) as caught:
        list_folder(tmp_path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_missing_folder_says_how_to_get_data() -> None:
    with pytest.raises(
        UserError, match=r"'/nowhere'.*one folder of pictures per class.*quickstart"
    ):
        list_source(DataConfig(dir="/nowhere"))
    with pytest.raises(UserError, match="data.dir is not set"):
        list_source(DataConfig())


def test_a_csv_gives_files_labels_and_splits(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('file,label,split\n"b, c.jpg",cat,train\na.jpg,dog,val\n')
    listing = list_table(table, None)
    assert listing.root == tmp_path
    assert not listing.multilabel
    assert listing.examples == (
        Example("a.jpg", ("dog",), "validation"),
        Example("b, c.jpg", ("cat",), "train"),
    )


def test_several_labels_make_a_multilabel_listing(tmp_path: Path) -> None:
    csv, jsonl = tmp_path / "t.csv", tmp_path / "t.jsonl"
    csv.write_text("file,label\na.jpg,cat|dog\nb.jpg,cat\nc.jpg,\n")
    rows = [
        {"file": "a.jpg", "label": ["cat", "dog"]},
        {"file": "b.jpg", "label": ["cat"]},
        {"file": "c.jpg", "label": []},
    ]
    jsonl.write_text("\n".join(map(json.dumps, rows)))
    for table in (csv, jsonl):
        listing = list_table(table, tmp_path)
        assert listing.multilabel
        assert [e.labels for e in listing.examples] == [("cat", "dog"), ("cat",), ()]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "path,label\na.jpg,cat\n", ["path, label", "needs file and label"]),
        ("t.csv", "file,label\n,cat\n", ["t.csv, line 2"]),
        ("t.csv", "file,label,split\na.jpg,cat,trian\n", ["line 2", "'trian'", "'train'"]),
        ("t.csv", "file,label\na.jpg,cat\na.jpg,dog\n", ["'a.jpg' twice"]),
        ("t.csv", "file,label\n", ["no rows"]),
        ("t.jsonl", "{\n", ["line 1", "not JSON"]),
        ("t.jsonl", "[1]\n", ["line 1", "object"]),
    ],
)
def test_a_bad_table_names_the_line(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        list_table(tmp_path / name, None)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no table .*t.csv"):
        list_source(DataConfig(source="table", table=str(tmp_path / "t.csv")))


def test_files_and_folders_are_found_in_the_order_given(tmp_path: Path) -> None:
    touch(tmp_path, "z.jpg", "d/b.jpg", "d/a.jpg")
    found = find_files([str(tmp_path / "z.jpg"), str(tmp_path / "d")])
    assert [path.name for path in found] == ["z.jpg", "a.jpg", "b.jpg"]
    with pytest.raises(UserError, match="no file or folder"):
        find_files([str(tmp_path / "nothing.jpg")])
