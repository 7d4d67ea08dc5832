"""ArrayRecord and TFRecord: how a shard is written, and how a record is read from any place of it.

In both, a record is a `tf.train.Example` (bytes "file", "label_name", "image", and int64 "label"),
which TensorFlow, TFDS and grain read. The picture is its end, so that nothing is parsed to find it.
Examples are encoded here: importing TensorFlow for that would cost each process several seconds.
"""

import importlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from catsdogs_jax.errors import UserError, extra

Container = Literal["array_record", "tfrecord"]

CONTAINERS: tuple[Container, ...] = ("array_record", "tfrecord")

_TFRECORD_HEAD, _TFRECORD_TAIL = 12, 4
"""Bytes around a record: its length and the checksum of that; the checksum of the record."""


class Writer(Protocol):
    """Writes the records of a shard."""

    def write(self, record: bytes) -> int:
        """Appends a record; returns the place that `Reader.read` takes."""
        ...

    def close(self) -> None:
        """Ends the shard."""
        ...


class Reader(Protocol):
    """Reads records of a shard, from any thread."""

    def read(self, place: int, size: int) -> bytes:
        """Returns the record at a place.

        Args:
            place: As `Writer.write` gave it.
            size: Bytes of the record that are wanted, from its start; more may come.

        Raises:
            Exception: Any, where the shard is broken.
        """
        ...


def encode_example(image: bytes, file: str, labels: Sequence[int], names: Sequence[str]) -> bytes:
    """Returns a serialized `tf.train.Example` that ends with the bytes of the image.

    Fields are numbered as in TensorFlow's example.proto and feature.proto.
    """
    packed = b"".join(_varint(label) for label in labels)
    features = {
        "file": _bytes_list([os.fsencode(file)]),
        "label": _field(3, _field(1, packed)),
        "label_name": _bytes_list([os.fsencode(name) for name in names]),
        "image": _bytes_list([image]),
    }
    entries = [
        _field(1, _field(1, name.encode()) + _field(2, feature))
        for name, feature in features.items()
    ]
    return _field(1, b"".join(entries))


def open_writer(container: Container, path: Path, *, compress: bool) -> Writer:
    """Begins a shard.

    Args:
        container: Which format.
        path: The file to write.
        compress: Whether the records, which are no JPEG files, are worth compressing; only
            ArrayRecord does so.

    Raises:
        UserError: The package of the format is missing.
    """
    if container == "tfrecord":
        return _TFRecordWriter(path)
    return _ArrayRecordWriter(path, compress)


def open_reader(container: Container, path: Path) -> Reader:
    """Opens a shard.

    Raises:
        UserError: The package of the format is missing.
        Exception: Any other, where the shard is broken.
    """
    return _TFRecordReader(path) if container == "tfrecord" else _ArrayRecordReader(path)


def read_all(container: Container, path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields every record of a shard, whoever wrote it: its place, as of `Reader.read`, and bytes.

    Raises:
        UserError: The package of the format is missing.
        Exception: Any other, where the shard is broken.
    """
    if container == "array_record":
        reader = _ArrayRecordReader(path)
        yield from ((place, reader.read(place, 0)) for place in range(reader.count))
        return
    from catsdogs_jax.data.tensorflow import tf

    place = _TFRECORD_HEAD
    for record in tf().data.TFRecordDataset(str(path)).as_numpy_iterator():  # Checks the checksums.
        yield place, record
        place += len(record) + _TFRECORD_TAIL + _TFRECORD_HEAD


class _ArrayRecordWriter:
    def __init__(self, path: Path, compress: bool):
        how = "zstd:3" if compress else "uncompressed"
        self._writer = _array_record().ArrayRecordWriter(str(path), f"group_size:1,{how}")
        self._count = 0

    def write(self, record: bytes) -> int:
        self._writer.write(record)
        self._count += 1
        return self._count - 1

    def close(self) -> None:
        self._writer.close()


class _ArrayRecordReader:
    def __init__(self, path: Path):
        options = "readahead_buffer_size:0,max_parallelism:0"  # As its makers advise here.
        self._reader = _array_record().ArrayRecordReader(str(path), options)
        self.count: int = self._reader.num_records()

    def read(self, place: int, size: int) -> bytes:
        del size
        (record,) = self._reader.read([place])
        return record


class FarReader:
    """Reads a TFRecord shard behind a URL: one request for a record, and no other byte.

    Args:
        url: Of the shard.
    """

    def __init__(self, url: str):
        self._url = url

    def read(self, place: int, size: int) -> bytes:
        """Returns the record at a place, see `Reader`."""
        from catsdogs_jax.data.remote import read_url  # fsspec is slow to import.

        return read_url(self._url, place, place + size)


class _TFRecordWriter:
    def __init__(self, path: Path):
        from catsdogs_jax.data.tensorflow import tf

        self._writer = tf().io.TFRecordWriter(str(path))
        self._offset = 0

    def write(self, record: bytes) -> int:
        self._writer.write(record)
        place = self._offset + _TFRECORD_HEAD
        self._offset = place + len(record) + _TFRECORD_TAIL
        return place

    def close(self) -> None:
        self._writer.close()


class _TFRecordReader:
    def __init__(self, path: Path):
        self._file = path.open("rb")

    def read(self, place: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, place)


def _array_record() -> Any:
    try:
        return importlib.import_module("array_record.python.array_record_module")
    except ImportError as error:
        raise UserError(
            f"ArrayRecord needs array-record: {extra('records')}; or pack with "
            "--pack-format tfrecord"
        ) from error


def _bytes_list(values: Sequence[bytes]) -> bytes:
    return _field(1, b"".join(_field(1, value) for value in values))


def _field(number: int, content: bytes) -> bytes:
    """Encodes a length-delimited field of a protocol buffer."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
