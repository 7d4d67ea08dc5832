"""Promises of the look at a data set before training."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catsdogs_jax import check
from catsdogs_jax.data.marks import apply_marks
from catsdogs_jax.data.sources import list_folder
from catsdogs_jax.insight.dataset_check import check_labelled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes in two splits: smooth random pictures, none alike another."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("validation", 3)):
        for name in ("cat", "<i>dog"):
            place = tmp_path / "pets" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                coarse = rng.integers(0, 255, (6, 6, 3)).astype(np.uint8)
                Image.fromarray(coarse).resize((72, 60), Image.Resampling.NEAREST).save(
                    place / f"{number}.png"
                )
    return tmp_path / "pets"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))


def test_a_sound_folder_is_ready(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "out" / "page.html"
    check.main([str(folder), "--out", str(page)])
    text = page.read_text(encoding="utf-8")
    assert "ready" in text
    assert "http" not in text
    assert "<i>" not in text
    assert "&lt;i&gt;dog" in text
    assert rows(page.parent / "exclude.csv") == []


def test_what_would_spoil_a_run_is_found_and_can_be_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / "validation/cat/0.png", folder / "train/cat/leak.png")
    shutil.copy(folder / "train/cat/1.png", folder / "train/cat/twice.png")
    shutil.copy(folder / "train/cat/2.png", folder / "train/<i>dog/other.png")
    (folder / "train/cat/broken.jpg").write_bytes(b"nothing")
    Image.new("RGB", (200, 40)).save(folder / "train/cat/dark.png")
    page = tmp_path / "out" / "page.html"
    with pytest.raises(SystemExit) as ended:
        check.main([str(folder), "--out", str(page)])
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "alike across splits: 1" in said
    assert "equal but labelled differently: 1" in said
    excluded = {row["file"]: row["reason"] for row in rows(page.parent / "exclude.csv")}
    assert {"train/cat/leak.png", "train/cat/twice.png", "train/cat/broken.jpg"} <= set(excluded)
    relabelled = {row["file"] for row in rows(page.parent / "relabel.csv")}
    assert relabelled == {"train/cat/2.png", "train/<i>dog/other.png"}
    (dark,) = check_labelled(folder).outliers
    assert dark[0].file == "train/cat/dark.png"
    assert dark[1].startswith("dark (mean 0 of 255)")
    assert "odd aspect (200×40)" in dark[1]
    tables = (str(page.parent / "exclude.csv"), str(page.parent / "relabel.csv"))
    left = {example.file for example in apply_marks(list_folder(folder), *tables).examples}
    assert not left & set(excluded)
    assert "validation/cat/0.png" in left


def test_pictures_whose_names_are_no_utf_8_can_be_left_out_and_relabelled(
    folder: Path, tmp_path: Path
) -> None:
    odd = [os.fsdecode(name) for name in (b"\xff broken.jpg", b"\xe4.png", b"\xfc twice.png")]
    cats, dogs = folder / "train/cat", folder / "train/<i>dog"
    (cats / odd[0]).write_bytes(b"nothing")
    shutil.copy(cats / "1.png", dogs / odd[1])
    shutil.copy(cats / "2.png", cats / odd[2])
    page = tmp_path / "out" / "page.html"
    with pytest.raises(SystemExit):
        check.main([str(folder), "--out", str(page)])
    excluded = {row["file"] for row in rows(page.parent / "exclude.csv")}
    assert {f"train/cat/{odd[0]}", f"train/cat/{odd[2]}"} <= excluded
    table = page.parent / "relabel.csv"
    mended = table.read_bytes().replace(b"\xe4.png,<i>dog", b"\xe4.png,cat")
    table.write_bytes(mended)
    listing = apply_marks(list_folder(folder), "", str(table))
    labels = {example.file: example.labels for example in listing.examples}
    assert labels[f"train/<i>dog/{odd[1]}"] == ("cat",)
    left = apply_marks(list_folder(folder), str(page.parent / "exclude.csv"), "").examples
    assert not excluded & {example.file for example in left}


def test_a_table_of_several_labels_and_records_can_be_looked_at(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(folder.rglob("*.png"))
    rows = [f"{file},{'red|round' if k % 2 else 'round'}" for k, file in enumerate(files)]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file,label", *rows]))
    check.main([str(table), "--out", str(tmp_path / "table/page.html")])
    check.main([str(folder), "--pack", str(tmp_path / "pack"), "--workers", "1"])
    check.main([str(tmp_path / "pack"), "--out", str(tmp_path / "packed/page.html")])
    assert capsys.readouterr().out.count(f"pictures: {len(files):,}\n") == 2
    for name in ("table", "packed"):
        assert "data:image/jpeg" in (tmp_path / name / "page.html").read_text()
