"""Packs pictures into shards."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import math
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

import catsdogs_jax
from catsdogs_jax.cores import cores
from catsdogs_jax.data.containers import Container
from catsdogs_jax.data.listing import Listing
from catsdogs_jax.data.manifest import ScannedListing, scan_listing
from catsdogs_jax.data.pack_place import place_of
from catsdogs_jax.data.pack_rows import Rows, rows_by_split
from catsdogs_jax.data.pictures import Scanned
from catsdogs_jax.data.places import is_far, origin_of, store_of
from catsdogs_jax.data.records import FORMAT, INDEX, VERSION
from catsdogs_jax.data.scan_shares import scan_in_shares
from catsdogs_jax.data.shards import Job, Squares, prepare_worker, write_shard
from catsdogs_jax.errors import UserError

SHARD_BYTES = 256 * 2**20
"""Bytes of files in a shard, if the number of shards is not given."""

_UNSPLIT = "all"


@dataclasses.dataclass(frozen=True)
class PackOptions:
    """How pictures are packed.

    Attributes:
        container: Format of the shards.
        shards: Shards of each split; none: one for each `SHARD_BYTES` of files.
        squares: Decoded squares are stored in place of the bytes of the files, if given.
        workers: Processes that write shards; none: one for each core.
    """

    container: Container = "array_record"
    shards: int | None = None
    squares: Squares | None = None
    workers: int | None = None


class Crew(Protocol):
    """Who does the work."""

    def scan(self, root: Path, files: Sequence[str]) -> Iterable[Scanned | str]:
        """Returns what each file is, in order."""
        ...

    def write(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Writes shards; returns what the index says of each."""
        ...


class LocalCrew:
    """Processes on this machine.

    Args:
        workers: How many write; none: one for each core.
    """

    def __init__(self, workers: int | None = None):
        self._workers = workers or cores()

    def scan(self, root: Path, files: Sequence[str]) -> Iterable[Scanned | str]:
        """Reads what is new or has changed."""
        return scan_in_shares(root, files)

    def write(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Writes shards side by side.

        Raises:
            UserError: A process was killed; or see `write_shard`.
        """
        workers = min(self._workers, len(jobs))
        if workers == 1:
            return [write_shard(job) for job in jobs]
        # Not forked: JAX has threads, and a copy of their locks would hang.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, context, prepare_worker)
        try:
            return list(pool.map(write_shard, jobs))
        except BrokenProcessPool as error:
            raise UserError(
                "a process that wrote a shard was killed, as happens when memory is short: give "
                "the same command again, with fewer --workers; what was finished is kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def pack(
    listing: Listing, out: str | Path, options: PackOptions, crew: Crew | None = None
) -> Mapping[str, Any]:
    """Packs every usable picture of a listing into shards.

    The same call after a kill keeps the shards that are whole, see `pack_place`. Splits are those
    of the source; what it does not split is not split here either, so that a run from the pack
    holds out the same pictures as one from the folder.

    Args:
        listing: The pictures.
        out: The folder to make, or the URL of one.
        options: How.
        crew: Who scans and writes; none: processes on this machine.

    Returns:
        The index, as in `records.json`.

    Raises:
        UserError: No picture can be used, one changes meanwhile, `out` holds something else or is
            inside the pictures' folder, or another process packs into it.
    """
    if (listing.root / INDEX).is_file():
        raise UserError(
            f"{origin_of(listing.root)!r} is a pack: pack the folder that it was made of"
        )
    if not is_far(str(out)) and Path(out).absolute().is_relative_to(listing.root.absolute()):
        raise UserError(f"--pack {out} is inside {listing.root}: choose a folder beside it")
    crew = crew or LocalCrew(options.workers)
    scanned = scan_listing(listing, crew.scan)
    classes = scanned.examples.column("labels").used()
    rows = rows_by_split(scanned)
    plan = _digest([VERSION, dataclasses.astuple(dataclasses.replace(options, workers=None))], rows)
    place = place_of(out)
    if (found := place.finished(plan)) is not None:
        return found
    with place.making(plan) as draft:
        facts = crew.write(list(_jobs(listing.root, draft, rows, classes, options)))
        index = _index(listing, scanned, options, classes, rows, facts, plan)
        place.finish(draft, facts, json.dumps(index, indent=1) + "\n")
    return index


def _digest(settings: Sequence[Any], rows: Mapping[str, Rows]) -> str:
    """Returns the hash of settings and all rows, which are never held together."""
    digest = hashlib.sha256(json.dumps(settings)[:-1].encode())
    between = ", ["
    for row in itertools.chain.from_iterable(rows.values()):
        known = {key: row[key] for key in row if key != "perceptual_hash"}  # Not of the pack.
        digest.update((between + json.dumps(known)).encode())
        between = ", "
    digest.update(b"]]")
    return digest.hexdigest()


def _jobs(
    root: Path, draft: Path, rows: Mapping[str, Rows], classes: Sequence[str], options: PackOptions
) -> Iterator[Job]:
    source = store_of(root) or root
    for split, members in rows.items():
        count = options.shards or math.ceil(_bytes_of(root, members) / SHARD_BYTES)
        count = min(max(count, 1), len(members))
        for number in range(count):
            name = f"{split or _UNSPLIT}-{number:05d}-of-{count:05d}.{options.container}"
            part = members[number * len(members) // count : (number + 1) * len(members) // count]
            yield Job(source, draft, name, options.container, options.squares, classes, part)


def _bytes_of(root: Path, rows: Rows) -> int:
    size = _size
    if store_of(root) is not None:
        from catsdogs_jax.data.mirror import size_in_store as size  # fsspec is slow to import.
    total = 0
    for file in rows.files:
        with contextlib.suppress(OSError):  # It is told of when it is packed.
            total += size(root / file)
    return total


def _size(path: Path) -> int:
    return os.stat(path).st_size


def _index(
    listing: Listing,
    scanned: ScannedListing,
    options: PackOptions,
    classes: Sequence[str],
    rows: Mapping[str, Rows],
    shards: Sequence[Mapping[str, Any]],
    plan: str,
) -> dict[str, Any]:
    counts = {split: members.labels() for split, members in rows.items()}
    return {
        "format": FORMAT,
        "version": VERSION,
        "made_by": f"catsdogs_jax {catsdogs_jax.__version__}",
        "source": origin_of(listing.root.absolute()),
        "container": options.container,
        "squares": dataclasses.asdict(options.squares) if options.squares else None,
        "classes": list(classes),
        "multilabel": listing.multilabel,
        "pictures": sum(map(len, rows.values())),
        "splits": {
            split or _UNSPLIT: {
                "pictures": len(rows[split]),
                "classes": {name: found[name] for name in classes},
            }
            for split, found in counts.items()
        },
        "shards": list(shards),
        "quarantined": [{"file": file, "reason": why} for file, why in scanned.quarantined],
        "plan": plan,
    }
