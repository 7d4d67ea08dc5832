"""Which pictures a command is given, one name at a time: files, folders, patterns, URLs, lists.

No more names are held than those of one folder, or of one pattern; of a list, none.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import BinaryIO

from catsdogs_jax.data.remote import is_url, list_url
from catsdogs_jax.data.walk import files_below, may_be_picture
from catsdogs_jax.errors import UserError

_CHUNK = 2**16


def list_inputs(words: Sequence[str], stdin: BinaryIO) -> Iterator[str]:
    """Returns an iterator over the names of pictures, in the order of the words.

    Args:
        words: Each a file; a folder, whose pictures are listed at any depth, sorted by path; a
            pattern with `*`, `?`, `[...]` or `**` (any depth), whose files are sorted; a URL of
            any of these; or "-" for a list.
        stdin: The list: names that end with a newline, or with NUL as `find -print0` writes them.

    Raises:
        UserError: A word is none of these, or a folder or pattern holds no picture.
    """
    if words.count("-") > 1:
        raise UserError("standard input (-) is given twice: it can be read once")
    return chain.from_iterable([_names(word, stdin) for word in words])


def read_names(stream: BinaryIO) -> Iterator[str]:
    """Yields names from a list, separated by newlines, or by NUL if one is among the first 64 KiB.

    Names are bytes to the system; those that are no text come back as `os.fsdecode` gives them.
    """
    held = stream.read(_CHUNK)
    separator = b"\0" if b"\0" in held else b"\n"
    while held:
        *whole, rest = held.split(separator)
        for name in whole:
            if spelled := _spelled(name, separator):
                yield spelled
        more = stream.read(_CHUNK)
        if not more and (spelled := _spelled(rest, separator)):
            yield spelled
        held = rest + more if more else b""


def _spelled(name: bytes, separator: bytes) -> str:
    return os.fsdecode(name.removesuffix(b"\r") if separator == b"\n" else name)


def _names(word: str, stdin: BinaryIO) -> Iterator[str]:
    if word == "-":
        return read_names(stdin)
    if is_url(word):
        return _some(filter(may_be_picture, list_url(word)), f"no pictures at {word!r}")
    if os.path.isdir(word):
        below = (os.path.join(word, file) for file in files_below(Path(word)))
        return _some(below, f"no pictures in folder {word!r}")
    if os.path.lexists(word):
        return iter([word])
    if glob.has_magic(word):
        return _some(_matches(word), f"no picture matches {word!r}: check the pattern")
    raise UserError(f"no file or folder {word!r}: check the name")


def _some(names: Iterator[str], otherwise: str) -> Iterator[str]:
    """Returns the names; where there are none, an error at once and not in the middle of a run."""
    first = next(names, None)
    if first is None:
        raise UserError(otherwise)
    return chain([first], names)


def _matches(pattern: str) -> Iterator[str]:
    found = sorted(glob.iglob(pattern, recursive=True), key=lambda name: PurePath(name).parts)
    return (name for name in found if may_be_picture(name) and not os.path.isdir(name))
