"""Reads a pack, the records that `pack` wrote, as if it were the folder it was made of.

What `foreign` makes is read by the same road: an index and tables of ours, of shards that others
wrote and that lie elsewhere.
"""

import bisect
import dataclasses
import errno
import functools
import gzip
import hashlib
import io
import json
import threading
from array import array
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.columns import Texts
from catsdogs_jax.data.containers import CONTAINERS, Container, FarReader, Reader, open_reader
from catsdogs_jax.data.listing import Example, Examples, Listing
from catsdogs_jax.data.pictures import Facts, Scanned
from catsdogs_jax.data.places import (
    cache_folder,
    is_far,
    origin_of,
    set_copied,
    set_store,
    store_of,
)
from catsdogs_jax.data.shards import Row, file_hash
from catsdogs_jax.data.sources import PACK_INDEX as INDEX
from catsdogs_jax.errors import UPGRADE, UserError, first_line

FORMAT = "catsdogs_jax records"
VERSION = 1

_FETCHERS = 8
_FACTS = tuple(field.name for field in dataclasses.fields(Scanned))


def list_records(config: DataConfig) -> Listing:
    """Lists the pictures of a pack, with all that is known of them: none is opened.

    Args:
        config: `dir` is a folder, or the URL of one, which is copied into the cache first; its
            shards are not where `stream` says so.

    Raises:
        UserError: There is no pack, it is not whole, or it holds squares that do not fit the
            config.
    """
    far = is_far(config.dir)
    root = _fetched(config.dir, config.stream) if far else Path(config.dir)
    index = read_index(root)
    squares = index["squares"]
    if squares and squares["resize"] != config.resize:
        raise UserError(
            f"{origin_of(root)!r} holds squares made by {squares['resize']}, but data.resize is "
            f"{config.resize}: --config.data.resize={squares['resize']}, or pack original bytes"
        )
    if squares and squares["size"] < config.image_size:
        raise UserError(
            f"{origin_of(root)!r} holds squares of {squares['size']} pixels, but data.image_size "
            f"is {config.image_size}: lower that, or pack larger squares or original bytes"
        )
    return list_pack(root)


def list_pack(root: Path) -> Listing:
    """Lists the pictures of a local pack, see `list_records`.

    Those of `foreign` shards are listed without facts: nobody has looked at them yet.
    """
    index = read_index(root)
    _check_shards(root, index)
    examples, facts = Examples.of([]), Facts.of([])
    for _, row in _rows(root, index):
        examples.append(Example(row["file"], tuple(row["labels"]), row["split"] or None))
        if not _foreign(index):
            facts.append(Scanned(**{name: row[name] for name in _FACTS}))
    quarantined = tuple((bad["file"], bad["reason"]) for bad in index["quarantined"])
    order = examples.order()
    known = None if _foreign(index) else facts[order]
    return Listing(root, examples[order], index["multilabel"], known, quarantined)


def read_index(root: Path) -> Mapping[str, Any]:
    """Reads the index of a pack.

    Raises:
        UserError: There is none, or this version does not know it.
    """
    path = root / INDEX
    if not path.is_file():
        draft = root.absolute().parent / f".{root.name}.packing"
        raise UserError(
            f"packing into {str(root)!r} is not finished: give its command again"
            if draft.is_dir()
            else f"no {INDEX} in {str(root)!r}: make a pack with python -m catsdogs_jax.check "
            "FOLDER --pack DIR"
        )
    return parse_index(path.read_bytes(), str(path))


def parse_index(text: bytes, where: str) -> Mapping[str, Any]:
    """Reads the text of an index.

    Args:
        text: Of `records.json`.
        where: What it is called in messages.

    Raises:
        UserError: It is none, or this version does not know it.
    """
    try:
        index = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where!r} is no JSON ({error}): {_MEND}") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise UserError(f"{where!r} is not the index of a pack: {_MEND}")
    if index["version"] > VERSION:
        raise UserError(
            f"{where!r} has version {index['version']}, newer than {VERSION}: {UPGRADE}"
        )
    if index["container"] not in CONTAINERS:
        raise UserError(f"{where!r} names the format {index['container']!r}: {_MEND}")
    return index


_MEND = "copy the pack again, or remove it and pack again"
_MEND_FOREIGN = "prepare the data set again, and start the run anew"


def _foreign(index: Mapping[str, Any]) -> bool:
    """Whether the shards are those of others, see `foreign`; packs made before do not say."""
    return bool(index.get("foreign"))


def _mend(index: Mapping[str, Any]) -> str:
    return _MEND_FOREIGN if _foreign(index) else _MEND


def _check_shards(root: Path, index: Mapping[str, Any]) -> None:
    """Checks, without reading them, that all shards are there and whole, unless in a bucket."""
    folder = store_of(root) or str(root)
    if is_far(folder):
        return
    for shard in index["shards"]:
        path = Path(folder) / shard["file"]
        size = path.stat().st_size if path.is_file() else None
        if size != shard["bytes"]:
            found = "is missing" if size is None else f"has {size:,} of {shard['bytes']:,} bytes"
            raise UserError(f"shard {str(path)!r} {found}: {_mend(index)}")


