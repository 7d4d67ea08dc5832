"""A table that is written line by line, goes on after a kill, and has its name when it is whole."""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from catsdogs_jax.errors import UserError
from catsdogs_jax.prediction.forms import Form
from catsdogs_jax.run_folder import write_json

_CHUNK = 2**20


def partial_path(out: Path) -> Path:
    """Returns where the lines of a table are kept until it is whole."""
    return out.with_name(f"{out.name}.partial")


@dataclasses.dataclass(frozen=True)
class Partial:
    """The lines of `out` so far, in a file beside it.

    Attributes:
        out: The name of the whole table.
        form: What its lines look like.
        settings: JSON types that decide what the lines hold.
    """

    out: Path
    form: Form
    settings: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """The file of whole lines, but perhaps for the last."""
        return partial_path(self.out)

    @property
    def _settings(self) -> Path:
        return self.out.with_name(f"{self.out.name}.partial.json")

    def begin(self, resume: bool) -> tuple[int, str]:
        """Returns the number of rows that are there already, and the last of their lines.

        Raises:
            UserError: There are rows of another call, and this one is not to go on from them; or
                they were made with other settings.
        """
        if not self.path.is_file() or not self._settings.is_file():
            self.out.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._settings, self.settings)
            self.path.write_text(self.form.header, encoding="utf-8")
            return 0, ""
        if not resume:
            raise UserError(
                f"{str(self.path)!r} is left from a call that was stopped: go on with --resume, or "
                "remove it to begin anew"
            )
        began = json.loads(self._settings.read_text(encoding="utf-8"))
        for key, value in json.loads(json.dumps(self.settings)).items():
            if began.get(key) != value:
                raise UserError(
                    f"{str(self.path)!r} was begun with {key} {began.get(key)!r}, this call has "
                    f"{value!r}: give the same flags, or remove it to begin anew"
                )
        return self._cut()

    def _cut(self) -> tuple[int, str]:
        """Drops what stands behind the last whole line; returns the rows and the last line."""
        count, end, place = 0, 0, 0
        with self.path.open("r+b") as stream:
            while chunk := stream.read(_CHUNK):
                count += chunk.count(b"\n")
                if b"\n" in chunk:
                    end = place + chunk.rindex(b"\n") + 1
                place += len(chunk)
            header = self.form.header.encode()
            if end < len(header):
                stream.truncate(0)
                stream.seek(0)
                stream.write(header)
                return 0, ""
            stream.truncate(end)
            rows = count - header.count(b"\n")
            return rows, _last_line(stream, end) if rows else ""

    def finish(self, make: Callable[[Path, Path], None] | None = None) -> None:
        """Gives the whole table its name.

        Args:
            make: Makes a file of another form from that of the lines, `(lines, out) -> None`.
        """
        whole = self.path
        if make is not None:
            whole = self.out.with_name(f"{self.out.name}.draft")
            make(self.path, whole)
        with whole.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(whole, self.out)
        self.path.unlink(missing_ok=True)
        self._settings.unlink(missing_ok=True)


def _last_line(stream: Any, end: int) -> str:
    """Returns the line that ends at a place of a file, without its end."""
    taken, start = b"", end - 1
    while start > 0 and b"\n" not in taken:
        step = min(4096, start)
        start -= step
        stream.seek(start)
        taken = stream.read(step) + taken
    return taken.rpartition(b"\n")[2].decode()
