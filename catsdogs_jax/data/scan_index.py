"""What the scans of a folder found, kept between runs: only changed files are read again.

A file counts as unchanged while its size, its inode and both its times (of content and of status)
are what they were before it was read: a copy that keeps the time of content still gets a new time
of status. SQLite keeps the table: a transaction for each block of files, so that a process that is
killed loses one block, two processes may scan at once, and no more than a block is held in memory.
"""

import contextlib
import dataclasses
import errno
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from catsdogs_jax.data.pictures import Scanned
from catsdogs_jax.data.places import cache_folder, store_of, stored_at
from catsdogs_jax.data.records import INDEX, pack_at
from catsdogs_jax.data.scan import SCAN_VERSION, scan_records, scan_stored
from catsdogs_jax.data.scan_processes import FileScanner

_BLOCK = 4_000
"""Files of a transaction."""

_BOUND = 500
"""Files of a query; SQLite binds at least 999 values in a statement."""

_SETTLED_NS = 2 * 10**9
"""A file that changed less than this before it was read may change again within the same tick of
the file system's clock, so what is found in it is not kept."""

_MISSING = f"cannot be read: {os.strerror(errno.ENOENT)}"

_MOST = 2**63 - 1  # Of an integer of SQLite; some file systems number beyond it.
_WAIT_SECONDS = 30.0
_UNUSED_SECONDS = 90 * 24 * 3600

_TABLE = f"""
CREATE TABLE IF NOT EXISTS pictures_{SCAN_VERSION} (
  file BLOB PRIMARY KEY, bytes INTEGER, inode INTEGER, mtime INTEGER, ctime INTEGER,
  width INTEGER, height INTEGER, orientation INTEGER, plain_jpeg INTEGER,
  content_hash BLOB, perceptual_hash TEXT
) WITHOUT ROWID
"""

_Stamp = tuple[int, int, int, int]


def scan_folder(root: Path, files: Iterable[str]) -> Iterator[Scanned | str]:
    """Yields what `scan_file` says of each file, in order; reads those that are new or changed.

    Files that cannot be used are read again each time: they are few, and may have been mended by
    other means than a change of the file. Where the index cannot be written or read, every file is
    read, as without it.

    Args:
        root: The folder, or one of stand-ins for files of a store (`mirror.stood_in`), or the index
            of shards that others wrote (`foreign`).
        files: Paths below it.
    """
    pack, store = pack_at(root), store_of(root)
    # A stand-in changes only when its whole folder is made anew, and so does an index.
    index = _Index(root, _SETTLED_NS if store is None else 0)
    scanner = FileScanner()

    def read(new: Sequence[str]) -> Iterator[Scanned | str]:
        if pack is not None:
            return scan_records(pack, new)
        if store is not None:
            return _scan_stored(root, store, new)
        return scanner.scan([root / file for file in new])

    def begun(block: Sequence[str]) -> _Block:
        stamps = [_stamp(root, file if pack is None else INDEX) for file in block]
        known, now = index.known(block, stamps), time.time_ns()
        new = {file: stamp for file, stamp in zip(block, stamps, strict=True) if file not in known}
        return _Block(block, known, new, now, read(list(new)))

    remaining = iter(files)
    blocks = map(begun, iter(lambda: list(islice(remaining, _BLOCK)), []))
    try:
        for block in _one_ahead(blocks):
            found = {**block.known, **dict(zip(block.new, block.results, strict=True))}
            index.keep(block.new, found, block.read_at)
            yield from (found[file] for file in block.files)
    finally:
        scanner.close()
        index.close()


@dataclasses.dataclass(frozen=True)
class _Block:
    """Some files, of which the new ones are being read.

    Attributes:
        files: All of them, in order.
        known: What is known of those that are unchanged.
        new: The others, and their stamps before they are read.
        read_at: When that began, nanoseconds.
        results: What is found in each of the new ones.
    """

    files: Sequence[str]
    known: Mapping[str, Scanned]
    new: Mapping[str, "_Stamp | None"]
    read_at: int
    results: Iterator[Scanned | str]


