"""Promises about names that others chose: no table and no line does what they say."""

import csv
import io

import numpy as np
import pytest

from catsdogs_jax.classifier import Prediction
from catsdogs_jax.escaping import csv_cell, printable
from catsdogs_jax.predict import as_csv


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
    from pathlib import Path

    predictions = [
        Prediction(Path('=a\udcff,\n".jpg'), "@cat", np.array([0.25, 0.75])),
        Prediction(Path("b.jpg"), "", None, "=broken"),
    ]
    table = as_csv(predictions, ["@cat", "dog"])
    table.encode()  # It is text, whatever the names are.
    rows = list(csv.reader(io.StringIO(table)))
    assert rows == [
        ["file", "predicted", "'@cat", "dog", "error"],
        ["'=a\\udcff,\\n\".jpg", "'@cat", "0.250000", "0.750000", ""],
        ["b.jpg", "", "", "", "'=broken"],
    ]
