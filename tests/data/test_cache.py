"""Promises of the cache on disk: decoded once, never half, never beyond its budget."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.cache import on_disk
from catsdogs_jax.data.manifest import Manifest, build_manifest
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.places import cache_folder, make_once
from catsdogs_jax.data.sources import list_folder
from catsdogs_jax.preprocessing import Preprocessing

LARGE = 2**30


@pytest.fixture
def manifest(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.setenv("CATSDOGS_CACHE", str(tmp_path / "cache"))
    return build_manifest(list_folder(colours), DataConfig(), 0)


def pictures(manifest: Manifest, size: int = 16) -> PictureSet:
    preprocessing = Preprocessing(size, "stretch", manifest.task)
    return PictureSet(manifest.split("train"), manifest.root, preprocessing)


def kept() -> set[str]:
    return {folder.name for folder in (cache_folder() / "pictures").iterdir()}


def test_pictures_are_the_same_as_in_memory(manifest: Manifest) -> None:
    found = on_disk(pictures(manifest), LARGE).cache
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, pictures(manifest).in_memory().cache)
    for batch in on_disk(pictures(manifest), LARGE).training_batches(0, 2, 8, seed=0):
        np.testing.assert_array_equal(batch["image"], found[batch["index"]])


def test_pixels_are_on_the_disk_before_the_file_has_its_name(
    manifest: Manifest, disk_calls: list[str]
) -> None:
    on_disk(pictures(manifest), LARGE)
    synced = [k for k, call in enumerate(disk_calls) if call.endswith("/pixels.u8")]
    named = [k for k, call in enumerate(disk_calls) if call.startswith("rename ")]
    assert len(synced) == 1
    assert synced < named


def test_a_full_disk_is_met_before_memory_is_mapped(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert on_disk(pictures(manifest), LARGE).cache is None
    assert not kept()


def test_a_later_run_decodes_nothing(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    first = on_disk(pictures(manifest), LARGE).cache
    monkeypatch.setattr(PictureSet, "decode_into", None)
    np.testing.assert_array_equal(on_disk(pictures(manifest), LARGE).cache, first)
    with pytest.raises(TypeError):
        on_disk(pictures(manifest, size=17), LARGE)  # Other pixels are decoded anew.


KILLED = """
import os, sys
from pathlib import Path
from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.cache import on_disk
from catsdogs_jax.data.manifest import build_manifest
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.sources import list_folder
from catsdogs_jax.preprocessing import Preprocessing

def half(self, decoded):
    decoded[:5] = 255
    decoded.flush()
    os.kill(os.getpid(), 9)

PictureSet.decode_into = half
manifest = build_manifest(list_folder(Path(sys.argv[1])), DataConfig(), 0)
preprocessing = Preprocessing(16, "stretch", manifest.task)
on_disk(PictureSet(manifest.split("train"), manifest.root, preprocessing), 2**30)
"""


def test_a_process_killed_half_way_leaves_nothing_that_is_read(manifest: Manifest) -> None:
    command = [sys.executable, "-c", KILLED, str(manifest.root)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (draft,) = kept()
    assert draft.startswith(".")
    found = on_disk(pictures(manifest), LARGE).cache
    np.testing.assert_array_equal(found, pictures(manifest).in_memory().cache)


def test_drafts_of_killed_processes_are_removed_after_a_day(manifest: Manifest) -> None:
    parent = cache_folder() / "pictures"
    for name, age in ((".old.x", 10**6), (".new.x", 0)):
        (parent / name).mkdir(parents=True)
        (parent / name / "pixels.u8").write_bytes(b"half")
        stamp = (parent / name).stat().st_mtime - age
        os.utime(parent / name, (stamp, stamp))
    on_disk(pictures(manifest), LARGE)
    assert ".old.x" not in kept()
    assert ".new.x" in kept()


def test_what_was_used_longest_ago_makes_room(manifest: Manifest) -> None:
    budget = pictures(manifest, 16).decoded_bytes + pictures(manifest, 18).decoded_bytes + 1000
    names = {}
    for age, size in ((200, 16), (100, 17)):
        before = kept() if (cache_folder() / "pictures").exists() else set()
        on_disk(pictures(manifest, size), 2 * budget)
        (names[size],) = kept() - before
        folder = cache_folder() / "pictures" / names[size]
        stamp = folder.stat().st_mtime - age
        os.utime(folder, (stamp, stamp))
    on_disk(pictures(manifest, 16), budget)  # Used now: the other is the older one.
    on_disk(pictures(manifest, 18), budget)
    assert names[16] in kept()
    assert names[17] not in kept()


def test_without_room_the_files_are_read_as_before(manifest: Manifest) -> None:
    assert on_disk(pictures(manifest), 100).cache is None


def test_two_that_decode_at_once_both_end_well(manifest: Manifest) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: on_disk(pictures(manifest), LARGE).cache, range(4)))
    for cache in found:
        np.testing.assert_array_equal(cache, found[0])
    assert len(kept()) == 1


def test_a_cache_that_another_process_removes_at_once_is_none(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = make_once

    def made_and_removed(folder: Path, *of: Any) -> Path:
        shutil.rmtree(real(folder, *of))
        return folder

    monkeypatch.setattr("catsdogs_jax.data.cache.make_once", made_and_removed)
    assert on_disk(pictures(manifest), LARGE).cache is None
