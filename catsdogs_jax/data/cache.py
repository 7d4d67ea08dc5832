"""Decoded pictures on disk: made once, read by every later run on the same pictures."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np

from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.places import cache_folder, make_once, to_disk

DECODER_VERSION = 2
"""Part of the key; raise it whenever the decoder gives other pixels."""

_PIXELS = "pixels.u8"
_FREE_BYTES = 2**30
_ABANDONED_SECONDS = 24 * 3600


def on_disk(pictures: PictureSet, budget: int) -> PictureSet:
    """Returns the set with its decoded pictures in a file of the cache folder, mapped to memory.

    The file is found by the contents of the pictures and how they are decoded. A draft is renamed
    when it is complete and on the disk, so a process that is killed half-way, or a power cut,
    leaves nothing that is read, and of two processes that decode at once one wins and both go on.

    Args:
        pictures: The set.
        budget: Bytes that all such files may take; those used longest ago make room.

    Returns:
        The set; as it was if the budget or the free space of the disk is too small.
    """
    to = pictures.preprocessing
    settings = json.dumps([DECODER_VERSION, to.image_size, to.resize])
    contents = pictures.pictures.column("content_hash").values
    key = hashlib.sha256(settings.encode() + contents.tobytes()).hexdigest()[:32]
    shape = (len(pictures), to.image_size, to.image_size, 3)
    folder = cache_folder() / "pictures" / key
    if not folder.exists() and not _make_room(folder.parent, pictures.decoded_bytes, budget):
        return pictures

    def fill(draft: Path) -> None:
        # A full disk is an error here; later, in mapped memory, it would be a SIGBUS.
        with (draft / _PIXELS).open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, pictures.decoded_bytes)
        decoded = np.memmap(draft / _PIXELS, np.uint8, "r+", shape=shape)
        pictures.decode_into(decoded)
        # Space that is reserved reads as zeros: a power cut would leave black pictures.
        decoded.flush()
        to_disk(draft / _PIXELS)

    try:
        make_once(folder, {"key": key}, fill)
        with contextlib.suppress(PermissionError):  # Another's, which we may read.
            os.utime(folder)  # It is the one used last.
        decoded = np.memmap(folder / _PIXELS, np.uint8, "r", shape=shape)
    except OSError:
        # Full, not ours to write, or another process has made room: pictures are read from their
        # own files.
        return pictures
    return dataclasses.replace(pictures, cache=decoded)


def _make_room(parent: Path, needed: int, budget: int) -> bool:
    """Removes what was used longest ago until there is room; says whether there is."""
    parent.mkdir(parents=True, exist_ok=True)
    if needed > budget:
        return False
    kept = []
    for folder in parent.iterdir():
        # Another process may rename a draft, or make room, while this one looks.
        with contextlib.suppress(FileNotFoundError):
            used = folder.stat().st_mtime
            if not folder.name.startswith("."):
                kept.append((used, _bytes_below(folder), folder))
            elif used < time.time() - _ABANDONED_SECONDS:  # The process of this draft was killed.
                shutil.rmtree(folder, ignore_errors=True)
    kept.sort()
    while kept and sum(size for _, size, _ in kept) + needed > budget:
        # A process that reads it keeps its pages until it ends.
        shutil.rmtree(kept.pop(0)[-1], ignore_errors=True)
    return shutil.disk_usage(parent).free >= needed + _FREE_BYTES


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
