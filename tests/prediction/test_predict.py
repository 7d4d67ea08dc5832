"""Promises of predict: any number of pictures, in order, to a table, whatever happens."""

import csv
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from catsdogs_jax import predict
from catsdogs_jax.classifier import Classifier, load
from catsdogs_jax.config.reader import config_from_dict
from catsdogs_jax.errors import UserError
from catsdogs_jax.evaluate import evaluate_folder
from catsdogs_jax.train import train_and_evaluate

Run = tuple[Path, Classifier]
BATCH = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained run of red and blue pictures, in the folder of `files`."""
    root = tmp_path_factory.mktemp("predict")
    for split, count in (("train", 12), ("validation", 8)):
        for k, (name, colour) in itertools.product(
            range(count), {"red": (200, 40, 40), "blue": (40, 40, 200)}.items()
        ):
            noise = np.random.default_rng([k, count]).integers(-40, 40, (24, 20, 3))
            path = root / "data" / split / name / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = (np.array(colour)[None, None] + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path)
    config = config_from_dict(
        {
            "data": {"dir": str(root / "data"), "image_size": 16, "batch_size": BATCH},
            "model": {"widths": (4,), "hidden": 8},
            "train": {"steps": 20, "learning_rate": 1e-2},
            "eval": {"every_steps": 20},
            "mesh": {"devices": 1},
        }
    )
    train_and_evaluate(config, root / "run")
    return root, load(root / "run", devices=1)


@pytest.fixture
def files(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Twenty names, two of them of no picture; the classifier is the one of `run`."""
    monkeypatch.setattr(predict, "load", lambda _, views: run[1])
    found = sorted(map(str, (run[0] / "data").rglob("*.png")))[3:21]
    (tmp_path / "broken.png").write_bytes(b"<html>")
    return [*found[:5], str(tmp_path / "broken.png"), *found[5:], str(tmp_path / "gone.png")]


