"""Files behind a URL (gs://, s3://), by fsspec.

`etils.epath` would take TensorFlow's file system wherever TensorFlow is installed: that import is
slow, and it reads no s3://. Of epath's two backends this is the other one.
"""

import contextlib
import errno
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from catsdogs_jax.errors import UserError, extra, package

_URL = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_MAGIC = re.compile(r"[*?\[]")
_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs", "az": "adlfs", "abfs": "adlfs"}
_LOCAL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_VERSIONS = ("size", "generation", "etag", "ETag", "md5Hash", "LastModified", "mtime", "created")
"""What the stores call the version of a file, and its time."""

_EXTRAS = {"gs": "gcs", "gcs": "gcs"}


def is_url(name: str) -> bool:
    """Whether a name is a URL rather than a path."""
    return bool(_URL.match(name))


def read_url(url: str, start: int | None = None, end: int | None = None) -> bytes:
    """Reads a file, or its bytes from `start` to `end` - 1.

    Raises:
        UserError: No file system is known for the scheme, or its package is missing.
        OSError: It cannot be read; other errors of the packages are turned into this one.
    """
    files, path = _file_system(url), _path(url)
    try:
        return files.cat_file(path, start=start, end=end)
    except OSError:
        raise
    except Exception as error:  # Each package has exceptions of its own.
        raise OSError(str(error) or type(error).__name__) from error


@contextlib.contextmanager
def fetch_url(url: str, folder: Path) -> Iterator[Path]:
    """Copies a file into a folder; removes the copy at the end, unless it was renamed.

    Raises:
        UserError: It cannot be read; or as `read_url`.
    """
    files, path = _file_system(url), _path(url)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", delete=False) as made:
        draft = Path(made.name)
    try:
        try:
            files.get_file(path, str(draft))
        except Exception as error:  # Each package has exceptions of its own.
            if isinstance(error, OSError) and error.errno in _LOCAL:
                raise  # Of the disk here.
            raise UserError(f"cannot read {url!r}: {error}; check the name and rights") from error
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def write_url(url: str, data: bytes) -> None:
    """Writes a file: all of it or nothing appears, as stores have it.

    Raises:
        UserError: It cannot be written; or as `read_url`.
    """
    files, path = _file_system(url), _path(url)
    with _writing(url):
        files.makedirs(files._parent(path), exist_ok=True)
        files.pipe_file(path, data)


def upload(file: Path, url: str) -> None:
    """Copies a file of this machine to a URL, as `write_url`.

    Raises:
        UserError: As `write_url`.
    """
    files, path = _file_system(url), _path(url)
    with _writing(url):
        files.makedirs(files._parent(path), exist_ok=True)
        files.put_file(str(file), path)


def remove_url(url: str) -> None:
    """Removes a file, or all below a URL; what is not there is no error.

    Raises:
        UserError: As `write_url`.
    """
    files, path = _file_system(url), _path(url)
    with _writing(url), contextlib.suppress(FileNotFoundError):
        files.rm(path, recursive=True)


@contextlib.contextmanager
def _writing(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Each package has exceptions of its own.
        raise UserError(f"cannot write {url!r}: {error}; check the name and rights") from error


def list_url(url: str) -> Iterator[str]:
    """Yields the files below a URL, those that its pattern matches, or itself, as URLs in order.

    Raises:
        UserError: As `read_url`, or the store does not answer.
    """
    files, path = _file_system(url), _path(url)
    try:
        if _MAGIC.search(path):
            found = sorted(files.glob(path, detail=True).items())
            yield from (_spelled(files, name) for name, is_ in found if is_["type"] == "file")
        elif files.isdir(path):
            yield from _walk(files, path)
        else:
            yield url
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"cannot list {url!r}: {error}; check the name and your rights") from error


def tags_below(url: str) -> dict[str, str]:
    """Returns the paths of the files below a URL, and for each what changes with its content.

    Raises:
        UserError: As `read_url`, or the store does not answer.
    """
    files, path = _file_system(url), _path(url)
    try:
        found = files.find(path, detail=True)
    except Exception as error:
        raise UserError(f"cannot list {url!r}: {error}; check the name and your rights") from error
    return {
        name.removeprefix(path).lstrip("/"): " ".join(
            str(facts[key]) for key in _VERSIONS if facts.get(key) is not None
        )
        for name, facts in found.items()
        if not name.endswith("/")  # Some stores keep a marker for a folder.
    }


def _walk(files: Any, folder: str) -> Iterator[str]:
    for entry in sorted(files.ls(folder, detail=True), key=lambda entry: entry["name"]):
        if entry["type"] == "directory":
            yield from _walk(files, entry["name"])
        else:
            yield _spelled(files, entry["name"])


def _spelled(files: Any, name: str) -> str:
    return str(files.unstrip_protocol(name))


def _path(url: str) -> str:
    return str(_file_system(url)._strip_protocol(url))


def _file_system(url: str) -> Any:
    scheme = url.partition("://")[0].lower()
    try:
        return fsspec.filesystem(scheme)  # Instances are kept by fsspec.
    except ImportError as error:
        needed = _PACKAGES.get(scheme)
        if needed is None:
            raise UserError(f"{url!r} needs a package that is not there: {error}") from error
        mend = extra(_EXTRAS[scheme]) if scheme in _EXTRAS else package(needed)
        raise UserError(f"{url!r} needs {needed}: {mend}") from error
    except ValueError as error:
        raise UserError(f"{url!r}: no file system {scheme!r}; gs:// and s3:// are known") from error