def _one_ahead(blocks: Iterator[_Block]) -> Iterator[_Block]:
    """Yields each block when the next one has begun, which is read while this one is kept."""
    waiting = next(blocks, None)
    while waiting is not None:
        following = next(blocks, None)
        yield waiting
        waiting = following


def _scan_stored(root: Path, store: str, files: Sequence[str]) -> Iterator[Scanned | str]:
    """Yields what there is in each file of a store; one without a stand-in is not asked for."""
    there = [file for file in files if (root / file).is_file()]
    found = dict(zip(there, scan_stored(stored_at(store, file) for file in there), strict=True))
    return (found.get(file, _MISSING) for file in files)


def index_path(root: Path) -> Path:
    """Returns the file that holds the index of a folder."""
    name = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:32]
    return cache_folder() / "scans" / f"{name}.sqlite"


def _stamp(root: Path, file: str) -> _Stamp | None:
    with contextlib.suppress(OSError, ValueError):
        found = os.stat(os.path.join(root, file))
        return found.st_size, found.st_ino & _MOST, found.st_mtime_ns, found.st_ctime_ns
    return None


class _Index:
    """The table of one folder; does nothing once it has failed, as a scan can do without.

    Args:
        root: The folder.
        settled: Nanoseconds since the change of a file before what is found in it is kept.
    """

    def __init__(self, root: Path, settled: int):
        self._path, self._settled = index_path(root), settled
        self._connection: sqlite3.Connection | None = None
        with self._without_it():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _remove_unused(self._path.parent)
            self._connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS)
            with self._connection:
                self._connection.execute(_TABLE)
                for version in range(1, SCAN_VERSION):  # Of what was found there otherwise.
                    self._connection.execute(f"DROP TABLE IF EXISTS pictures_{version}")
            os.utime(self._path)  # It is in use, whether anything is added or not.

    def known(self, files: Sequence[str], stamps: Sequence[_Stamp | None]) -> dict[str, Scanned]:
        """Returns what is known of those files that are unchanged."""
        found: dict[str, Scanned] = {}
        now = {os.fsencode(f): (f, stamp) for f, stamp in zip(files, stamps, strict=True) if stamp}
        names = iter(now)
        while self._connection is not None and (some := list(islice(names, _BOUND))):
            marks = ",".join("?" * len(some))
            query = f"SELECT * FROM pictures_{SCAN_VERSION} WHERE file IN ({marks})"
            with self._without_it():
                for name, *row in self._connection.execute(query, some):
                    file, stamp = now[name]
                    if tuple(row[:4]) == stamp:
                        width, height, turn, plain, content, perceptual = row[4:]
                        found[file] = Scanned(
                            width, height, turn, bool(plain), content.hex(), perceptual
                        )
        return found

    def keep(
        self, stamps: Mapping[str, _Stamp | None], found: Mapping[str, Scanned | str], read_at: int
    ) -> None:
        """Keeps what was found in files whose stamps were taken before they were read."""
        rows = []
        for file, stamp in stamps.items():
            facts = found[file]
            if isinstance(facts, str) or not stamp or max(stamp[2:]) > read_at - self._settled:
                continue
            sizes = (facts.width, facts.height, facts.orientation, int(facts.plain_jpeg))
            hashes = (bytes.fromhex(facts.content_hash), facts.perceptual_hash)
            rows.append((os.fsencode(file), *stamp, *sizes, *hashes))
        if self._connection is None or not rows:
            return
        marks = ",".join("?" * len(rows[0]))
        with self._without_it(), self._connection:
            self._connection.executemany(
                f"INSERT OR REPLACE INTO pictures_{SCAN_VERSION} VALUES ({marks})", rows
            )

    def close(self) -> None:
        """Lets go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _without_it(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            with contextlib.suppress(sqlite3.Error):
                self.close()
            # A file that is no database will be none the next time either.
            if isinstance(error, sqlite3.DatabaseError) and type(error) is sqlite3.DatabaseError:
                self._path.unlink(missing_ok=True)


def _remove_unused(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - _UNUSED_SECONDS:
                path.unlink()