def call(run: Run, files: list[str], monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> None:
    stdin = io.TextIOWrapper(io.BytesIO("\n".join(files).encode()))
    monkeypatch.setattr(predict.sys, "stdin", stdin)
    predict.main(["--workdir", str(run[0] / "run"), "-", *map(str, words)])


def test_rows_keep_the_order_and_a_broken_file_is_a_row_with_its_reason(
    run: Run, files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    call(run, files, monkeypatch)
    printed = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    assert [row["file"] for row in rows] == files
    assert "not a picture" in rows[5]["error"]
    assert "No such file" in rows[-1]["error"]
    assert all(row["predicted"] in row["file"] for row in rows if not row["error"])
    assert printed.err.startswith("20 pictures in ")
    assert "pictures/s; 2 could not be used" in printed.err


def test_a_call_that_finds_no_picture_at_all_fails(
    run: Run, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="none of the 1 files is a picture"):
        call(run, files[-1:], monkeypatch, "--out", tmp_path / "found.csv")
    assert "No such file" in (tmp_path / "found.csv").read_text()


def test_the_three_forms_hold_the_same(
    run: Run, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for ending in ("csv", "jsonl", "parquet"):
        call(run, files, monkeypatch, "--out", tmp_path / f"found.{ending}")
    rows = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert pq.read_table(tmp_path / "found.parquet").to_pylist() == rows
    with (tmp_path / "found.csv").open() as stream:
        for row, cells in zip(rows, csv.DictReader(stream), strict=True):
            assert (row["file"], row["error"] or "") == (cells["file"], cells["error"])
            if not row["error"]:
                assert row["predicted"] == cells["predicted"]
                assert row["probabilities"]["red"] == pytest.approx(float(cells["red"]), abs=1e-6)
    assert sorted(path.name for path in tmp_path.glob("found*")) == [
        *("found.csv", "found.jsonl", "found.parquet")
    ]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_call_that_was_killed_anywhere_goes_on_to_the_same_bytes(
    ending: str, run: Run, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out, partial = tmp_path / f"found.{ending}", tmp_path / f"found.{ending}.partial"
    with monkeypatch.context() as patch:
        patch.setattr(predict.Partial, "finish", lambda *_: None)
        call(run, files, monkeypatch, "--out", out)
    lines, settings = partial.read_bytes(), Path(f"{partial}.json").read_bytes()
    call(run, files, monkeypatch, "--out", out, "--resume")
    whole = out.read_bytes()
    # The file only grows, so that a kill leaves some beginning of it.
    for length in [0, 1, *range(7, len(lines), len(lines) // (5 if ending == "csv" else 2))]:
        partial.write_bytes(lines[:length])
        Path(f"{partial}.json").write_bytes(settings)
        call(run, files, monkeypatch, "--out", out, "--resume")
        assert out.read_bytes() == whole, length
        assert not partial.exists()


def test_what_is_whole_is_left_and_what_is_not_is_not_overwritten(
    run: Run, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out, partial = tmp_path / "found.csv", tmp_path / "found.csv.partial"
    call(run, files[:3], monkeypatch, "--out", out)
    before = out.stat().st_mtime_ns
    call(run, files[:3], monkeypatch, "--out", out, "--resume")
    assert out.stat().st_mtime_ns == before
    with monkeypatch.context() as patch:
        patch.setattr(predict.Partial, "finish", lambda *_: None)
        call(run, files[:3], monkeypatch, "--out", out)
    with pytest.raises(UserError, match="go on with --resume"):
        call(run, files[:3], monkeypatch, "--out", out)
    with pytest.raises(UserError, match="begun with reject_below None, this call has 0.5"):
        call(run, files[:3], monkeypatch, "--out", out, "--resume", "--reject-below", "0.5")
    for others in (files[2::-1], files[:2]):
        with pytest.raises(UserError, match="the list is not that of the call"):
            call(run, others, monkeypatch, "--out", out, "--resume")
    assert partial.read_text().count("\n") == 4


def test_shards_hold_every_picture_once(
    run: Run, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shards = []
    for index in (1, 2, 3):
        call(run, files, monkeypatch, "--out", tmp_path / "found.csv", "--shard", f"{index}/3")
        name = f"found-{index:05d}-of-00003.csv"
        shards.append(list(csv.DictReader((tmp_path / name).read_text().splitlines())))
    mixed = [row["file"] for rows in itertools.zip_longest(*shards) for row in rows if row]
    assert mixed == files
    with pytest.raises(UserError, match="--shard is '4/3'"):
        call(run, files, monkeypatch, "--shard", "4/3")


def test_pictures_far_from_the_training_pictures_or_unsure_get_no_answer(
    run: Run, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Image.new("RGB", (24, 20), (30, 250, 30)).save(tmp_path / "green.png")
    names = [*files, str(tmp_path / "green.png")]
    out = tmp_path / "found.jsonl"
    call(run, names, monkeypatch, "--out", out, "--reject-far", "1.0")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows[-1]["predicted"] == "neither"
    assert rows[-1]["rejected"] == "far"
    known = [row["distance"] for row in rows[:-1] if not row["error"]]
    assert rows[-1]["distance"] > max(known)
    assert (run[0] / "run" / "embeddings.npz").is_file()
    call(run, names, monkeypatch, "--out", out, "--reject-below", "1", "--reject-as", "unknown")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["predicted"] for row in rows if not row["error"]} == {"unknown"}
    assert {row["rejected"] for row in rows if not row["error"]} == {"unsure"}


def test_without_some_training_pictures_nothing_is_kept_for_the_next_call(
    run: Run, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept, red = run[0] / "run" / "embeddings.npz", run[0] / "data/train/red"
    kept.unlink(missing_ok=True)
    red.rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(UserError, match=r"all train pictures .* but '.*train/red/.*put back"):
            call(run, files[:1], monkeypatch, "--reject-far", "0.9")
    finally:
        (tmp_path / "elsewhere").rename(red)
    assert not kept.exists()


def test_a_list_whose_rest_is_unusable_is_no_failure(
    run: Run, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "found.csv"
    with monkeypatch.context() as patch:
        patch.setattr(predict.Partial, "finish", lambda *_: None)
        call(run, files[:3], monkeypatch, "--out", out)
    call(run, [*files[:3], files[-1]], monkeypatch, "--out", out, "--resume")
    assert len(out.read_text().splitlines()) == 5


def test_an_evaluation_does_not_overwrite_a_run(run: Run) -> None:
    with pytest.raises(UserError, match="the folder of a run, whose result.json"):
        evaluate_folder(run[0] / "run", run[0] / "data", run[0] / "run")


def test_of_held_out_pictures_the_share_asked_for_passes(
    run: Run, files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = sorted(map(str, (run[0] / "data" / "validation").rglob("*.png")))
    call(run, names, monkeypatch, "--out", tmp_path / "found.csv", "--reject-far", "0.75")
    rows = list(csv.DictReader((tmp_path / "found.csv").read_text().splitlines()))
    assert sum(row["rejected"] == "far" for row in rows) == len(rows) // 4


def test_names_are_taken_no_further_ahead_than_a_few_batches(run: Run, files: list[str]) -> None:
    taken = 0

    def names() -> Iterator[str]:
        nonlocal taken
        for name in itertools.islice(itertools.cycle(files), 2000):
            taken += 1
            yield name

    ahead = max(taken - k for k, _ in enumerate(run[1].stream(names())))
    assert taken == 2000
    assert ahead <= 14 * BATCH  # Decoding 3, queue 4 and one in hand, on the device 3, coming 1.


def test_one_name_alone_is_one_file(run: Run, files: list[str]) -> None:
    (expected,) = run[1].predict(files[:1])
    for alone in (files[0], Path(files[0])):
        for (found,) in (run[1].predict(alone), list(run[1].stream(alone))):
            assert found.file == Path(files[0])
            assert found.predicted == expected.predicted != ""


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (Image.new("RGB", (8, 8)), "Image"),
        (np.zeros((2, 8, 8, 3), np.uint8), "ndarray"),
        (b"photo.jpg", "bytes"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_name_of_a_file_is_refused_by_its_type(
    given: Any, named: str, run: Run, files: list[str]
) -> None:
    for files_given in (given, [files[0], given]):
        with pytest.raises(UserError, match=f"a {named} is no name of a picture.*str or Path"):
            run[1].predict(files_given)
        with pytest.raises(UserError, match=f"a {named} is no name of a picture"):
            list(run[1].stream(files_given))


def test_a_picture_in_a_store_is_read_like_a_file(run: Run, files: list[str]) -> None:
    store = fsspec.filesystem("memory")
    store.pipe_file("/shelf/one.png", Path(files[0]).read_bytes())
    try:
        urls = ["memory://shelf/one.png", "memory://shelf/none.png"]
        here, there, gone = run[1].predict([files[0], *urls])
    finally:
        store.rm("/shelf", recursive=True)
    assert there.file == urls[0]
    assert there.probabilities == pytest.approx(here.probabilities, abs=1e-6)
    assert gone.error.startswith("cannot be read")


def test_views_are_averaged_as_asked(run: Run, files: list[str]) -> None:
    with Image.open(files[0]) as picture:
        turned = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored = Path(files[-1]).with_name("mirrored.png")
    turned.save(mirrored)
    both = load(run[0] / "run", devices=1, views="mirror")
    one, other = both.predict([files[0], mirrored])
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    plain = [p.probabilities for p in run[1].predict([files[0], mirrored])]
    assert plain[0] is not None
    assert abs(plain[0] - plain[1]).max() > 1e-6
    assert len(load(run[0] / "run", devices=1, views="all").preprocessing.zooms) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "a.xlsx"], "ends in none of csv, jsonl, parquet"),
        (["--format", "parquet"], "cannot be written to standard output"),
        (["--resume"], "give the --out"),
        (["--reject-far", "95"], "--reject-far is 95"),
        (["--reject-as", "red"], "is a class"),
        (["--out", "gs://b/a.csv"], "copy what is written when it is whole"),
    ],
)
def test_flags_that_cannot_be_are_one_line(
    words: list[str],
    message: str,
    run: Run,
    files: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match=message):
        call(run, files, monkeypatch, *words)


def test_devices_share_a_batch(run: Run, files: list[str]) -> None:
    several = load(run[0] / "run")
    assert several.sharding.device_count == len(jax.devices()) > 1
    for one, other in zip(run[1].predict(files), several.predict(files), strict=True):
        assert one.error == other.error
        if not one.error:
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
