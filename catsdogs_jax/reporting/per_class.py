"""How well each class is told: a bar a class, the worst first, with marks for further measures."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catsdogs_jax.reporting import style

_EDGE: Final = 0.2
_GAP: Final = 0.1
_BAR: Final = 0.3
_WIDE: Final = 4.6
_LONGEST_NAME: Final = 28
_MOST_CLASSES: Final = 40
# A dot within an open diamond: both are seen where two measures are the same.
_MARKS: Final[tuple[dict[str, Any], ...]] = (
    {"marker": "o", "color": style.VERMILION, "markersize": 4.5, "markeredgewidth": 0.0},
    {
        "marker": "D",
        "color": style.INK,
        "markersize": 7.0,
        "markerfacecolor": "none",
        "markeredgewidth": 1.2,
    },
)
_BAR_COLOUR: Final = "#A6CFEA"


Measure = tuple[str, Sequence[float]]
"""A name and one value a class."""


@dataclasses.dataclass(frozen=True)
class Measures:
    """What is drawn of K classes.

    Attributes:
        classes: K names, shown literally.
        support: Pictures of each class, K integers.
        bars: Name of the measure of the bars and its K values, 0 to 1, nan where not defined.
        marks: The same for at most two further measures.
    """

    classes: Sequence[str]
    support: Sequence[int]
    bars: Measure
    marks: Sequence[Measure] = ()

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError("a picture of classes needs at least one class")
        if len(self.marks) > len(_MARKS):
            raise ValueError(f"at most {len(_MARKS)} measures are marked, got {len(self.marks)}")
        columns = {"support": self.support, **dict([self.bars, *self.marks])}
        for name, values in columns.items():
            if len(values) != len(self.classes):
                raise ValueError(
                    f"{len(self.classes)} classes need as many values of {name}, got {len(values)}"
                )


def measures_of(table: Sequence[Mapping[str, Any]]) -> Measures:
    """Takes the measures from `per_class` of `result.json`.

    Args:
      table: One row a class.

    Returns:
      Bars of F1 marked with precision and recall, or bars of average precision marked with F1.
    """

    def column(key: str) -> list[float]:
        return [float("nan") if row[key] is None else float(row[key]) for row in table]

    if "average_precision" in table[0]:
        bars = ("average precision", column("average_precision"))
        marks = [("F1 at the threshold", column("f1"))]
    else:
        bars = ("F1", column("f1"))
        marks = [("precision", column("precision")), ("recall", column("recall"))]
    return Measures([row["class"] for row in table], [row["support"] for row in table], bars, marks)


def draw_per_class(measures: Measures, path: Path, *, title: str = "") -> Path:
    """Draws a bar for each class, the smallest first; of many classes the first 40.

    Args:
      measures: What to draw.
      path: The PNG to write. Its folder is created where missing.
      title: A title above the picture.

    Returns:
      `path`.
    """
    return style.save(per_class_figure(measures, title=title), path)


def per_class_figure(measures: Measures, *, title: str = "") -> Figure:
    """Builds the figure of `draw_per_class`."""
    values = np.array(measures.bars[1], float)
    order = np.argsort(values, kind="stable")[:_MOST_CLASSES]  # Classes without a value come last.
    rows: list[int] = order.tolist()
    names = [style.shorten(style.literal(measures.classes[i]), _LONGEST_NAME) for i in rows]
    counts = [f"{measures.support[i]:,}" for i in rows]
    widest = max(style.text_width(name, style.TICK) for name in names)
    left = _EDGE + widest + _GAP
    value_width = style.text_width("0.000", style.TICK)
    count_width = max(style.text_width(text, style.TICK) for text in ["pictures", *counts])
    width = left + _WIDE + 2 * _GAP + value_width + 2 * _GAP + count_width + _EDGE
    head = _head(measures, values, style.literal(title), width)
    line = style.line_height
    below = _EDGE + line(style.LABEL) + _GAP + line(style.TICK) + _GAP
    above = _EDGE + sum(line(size) for _, size, _ in head) + _GAP + line(style.TICK)
    tall = _BAR * len(order)
    figure = style.new_figure(width, below + tall + above)
    _write_head(figure, head)
    axes = style.new_axes(figure, left, below, _WIDE, tall)
    _draw_bars(axes, measures, order)
    _write_rows(figure, names, values[order], counts, (left, below, tall), width)
    _write_scale(figure, (left, below, tall))
    _write_legend(figure, measures, left)
    return figure


def _head(
    measures: Measures, values: np.ndarray, title: str, width: float
) -> list[tuple[str, float, bool]]:
    """Returns the lines above: text, font size, whether bold."""
    defined, count = values[~np.isnan(values)], len(values)
    classes = (
        f"{count:,} classes" if len(defined) == count else f"{len(defined):,} of {count:,} classes"
    )
    subtitle = measures.bars[0]
    if len(defined):
        subtitle += f", mean {defined.mean():.3f} over {classes}"
    if count > _MOST_CLASSES:
        subtitle += f"; the {_MOST_CLASSES} smallest of {count:,} are shown"
    return [
        (text, size, bold)
        for words, size, bold in ((title, style.TITLE, True), (subtitle, style.LABEL, False))
        for text in style.wrap(words, width - 2 * _EDGE, size, bold=bold)
    ]


def _write_head(figure: Figure, head: Sequence[tuple[str, float, bool]]) -> None:
    y = figure.get_figheight() - _EDGE
    for text, size, bold in head:
        color = style.INK if bold else style.MUTED
        style.write(figure, _EDGE, y, text, size=size, bold=bold, color=color, va="top")
        y -= style.line_height(size)


def _draw_bars(axes: Axes, measures: Measures, order: np.ndarray) -> None:
    rows = np.arange(len(order))
    axes.set_xlim(0, 1)
    axes.set_ylim(len(order) - 0.5, -0.5)
    for share in (0.25, 0.5, 0.75, 1.0):
        axes.axvline(share, color=style.GRID, linewidth=0.8, zorder=0)
    widths = np.nan_to_num(np.array(measures.bars[1], float)[order])
    axes.barh(rows, widths, height=0.68, color=_BAR_COLOUR, linewidth=0, zorder=1)
    for mark, (_, values) in zip(_MARKS, measures.marks, strict=False):
        marked = np.array(values, float)[order]
        axes.plot(marked, rows, linestyle="none", clip_on=False, zorder=3, **mark)
    axes.spines["left"].set_visible(True)


def _write_rows(
    figure: Figure,
    names: Sequence[str],
    values: np.ndarray,
    counts: Sequence[str],
    place: tuple[float, float, float],
    width: float,
) -> None:
    left, bottom, tall = place
    right = left + _WIDE + 2 * _GAP
    y = bottom + tall + _GAP / 2
    note: dict[str, Any] = {"size": style.TICK, "color": style.MUTED, "va": "bottom"}
    style.write(figure, width - _EDGE, y, "pictures", ha="right", **note)
    for index, (name, value, count) in enumerate(zip(names, values, counts, strict=True)):
        y = bottom + tall - (index + 0.5) * _BAR
        text: dict[str, Any] = {"size": style.TICK, "va": "center_baseline"}
        style.write(figure, left - _GAP, y, name, ha="right", **text)
        number = "–" if np.isnan(value) else f"{value:.3f}"
        style.write(figure, right, y, number, ha="left", **text)
        style.write(figure, width - _EDGE, y, count, ha="right", color=style.MUTED, **text)


def _write_scale(figure: Figure, place: tuple[float, float, float]) -> None:
    left, bottom, _ = place
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, text = left + share * _WIDE, f"{share:g}"
        style.write(
            figure,
            x,
            bottom - _GAP / 2,
            text,
            size=style.TICK,
            color=style.MUTED,
            ha="center",
            va="top",
        )


def _write_legend(figure: Figure, measures: Measures, left: float) -> None:
    """Writes what the bar and the marks stand for, each behind its sign."""
    size, middle = style.LABEL, _EDGE + style.line_height(style.LABEL) / 2
    height = style.line_height(size) * 0.6
    x = min(left, figure.get_figwidth() - _EDGE - _legend_width(measures))
    swatch = style.new_axes(figure, x, middle - height / 2, 0.25, height)
    swatch.set_facecolor(_BAR_COLOUR)
    x += 0.25 + _GAP
    style.write(figure, x, middle, measures.bars[0], size=size, va="center_baseline")
    x += style.text_width(measures.bars[0], size) + 3 * _GAP
    for mark, (name, _) in zip(_MARKS, measures.marks, strict=False):
        sign = style.new_axes(figure, x, middle - height / 2, 0.12, height)
        sign.plot([0], [0], clip_on=False, **mark)
        x += 0.12 + _GAP
        style.write(figure, x, middle, name, size=size, va="center_baseline")
        x += style.text_width(name, size) + 3 * _GAP


def _legend_width(measures: Measures) -> float:
    names = [measures.bars[0], *(name for name, _ in measures.marks)]
    texts = sum(style.text_width(name, style.LABEL) for name in names)
    return texts + 0.25 + 0.12 * len(measures.marks) + _GAP * len(names) + 3 * _GAP * len(names)
