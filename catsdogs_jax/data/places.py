"""Where the library keeps what it can make again, and how it makes it in one piece."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from catsdogs_jax.errors import UserError

MARKER = "made_by_catsdogs_jax.json"

_CANNOT_SYNC = {errno.EINVAL, errno.EBADF, errno.ENOTSUP}
"""What file systems that know no such thing, as some that are mounted from a bucket, answer."""

_STORE, _COPIED = ".store.url", ".copied.url"


def cache_folder() -> Path:
    """Returns `$CATSDOGS_CACHE`, else `catsdogs_jax` in the user's cache folder."""
    named = os.environ.get("CATSDOGS_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "catsdogs_jax"


def is_far(place: str) -> bool:
    """Whether a place is a URL, not a path of this machine."""
    return "://" in place


def set_store(folder: Path, url: str) -> None:
    """Notes that what a folder of the cache stands for is read from below a URL, or a path."""
    if store_of(folder) != url:
        _note(folder / _STORE, url)


def set_copied(folder: Path, url: str) -> None:
    """Notes that the files in a folder of the cache are copies of those below a URL."""
    if _noted(folder / _COPIED) != url:
        _note(folder / _COPIED, url)


def _note(path: Path, url: str) -> None:
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=".", encoding="utf-8", delete=False
    ) as draft:
        draft.write(url)
        os.fchmod(draft.fileno(), 0o644)
    Path(draft.name).replace(path)


def _noted(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def store_of(folder: Path) -> str | None:
    """Returns the URL, or path, below which the files of a folder are read; none: they are in it.

    Raises:
        UserError: The folder is not in the cache: pictures from elsewhere are no reason to call a
            server.
    """
    path = folder / _STORE
    url = _noted(path)
    if url is None:
        return None
    if not path.absolute().is_relative_to(cache_folder().absolute()):
        raise UserError(
            f"{str(folder)!r} stands for {url!r}, but is not in the cache {str(cache_folder())!r}: "
            "set CATSDOGS_CACHE to what it was when the run was trained, or remove "
            f"{str(path)!r} if the pictures are in the folder"
        )
    return url


def stored_at(store: str, file: str) -> str:
    """Returns the URL of a file for which there is a stand-in, however its path is spelled."""
    return f"{store}/{PurePosixPath(file)}"


def origin_of(path: Path) -> str:
    """Returns where a user knows something to lie: its path, or the URL or path behind it.

    What is in the cache is a copy of what is at the URL, or stands for it.
    """
    cache, whole = cache_folder().absolute(), path.absolute()
    for folder in (whole, *whole.parents):
        if not folder.is_relative_to(cache):
            break
        url = _noted(folder / _STORE) or _noted(folder / _COPIED)
        if url is not None:
            return "/".join([url, *whole.relative_to(folder).parts])
    return str(path)


def to_disk(path: Path) -> None:
    """Waits until a file, or the names in a folder, would outlast a power cut.

    A name may reach the disk before what was written under it: without this a renamed file may be
    empty afterwards, or as long as it should be and zero.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def make_once(folder: Path, settings: Mapping[str, Any], fill: Callable[[Path], None]) -> Path:
    """Returns `folder`, filled by `fill` unless an earlier call with the same settings did.

    The work is done in a temporary sibling that is renamed at the end, so that a killed process
    leaves nothing under the final name, and of two processes that race one wins and both end well.

    Args:
        folder: The final name.
        settings: JSON types that say what is in the folder; kept in it as a marker file.
        fill: Writes the content into the empty folder it is given.

    Raises:
        UserError: The folder exists and holds something else.
    """
    if folder.exists():
        return _check(folder, settings)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        fill(draft)
        (draft / MARKER).write_text(json.dumps(settings, sort_keys=True), encoding="utf-8")
        draft.chmod(0o755)
        to_disk(draft / MARKER)
        to_disk(draft)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.exists():
                raise
            return _check(folder, settings)  # Another process was first.
        to_disk(folder.parent)
        return folder
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check(folder: Path, settings: Mapping[str, Any]) -> Path:
    marker = folder / MARKER
    found = json.loads(marker.read_text(encoding="utf-8")) if marker.is_file() else None
    if found != json.loads(json.dumps(settings)):
        raise UserError(
            f"{str(folder)!r} exists and holds {found or 'something else'}, not {dict(settings)}: "
            "choose another folder, or remove it"
        )
    return folder
