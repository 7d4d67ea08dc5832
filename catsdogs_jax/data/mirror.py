"""A folder of pictures in a bucket, copied into the cache while it is not there or has changed.

A scan reads every byte of every picture once anyway, so that the copy costs the disk and no request
more. Where the disk is too small for it, small stand-ins are made in place of the pictures, which
`contents` then reads from the bucket one by one.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from catsdogs_jax.cores import REQUESTS
from catsdogs_jax.data.places import cache_folder, set_copied, set_store, to_disk
from catsdogs_jax.data.remote import fetch_url, tags_below
from catsdogs_jax.errors import UserError

_BLOCK = 500
"""Files after which is written down what has come: as many at most are copied twice."""

_COPIES, _STAND_INS = "folders", "stand-ins"
_KNOWN, _LOCK, _DRAFTS = ".known.jsonl", ".lock", ".drafts"


def mirrored(url: str) -> Path:
    """Returns a local folder that holds what lies below a URL.

    Only files that are new or changed, by size and by what the store says of their version, are
    copied. Stopped or killed, the next call goes on; of two calls one waits for the other.

    Args:
        url: Of a folder, as gs://bucket/pets.

    Raises:
        UserError: There is nothing, the store does not answer, or a name would lead elsewhere.
    """
    return _kept_alike(url.rstrip("/"), _COPIES, _copy)


def stood_in(url: str) -> Path:
    """Returns a local folder with a small file in place of each file below a URL.

    It has the layout of the bucket, to be listed; each stand-in holds the version of its file, so
    that it changes when the file does. `places.store_of` tells the URL.

    Args:
        url: Of a folder, as gs://bucket/pets.

    Raises:
        UserError: As `mirrored`.
    """
    return _kept_alike(url.rstrip("/"), _STAND_INS, _stand_in)


def size_in_store(stand_in: Path) -> int:
    """Returns the bytes of the file that something of `stood_in` stands for; 0: not known."""
    # What `tags_below` tells of a file begins with its size.
    size = stand_in.read_text(encoding="utf-8").partition(" ")[0]
    return int(size) if size.isdigit() else 0


_Tags = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class _Record:
    """What is kept of a file.

    Attributes:
        tag: Its version, as `tags_below` tells it.
        size: Bytes on the disk, which may be others than in the store (of what is unpacked on the
            way); none: written by an earlier version.
    """

    tag: str
    size: int | None = None

    def fits(self, path: Path) -> bool:
        """Whether the file is there, and neither emptied nor cut off, as by a power cut."""
        if not path.is_file():
            return False
        size = path.stat().st_size
        return size > 0 if self.size is None else size == self.size


def _record(folder: Path, name: str, tags: _Tags) -> _Record:
    return _Record(tags[name], (folder / name).stat().st_size)


def _kept_alike(
    url: str, kind: str, bring: Callable[[str, Path, Sequence[str], _Tags], None]
) -> Path:
    """Returns the folder of a URL after `bring` has made what is new or changed."""
    folder = cache_folder() / kind / hashlib.sha256(url.encode()).hexdigest()[:32]
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder):
        tags = {name: tag for name, tag in tags_below(url).items() if _is_wanted(name, url)}
        if not tags:
            raise UserError(f"no files at {url!r}: check the name, and your rights")
        known = _known(folder)
        for name in known.keys() - tags.keys():
            _remove(folder, name)
        # Without a version there is no telling: a stand-in is made, and scanned, anew.
        sure = [name for name in known.keys() & tags.keys() if known[name].tag or kind == _COPIES]
        here = {
            name: known[name]
            for name in sure
            if known[name].tag == tags[name] and known[name].fits(folder / name)
        }
        wanted = sorted(tags.keys() - here.keys())
        _rewrite(folder, here)
        bring(url, folder, wanted, tags)
    return folder


def _remove(folder: Path, name: str) -> None:
    """Removes a file, and the folders above it that hold nothing any more."""
    (folder / name).unlink(missing_ok=True)
    for above in PurePosixPath(name).parents[:-1]:
        try:
            (folder / above).rmdir()
        except OSError:  # Others are in it.
            return


def _stand_in(url: str, folder: Path, wanted: Sequence[str], tags: _Tags) -> None:
    set_store(folder, url)
    known = (folder / _KNOWN).open("a", encoding="utf-8")
    with known:
        for name in wanted:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(tags[name], encoding="utf-8")
            known.write(_line(name, _record(folder, name, tags)))


def _copy(url: str, folder: Path, wanted: Sequence[str], tags: _Tags) -> None:
    set_copied(folder, url)
    drafts = folder / _DRAFTS
    shutil.rmtree(drafts, ignore_errors=True)
    drafts.mkdir()

    def fetch(name: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with fetch_url(f"{url}/{name}", drafts) as draft:
            to_disk(draft)
            draft.replace(folder / name)

    if wanted:
        print(f"copying   {len(wanted):,} files from {url} to {folder}", flush=True)
    known = (folder / _KNOWN).open("a", encoding="utf-8")
    with known, ThreadPoolExecutor(REQUESTS) as pool:
        for start in range(0, len(wanted), _BLOCK):
            block = wanted[start : start + _BLOCK]
            list(pool.map(fetch, block))
            known.writelines(_line(name, _record(folder, name, tags)) for name in block)
            known.flush()
    shutil.rmtree(drafts, ignore_errors=True)


def _is_wanted(name: str, url: str) -> bool:
    """Whether a name is that of a picture, or may be; hidden ones are not.

    Raises:
        UserError: It would lead out of the folder.
    """
    parts = PurePosixPath(name).parts
    if "/".join(parts) != name and not name.startswith("/"):
        raise UserError(f"{url!r} holds {name!r}, a name that no file here can have: rename it")
    if ".." in parts or name.startswith("/") or "\0" in name:
        raise UserError(f"{url!r} holds {name!r}, a name that leads out of the folder: rename it")
    return bool(parts) and not any(part.startswith(".") for part in parts)


def _known(folder: Path) -> dict[str, _Record]:
    """Returns what was copied of which version; less, where a killed process left half a line."""
    known: dict[str, _Record] = {}
    with (
        contextlib.suppress(OSError, ValueError),
        (folder / _KNOWN).open(encoding="utf-8") as lines,
    ):
        for line in lines:
            name, tag, size = [*json.loads(line), None][:3]
            known[name] = _Record(tag, size)
    return known


def _rewrite(folder: Path, known: Mapping[str, _Record]) -> None:
    draft = folder / f"{_KNOWN}.draft"
    with draft.open("w", encoding="utf-8") as stream:
        stream.writelines(itertools.starmap(_line, known.items()))
    draft.replace(folder / _KNOWN)


def _line(name: str, record: _Record) -> str:
    return json.dumps([name, record.tag, record.size]) + "\n"


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
