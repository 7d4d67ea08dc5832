"""A sheet of pictures: rows of cells, each a picture with lines of text below it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from catsdogs_jax.reporting import style

_EDGE: Final = 0.25
_GAP: Final = 0.12
_SIDE: Final = 1.35


@dataclasses.dataclass(frozen=True)
class Cell:
    """A picture and what it is.

    Attributes:
        image: uint8 [height, width, 3].
        lines: Texts below it, shown literally and shortened where they are too wide.
    """

    image: np.ndarray
    lines: tuple[str, ...] = ()


def draw_sheet(
    rows: Sequence[Sequence[Cell]], columns: Sequence[str], path: Path, *, title: str, note: str
) -> Path:
    """Draws a sheet of pictures.

    Args:
      rows: The cells of each row, as many as there are columns.
      columns: A heading above each column.
      path: The PNG to write. Its folder is created where missing.
      title: A title above the sheet.
      note: What the reader should know, below the title.

    Returns:
      `path`.

    Raises:
      ValueError: If there are no rows, or one of them has not one cell a column.
    """
    return style.save(sheet_figure(rows, columns, title=title, note=note), path)


def sheet_figure(
    rows: Sequence[Sequence[Cell]], columns: Sequence[str], *, title: str, note: str
) -> Figure:
    """Builds the figure of `draw_sheet`."""
    if not rows or any(len(row) != len(columns) for row in rows):
        lengths = [len(row) for row in rows]
        raise ValueError(f"a sheet of {len(columns)} columns has rows of {lengths} cells")
    line = style.line_height(style.NOTE)
    width = 2 * _EDGE + len(columns) * _SIDE + (len(columns) - 1) * _GAP
    notes = style.wrap(style.literal(note), width - 2 * _EDGE, style.NOTE)
    titles = style.wrap(style.literal(title), width - 2 * _EDGE, style.TITLE, bold=True)
    title_line = style.line_height(style.TITLE)
    head = len(titles) * title_line + (len(notes) + 1) * line + 2 * _GAP
    heights = [_SIDE + max(len(cell.lines) for cell in row) * line + 1.5 * _GAP for row in rows]
    height = 2 * _EDGE + head + sum(heights)
    figure = style.new_figure(width, height)
    top = height - _EDGE
    for text in titles:
        style.write(figure, _EDGE, top, text, size=style.TITLE, bold=True, va="top")
        top -= title_line
    for text in notes:
        style.write(figure, _EDGE, top, text, size=style.NOTE, color=style.MUTED, va="top")
        top -= line
    top -= _GAP
    for number, heading in enumerate(columns):
        _centred(figure, number, top, heading, bold=True)
    top -= line + _GAP
    for row, row_height in zip(rows, heights, strict=True):
        for number, cell in enumerate(row):
            _draw_cell(figure, cell, number, top, line)
        top -= row_height
    return figure


def _left(column: int) -> float:
    return _EDGE + column * (_SIDE + _GAP)


def _centred(figure: Figure, column: int, top: float, text: str, *, bold: bool = False) -> None:
    shown = style.fit(style.literal(text), _SIDE, style.NOTE, bold=bold)
    x = _left(column) + _SIDE / 2
    style.write(figure, x, top, shown, size=style.NOTE, bold=bold, ha="center", va="top")


def _draw_cell(figure: Figure, cell: Cell, column: int, top: float, line: float) -> None:
    axes = style.new_axes(figure, _left(column), top - _SIDE, _SIDE, _SIDE)
    axes.imshow(cell.image, interpolation="nearest", aspect="equal")
    for number, text in enumerate(cell.lines):
        _centred(figure, column, top - _SIDE - _GAP / 3 - number * line, text)
