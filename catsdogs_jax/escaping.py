"""Names of files and classes are chosen by others: how they become part of a table or a line."""

import csv
import io
from collections.abc import Iterable, Sequence

NAME_BYTES = "surrogateescape"
"""How a table is written and read in which a file must be found again: its name is spelled in its
own bytes, where they are no UTF-8 too. Tables that are only looked at have them spelled out."""

_FORMULA = ("=", "+", "-", "@")


def printable(text: str) -> str:
    """Returns text in which characters that steer a terminal, or are none, are spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def csv_cell(text: str) -> str:
    """Returns text that no spreadsheet takes for a formula; source: OWASP, "CSV Injection".

    >>> csv_cell("=1+1"), csv_cell("cat.jpg")
    ("'=1+1", 'cat.jpg')
    """
    shown = printable(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def csv_table(rows: Iterable[Sequence[object]]) -> str:
    """Returns rows as CSV; texts are made safe by `csv_cell`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow([csv_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()
