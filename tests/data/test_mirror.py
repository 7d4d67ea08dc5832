"""Promises of a folder behind a URL: copied once, changed files again, and nothing elsewhere."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from catsdogs_jax import check
from catsdogs_jax.config import Config
from catsdogs_jax.data import mirror, remote, scan
from catsdogs_jax.data.contents import as_files
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.data.mirror import mirrored, stood_in
from catsdogs_jax.data.pictures import Scanned
from catsdogs_jax.data.places import cache_folder, set_store, store_of
from catsdogs_jax.data.scan_index import scan_folder
from catsdogs_jax.data.sources import list_folder, list_labelled
from catsdogs_jax.data.walk import files_below
from catsdogs_jax.errors import UserError
from catsdogs_jax.evaluate import evaluate_folder
from catsdogs_jax.train import train_and_evaluate
from tests.processes import assert_same_rows, ended, launched, rows_of

URL = "memory://mirror/pets"


@pytest.fixture
def bucket(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The coloured pictures in a store."""
    monkeypatch.setenv("CATSDOGS_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    if store.exists("/mirror"):
        store.rm("/mirror", recursive=True)
    store.put(str(colours), "/mirror/pets", recursive=True)
    return store


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are copied."""
    names: list[str] = []
    fetch = mirror.fetch_url
    monkeypatch.setattr(
        mirror, "fetch_url", lambda url, folder: names.append(url) or fetch(url, folder)
    )
    return names


def test_a_run_from_a_bucket_is_one_from_the_folder(
    bucket: Any, tiny: Callable[..., Config], colours: Path
) -> None:
    there, here = load_dataset(tiny(data={"dir": URL})), load_dataset(tiny())
    assert there.manifest.pictures == here.manifest.pictures
    for found, expected in zip(
        there.splits["validation"].evaluation_batches(4),
        here.splits["validation"].evaluation_batches(4),
        strict=True,
    ):
        np.testing.assert_array_equal(found["image"], expected["image"])
    assert len(list_labelled(URL).examples) == len(list_labelled(colours).examples)


def test_a_streamed_bucket_gives_the_same_run_and_no_picture_is_copied(
    bucket: Any, copied: list[str], tiny: Callable[..., Config], tmp_path: Path
) -> None:
    far = {"dir": URL, "stream": True, "cache_mb": 0, "disk_cache_mb": 0}
    there, here = load_dataset(tiny(data=far)), load_dataset(tiny())
    assert there.manifest.pictures == here.manifest.pictures
    assert there.manifest.fingerprint == here.manifest.fingerprint
    for found, expected in zip(
        there.training.training_batches(3, 9, 8, seed=1),  # As a run that goes on at step 3.
        here.training.training_batches(3, 9, 8, seed=1),
        strict=True,
    ):
        np.testing.assert_array_equal(found["image"], expected["image"])
    assert not copied
    assert all(path.stat().st_size < 200 for path in (tmp_path / "cache").rglob("*.png"))
    picture = here.manifest.pictures[0]
    with as_files(there.manifest.root, [(picture.file, picture.content_hash)]) as (path,):
        assert path.read_bytes() == bucket.cat(f"/mirror/pets/{picture.file}")


def test_of_a_streamed_bucket_only_what_changed_is_scanned_again(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    stored = scan.read_stored
    monkeypatch.setattr(scan, "read_stored", lambda url: read.append(url) or stored(url))

    def scanned() -> dict[str, Scanned | str]:
        folder = stood_in(URL)
        files = list(files_below(folder))
        return dict(zip(files, scan_folder(folder, files), strict=True))

    before = scanned()
    assert len(read) == len(before)
    assert scanned() == before
    assert len(read) == len(before)
    bucket.pipe("/mirror/pets/train/red/3.png", bucket.cat("/mirror/pets/train/blue/3.png"))
    bucket.rm("/mirror/pets/train/red/4.png")
    after = scanned()
    assert read[len(before) :] == [f"{URL}/train/red/3.png"]
    assert after["train/red/3.png"] == before["train/blue/3.png"]
    assert "train/red/4.png" not in after


def test_a_streamed_picture_that_changes_or_goes_stops_the_run(
    bucket: Any, tiny: Callable[..., Config]
) -> None:
    data = load_dataset(tiny(data={"dir": URL, "stream": True, "cache_mb": 0, "disk_cache_mb": 0}))
    bucket.pipe("/mirror/pets/train/red/3.png", b"another")
    with pytest.raises(UserError, match=r"'train/red/3.png' is not what it was"):
        list(data.training.training_batches(0, 3, 8, seed=1))
    bucket.rm("/mirror/pets/train/red/3.png")
    with pytest.raises(UserError, match=r"cannot read 'memory://mirror/pets/train/red/3.png'"):
        list(data.training.training_batches(0, 3, 8, seed=1))


def test_a_store_that_fails_in_a_scan_leaves_no_picture_out(
    bucket: Any, tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(url: str, start: int | None = None, end: int | None = None) -> bytes:
        raise OSError("the line is dead")

    monkeypatch.setattr(remote, "read_url", fail)
    with pytest.raises(UserError, match="cannot read 'memory://.*': the line is dead; check"):
        load_dataset(tiny(data={"dir": URL, "stream": True}))


def test_a_streamed_table_leaves_out_what_is_not_there_and_heeds_no_spelling(
    bucket: Any, tmp_path: Path
) -> None:
    folder = stood_in(URL)
    found = list(scan_folder(folder, ["train/red/3.png", "./train//red/3.png", "none.png"]))
    assert found[0] == found[1]
    assert isinstance(found[0], Scanned)
    assert found[2] == "cannot be read: No such file or directory"


def test_a_class_that_is_gone_from_the_bucket_leaves_no_empty_folder(bucket: Any) -> None:
    for folder in (mirrored(URL), stood_in(URL)):
        assert (folder / "train/red").is_dir()
    bucket.rm("/mirror/pets/train/red", recursive=True)
    for folder in (mirrored(URL), stood_in(URL)):
        assert not (folder / "train/red").exists()
        assert (folder / "train/blue").is_dir()


def test_without_versions_what_is_streamed_is_scanned_anew(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "tags_below", lambda url: {"train/red/3.png": ""})
    before = (stood_in(URL) / "train/red/3.png").stat().st_mtime_ns
    assert (stood_in(URL) / "train/red/3.png").stat().st_mtime_ns > before


def test_a_folder_outside_the_cache_calls_no_store(colours: Path) -> None:
    set_store(colours, URL)
    with pytest.raises(UserError, match="set CATSDOGS_CACHE"):
        store_of(colours)


def test_only_what_is_new_or_changed_is_copied_again(
    bucket: Any, copied: list[str], colours: Path
) -> None:
    folder = mirrored(URL)
    whole = len([path for path in colours.rglob("*") if path.is_file()])
    assert len(copied) == whole
    assert mirrored(URL) == folder
    assert len(copied) == whole
    bucket.pipe("/mirror/pets/train/red/3.png", b"another")
    bucket.rm("/mirror/pets/train/red/4.png")
    (folder / "train/red/5.png").unlink()
    mirrored(URL)
    assert {url.removeprefix(URL) for url in copied[whole:]} == {
        "/train/red/3.png",
        "/train/red/5.png",
    }
    assert (folder / "train/red/3.png").read_bytes() == b"another"
    assert not (folder / "train/red/4.png").exists()


def test_a_copy_is_on_the_disk_before_it_has_its_name(
    bucket: Any, disk_calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "REQUESTS", 1)  # One after the other.
    mirrored(URL)
    named = [k for k, call in enumerate(disk_calls) if re.match(r"rename .*\.png$", call)]
    assert len(named) == 33
    assert all("/.drafts/" in disk_calls[k - 1] for k in named)


@pytest.mark.parametrize("bring", [mirrored, stood_in])
def test_what_was_emptied_or_cut_off_is_made_again(
    bucket: Any, bring: Callable[[str], Path]
) -> None:
    folder = bring(URL)
    files = [folder / f"train/red/{number}.png" for number in range(3)]
    before = [file.read_bytes() for file in files]
    files[0].write_bytes(b"")
    files[1].write_bytes(before[1][:-1])
    bring(URL)
    assert [file.read_bytes() for file in files] == before


def test_a_copy_of_an_earlier_version_is_kept_unless_it_is_empty(
    bucket: Any, copied: list[str]
) -> None:
    folder = mirrored(URL)
    known = folder / ".known.jsonl"
    lines = [json.loads(line) for line in known.read_text().splitlines()]
    known.write_text("".join(json.dumps(line[:2]) + "\n" for line in lines))
    (folder / "train/red/3.png").write_bytes(b"")
    copied.clear()
    mirrored(URL)
    assert copied == [f"{URL}/train/red/3.png"]


def test_a_copy_that_was_cut_short_goes_on(
    bucket: Any, copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_BLOCK", 8)
    fetch, tries = mirror.fetch_url, iter(range(20))

    def cut(url: str, folder: Path) -> object:
        if next(tries, None) is None:
            raise UserError("the store is gone")
        return fetch(url, folder)

    monkeypatch.setattr(mirror, "fetch_url", cut)
    with pytest.raises(UserError, match="the store is gone"):
        mirrored(URL)
    monkeypatch.setattr(mirror, "fetch_url", fetch)
    before = len(copied)
    assert before >= 16
    folder = mirrored(URL)
    assert len(copied) - before <= 33 - 16
    assert len(list_labelled(folder).examples) == 33


def test_names_that_lead_elsewhere_and_empty_buckets_are_refused(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no file system 'nowhere'"):
        mirrored("nowhere://pets")
    with pytest.raises(UserError, match=r"no files at 'memory://mirror/pats'"):
        mirrored("memory://mirror/pats")
    monkeypatch.setattr(mirror, "tags_below", lambda url: {"a//b.jpg": "1"})
    with pytest.raises(UserError, match=r"'a//b.jpg', a name that no file here can have"):
        mirrored(URL)
    monkeypatch.setattr(mirror, "tags_below", lambda url: {"a/../../b.jpg": "1"})
    with pytest.raises(UserError, match=r"'a/../../b.jpg', a name that leads out"):
        mirrored(URL)


@pytest.mark.draws
@pytest.mark.parametrize("stream", [pytest.param(False, marks=pytest.mark.heavy), True])
def test_a_user_reads_of_the_bucket_and_not_of_the_cache(
    bucket: Any,
    tiny: Callable[..., Config],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stream: bool,
) -> None:
    bucket.pipe("/mirror/pets/train/red/bad.jpg", b"<html>")
    bucket.pipe("/mirror/pets/train/red/leak.png", bucket.cat("/mirror/pets/validation/red/0.png"))
    run, page = tmp_path / "run", tmp_path / "check/page.html"
    train_and_evaluate(tiny(data={"dir": URL, "stream": stream}, train={"steps": 3}), run)
    evaluate_folder(run, URL, tmp_path / "more")
    with pytest.raises(SystemExit):
        check.main([URL, "--out", str(page)])

    said = [line for line in capsys.readouterr().out.splitlines() if "copying" not in line]
    assert any(line.endswith(f"from {URL}") for line in said)
    assert f"folder: {URL}" in said
    assert "  left out 'train/red/bad.jpg': not a picture" in "\n".join(said)
    written = [path for path in tmp_path.glob("*/*") if path.suffix in (".csv", ".json", ".html")]
    # The manifest says where the run finds its pictures again.
    texts = {path.name: path.read_text() for path in written if path.name != "manifest.json"}
    assert texts.keys() >= {"predictions.csv", "result.json", "exclude.csv", "page.html"}
    assert "<title>Check of pets<" in texts["page.html"]
    for text in ["\n".join(said), *texts.values()]:
        assert str(tmp_path / "cache") not in text


@pytest.mark.parametrize("bring", [mirrored, stood_in])
def test_what_is_wrong_in_a_bucket_is_told_of_the_bucket(
    bucket: Any, tiny: Callable[..., Config], bring: Callable[[str], Path]
) -> None:
    def refused(words: str) -> None:
        with pytest.raises(UserError, match=words):
            list_folder(bring(URL))

    bucket.pipe("/mirror/pets/others/a.png", b"1")
    refused("'memory://mirror/pets' holds split folders")
    bucket.rm("/mirror/pets/others", recursive=True)
    bucket.pipe("/mirror/pets/train/green/notes.txt", b"1")
    refused("'green' has no pictures in 'memory://mirror/pets/train/green'")


def test_a_copy_that_is_gone_is_named_by_the_bucket(
    bucket: Any, tiny: Callable[..., Config]
) -> None:
    data = load_dataset(tiny(data={"dir": URL, "cache_mb": 0, "disk_cache_mb": 0}))
    (data.manifest.root / "train/red/3.png").unlink()
    words = r"No such file or directory: 'memory://mirror/pets/train/red/3.png'"
    with pytest.raises(UserError, match=words):
        list(data.training.training_batches(0, 3, 8, seed=1))


@pytest.mark.long
@pytest.mark.parametrize("caches", ["one cache", "a cache each"])
def test_processes_that_stream_a_bucket_train_as_one_on_the_folder(
    tiny: Callable[..., Config], colours: Path, tmp_path: Path, caches: str
) -> None:
    """Of one machine, or of two, each of which makes stand-ins of its own."""
    url = f"file://{colours}"  # A store that other processes see, too.
    kept = {"cache_mb": 0, "disk_cache_mb": 0}
    far = tiny(data={"dir": url, "stream": True, **kept}, mesh={"devices": 2})
    apart = 'export CATSDOGS_CACHE="$0/$CATSDOGS_PROCESS_ID"; exec "$@"'
    before = ["sh", "-c", apart, str(tmp_path / "caches")] if caches == "a cache each" else []
    said = ended(launched(tmp_path, far, 2, before))
    assert f"train 24, validation 9 from {url}\n" in said
    assert "copying" not in said

    alone = train_and_evaluate(tiny(data=kept), tmp_path / "alone")
    assert_same_rows(rows_of(tmp_path / "run"), rows_of(tmp_path / "alone"))
    assert all(row["digest"] for row in rows_of(tmp_path / "run") if row["split"] == "train")
    found = json.loads((tmp_path / "run/result.json").read_text())
    assert found["fingerprint"] == alone.values["fingerprint"]
    places = [tmp_path / "caches" / str(k) for k in range(2)] if before else [cache_folder()]
    for place in places:
        folder = place / stood_in(url).relative_to(cache_folder())
        files = list(files_below(folder))
        assert len(files) == 24 + 9
        assert all((folder / file).stat().st_size < 200 for file in files)
