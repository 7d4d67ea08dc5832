"""The manifest as a file of the run folder: JSON with a picture in each line, read line by line."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from catsdogs_jax.data.manifest import Manifest
from catsdogs_jax.data.pictures import Picture, Pictures
from catsdogs_jax.errors import UserError
from catsdogs_jax.task import Task

_BEGIN, _END = ' "pictures":\n', "]}\n"
"""Lines that stand before and after the pictures; no JSON writer breaks the first one there."""


def spell_manifest(manifest: Manifest) -> Iterator[str]:
    """Yields the text of the file, in parts."""
    head = {
        "root": str(manifest.root),
        "task": dataclasses.asdict(manifest.task),
        "fingerprint": manifest.fingerprint,
        "quarantined": _reasons(manifest.quarantined),
        "excluded": _reasons(manifest.excluded),
    }
    yield json.dumps(head, indent=1)[:-2] + ",\n" + _BEGIN + "[\n"
    last = len(manifest.pictures) - 1
    names = [field.name for field in dataclasses.fields(Picture)]
    for place, picture in enumerate(manifest.pictures):
        row = {name: getattr(picture, name) for name in names}
        yield json.dumps(row) + ("," if place < last else "") + "\n"
    yield _END


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of a run."""
    head = read_head(path)
    task = head["task"]
    return Manifest(
        Path(head["root"]),
        Task(task["kind"], tuple(task["classes"])),
        Pictures.of(read_pictures(path)),
        tuple((bad["file"], bad["reason"]) for bad in head["quarantined"]),
        tuple((bad["file"], bad["reason"]) for bad in head.get("excluded", ())),
    )


def read_head(path: Path) -> Mapping[str, Any]:
    """Reads all but the pictures of the manifest of a run."""
    text = ""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line == _BEGIN:
                return json.loads(text.rstrip().removesuffix(",") + "}")
            text += line
    return json.loads(text)  # Of a version that wrote it at once.


def read_pictures(path: Path) -> Iterator[Picture]:
    """Yields the pictures of the manifest of a run.

    Raises:
        UserError: The file is cut short.
    """
    with path.open(encoding="utf-8") as lines:
        if not any(line == _BEGIN for line in lines):
            yield from map(Picture.from_dict, read_head(path)["pictures"])
            return
        next(lines, "")  # The bracket.
        for line in lines:
            if line == _END:
                return
            if not line.endswith("}\n") and not line.endswith("},\n"):
                break
            yield Picture.from_dict(json.loads(line.rstrip(",\n")))
    raise UserError(f"{str(path)!r} is cut short: copy the run folder again")


def _reasons(files: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"file": file, "reason": reason} for file, reason in files]
