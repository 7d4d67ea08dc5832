"""The bytes of the pictures of a manifest, wherever they lie: in files, in records, in a bucket."""

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath

from catsdogs_jax.cores import REQUESTS
from catsdogs_jax.data.places import origin_of, store_of, stored_at
from catsdogs_jax.data.records import pack_at
from catsdogs_jax.errors import UserError


def read_picture(root: Path, file: str, content_hash: str) -> bytes:
    """Returns the bytes of a picture, after a look whether they are still the same.

    Args:
        root: `Manifest.root`.
        file: Path below it, or its name in the pack.
        content_hash: SHA-256 that the bytes must have.

    Raises:
        UserError: They cannot be read any more, or have changed.
    """
    pack = pack_at(root)
    if pack is not None:
        data = pack.read(file)
        if hashlib.sha256(data).hexdigest() != content_hash:
            raise pack.changed(file)
        return data
    store = _store_at(root)
    try:
        data = _bytes_of(root, file) if store is None else read_stored(stored_at(store, file))
    except OSError as error:
        why = f"{error.strerror or error}: {origin_of(root / file)!r}"
        raise changed(file, why) from error
    # Cheap beside decoding; sizes and times would miss a copy that keeps them.
    if hashlib.sha256(data).hexdigest() != content_hash:
        raise changed(file, "its content has changed")
    return data


def _bytes_of(root: Path, file: str) -> bytes:
    # `Path.read_bytes` takes twice as long, and threads wait for Python's lock meanwhile.
    with open(os.path.join(root, file), "rb", buffering=0) as stream:
        return stream.readall()


def far(root: Path) -> bool:
    """Whether each picture is a request to a store, for whose answer a thread waits."""
    pack = pack_at(root)
    return pack.far if pack is not None else _store_at(root) is not None


def read_stored(url: str) -> bytes:
    """Returns the bytes of a file in a bucket.

    Raises:
        UserError: It cannot be read. Unlike a bad file on a disk, none is left out for that: the
            next run may well be able to read it, and would train on other pictures.
    """
    from catsdogs_jax.data.remote import read_url  # fsspec is slow to import.

    try:
        return read_url(url)
    except OSError as error:
        raise UserError(f"cannot read {url!r}: {error}; check the name and rights") from error


_store_at = functools.lru_cache(maxsize=8)(store_of)


def changed(file: str, why: str) -> UserError:
    """Returns the error of a picture that is not what it was."""
    return UserError(
        f"{file!r} is not what it was when the run began ({why}): put it back, or start the run "
        "anew"
    )


@contextlib.contextmanager
def as_files(root: Path, pictures: Sequence[tuple[str, str]]) -> Iterator[list[Path]]:
    """Gives pictures as files: those of a folder themselves, others as passing copies.

    Args:
        root: `Manifest.root`.
        pictures: File and content hash of each.

    Raises:
        UserError: One cannot be read any more, or has changed.
    """
    if pack_at(root) is None and _store_at(root) is None:
        yield [root / file for file, _ in pictures]
        return
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(REQUESTS) as pool:

        def copied(number: int) -> Path:
            file, content_hash = pictures[number]
            path = Path(folder) / f"{number}{PurePath(file).suffix}"
            path.write_bytes(read_picture(root, file, content_hash))
            return path

        yield list(pool.map(copied, range(len(pictures))))
