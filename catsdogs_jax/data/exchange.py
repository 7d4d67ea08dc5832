"""What processes on several machines tell each other by: files on a shared disk, or in a bucket."""

import uuid
from pathlib import Path

from catsdogs_jax.data.places import is_far


def put(place: str, data: bytes) -> None:
    """Writes a file that appears whole, whoever else writes it at the same time.

    Args:
        place: A path or a URL.
        data: Its bytes.
    """
    if is_far(place):
        from catsdogs_jax.data.remote import write_url  # fsspec is slow to import.

        write_url(place, data)
        return
    path = Path(place)
    # Of a name of its own, as a Beam runner may do the same element twice at once.
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    draft.write_bytes(data)
    draft.replace(path)


def get(place: str, start: int = 0, end: int | None = None) -> bytes:
    """Returns the bytes of a file from `start` to `end` - 1.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if is_far(place):
        from catsdogs_jax.data.remote import read_url

        return read_url(place, start or None, end)
    with Path(place).open("rb") as stream:
        stream.seek(start)
        return stream.read(-1 if end is None else end - start)
