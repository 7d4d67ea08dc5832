"""Where a pack is made: in a folder, or in a bucket. Its index, which comes last, makes it one."""

import contextlib
import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from catsdogs_jax.cores import REQUESTS
from catsdogs_jax.data.exchange import get, put
from catsdogs_jax.data.places import cache_folder, is_far
from catsdogs_jax.data.records import INDEX, parse_index, read_index
from catsdogs_jax.errors import UserError

_LOCK, _PLAN = ".lock", ".plan"
_SHARD = re.compile(r"[a-z]+-\d{5}-of-\d{5,}\.(array_record|tfrecord)(\.pictures\.jsonl\.gz)?")

PACKING = ".packing"
"""The folder of a bucket's pack for what is needed while it is made."""

Shards = Sequence[Mapping[str, Any]]
"""What the index says of each shard."""


class PackPlace(Protocol):
    """A place for a pack."""

    def finished(self, plan: str) -> Mapping[str, Any] | None:
        """Returns the index of the pack if it is there already; none if there is nothing.

        Raises:
            UserError: Something else is there.
        """
        ...

    def making(self, plan: str) -> contextlib.AbstractContextManager[Path]:
        """Gives a folder of this machine, which holds what an earlier call with this plan made.

        Raises:
            UserError: Another process makes a pack there.
        """
        ...

    def finish(self, draft: Path, shards: Shards, index: str) -> None:
        """Makes a pack of what is in the folder."""
        ...


def place_of(out: str | Path) -> PackPlace:
    """Returns the place that a path or a URL names."""
    return InBucket(str(out)) if is_far(str(out)) else OnDisk(Path(out))


class OnDisk:
    """A folder, made in `.NAME.packing` beside it and renamed at the end.

    Args:
        out: The folder.
    """

    def __init__(self, out: Path):
        self._out = out

    def finished(self, plan: str) -> Mapping[str, Any] | None:
        """As in `PackPlace`."""
        out = self._out
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return None
        index = read_index(out) if (out / INDEX).is_file() else {}
        return _checked(index, plan, str(out))

    @contextlib.contextmanager
    def making(self, plan: str) -> Iterator[Path]:
        """As in `PackPlace`."""
        draft = self._out.absolute().parent / f".{self._out.name}.packing"
        with _only_one(draft):
            if not (draft / _PLAN).is_file() or (draft / _PLAN).read_text() != plan:
                _empty(draft)
                (draft / _PLAN).write_text(plan)
            for path in draft.glob(".*.draft"):  # Of a call that was killed.
                path.unlink()
            yield draft

    def finish(self, draft: Path, shards: Shards, index: str) -> None:
        """As in `PackPlace`."""
        kept = set(_files(shards))
        for path in draft.iterdir():
            if path.name not in kept:
                path.unlink()
        (draft / INDEX).write_text(index, encoding="utf-8")
        draft.rename(self._out)


class InBucket:
    """What is below a URL. Of two machines that make the same pack at once both write the same.

    Args:
        url: Of the pack.
    """

    def __init__(self, url: str):
        self._url = url.rstrip("/")

    def finished(self, plan: str) -> Mapping[str, Any] | None:
        """As in `PackPlace`."""
        from catsdogs_jax.data.remote import tags_below  # fsspec is slow to import.

        with contextlib.suppress(FileNotFoundError):
            where = f"{self._url}/{INDEX}"
            return _checked(parse_index(get(where), where), plan, self._url)
        if tags_below(self._url) and self._plan() is None:
            return _checked({}, plan, self._url)
        return None

    @contextlib.contextmanager
    def making(self, plan: str) -> Iterator[Path]:
        """As in `PackPlace`."""
        from catsdogs_jax.data.remote import remove_url

        name = hashlib.sha256(self._url.encode()).hexdigest()[:32]
        with OnDisk(cache_folder() / "packing" / name).making(plan) as draft:
            if self._plan() != plan:
                remove_url(f"{self._url}/{PACKING}")
                put(f"{self._url}/{PACKING}/{_PLAN}", plan.encode())
            yield draft

    def finish(self, draft: Path, shards: Shards, index: str) -> None:
        """Uploads what was made here; what others have made is there."""
        from catsdogs_jax.data.remote import remove_url, tags_below, upload

        kept = set(_files(shards))
        here = [name for name in kept if (draft / name).is_file()]
        with ThreadPoolExecutor(REQUESTS) as pool:
            list(pool.map(lambda name: upload(draft / name, f"{self._url}/{name}"), here))
        for name in tags_below(self._url).keys() - kept:
            if _SHARD.fullmatch(name):  # Of a call with another plan; nothing else is touched.
                remove_url(f"{self._url}/{name}")
        put(f"{self._url}/{INDEX}", index.encode())
        remove_url(f"{self._url}/{PACKING}")
        shutil.rmtree(draft)

    def _plan(self) -> str | None:
        try:
            return get(f"{self._url}/{PACKING}/{_PLAN}").decode()
        except FileNotFoundError:
            return None


def _files(shards: Shards) -> Iterator[str]:
    for shard in shards:
        yield from (shard["file"], shard["table"])


def _checked(index: Mapping[str, Any], plan: str, where: str) -> Mapping[str, Any]:
    if index.get("plan") != plan:
        raise UserError(
            f"{where!r} exists and holds something else, or was packed otherwise: choose "
            "another folder, or remove it"
        )
    return index


@contextlib.contextmanager
def _only_one(draft: Path) -> Iterator[None]:
    draft.mkdir(parents=True, exist_ok=True)
    with (draft / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"another process packs into {str(draft)!r}: wait for it, or stop it"
            ) from error
        yield


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()
