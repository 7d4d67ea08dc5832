"""The scan of a folder by all processes of a run: each opens a part, and all learn of the whole."""

import gzip
import hashlib
import io
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from catsdogs_jax import hosts
from catsdogs_jax.data.listing import Listing
from catsdogs_jax.data.pictures import Scanned
from catsdogs_jax.data.scan import from_row, to_row
from catsdogs_jax.data.scan_index import scan_folder
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
    places = range(hosts.number(), len(files), count)
    with hosts.together():  # A store may fail one of them.
        mine = packed(scan_folder(root, map(files.__getitem__, places)))
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
    digest = hashlib.sha256()
    for row in _rows(listing):
        digest.update(row.encode())
    if len(set(hosts.told_by_all(digest.hexdigest()))) == 1:
        return
    told = hosts.gathered(zlib.compress("\n".join(_rows(listing)).encode()))
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


def _rows(listing: Listing) -> Iterator[str]:
    for example in listing.examples:
        yield json.dumps([example.file, example.labels, example.split])


def packed(results: Iterable[Scanned | str]) -> bytes:
    """Returns results of a scan as bytes, about 70 for each."""
    stream = io.BytesIO()
    with gzip.open(stream, "wt", compresslevel=1, encoding="utf-8") as lines:
        for one in results:
            lines.write(json.dumps(to_row(one)) + "\n")
    return stream.getvalue()


def unpacked(data: bytes) -> Iterator[Scanned | str]:
    """Yields what was given to `packed`."""
    with gzip.open(io.BytesIO(data), "rt", encoding="utf-8") as lines:
        yield from map(from_row, map(json.loads, lines))