def _rows(root: Path, index: Mapping[str, Any]) -> Iterator[tuple[int, Row]]:
    """Yields the number of the shard, and what the pack says of each picture in it."""
    for number, shard in enumerate(index["shards"]):
        path = root / shard["table"]
        packed = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(packed).hexdigest() != shard["table_sha256"]:
            raise UserError(f"{str(path)!r} is missing or broken: {_MEND}")
        with gzip.open(io.BytesIO(packed)) as lines:
            for line in lines:
                yield number, json.loads(line)


class Pack:
    """Random access to the files of a pack, from any thread.

    Args:
        root: The folder.

    Raises:
        UserError: It is not whole.
    """

    def __init__(self, root: Path):
        index = read_index(root)
        _check_shards(root, index)
        self._root, self._folder = root, store_of(root) or str(root)
        self._foreign, self._mend = _foreign(index), _mend(index)
        self._container: Container = index["container"]
        self._shards: Sequence[str] = [shard["file"] for shard in index["shards"]]
        self._readers: dict[int, Reader] = {}
        self._opening = threading.Lock()
        files, places = Texts(), array("q")
        for number, row in _rows(root, index):
            files.append(row["file"])
            places.extend((number, row["place"], row["size"], row["bytes"]))
        order = files.order()
        self._files = files.taken(order)
        self._places = np.array(places, np.int64).reshape(-1, 4)[order]

    @property
    def far(self) -> bool:
        """Whether the records are read from a store."""
        return is_far(self._folder)

    def read(self, file: str) -> bytes:
        """Returns the bytes of a picture.

        Raises:
            UserError: The pack has no such file, or the shard is broken.
        """
        at = bisect.bisect_left(self._files, file)
        if at == len(self._files) or self._files[at] != file:
            raise UserError(f"{str(self._root)!r} holds no {file!r}: {self._mend}")
        shard, place, size, length = self._places[at].tolist()
        try:
            return self._reader(shard).read(place, size)[size - length : size]
        except UserError:
            raise
        except Exception as error:  # Of the package that reads the format.
            if isinstance(error, OSError) and error.errno == errno.EMFILE:
                raise  # No fault of the shard.
            raise UserError(
                f"shard {self.where(file)!r} cannot be read ({first_line(error)}): {self._mend}"
            ) from error

    def where(self, file: str) -> str:
        """Returns the path of the shard that holds a file."""
        at = bisect.bisect_left(self._files, file)
        return f"{self._folder}/{self._shards[int(self._places[at, 0])]}"

    def changed(self, file: str) -> UserError:
        """Returns the error of a picture that is not what it was."""
        when = "scanned" if self._foreign else "packed"
        return UserError(
            f"{file!r} in shard {self.where(file)!r} is not what it was when it was {when}: "
            f"{self._mend}"
        )

    def _reader(self, shard: int) -> Reader:
        with self._opening:
            if shard not in self._readers:
                name = self._shards[shard]
                self._readers[shard] = (
                    FarReader(f"{self._folder}/{name}")
                    if self.far
                    else open_reader(self._container, Path(self._folder) / name)
                )
            return self._readers[shard]


@functools.lru_cache(maxsize=8)
def pack_at(root: Path) -> Pack | None:
    """Returns the pack in a folder; none if it is a plain folder of files."""
    return Pack(root) if (root / INDEX).is_file() else None


def _fetched(url: str, stream: bool) -> Path:
    """Copies a pack from a store into the cache, unless it is there; returns the folder.

    Each file gets its name when its hash is right, and the index comes last. Of a pack that is
    streamed the index and the tables are copied, and the URL is written beside them.
    """
    from catsdogs_jax.data.remote import fetch_url, read_url  # fsspec is slow to import.

    url = url.rstrip("/")
    try:
        text = read_url(f"{url}/{INDEX}")
    except OSError as error:
        raise UserError(f"no {INDEX} at {url!r} ({first_line(error)}): check the name") from error
    index = parse_index(text, f"{url}/{INDEX}")
    if stream and index["container"] != "tfrecord":
        raise UserError(
            f"data.stream reads TFRecord shards, but {url!r} has {index['container']}: pack with "
            "--pack-format tfrecord, or leave data.stream out, which copies the shards first"
        )
    kind = "streams" if stream else "records"
    name = hashlib.sha256(text + (url.encode() if stream else b"")).hexdigest()[:32]
    folder = cache_folder() / kind / name
    folder.mkdir(parents=True, exist_ok=True)

    def fetch(name: str, digest: str, size: int | None) -> None:
        path = folder / name
        if path.is_file() and size in (None, path.stat().st_size):
            return
        with fetch_url(f"{url}/{name}", folder) as draft:
            if file_hash(draft) != digest:
                raise UserError(f"{url}/{name} is broken (SHA-256): copy the pack there again")
            draft.replace(path)

    shards = () if stream else index["shards"]
    wanted = [(shard["file"], shard["sha256"], shard["bytes"]) for shard in shards]
    wanted += [(shard["table"], shard["table_sha256"], None) for shard in index["shards"]]
    with ThreadPoolExecutor(_FETCHERS) as pool:
        list(pool.map(lambda file: fetch(*file), wanted))
    (set_store if stream else set_copied)(folder, url)
    with fetch_url(f"{url}/{INDEX}", folder) as draft:
        draft.replace(folder / INDEX)
    return folder
