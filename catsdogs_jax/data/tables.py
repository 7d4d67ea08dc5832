"""Which pictures a table lists, and what it says of them: .csv and .jsonl."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from catsdogs_jax.data.listing import SPLIT_NAMES, SPLITS, Example, Examples, Listing
from catsdogs_jax.errors import UserError, nearest

Row = dict[str, object]


def list_table(table: Path, folder: Path | None) -> Listing:
    """Lists a .csv or .jsonl with the columns file, label (or labels) and, if wanted, split.

    Several labels of one picture are separated by "|" in a CSV, or are a list in JSONL.

    Args:
        table: The file to read.
        folder: What file names are relative to; none: the folder of the table.

    Raises:
        UserError: The table is missing, or a row has no file, label or known split.
    """
    if not table.is_file():
        raise UserError(
            f"no table {str(table)!r}: give a .csv or .jsonl with the columns file,label"
        )
    root = folder or table.parent
    if not root.is_dir():
        raise UserError(f"no folder {str(root)!r}: give the one that the files are in as data.dir")
    examples, multilabel = Examples.of([]), False
    try:
        for line, row in (
            _read_jsonl(table) if table.suffix.lower() == ".jsonl" else _read_csv(table)
        ):
            multilabel |= "labels" in row or isinstance(row.get("label"), list)
            examples.append(_table_example(row, f"{table.name}, line {line}"))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"cannot read table {str(table)!r}: {error}") from error
    if not examples:
        raise UserError(f"table {str(table)!r} has no rows")
    examples = Examples(examples[examples.order()].columns())
    files = examples.column("file")
    for place in range(1, len(files)):
        if files[place] == files[place - 1]:
            raise UserError(f"table {str(table)!r} lists {files[place]!r} twice")
    return Listing(root, examples, multilabel or not examples.single)


def _table_example(row: Row, where: str) -> Example:
    file, label = row.get("file"), row.get("labels", row.get("label"))
    if not isinstance(file, str) or not file or label is None:
        raise UserError(f"{where}: needs a file and a label, got {row}")
    labels = label if isinstance(label, list) else str(label).split("|")
    split = str(row.get("split") or "").lower()
    if split and split not in SPLIT_NAMES:
        hint = nearest(split, list(SPLITS))
        raise UserError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}.{hint}")
    names = tuple(str(name).strip() for name in labels if str(name).strip())
    return Example(file, names, SPLIT_NAMES.get(split))


def _read_csv(table: Path) -> Iterator[tuple[int, Row]]:
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = reader.fieldnames or []
        if "file" not in columns or not {"label", "labels"} & set(columns):
            raise UserError(
                f"table {str(table)!r} has the columns {', '.join(columns) or 'none'}; "
                "it needs file and label (or labels), and may have split"
            )
        for row in reader:
            yield reader.line_num, dict(row)


def _read_jsonl(table: Path) -> Iterator[tuple[int, Row]]:
    with table.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{table.name}, line {number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise UserError(f"{table.name}, line {number}: needs an object, got {line[:60]}")
            yield number, row
