"""The scan of a folder by all processes of a run: each opens a part, and all learn of the whole."""

import dataclasses
import hashlib
import itertools
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from catsdogs_jax import hosts
from catsdogs_jax.data.scan import Scanned
from catsdogs_jax.data.scan_index import scan_folder
from catsdogs_jax.data.sources import Listing
from catsdogs_jax.errors import UserError


def scan_in_shares(root: Path, files: Sequence[str]) -> Iterable[Scanned | str]:
    """Returns what `scan_folder` says of each file, in order, of which this process opens its part.

    Every process must list the same files, see `check_same_listing`. That each of them has the
    content which one of them has read is looked at where a picture is read for training.

    Args:
        root: The folder.
        files: Paths below it.
    """
    count = hosts.count()
    if count == 1:
        return scan_folder(root, files)
    mine = packed(scan_folder(root, files[hosts.number() :: count]))
    shares = [unpacked(share) for share in hosts.gathered(mine)]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*shares))
    return itertools.islice(in_turn, len(files))


def check_same_listing(listing: Listing) -> None:
    """Checks that every process lists the same files with the same labels and splits.

    Raises:
        UserError: In every process; names a file that is listed otherwise.
    """
    if not hosts.several():
        return
    rows = [json.dumps([e.file, e.labels, e.split]) for e in listing.examples]
    digest = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    if len(set(hosts.told_by_all(digest))) == 1:
        return
    told = hosts.gathered(zlib.compress("\n".join(rows).encode()))
    first, *others = (set(zlib.decompress(one).decode().split("\n")) for one in told)
    for process, other in enumerate(others, 1):
        if differing := sorted(first ^ other):
            file = json.loads(differing[0])[0]
            here = {json.loads(row)[0] for row in other}
            there = {json.loads(row)[0] for row in first}
            what = (
                f"labels {file!r} otherwise"
                if file in here & there
                else f"{'has' if file in here else 'has no'} {file!r}"
            )
            raise UserError(
                f"the processes do not find the same pictures: process 0 lists {len(first):,}, "
                f"process {process} {len(other):,} and {what}: give all the same files, for "
                "example on a shared disk"
            )


def packed(results: Iterable[Scanned | str]) -> bytes:
    """Returns results of a scan as bytes."""
    rows = [one if isinstance(one, str) else dataclasses.astuple(one) for one in results]
    return zlib.compress(json.dumps(rows).encode(), 1)


def unpacked(data: bytes) -> list[Scanned | str]:
    """Reads what `packed` returned."""
    return [
        row if isinstance(row, str) else Scanned(*row) for row in json.loads(zlib.decompress(data))
    ]
