"""Packs by Apache Beam, on many machines: a block of files, or a shard, is an element.

The engine of TFDS too. Workers find what to do in a folder that all see under the same name, and
leave there what they made: on a disk that all share, or below a URL, where pictures and pack are
then too. An element says only where, so that the pipeline, which runners limit to some megabytes,
does not grow with the pictures. Which runner, and where, is said by Beam's own options
(https://beam.apache.org/documentation/runners/).
"""

import contextlib
import dataclasses
import functools
import importlib
import json
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from catsdogs_jax.data.exchange import get, put
from catsdogs_jax.data.pack_place import PACKING
from catsdogs_jax.data.pictures import Scanned
from catsdogs_jax.data.places import is_far, store_of, stored_at
from catsdogs_jax.data.scan import scan_files, scan_stored
from catsdogs_jax.data.scan_shares import packed, unpacked
from catsdogs_jax.data.shards import Job, write_shard
from catsdogs_jax.errors import UserError, extra

_BLOCK = 500
"""Files of an element of a scan."""

_NAMES = "names"
"""The file with the names of all blocks."""

_SAID = re.compile(r"UserError: (.+)")


class BeamCrew:
    """Scans pictures and writes shards as pipelines.

    Args:
        options: Options of Beam, as `--runner=FlinkRunner`; none: on this machine.
        out: Where the pack goes: a path that every worker sees, or a URL.

    Raises:
        UserError: Beam is not installed.
    """

    def __init__(self, options: Sequence[str], out: str | Path):
        try:
            self._beam = importlib.import_module("apache_beam")
        except ImportError as error:
            raise UserError(f"--beam needs Apache Beam: {extra('beam', 'records')}") from error
        self._options = list(options)
        self._url, self._shared = None, None
        if is_far(str(out)):
            self._url = str(out).rstrip("/")
        else:
            self._shared = Path(out).absolute().parent
            self._shared.mkdir(parents=True, exist_ok=True)

    def scan(self, root: Path, files: Sequence[str]) -> Iterator[Scanned | str]:
        """Yields what is found in each file, in order.

        Raises:
            UserError: The pipeline failed.
        """
        source = store_of(root) or str(root.absolute())
        with tempfile.TemporaryDirectory(dir=self._shared, prefix=".scan-") as folder:
            names = Path(folder) / _NAMES
            blocks = list(_store_blocks(names, files))
            with _seen_by_all(names, self._url) as place:
                self._run(blocks, functools.partial(_scan_block, source, place))
                for start, _ in blocks:
                    yield from unpacked(get(f"{place}/{start}"))

    def write(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Writes shards; returns what the index says of each.

        Raises:
            UserError: A picture has changed, or the pipeline failed.
        """
        stored = [_store_rows(self._url, job) for job in jobs]
        self._run(stored, functools.partial(_write, self._url))
        return [json.loads(get(_facts(self._url, job))) for job in jobs]

    def _run(self, elements: Sequence[Any], work: Callable[[Any], object]) -> None:
        beam = self._beam
        try:
            options = beam.options.pipeline_options.PipelineOptions(self._options)
            with beam.Pipeline(options=options) as pipeline:
                spread = pipeline | beam.Create(elements) | beam.Reshuffle()
                _ = spread | beam.Map(work)
        except Exception as error:  # Of the runner, which wraps what a worker has raised.
            said = _SAID.findall(str(error))
            why = said[-1] if said else (str(error).splitlines() or [type(error).__name__])[-1]
            raise UserError(f"--beam: {why}") from error


def _store_blocks(path: Path, files: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Writes names of files, and yields where each block of them begins, and its bytes."""
    with path.open("wb") as stream:
        for start in range(0, len(files), _BLOCK):
            block = json.dumps(list(files[start : start + _BLOCK])).encode("ascii")
            yield stream.tell(), len(block)
            stream.write(block)


@contextlib.contextmanager
def _seen_by_all(names: Path, url: str | None) -> Iterator[str]:
    """Gives the folder that workers read the names from: that of the file, or one beside a URL."""
    if url is None:
        yield str(names.parent)
        return
    from catsdogs_jax.data.remote import remove_url  # fsspec is slow to import.

    place = f"{url}.scan-{uuid.uuid4().hex}"
    _upload(names, f"{place}/{_NAMES}")
    try:
        yield place
    finally:
        remove_url(place)


def _upload(path: Path, url: str) -> None:
    from catsdogs_jax.data.remote import upload

    upload(path, url)


def _scan_block(root: str, place: str, block: tuple[int, int]) -> None:
    start, size = block
    files = json.loads(get(f"{place}/{_NAMES}", start, start + size))
    if is_far(root):
        found = scan_stored(stored_at(root, file) for file in files)
    else:
        found = scan_files(Path(root) / file for file in files)
    put(f"{place}/{start}", packed(found))


def _beside(url: str | None, job: Job, name: str) -> str:
    """Returns where a file lies that is needed while a shard is made."""
    return f"{url}/{PACKING}/{name}" if url else str(job.folder / name)


def _rows(url: str | None, job: Job) -> str:
    return _beside(url, job, f".{job.name}.rows.jsonl")


def _facts(url: str | None, job: Job) -> str:
    return _beside(url, job, job.facts.name)


def _store_rows(url: str | None, job: Job) -> tuple[Job, int]:
    """Writes classes and rows of a shard beside it; returns the job without them, and how many."""
    path = Path(_rows(None, job))
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="ascii") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in (list(job.classes), *job.rows))
    draft.replace(path)  # Workers of a call that was killed may still read the one before.
    if url:
        _upload(path, _rows(url, job))
        path.unlink()
    return dataclasses.replace(job, classes=(), rows=()), len(job.rows)


def _write(url: str | None, stored: tuple[Job, int]) -> None:
    job, count = stored
    classes, *rows = map(json.loads, get(_rows(url, job)).splitlines())
    if len(rows) != count:
        raise UserError(f"{_rows(url, job)!r} is cut short: give the same command again")
    job = dataclasses.replace(job, classes=classes, rows=rows)
    if url is None:
        write_shard(job)
    elif not _is_there(url, job):
        with tempfile.TemporaryDirectory() as folder:
            here = dataclasses.replace(job, folder=Path(folder))
            write_shard(here)
            for name in (job.name, job.table):
                _upload(here.folder / name, f"{url}/{name}")
            _upload(here.facts, _facts(url, job))  # Last, as it says that both are there.


def _is_there(url: str, job: Job) -> bool:
    """Whether an earlier call of this plan has uploaded a shard."""
    try:
        get(_facts(url, job))
    except FileNotFoundError:
        return False
    return True
