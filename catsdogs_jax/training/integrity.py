"""Whether a checkpoint on disk is what was written: a manifest of sizes and SHA-256 hashes.

The manifest is written into the checkpoint just before Orbax gives it its final name, so every
checkpoint under a final name has one. Nothing here knows Orbax but the two names that it writes
last.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

MANIFEST = "sha256.json"
METADATA = "_CHECKPOINT_METADATA"
"""Orbax's own note of a checkpoint; its `custom_metadata` says whether there was a manifest."""

MARK = {"manifest": MANIFEST}
"""The custom metadata of a checkpoint that has a manifest, so that a lost one is noticed."""

_WRITTEN_LATER = {METADATA, "commit_success.txt"}
_SMALL = 2**16


def write_manifest(folder: Path) -> None:
    """Writes sizes and hashes of all files of a checkpoint into it."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _hash(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).as_posix() not in _WRITTEN_LATER
    }
    with (folder / MANIFEST).open("w", encoding="utf-8") as stream:
        json.dump({"version": 1, "files": files}, stream)
        stream.flush()
        os.fsync(stream.fileno())


def why_broken(folder: Path, *, quick: bool = False, from_disk: bool = False) -> str:
    """Returns why a checkpoint is not what was written, or an empty string if it is.

    Checkpoints of versions that wrote no manifest are taken as they are.

    Args:
        folder: The checkpoint.
        quick: Compare sizes, and the hashes of small files alone.
        from_disk: Ask the kernel to forget what it holds of the files in memory first.
    """
    try:
        note = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        mark = note.get("custom_metadata") or {}
        if not mark and not (folder / MANIFEST).exists():
            return ""
        if mark != MARK:
            return f"{METADATA} does not name the manifest"
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        for name, entry in files.items():
            reason = _why_file_broken(folder / name, entry, quick=quick, from_disk=from_disk)
            if reason:
                return f"{name} {reason}"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):  # Text that is no JSON of ours.
        return f"{METADATA} or {MANIFEST} is not readable"
    return ""


def _why_file_broken(path: Path, entry: dict[str, Any], *, quick: bool, from_disk: bool) -> str:
    if not path.exists():
        return "is missing"
    size = path.stat().st_size
    if size != entry["bytes"]:
        return f"has {size:,} bytes, not {entry['bytes']:,}"
    if from_disk:
        _forget(path)
    if not (quick and size > _SMALL) and _hash(path) != entry["sha256"]:
        return "has other content than was written"
    return ""


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _forget(path: Path) -> None:
    """Lets the next read come from the disk, where the system can be asked to."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
