"""Promises of the sheet of pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catsdogs_jax.reporting.sheet import Cell, draw_sheet, sheet_figure

RED = np.full((8, 8, 3), (200, 10, 20), np.uint8)
BLUE = np.full((8, 8, 3), (10, 20, 200), np.uint8)


def test_every_picture_and_text_is_on_the_sheet(tmp_path: Path) -> None:
    rows = [[Cell(RED, ("cat $x$ 猫",)), Cell(BLUE, ("70% cat", "30% dog"))]]
    texts = [t.get_text() for t in sheet_figure(rows, ["a", "b"], title="T", note="n").texts]
    assert texts == ["T", "n", "a", "b", "cat $x$ \\u732b", "70% cat", "30% dog"]
    drawn = Image.open(draw_sheet(rows, ["a", "b"], tmp_path / "s.png", title="T", note="n"))
    counted = dict((colour, n) for n, colour in drawn.getcolors(2**24) or [])
    assert counted[(200, 10, 20)] == pytest.approx(counted[(10, 20, 200)], rel=0.02)
    assert counted[(200, 10, 20)] > 60_000


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2 columns has rows of \[1\] cells"):
        sheet_figure([[Cell(RED)]], ["a", "b"], title="", note="")
