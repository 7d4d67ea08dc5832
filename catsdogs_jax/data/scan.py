"""Opens every listed picture once and writes down what it is, or why it cannot be used."""

import dataclasses
import hashlib
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from catsdogs_jax.cores import REQUESTS, cores
from catsdogs_jax.data.contents import read_stored
from catsdogs_jax.data.decode import BadPicture, decode, jpeg_ratio, read_header
from catsdogs_jax.data.perceptual import perceptual_hash
from catsdogs_jax.data.pictures import Scanned
from catsdogs_jax.data.records import Pack

SCAN_VERSION = 3
"""Raise it whenever `scan_file` says something else of the same file."""

MAX_BYTES = 2**30
"""A larger file is refused unread; `MAX_PIXELS` of four channels of 16 bits take less."""

_FILES_AT_ONCE = 8
"""To hand one file over takes as long as a tenth of its decoding."""

_IN_FLIGHT_PER_CORE = 2

_HASHED_SIZE = 64
"""Least side of what the perceptual hash is taken from, itself of 32x32 pixels."""


def scan_file(path: Path) -> Scanned | str:
    """Decodes one file completely; returns its facts, or the reason why it cannot be used."""
    try:
        return _facts(read_file(path))
    except BadPicture as error:
        return str(error)


def to_row(found: Scanned | str) -> Any:
    """Returns what was found in a file as JSON has it: a reason, or a list of facts."""
    return found if isinstance(found, str) else dataclasses.astuple(found)


def from_row(row: Any) -> Scanned | str:
    """Returns what was given to `to_row`."""
    return row if isinstance(row, str) else Scanned(*row)


def _scan_bytes(data: bytes) -> Scanned | str:
    try:
        return _facts(data)
    except BadPicture as error:
        return str(error)


def _facts(data: bytes) -> Scanned:
    header = read_header(data)
    # Every byte is read whatever the ratio, so that a broken file is found in any case.
    ratio = jpeg_ratio(header.width, header.height, _HASHED_SIZE, "crop")
    pixels = decode(data, header, ratio)
    return Scanned(
        width=header.width,
        height=header.height,
        orientation=header.orientation,
        plain_jpeg=header.plain_jpeg,
        content_hash=hashlib.sha256(data).hexdigest(),
        perceptual_hash=perceptual_hash(pixels),
    )


def read_file(path: Path) -> bytes:
    """Returns the bytes of a file.

    Raises:
        BadPicture: There is no such file, or it cannot be read; the message says why.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # A pipe would be waited for without end.
            raise BadPicture("not a regular file")
        if found.st_size > MAX_BYTES:  # A film or an archive, whose bytes would fill the memory.
            raise BadPicture(f"{found.st_size:,} bytes are over the limit of {MAX_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise BadPicture(f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # A name in a table that no file can have.
        raise BadPicture(f"cannot be read: {error}") from error


def scan_files(paths: Iterable[Path]) -> Iterator[Scanned | str]:
    """Yields `scan_file` of each path, in order, on all cores and with bounded memory."""
    return _spread(scan_file, paths, cores(), _FILES_AT_ONCE)


def scan_stored(urls: Iterable[str]) -> Iterator[Scanned | str]:
    """Yields the same for files of a store.

    Raises:
        UserError: One cannot be read.
    """
    return _spread(lambda url: _scan_bytes(read_stored(url)), urls, REQUESTS, 1)


def scan_records(pack: Pack, files: Iterable[str]) -> Iterator[Scanned | str]:
    """Yields the same for pictures in records.

    Raises:
        UserError: A shard cannot be read: no picture is left out for that.
    """
    workers, at_once = (REQUESTS, 1) if pack.far else (cores(), _FILES_AT_ONCE)
    return _spread(lambda file: _scan_bytes(pack.read(file)), files, workers, at_once)


_File = TypeVar("_File")


def _spread(
    scan: Callable[[_File], Scanned | str], files: Iterable[_File], workers: int, at_once: int
) -> Iterator[Scanned | str]:
    remaining = iter(files)
    waiting: deque[Future[list[Scanned | str]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(islice(remaining, at_once)):
            waiting.append(pool.submit(lambda files: list(map(scan, files)), chunk))
            if len(waiting) > _IN_FLIGHT_PER_CORE * workers:
                yield from waiting.popleft().result()
        for last in waiting:
            yield from last.result()
