"""Promises of the manifest: decoded once, quarantined with a reason, fingerprinted."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.leaks import find_leaks
from catsdogs_jax.data.manifest import Manifest, build_manifest, evaluation_manifest
from catsdogs_jax.data.manifest_file import read_head, read_manifest, spell_manifest
from catsdogs_jax.data.sources import list_folder, list_table
from catsdogs_jax.errors import UserError
from catsdogs_jax.task import Task

Paint = Callable[..., Path]


def manifest_of(root: Path, seed: int = 0, **options: object) -> Manifest:
    return build_manifest(list_folder(root), DataConfig(**options), seed)  # type: ignore[arg-type]


def test_splits_and_classes_come_from_the_folders(colours: Path) -> None:
    manifest = manifest_of(colours)
    assert manifest.task == Task("binary", ("blue", "red"))
    assert manifest.splits == ("train", "validation")
    assert [len(manifest.split(name)) for name in manifest.splits] == [24, 9]
    assert manifest.pictures[0].width == 20
    assert manifest.pictures[0].height == 24


def test_a_folder_without_splits_is_split_by_us(colours: Path) -> None:
    manifest = manifest_of(colours / "train", test_share=0.25)
    assert {name: len(manifest.split(name)) for name in manifest.splits} == {
        "train": 14,
        "validation": 4,
        "test": 6,
    }


def test_bad_files_are_quarantined_with_a_reason_and_stay(colours: Path) -> None:
    bad = colours / "train/red/bad.jpg"
    bad.write_bytes(b"<html>")
    manifest = manifest_of(colours)
    assert [file for file, _ in manifest.quarantined] == ["train/red/bad.jpg"]
    assert "not a picture" in manifest.quarantined[0][1]
    assert bad.exists()
    assert len(manifest.pictures) == 33


def test_the_fingerprint_changes_with_the_data_only(colours: Path, paint: Paint) -> None:
    first = manifest_of(colours).fingerprint
    assert manifest_of(colours).fingerprint == first
    paint("colours/train/red/0.png", seed=999)
    assert manifest_of(colours).fingerprint != first


def test_the_file_of_the_manifest_is_json_with_a_picture_in_each_line(
    colours: Path, tmp_path: Path
) -> None:
    (colours / "train/red/bad.png").write_bytes(b"no picture")
    excluded = (("train/red/1.png", "near copy"),)
    made = dataclasses.replace(manifest_of(colours), excluded=excluded)
    path = tmp_path / "manifest.json"
    path.write_text("".join(spell_manifest(made)), encoding="utf-8")
    tree = json.loads(path.read_text(encoding="utf-8"))
    assert len(tree["pictures"]) == 33
    assert set(tree["pictures"][0]) >= {"file", "labels", "split", "content_hash", "orientation"}
    assert path.read_text().count('\n{"file": ') == 33
    assert read_manifest(path) == made
    assert read_head(path) == {key: tree[key] for key in tree if key != "pictures"}

    text = path.read_text(encoding="utf-8")
    for end in (text.rindex("{"), text.rindex("]"), len(text) - 300, text.index('{"file": "')):
        (tmp_path / "cut.json").write_text(text[:end], encoding="utf-8")
        with pytest.raises(UserError, match=r"cut.json' is cut short"):
            read_manifest(tmp_path / "cut.json")

    path.write_text(json.dumps(tree, indent=1), encoding="utf-8")  # As versions before wrote it.
    assert read_manifest(path) == made


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["validation/blue"], r"class 'blue' has no readable picture in the validation split"),
        (["train/blue", "validation/blue"], r"only one class, 'red'"),
        (["train/blue"], r"only one class, 'red'"),
    ],
)
def test_a_class_missing_from_a_split_is_named(
    colours: Path, change: list[str], words: str
) -> None:
    for folder in change:
        for path in (colours / folder).iterdir():
            path.unlink()
        (colours / folder).rmdir()
    with pytest.raises(UserError, match=words):
        manifest_of(colours)


def test_a_misspelt_class_folder_is_named_with_the_nearest(colours: Path) -> None:
    (colours / "validation/red").rename(colours / "validation/redd")
    with pytest.raises(UserError, match="labelled 'redd'; known: blue, red. Did you mean 'red'"):
        manifest_of(colours)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_class_of_which_no_file_can_be_read_does_not_vanish(
    colours: Path, paint: Paint, split: str
) -> None:
    for number in range(4):
        paint(f"colours/train/green/{number}.png", (40, 200, 40), seed=number)
        paint(f"colours/validation/green/{number}.png", (40, 200, 40), seed=9 + number)
    for path in (colours / split / "green").iterdir():
        path.write_bytes(b"\0\0\0\x18ftypheic")
    words = rf"'green' has no readable picture in the {split} split: .*; 4 files cannot be used \("
    with pytest.raises(UserError, match=words + rf"'{split}/green/0.png': not a picture"):
        manifest_of(colours)


def test_all_files_unreadable_is_an_error(colours: Path) -> None:
    for path in colours.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"none of the 33 files.*the file is empty"):
        manifest_of(colours)


def test_the_order_of_classes_can_be_given(colours: Path) -> None:
    assert manifest_of(colours, classes=("red", "blue")).task.classes == ("red", "blue")
    with pytest.raises(UserError, match="data.classes names 'green'"):
        manifest_of(colours, classes=("red", "blue", "green"))


def test_three_classes_are_multiclass_and_binary_is_refused(colours: Path, paint: Paint) -> None:
    for split in ("train", "validation"):
        for i in range(2):
            paint(f"colours/{split}/green/{i}.png", (0, 200, 0), seed=i)
    assert manifest_of(colours).task.kind == "multiclass"
    with pytest.raises(UserError, match="needs two classes, found 3"):
        manifest_of(colours, labels="binary")


def test_a_table_of_lists_is_multilabel(colours: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    rows = ["file,label"]
    for i in range(10):
        labels = ["", "a", "b", "a|b", "a"][i % 5]
        rows.append(f"train/red/{i}.png,{labels}")
    table.write_text("\n".join(rows))
    manifest = build_manifest(list_table(table, colours), DataConfig(validation_share=0.5), 0)
    assert manifest.task == Task("multilabel", ("a", "b"))


@pytest.mark.parametrize(
    ("label", "words"), [("red|blue", r"2 labels \(red, blue\)"), ("", "0 labels")]
)
def test_several_labels_or_none_are_refused_for_a_model_of_one(
    colours: Path, label: str, words: str
) -> None:
    table = colours / "more.csv"
    table.write_text(f"file,label\nvalidation/red/0.png,{label}\n")
    with pytest.raises(UserError, match=f"red/0.png' has {words}.* a binary problem has one"):
        evaluation_manifest(list_table(table, None), Task("binary", ("blue", "red")))


def test_a_trained_models_classes_are_kept_in_evaluation(colours: Path) -> None:
    task = Task("multiclass", ("blue", "green", "red"))
    manifest = evaluation_manifest(list_folder(colours / "validation"), task)
    assert manifest.splits == ("test",)
    assert {picture.labels for picture in manifest.pictures} == {(0,), (2,)}
    with pytest.raises(UserError, match="labelled 'blue'; known: cat, dog"):
        evaluation_manifest(list_folder(colours), Task("binary", ("cat", "dog")))


def test_alike_pictures_in_different_splits_are_found(colours: Path) -> None:
    copied = (colours / "train/red/3.png").read_bytes()
    (colours / "validation/red/copy.png").write_bytes(copied)
    (colours / "train/red/copy.png").write_bytes(copied)
    pairs = {(a.file, b.file) for a, b in find_leaks(manifest_of(colours).pictures)}
    assert pairs == {
        ("train/red/3.png", "validation/red/copy.png"),
        ("train/red/copy.png", "validation/red/copy.png"),
    }


def test_the_known_pair_of_the_photographs_is_found(photos: Path) -> None:
    manifest = manifest_of(photos)
    assert (len(manifest.split("train")), len(manifest.split("validation"))) == (2000, 600)
    assert not manifest.quarantined
    pairs = [(a.file, b.file) for a, b in find_leaks(manifest.pictures)]
    assert pairs == [("train/dogs/dog.980.jpg", "validation/dogs/dog.1273.jpg")]
