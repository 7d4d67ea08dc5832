"""From names of files to batches, a few at a time: for pictures of which nothing is known yet."""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from catsdogs_jax.cores import REQUESTS, cores
from catsdogs_jax.data.decode import BadPicture, decode_square, read_header
from catsdogs_jax.data.pipeline import Batch, aligned_empty
from catsdogs_jax.data.remote import is_url, read_url
from catsdogs_jax.data.scan import read_file
from catsdogs_jax.preprocessing import Preprocessing

_BLOCKS_DECODED_AT_ONCE = 2
_THREADS = cores()


@dataclasses.dataclass(frozen=True)
class Block:
    """The files of a batch.

    Attributes:
        names: As given; fewer than a batch at the end.
        reasons: Why each cannot be used; empty if it can.
    """

    names: tuple[str, ...]
    reasons: tuple[str, ...]


def stream_batches(
    names: Iterable[str], batch: int, preprocessing: Preprocessing
) -> Iterator[tuple[Block, Batch]]:
    """Yields every name once, in order; a file that cannot be used leaves its place black.

    Name k stands at place k mod `batch` of batch k // `batch`, whatever the others are, so that a
    table which goes on later holds the same digits. Three batches are held at most.

    Args:
        names: Paths and URLs.
        batch: Pictures in a batch; the last one is padded and masked.
        preprocessing: Size and resize rule.

    Raises:
        UserError: The package that reads a URL is missing.
    """
    remaining = iter(names)
    decoding: collections.deque[_Decoding] = collections.deque()
    while block := tuple(islice(remaining, batch)):
        decoding.append(_Decoding(block, batch, preprocessing))
        if len(decoding) > _BLOCKS_DECODED_AT_ONCE:
            yield decoding.popleft().result()
    for last in decoding:
        yield last.result()


class _Decoding:
    """The pictures of a batch while threads read and decode them."""

    def __init__(self, names: tuple[str, ...], batch: int, to: Preprocessing):
        self._names, self._to = names, to
        self._reasons = [""] * len(names)
        self._images = aligned_empty((batch, to.image_size, to.image_size, 3))
        self._images[len(names) :] = 0
        self._fetched: dict[int, Future[bytes]] = {
            place: _fetchers().submit(read_url, name)
            for place, name in enumerate(names)
            if is_url(name)
        }
        self._parts = [_threads().submit(self._decode, k) for k in range(_THREADS)]

    def _decode(self, first: int) -> None:
        for place in range(first, len(self._names), _THREADS):
            try:
                data = self._read(place)
                header, to = read_header(data), self._to
                self._images[place] = decode_square(data, header, to.image_size, to.resize)
            except BadPicture as error:
                self._images[place], self._reasons[place] = 0, str(error)

    def _read(self, place: int) -> bytes:
        if place not in self._fetched:
            return read_file(Path(self._names[place]))
        try:
            return self._fetched.pop(place).result()
        except OSError as error:
            raise BadPicture(f"cannot be read: {error.strerror or error}") from error

    def result(self) -> tuple[Block, Batch]:
        """Waits; returns the files and the batch."""
        for part in self._parts:
            part.result()
        batch, count = len(self._images), len(self._names)
        mask = np.zeros(batch, bool)
        mask[:count] = [not reason for reason in self._reasons]
        arrays = {
            "image": self._images,
            "target": np.zeros((batch, self._to.task.outputs), np.float32),
            "mask": mask,
            "index": np.arange(batch, dtype=np.int32),
        }
        return Block(self._names, tuple(self._reasons)), arrays


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")


@functools.cache
def _fetchers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(REQUESTS, thread_name_prefix="fetch")
