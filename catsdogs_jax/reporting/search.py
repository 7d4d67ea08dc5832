"""The history of a search, and which settings mattered."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catsdogs_jax.reporting import style
from catsdogs_jax.reporting.curve_data import Metric

_WIDTH: Final = 7.0
_HEIGHT: Final = 4.3
_EDGE: Final = 0.15
_BAR: Final = 0.34


@dataclasses.dataclass(frozen=True)
class Point:
    """A trial of a search.

    Attributes:
      number: Its number.
      value: Its metric, an accuracy as a share; the last one measured if it ended early.
      finished: Whether it ran to its end.
    """

    number: int
    value: float
    finished: bool


def draw_history(points: Sequence[Point], path: Path, *, metric: Metric, n: int) -> Path:
    """Draws the metric of each trial by its number, and the best finished one so far.

    Args:
      points: At least one finished trial.
      path: The file to write.
      metric: The metric, which decides whether high or low values are good.
      n: Number of validation pictures.

    Returns:
      `path`.
    """
    figure = style.new_figure(_WIDTH, _HEIGHT)
    _title(figure, _HEIGHT, f"Validation {metric} of each trial")
    axes = style.new_axes(figure, 0.75, 0.95, _WIDTH - 0.95, _HEIGHT - 1.75)
    scale = 100.0 if metric == "accuracy" else 1.0
    numbers = np.array([point.number for point in points])
    values = np.array([point.value for point in points]) * scale
    finished = np.array([point.finished for point in points])
    good = values if metric == "accuracy" else -values
    best = np.maximum.accumulate(np.where(finished, good, -np.inf))
    best = np.abs(best)
    axes.set_xlim(numbers.min() - 0.5, numbers.max() + 0.5)
    usual = np.concatenate([values, best[np.isfinite(best)]])
    margin = 0.06 * (usual.max() - usual.min() or 1.0)
    axes.set_ylim(usual.min() - margin, usual.max() + margin)
    _scales(axes, figure)
    axes.step(
        numbers[np.isfinite(best)],
        best[np.isfinite(best)],
        where="post",
        color=style.BLUE,
        linewidth=1.6,
        zorder=3,
    )
    for shown, filled in ((finished, True), (~finished, False)):
        axes.plot(
            numbers[shown],
            values[shown],
            linestyle="None",
            marker="o",
            markersize=6,
            markerfacecolor=style.BLUE if filled else style.PAPER,
            markeredgecolor=style.BLUE if filled else style.MUTED,
            clip_on=False,
            zorder=4,
        )
    unit = " in percent" if metric == "accuracy" else " in nats"
    _write(figure, _EDGE, _HEIGHT - 0.65, f"{metric.capitalize()}{unit}; line: best so far")
    _write(figure, _WIDTH / 2, 0.42, "trial", ha="center", size=style.LABEL)
    ended = int((~finished).sum())
    note = f"n = {n:,} pictures, which also chose the best: its value is optimistic."
    _write(figure, _EDGE, _EDGE, f"{note} Hollow: {ended} ended early." if ended else note)
    return style.save(figure, path)


def draw_importance(
    importance: Mapping[str, float], path: Path, *, metric: Metric, trials: int
) -> Path:
    """Draws the share of the metric's variance that each setting explains, greatest first.

    Args:
      importance: Share, 0 to 1, by config key; at least one.
      path: The file to write.
      metric: The metric.
      trials: Number of trials that the shares come from.

    Returns:
      `path`.
    """
    ranked = sorted(importance.items(), key=lambda item: -item[1])
    height = 1.35 + _BAR * len(ranked)
    figure = style.new_figure(_WIDTH, height)
    _title(figure, height, "Importance of each setting")
    labels = [style.fit(style.literal(key), 2.4, style.LABEL) for key, _ in ranked]
    left = 2 * _EDGE + max(style.text_width(label, style.LABEL) for label in labels)
    axes = style.new_axes(figure, left, 0.75, _WIDTH - left - 0.8, _BAR * len(ranked))
    axes.set_xlim(0, max(share for _, share in ranked) or 1.0)
    axes.set_ylim(len(ranked) - 0.5, -0.5)
    axes.barh(range(len(ranked)), [share for _, share in ranked], height=0.6, color=style.BLUE)
    to_inches = axes.transData - figure.dpi_scale_trans
    for row, (label, (_, share)) in enumerate(zip(labels, ranked, strict=True)):
        end, y = to_inches.transform((share, row))
        _write(figure, left - 0.1, y, label, ha="right", va="center", size=style.LABEL)
        _write(figure, end + 0.08, y, style.percent(share), va="center", size=style.LABEL)
    words = f"Share of the variance of the validation {metric} that each explains (fANOVA over"
    _write(figure, _EDGE, 0.33, f"{words} the {trials} finished trials).")
    _write(
        figure, _EDGE, _EDGE, "Few trials say little, and only of the ranges that were searched."
    )
    return style.save(figure, path)


def _title(figure: Figure, height: float, text: str) -> None:
    style.write(figure, _EDGE, height - _EDGE, text, size=style.TITLE, bold=True, va="top")


def _write(
    figure: Figure, x: float, y: float, text: str, *, size: float = style.NOTE, **places: Any
) -> None:
    color = style.INK if size > style.NOTE else style.MUTED
    style.write(figure, x, y, text, size=size, color=color, **{"va": "bottom", **places})


def _scales(axes: Axes, figure: Figure) -> None:
    """Writes round numbers along both axes, with a grid line for each value."""
    to_inches = axes.transData - figure.dpi_scale_trans
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    for value, label in zip(*style.tick_values(low, high, 6), strict=True):
        axes.axhline(value, color=style.GRID, linewidth=0.8, zorder=1)
        x, y = to_inches.transform((left, value))
        _write(figure, x - 0.08, y, label, ha="right", va="center", size=style.TICK)
    for value, label in zip(*style.tick_values(left, right, 8, whole=True), strict=True):
        x, y = to_inches.transform((value, low))
        _write(figure, x, y - 0.08, label, ha="center", va="top", size=style.TICK)
