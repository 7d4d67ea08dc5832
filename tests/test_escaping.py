"""Promises about names that others chose: no table and no line does what they say."""

import csv
import io

import pytest

from catsdogs_jax.escaping import csv_cell, printable
from catsdogs_jax.prediction import forms


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0"])
def test_no_cell_is_a_formula(name: str) -> None:
    assert csv_cell(name) == f"'{name}"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Katze ä 猫.jpg", "Katze ä 猫.jpg"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r\t", "a\\nb\\r\\t"),
        ("\udcff", "\\udcff"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
    ],
)
def test_what_steers_a_terminal_is_spelled_out(name: str, shown: str) -> None:
    assert printable(name) == shown


def test_a_table_of_predictions_is_safe_to_open() -> None:
    form = forms.Csv(("@cat", "dog"))
    rows = [
        forms.Row('=a\udcff,\n".jpg', ("@cat",), (0.25, 0.75)),
        forms.Row("b.jpg", (), None, "=broken"),
    ]
    table = form.header + "".join(map(form.line, rows))
    table.encode()  # It is text, whatever the names are.
    found = list(csv.reader(io.StringIO(table)))
    assert found == [
        ["file", "predicted", "'@cat", "dog", "error"],
        ["'=a\\udcff,\\n\".jpg", "'@cat", "0.250000", "0.750000", ""],
        ["b.jpg", "", "", "", "'=broken"],
    ]
