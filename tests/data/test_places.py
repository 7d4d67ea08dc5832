"""Promises of folders that are made once: whole or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from catsdogs_jax.data.places import (
    MARKER,
    cache_folder,
    make_once,
    origin_of,
    set_copied,
    set_store,
)
from catsdogs_jax.errors import UserError


def fill(folder: Path) -> None:
    (folder / "x").write_text("1")


def test_a_folder_is_filled_once(tmp_path: Path) -> None:
    calls = []

    def counted(folder: Path) -> None:
        calls.append(folder)
        fill(folder)

    made = make_once(tmp_path / "a" / "b", {"n": 1}, counted)
    assert make_once(tmp_path / "a" / "b", {"n": 1}, counted) == made
    assert len(calls) == 1
    assert (made / "x").read_text() == "1"


def test_what_is_in_a_folder_is_on_the_disk_before_its_name_is(
    tmp_path: Path, disk_calls: list[str]
) -> None:
    make_once(tmp_path / "a", {}, fill)
    marker, draft, renamed, parent = disk_calls
    assert marker.startswith("fsync .a.")
    assert marker.endswith(f"/{MARKER}")
    assert draft == marker.removesuffix(f"/{MARKER}")
    assert renamed == "rename a"
    assert parent == "fsync ."


def test_a_file_system_that_cannot_wait_for_its_disk_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(number: int) -> Callable[[int], None]:
        def fsync(_: int) -> None:
            raise OSError(number, os.strerror(number))

        return fsync

    monkeypatch.setattr(os, "fsync", fails(errno.EINVAL))
    make_once(tmp_path / "a", {}, fill)
    monkeypatch.setattr(os, "fsync", fails(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        make_once(tmp_path / "b", {}, fill)
    assert not (tmp_path / "b").exists()


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def broken(folder: Path) -> None:
        fill(folder)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        make_once(tmp_path / "a", {}, broken)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_does_no_harm(tmp_path: Path) -> None:
    fill_left = tmp_path / ".a.leftover"
    fill_left.mkdir()
    assert (make_once(tmp_path / "a", {}, fill) / "x").exists()


@pytest.mark.parametrize("settings", [{"n": 2}, {}])
def test_other_content_is_refused_not_overwritten(tmp_path: Path, settings: dict) -> None:
    make_once(tmp_path / "a", {"n": 1}, fill)
    with pytest.raises(UserError, match="choose another folder"):
        make_once(tmp_path / "a", settings, fill)
    (tmp_path / "own").mkdir()
    with pytest.raises(UserError, match="something else"):
        make_once(tmp_path / "own", {}, fill)


def test_the_loser_of_a_race_takes_the_winners_folder(tmp_path: Path) -> None:
    def raced(folder: Path) -> None:
        make_once(tmp_path / "a", {"n": 1}, fill)
        (folder / "x").write_text("2")

    made = make_once(tmp_path / "a", {"n": 1}, raced)
    assert (made / "x").read_text() == "1"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_cache_can_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATSDOGS_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("CATSDOGS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/other")
    assert cache_folder() == Path("/other/catsdogs_jax")


def test_what_is_in_the_cache_is_named_by_where_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATSDOGS_CACHE", str(tmp_path / "cache"))
    copied, stands, elsewhere = (tmp_path / name for name in ("cache/a", "cache/b", "pets"))
    for folder in (copied, stands, elsewhere):
        folder.mkdir(parents=True)
    set_copied(copied, "gs://bucket/old")
    set_copied(copied, "gs://bucket/pets")
    set_store(stands, "s3://bucket/pets")
    set_copied(elsewhere, "gs://bucket/pets")  # As whoever made the folder may have.
    assert origin_of(copied) == "gs://bucket/pets"
    assert origin_of(copied / "train/cat 1.jpg") == "gs://bucket/pets/train/cat 1.jpg"
    assert origin_of(stands / "train") == "s3://bucket/pets/train"
    for path in (elsewhere, elsewhere / "train", tmp_path / "cache", Path("pets")):
        assert origin_of(path) == str(path)
