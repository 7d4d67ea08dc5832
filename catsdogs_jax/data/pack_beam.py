"""Packs by Apache Beam, on many machines: a block of files, or a shard, is an element.

The engine of TFDS too. Workers see the pictures and the pack under the same paths, on a disk that
all share: they read there what to do, and leave there what they made. An element says only where,
so that the pipeline, which runners limit to some megabytes, does not grow with the pictures. Which
runner, and where, is said by Beam's own options (https://beam.apache.org/documentation/runners/).
"""

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

from catsdogs_jax.data.pictures import Scanned
from catsdogs_jax.data.scan import scan_files
from catsdogs_jax.data.scan_shares import packed, unpacked
from catsdogs_jax.data.shards import Job, write_shard
from catsdogs_jax.errors import UserError

_BLOCK = 500
"""Files of an element of a scan."""

_NAMES = "names"
"""The file with the names of all blocks."""

_SAID = re.compile(r"UserError: (.+)")


class BeamCrew:
    """Scans pictures and writes shards as pipelines.

    Args:
        options: Options of Beam, as `--runner=FlinkRunner`; none: on this machine.
        shared: A folder that every worker sees, on the disk of the pack.

    Raises:
        UserError: Beam is not installed.
    """

    def __init__(self, options: Sequence[str], shared: Path):
        try:
            self._beam = importlib.import_module("apache_beam")
        except ImportError as error:
            raise UserError(
                "--beam needs Apache Beam: pip install 'catsdogs-jax[beam,records]'"
            ) from error
        self._options, self._shared = list(options), shared

    def scan(self, root: Path, files: Sequence[str]) -> Iterator[Scanned | str]:
        """Yields what is found in each file, in order.

        Raises:
            UserError: The pipeline failed.
        """
        with tempfile.TemporaryDirectory(dir=self._shared, prefix=".scan-") as folder:
            blocks = list(_store_blocks(Path(folder) / _NAMES, files))
            self._run(blocks, functools.partial(_scan_block, str(root.absolute()), folder))
            for start, _ in blocks:
                yield from unpacked((Path(folder) / str(start)).read_bytes())

    def write(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Writes shards; returns what the index says of each.

        Raises:
            UserError: A picture has changed, or the pipeline failed.
        """
        self._run([_store_rows(job) for job in jobs], _write_stored)
        return [json.loads(job.facts.read_text(encoding="utf-8")) for job in jobs]

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


def _scan_block(root: str, folder: str, block: tuple[int, int]) -> None:
    start, size = block
    with (Path(folder) / _NAMES).open("rb") as stream:
        stream.seek(start)
        files = json.loads(stream.read(size))
    results = packed(scan_files(Path(root) / file for file in files))
    # Renamed, and of a name of its own, as a runner may do the same element twice at once.
    draft = Path(folder) / f".{start}.{uuid.uuid4().hex}"
    draft.write_bytes(results)
    draft.replace(Path(folder) / str(start))


def _rows_file(job: Job) -> Path:
    return job.folder / f".{job.name}.rows.jsonl"


def _store_rows(job: Job) -> tuple[Job, int]:
    """Writes classes and rows of a shard beside it; returns the job without them, and how many."""
    path = _rows_file(job)
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="ascii") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in (list(job.classes), *job.rows))
    draft.replace(path)  # Workers of a call that was killed may still read the one before.
    return dataclasses.replace(job, classes=(), rows=()), len(job.rows)


def _write_stored(stored: tuple[Job, int]) -> None:
    job, count = stored
    with _rows_file(job).open(encoding="ascii") as stream:
        classes, *rows = map(json.loads, stream)
    if len(rows) != count:
        raise UserError(f"{str(_rows_file(job))!r} is cut short: give the same command again")
    write_shard(dataclasses.replace(job, classes=classes, rows=rows))
