"""What a person has marked in a data set: pictures to leave out, and better labels."""

import csv
import dataclasses
from pathlib import Path

import numpy as np

from catsdogs_jax.data.listing import Examples, Listing
from catsdogs_jax.errors import UserError, nearest
from catsdogs_jax.escaping import NAME_BYTES


def apply_marks(listing: Listing, exclude: str, relabel: str) -> Listing:
    """Leaves out and relabels examples of a listing as two tables say.

    Args:
        listing: What the source lists.
        exclude: A CSV with the column file; empty: nothing is left out.
        relabel: A CSV with the columns file and label (several joined by "|"); empty: none.

    Raises:
        UserError: A table cannot be read, lacks a column, names a file that the source does not
            list, gives a file two labels or a new one that is no UTF-8, or nothing is left.
    """
    if not exclude and not relabel:
        return listing
    known = set(listing.examples.column("file"))
    excluded = set()
    if exclude:  # The table that `check` writes names what is left out already, too.
        named = known | {file for file, _ in listing.quarantined}
        excluded = {row["file"] for row in _rows(exclude, "data.exclude", ("file",), named)}
    labels = _new_labels(relabel, known, listing) if relabel else {}
    kept = np.array([file not in excluded for file in listing.examples.column("file")], bool)
    if not kept.any():
        raise UserError(f"data.exclude={exclude} leaves out every picture")
    examples = Examples.of(
        dataclasses.replace(example, labels=labels.get(example.file, example.labels))
        for example in listing.examples[kept]
    )
    facts = None if listing.facts is None else listing.facts[kept]
    multilabel = listing.multilabel or not examples.single
    return dataclasses.replace(listing, examples=examples, facts=facts, multilabel=multilabel)


def _new_labels(table: str, known: set[str], listing: Listing) -> dict[str, tuple[str, ...]]:
    """Returns the labels that a table gives to files."""
    found: dict[str, tuple[str, ...]] = {}
    for row in _rows(table, "data.relabel", ("file", "label"), known):
        file = row["file"]
        labels = tuple(name.strip() for name in row["label"].split("|") if name.strip())
        first = found.setdefault(file, labels)
        # The same twice is no riddle: `check` names a file once for each that it is equal to.
        if set(first) != set(labels):
            raise UserError(
                f"data.relabel={table} gives {file!r} the label {'|'.join(first)!r} and the label "
                f"{'|'.join(labels)!r}: leave one row of the file"
            )
    _check_text(table, {name for names in found.values() for name in names}, listing)
    return found


def _check_text(table: str, names: set[str], listing: Listing) -> None:
    """Refuses labels of which Python could not read the bytes, unless a folder is named so."""
    odd = {name for name in names if any("\udc80" <= c <= "\udcff" for c in name)}
    if odd:
        odd -= {name for example in listing.examples for name in example.labels}
    if odd:
        raise UserError(
            f"data.relabel={table} has the label {min(odd)!r}, which is no UTF-8: save the table "
            "as UTF-8"
        )


def _rows(table: str, key: str, columns: tuple[str, ...], known: set[str]) -> list[dict[str, str]]:
    """Returns the rows of a CSV."""
    path = Path(table)
    if not path.is_file():
        raise UserError(
            f"{key} is {table!r}: no such file; python -m catsdogs_jax.check writes one"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig", errors=NAME_BYTES) as stream:
            reader = csv.DictReader(stream)
            rows = [dict(row) for row in reader]
            found = list(reader.fieldnames or [])
    except csv.Error as error:
        raise UserError(f"cannot read {key}={table}: {error}") from error
    missing = [column for column in columns if column not in found]
    if missing:
        raise UserError(f"{key}={table} has no column {missing[0]!r}, but {', '.join(found)}")
    for row in rows:
        cut = [column for column in columns if row[column] is None]
        if cut:
            raise UserError(f"{key}={table} has the row of {row['file']!r} without a {cut[0]}")
        if row["file"] not in known:
            hint = nearest(row["file"], list(known)) if len(known) < 10_000 else ""
            raise UserError(f"{key}={table} names {row['file']!r}, which is not listed.{hint}")
    return rows
