"""The forms of a table of predictions: CSV, JSONL and, made from JSONL, Parquet."""

import csv
import dataclasses
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from catsdogs_jax.errors import UserError, extra
from catsdogs_jax.escaping import csv_cell, csv_table, printable

FORMATS = ("csv", "jsonl", "parquet")
_ROW_GROUP = 16384


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        file: As given.
        predicted: Names of the predicted classes; one unless there are several labels.
        probabilities: Of each class; none if the file cannot be used.
        error: Why it cannot be used; empty if it can.
        rejected: Why there is no answer, see `Rejection.reasons`.
        distance: To the training pictures; none if it was not asked for.
    """

    file: str
    predicted: tuple[str, ...]
    probabilities: tuple[float, ...] | None
    error: str = ""
    rejected: str = ""
    distance: float | None = None


@dataclasses.dataclass(frozen=True)
class Csv:
    """One line a picture, a column for each class.

    Attributes:
        classes: Names of the classes.
        rejects: Whether there is a column `rejected`.
        measures: Whether there is a column `distance`.
    """

    classes: tuple[str, ...]
    rejects: bool = False
    measures: bool = False

    @property
    def header(self) -> str:
        """The first line."""
        extra = ["rejected"] * self.rejects + ["distance"] * self.measures
        return csv_table([["file", "predicted", *self.classes, *extra, "error"]])

    def line(self, row: Row) -> str:
        """Returns a row as a line."""
        numbers = [""] * len(self.classes)
        if row.probabilities is not None:
            numbers = [f"{p:.6f}" for p in row.probabilities]
        far = "" if row.distance is None else f"{row.distance:.6f}"
        extra = [row.rejected] * self.rejects + [far] * self.measures
        return csv_table([[row.file, "|".join(row.predicted), *numbers, *extra, row.error]])

    def is_of(self, line: str, name: str) -> bool:
        """Whether a line is that of a file."""
        return next(csv.reader([line]))[0] == csv_cell(name)


@dataclasses.dataclass(frozen=True)
class Jsonl:
    """One object a line; probabilities have the 9 digits that tell any two float32 apart.

    Attributes:
        classes: Names of the classes.
        several: Whether `predicted` is a list.
        rejects: Whether there is a key `rejected`.
        measures: Whether there is a key `distance`.
    """

    classes: tuple[str, ...]
    several: bool = False
    rejects: bool = False
    measures: bool = False
    header: str = ""

    def line(self, row: Row) -> str:
        """Returns a row as a line."""
        answered = row.probabilities is not None
        one: str | None = row.predicted[0] if row.predicted else None
        tree: dict[str, Any] = {
            "file": row.file,
            "predicted": (list(row.predicted) if self.several else one) if answered else None,
            "probabilities": dict(zip(self.classes, map(_short, row.probabilities), strict=True))
            if row.probabilities is not None
            else None,
        }
        if self.rejects:
            tree["rejected"] = row.rejected or None
        if self.measures:
            tree["distance"] = None if row.distance is None else _short(row.distance)
        return json.dumps({**tree, "error": row.error or None}) + "\n"

    def is_of(self, line: str, name: str) -> bool:
        """Whether a line is that of a file."""
        return json.loads(line)["file"] == name


Form = Csv | Jsonl


def _short(value: float) -> float:
    return float(f"{value:.9g}")


def require_parquet() -> None:
    """Checks that Parquet can be written.

    Raises:
        UserError: PyArrow is missing.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UserError(f"Parquet needs pyarrow: {extra('parquet')}") from error


def write_parquet(lines: Path, out: Path, form: Jsonl) -> None:
    """Writes what `Jsonl` wrote as Parquet, one row group at a time.

    Args:
        lines: The JSONL file.
        out: The Parquet file.
        form: What the lines hold.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    answer = pa.list_(pa.string()) if form.several else pa.string()
    columns = [
        ("file", pa.string()),
        ("predicted", answer),
        ("probabilities", pa.struct([(name, pa.float64()) for name in form.classes])),
        *([("rejected", pa.string())] if form.rejects else []),
        *([("distance", pa.float64())] if form.measures else []),
        ("error", pa.string()),
    ]
    schema = pa.schema(columns)
    with lines.open(encoding="utf-8") as stream, pq.ParquetWriter(out, schema) as writer:
        for rows in _groups(stream):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _groups(lines: Iterator[str]) -> Iterator[Sequence[dict[str, Any]]]:
    while some := list(islice(lines, _ROW_GROUP)):
        rows = [json.loads(line) for line in some]
        yield [{**row, "file": _text(row["file"])} for row in rows]


def _text(name: str) -> str:
    """Returns a name as it is, or spelled out where it is no text, which Parquet refuses."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return printable(name)
    return name
