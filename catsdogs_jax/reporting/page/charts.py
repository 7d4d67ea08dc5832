"""Charts of a page, and figures as the text of a data URI."""

import base64
import io
import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catsdogs_jax.reporting import style
from catsdogs_jax.reporting.page.content import Bins, Line

_SIDE = 3.4
_EDGE = 0.15
_MOST_POINTS = 200
_PIXELS_PER_INCH = 110


def svg_uri(figure: Figure) -> str:
    """Returns a figure as an SVG in a data URI; the same figure gives the same text."""
    stream = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": "report", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata=nothing)
    return data_uri(stream.getvalue(), "image/svg+xml")


def png_uri(figure: Figure) -> str:
    """Returns a figure as a PNG in a data URI, for those of too many parts for an SVG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_PIXELS_PER_INCH, metadata={"Software": None})
    return data_uri(stream.getvalue(), "image/png")


def data_uri(data: bytes, kind: str) -> str:
    """Returns a file as the text of a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def lines_figure(
    lines: Sequence[Line], title: str, x_name: str, y_name: str, *, diagonal: bool
) -> Figure:
    """Draws curves within the unit square.

    Args:
        lines: At most as many as there are colours are told apart.
        title: Above the chart.
        x_name: Below it.
        y_name: At its left.
        diagonal: Whether to draw what a guess would give.
    """
    figure, axes = _unit_square(title, x_name, y_name, [line.name for line in lines])
    if diagonal:
        axes.plot([0, 1], [0, 1], color=style.RULE, linewidth=0.9, dashes=(4, 3))
    for index, line in enumerate(lines):
        keep = np.unique(np.linspace(0, len(line.x) - 1, _MOST_POINTS).astype(int))
        axes.plot(line.x[keep], line.y[keep], color=_colour(index), linewidth=1.8)
    return figure


def reliability_figure(bins: Sequence[Bins]) -> Figure:
    """Draws accuracy over confidence; points grow with the predictions that they stand for."""
    figure, axes = _unit_square(
        "Reliability", "confidence", "accuracy", [each.name for each in bins]
    )
    axes.plot([0, 1], [0, 1], color=style.RULE, linewidth=0.9, dashes=(4, 3))
    for index, each in enumerate(bins):
        full = each.count > 0
        x, y, count = each.confidence[full], each.accuracy[full], each.count[full]
        colour = _colour(index)
        axes.plot(x, y, color=colour, linewidth=1.2, alpha=0.8)
        sizes = 8 + 120 * count / max(count.sum(), 1)
        axes.scatter(x, y, s=sizes, color=colour, linewidths=0, alpha=0.9)
    return figure


def _unit_square(title: str, x_name: str, y_name: str, names: Sequence[str]) -> tuple[Figure, Axes]:
    line = style.line_height(style.NOTE)
    left = _EDGE + 2 * style.line_height(style.LABEL) + 0.35
    bottom = _EDGE + len(names) * line + 2.6 * style.line_height(style.TICK) + 0.1
    width = left + _SIDE + 2 * _EDGE
    height = bottom + _SIDE + 1.6 * style.line_height(style.TITLE) + _EDGE
    figure = style.new_figure(width, height)
    style.write(figure, _EDGE, height - _EDGE, title, size=style.TITLE, bold=True, va="top")
    axes = style.new_axes(figure, left, bottom, _SIDE, _SIDE)
    axes.set_xlim(-0.015, 1.015)
    axes.set_ylim(-0.015, 1.015)
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        axes.axhline(value, color=style.GRID, linewidth=0.8, zorder=0)
        axes.axvline(value, color=style.GRID, linewidth=0.8, zorder=0)
        place, text = (value + 0.015) / 1.03 * _SIDE, f"{value:g}"
        muted = {"size": style.TICK, "color": style.MUTED}
        style.write(figure, left + place, bottom - 0.06, text, ha="center", va="top", **muted)
        style.write(figure, left - 0.08, bottom + place, text, ha="right", va="center", **muted)
    middle, label = _SIDE / 2, {"size": style.LABEL, "color": style.MUTED}
    below = bottom - 1.25 * style.line_height(style.TICK) - 0.04
    style.write(figure, left + middle, below, x_name, ha="center", va="top", **label)
    y = bottom + middle
    style.write(figure, _EDGE, y, y_name, rotation=90, ha="left", va="center", **label)
    for index, name in enumerate(names):
        y = _EDGE + (len(names) - index - 0.5) * line
        _write_key(figure, y, style.fit(style.literal(name), width - 0.8, style.NOTE), index)
    return figure, axes


def _write_key(figure: Figure, y: float, name: str, index: int) -> None:
    from matplotlib.lines import Line2D

    figure.add_artist(
        Line2D(
            [0.2, 0.5],
            [y, y],
            color=_colour(index),
            linewidth=2.2,
            transform=figure.dpi_scale_trans,
        )
    )
    style.write(figure, 0.6, y, name, size=style.NOTE, color=style.MUTED, va="center_baseline")


def _colour(index: int) -> str:
    return style.PALETTE[index % len(style.PALETTE)]


def is_small(confusion: np.ndarray) -> bool:
    """Whether an SVG of this confusion matrix is small: few parts."""
    return math.prod(confusion.shape) <= 400
