"""Promises of packs in a bucket: they appear when they are whole, and nothing else is touched."""

from pathlib import Path

import fsspec
import pytest

from catsdogs_jax.config import DataConfig
from catsdogs_jax.data import remote
from catsdogs_jax.data.pack import PackOptions, pack
from catsdogs_jax.data.records import list_records
from catsdogs_jax.data.sources import list_folder
from catsdogs_jax.errors import UserError

ONE, TWO = (PackOptions(shards=shards, workers=1) for shards in (1, 2))


def test_a_pack_in_a_bucket_is_whole_or_not_there_and_touches_nothing_else(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, url = fsspec.filesystem("memory"), "memory://packed/records"
    listing = list_folder(colours)
    put = remote.upload

    def cut_off(file: Path, url: str) -> None:
        if "validation" in url:
            raise UserError("the line is cut")
        put(file, url)

    with monkeypatch.context() as patch:
        patch.setattr(remote, "upload", cut_off)
        with pytest.raises(UserError, match="the line is cut"):
            pack(listing, url, TWO)
    with pytest.raises(UserError, match=r"no records\.json"):
        list_records(DataConfig(source="records", dir=url))
    memory.pipe_file("/packed/records/mine.txt", b"kept")
    pack(listing, url, ONE)  # Another plan; the first is given up.
    index = pack(listing, url, ONE)  # It is there already.
    assert {shard["file"] for shard in index["shards"]} == {
        "train-00000-of-00001.array_record",
        "validation-00000-of-00001.array_record",
    }
    there = {Path(name).name for name in memory.ls("/packed/records", detail=False)}
    tables = {shard["table"] for shard in index["shards"]}
    shards = {shard["file"] for shard in index["shards"]}
    assert there == {*shards, *tables, "records.json", "mine.txt"}
    with pytest.raises(UserError, match="holds something else, or was packed otherwise"):
        pack(listing, url, TWO)
    pack(listing, "memory://packed/again", TWO)
    memory.get("/packed/again", str(tmp_path / "again"), recursive=True)
    pack(listing, tmp_path / "here", TWO)
    for path in (tmp_path / "here").iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_bucket_that_holds_something_else_is_left_alone(colours: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/others/notes.txt", b"notes")
    with pytest.raises(UserError, match=r"'memory://others' exists and holds something else"):
        pack(list_folder(colours), "memory://others", ONE)
    assert fsspec.filesystem("memory").cat_file("/others/notes.txt") == b"notes"
