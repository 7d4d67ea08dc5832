"""Promises of a folder behind a URL: copied once, changed files again, and nothing elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.data import mirror
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.data.mirror import mirrored
from catsdogs_jax.data.sources import list_labelled
from catsdogs_jax.errors import UserError

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
    monkeypatch.setattr(mirror, "tags_below", lambda url: {"a/../../b.jpg": "1"})
    with pytest.raises(UserError, match=r"'a/../../b.jpg', a name that leads out"):
        mirrored(URL)
