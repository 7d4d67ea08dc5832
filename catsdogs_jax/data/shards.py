"""Writes one shard of a pack: the work of one process, which needs no JAX."""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import io
import json
import os
import signal
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal

from catsdogs_jax.cores import REQUESTS
from catsdogs_jax.data.containers import Container, encode_example, open_reader, open_writer
from catsdogs_jax.data.exchange import get
from catsdogs_jax.data.places import stored_at
from catsdogs_jax.errors import UserError

Row = Mapping[str, Any]
"""What a pack says of a picture: file, labels (names), split, the facts of the scan (see
`Scanned`), and where it lies: place and size of the record, bytes of the picture at its end. In
shards that others wrote, the size is that of the record up to the end of the picture."""

_CHUNK = 2**20


@dataclasses.dataclass(frozen=True)
class Squares:
    """How pictures are decoded before they are stored.

    Attributes:
        size: Side of the square, pixels.
        resize: See `DataConfig.resize`.
    """

    size: int
    resize: Literal["stretch", "crop", "pad"]


@dataclasses.dataclass(frozen=True)
class Job:
    """A shard to write.

    Attributes:
        root: The folder of the pictures, or the URL below which each is read.
        folder: Where the shard goes.
        name: Of the shard's file.
        container: Its format.
        squares: How pictures are decoded; none: the bytes of their files are stored.
        classes: Names that the label numbers in the records stand for.
        rows: The pictures, without their places.
    """

    root: Path | str
    folder: Path
    name: str
    container: Container
    squares: Squares | None
    classes: Sequence[str]
    rows: Sequence[Row]

    @property
    def table(self) -> str:
        """Name of the file that lists the pictures of the shard."""
        return f"{self.name}.pictures.jsonl.gz"

    @property
    def facts(self) -> Path:
        """The file with what the index says of the shard; there when the shard is whole."""
        return self.folder / f"{self.name}.facts.json"


def prepare_worker() -> None:
    """Sets up a process that writes shards: it ends with its parent, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def write_shard(job: Job) -> dict[str, Any]:
    """Writes a shard and its table, unless an earlier call did; returns what the index says of it.

    Each file appears under its name when it is complete, and last the facts of both, so that a
    process that is killed leaves nothing that counts.

    Raises:
        UserError: A picture is not any more what the scan saw.
    """
    if (done := _finished(job)) is not None:
        return done
    # Of a name of its own: a Beam runner may do the same job twice at once.
    draft = job.folder / f".{job.name}.{uuid.uuid4().hex}.draft"
    try:
        return _written(job, draft)
    finally:
        draft.unlink(missing_ok=True)


def _written(job: Job, draft: Path) -> dict[str, Any]:
    rows = _write_records(job, draft)
    _verify(job, draft, rows)
    _settle(draft, job.folder / job.name)
    draft.write_bytes(table_of(rows))
    _settle(draft, job.folder / job.table)
    facts = {
        "file": job.name,
        "split": job.rows[0]["split"],
        "pictures": len(rows),
        "bytes": (job.folder / job.name).stat().st_size,
        "sha256": file_hash(job.folder / job.name),
        "table": job.table,
        "table_sha256": file_hash(job.folder / job.table),
    }
    draft.write_text(json.dumps(facts), encoding="utf-8")
    _settle(draft, job.facts)
    return facts


def table_of(rows: Iterable[Row]) -> bytes:
    """Returns the file that says what lies where in a shard: the same bytes for the same rows."""
    text = "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)
    return gzip.compress(text.encode(), 6, mtime=0)


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _finished(job: Job) -> dict[str, Any] | None:
    if not job.facts.is_file():
        return None
    facts = json.loads(job.facts.read_text(encoding="utf-8"))
    for name, key in ((job.name, "sha256"), (job.table, "table_sha256")):
        path = job.folder / name
        if not path.is_file() or file_hash(path) != facts[key]:
            return None
    return facts


def _settle(draft: Path, path: Path) -> None:
    with draft.open("rb") as stream:
        os.fsync(stream.fileno())
    draft.replace(path)


def _write_records(job: Job, path: Path) -> list[Row]:
    index = {name: number for number, name in enumerate(job.classes)}
    rows = []
    with _one_line(job):
        writer = open_writer(job.container, path, compress=job.squares is not None)
    for row, data in zip(job.rows, _contents(job), strict=True):
        if job.squares is not None:
            row, data = _decoded(row, data, job.squares)
        numbers = [index[name] for name in row["labels"]]
        record = encode_example(data, row["file"], numbers, row["labels"])
        with _one_line(job):
            place = writer.write(record)
        rows.append({**row, "place": place, "size": len(record), "bytes": len(data)})
    with _one_line(job):
        writer.close()
    return rows


@contextlib.contextmanager
def _one_line(job: Job) -> Iterator[None]:
    """Turns what the writers raise, such as for a full disk, into one line; each has its own."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"cannot write {job.name!r} in {str(job.folder)!r} ({why}): make room, and give the "
            "same command again"
        ) from error


def _verify(job: Job, path: Path, rows: Sequence[Row]) -> None:
    """Reads every record again: a pack may be all that will be left of its pictures."""
    reader = open_reader(job.container, path)
    for row in rows:
        data = reader.read(row["place"], row["size"])[row["size"] - row["bytes"] :]
        if hashlib.sha256(data).hexdigest() != row["content_hash"]:
            raise UserError(
                f"{row['file']!r} is not what was written to {str(job.folder / job.name)!r}: "
                "check the disk, and give the same command again"
            )


def _contents(job: Job) -> Iterator[bytes]:
    """Yields the bytes of each picture, of a store some at a time."""
    read = functools.partial(_read, job.root)
    if isinstance(job.root, Path):
        yield from map(read, job.rows)
        return
    with ThreadPoolExecutor(REQUESTS) as pool:
        for start in range(0, len(job.rows), REQUESTS):
            yield from pool.map(read, job.rows[start : start + REQUESTS])


def _read(root: Path | str, row: Row) -> bytes:
    path = root / row["file"] if isinstance(root, Path) else stored_at(root, row["file"])
    try:
        data = get(str(path))
    except OSError as error:
        data, why = b"", error.strerror or str(error)
    else:
        why = "its content is not what the scan saw"
    if hashlib.sha256(data).hexdigest() != row["content_hash"]:
        raise UserError(
            f"{row['file']!r} changed while it was packed ({why}): give the same command again"
        )
    return data


def _decoded(row: Row, data: bytes, squares: Squares) -> tuple[Row, bytes]:
    """Returns a square as a BMP file, whose pixels nothing has to decode, and what it is now."""
    from PIL import Image

    from catsdogs_jax.data.decode import decode_square
    from catsdogs_jax.data.pictures import Scanned

    names = (field.name for field in dataclasses.fields(Scanned))
    header = Scanned(**{name: row[name] for name in names})
    stream = io.BytesIO()
    Image.fromarray(decode_square(data, header, squares.size, squares.resize)).save(stream, "BMP")
    stored = stream.getvalue()
    facts = {"width": squares.size, "height": squares.size, "orientation": 1, "plain_jpeg": False}
    return {**row, **facts, "content_hash": hashlib.sha256(stored).hexdigest()}, stored
