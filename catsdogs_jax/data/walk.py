"""The files below a folder that may be pictures, in order, without holding more than a folder."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from catsdogs_jax.errors import UserError

_NOT_PICTURES = {".csv", ".json", ".jsonl", ".txt", ".md", ".html", ".xml", ".db", ".ini", ".zip"}


def files_below(folder: Path, root: Path | None = None) -> Iterator[str]:
    """Yields everything below a folder that may be a picture: the content decides, not the ending.

    Hidden files and folders are left out, and links to folders are not followed.

    Args:
        folder: The folder.
        root: What the paths are relative to, a folder above; none: the folder itself.

    Yields:
        Paths with forward slashes, in their order as texts.

    Raises:
        UserError: A folder cannot be read.
    """
    below = "" if root in (None, folder) else f"{folder.relative_to(root).as_posix()}/"
    yield from _walk(str(root or folder), below)


def subfolders(folder: Path) -> list[Path]:
    """Returns the folders in a folder that are not hidden, in the order of the paths below them.

    Raises:
        UserError: The folder cannot be read.
    """
    names = [entry.name for entry in _entries(str(folder)) if _is_folder(entry)]
    return [folder / name for name in sorted(names, key=lambda name: f"{name}/")]


def may_be_picture(name: str) -> bool:
    """Whether a file with this name (or path, or URL) is looked into: not if hidden or a table."""
    path = PurePath(name)
    return not (path.name.startswith(".") or path.suffix.lower() in _NOT_PICTURES)


def _walk(root: str, below: str) -> Iterator[str]:
    # With its slash, a folder stands among files where the paths of what is in it do.
    names = sorted(
        f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
        for entry in _entries(f"{root}/{below}")
        if not (entry.is_symlink() and _is_folder(entry))
    )
    for name in names:
        if name.endswith("/"):
            yield from _walk(root, below + name)
        elif may_be_picture(name):
            yield below + name


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link that leads in a circle.
        return False


def _entries(folder: str) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"folder {folder!r} cannot be read ({error.strerror or error}): see who may read it"
        ) from error
