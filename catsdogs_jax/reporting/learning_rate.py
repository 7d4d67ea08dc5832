"""The curve of a learning-rate finder: the loss over the learning rate."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catsdogs_jax.reporting import style

_WIDTH: Final = 7.0
_HEIGHT: Final = 4.3
_EDGE: Final = 0.15
_SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw_learning_rates(
    rates: np.ndarray,
    losses: np.ndarray,
    smoothed: np.ndarray,
    suggestions: Mapping[str, float],
    path: Path,
) -> Path:
    """Draws the loss of each step over its learning rate, and marks those suggested.

    Args:
      rates: Learning rates, rising, shape [N] with N of at least 2.
      losses: Loss of each step, nats, shape [N].
      smoothed: Their running average, shape [N].
      suggestions: Learning rates by name, within the range of `rates`.
      path: The PNG to write.

    Returns:
      `path`.
    """
    figure = style.new_figure(_WIDTH, _HEIGHT)
    title = "Loss as the learning rate rises"
    style.write(figure, _EDGE, _HEIGHT - _EDGE, title, size=style.TITLE, bold=True, va="top")
    note = "Thin: each step. Bold: their running average. What is outside the axes is left out."
    style.write(figure, _EDGE, _EDGE, note, size=style.NOTE, color=style.MUTED, va="bottom")
    axes = _add_axes(figure, rates, losses, smoothed, len(suggestions))
    common: dict[str, Any] = {"color": style.BLUE, "linestyle": "-", "marker": "None"}
    axes.plot(rates, losses, linewidth=0.7, alpha=0.4, **common)
    axes.plot(rates, smoothed, linewidth=2.0, zorder=3, **common)
    for row, (name, rate) in enumerate(suggestions.items()):
        _mark(figure, axes, name, rate, float(np.interp(rate, rates, smoothed)), row)
    return style.save(figure, path)


def _add_axes(
    figure: Figure, rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, labels: int
) -> Axes:
    # An average begins with the noise of a few losses; what follows the least one is divergence,
    # which may be of any height.
    settled = smoothed[len(smoothed) // 10 :]
    fall = settled[: int(settled.argmin()) + 1]
    low, high = float(fall.min()), float(fall.max())
    span = max(high - low, 0.05 * abs(high), 1e-6)
    # The average lags behind: most of the losses it is made of are to be seen below it.
    lowest = float(np.quantile(losses[: len(smoothed) - len(settled) + len(fall)], 0.02))
    bottom, top = min(low, lowest) - 0.1 * span, high + 0.6 * span
    ticks, names = style.tick_values(bottom, top, 6)
    line = style.line_height
    left = _EDGE + line(style.LABEL) + max(style.text_width(n, style.TICK) for n in names) + 0.18
    below = _EDGE + line(style.NOTE) + line(style.LABEL) + line(style.TICK) + 0.25
    above = _EDGE + line(style.TITLE) + labels * line(style.LABEL) + 0.12
    width, height = _WIDTH - left - _EDGE - 0.1, _HEIGHT - below - above
    axes = style.new_axes(figure, left, below, width, height)
    axes.set_xscale("log")
    axes.set_xlim(float(rates[0]), float(rates[-1]))
    axes.set_ylim(bottom, top)
    first, last = (math.log10(rate) for rate in (rates[0], rates[-1]))
    powers = range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1)
    decades = [10.0**power for power in powers]
    axes.set_xticks(decades)
    axes.minorticks_off()
    axes.set_yticks(ticks)
    tick: dict[str, Any] = {"length": 4, "width": 0.8, "color": style.RULE, "direction": "out"}
    axes.tick_params(axis="x", which="major", bottom=True, labelbottom=False, **tick)
    axes.grid(visible=True, axis="y", color=style.GRID, linewidth=0.8, linestyle="-", alpha=1.0)
    axes.spines["bottom"].set_visible(True)
    to_inches = axes.transData - figure.dpi_scale_trans
    for power, decade in zip(powers, decades, strict=True):
        x, y = to_inches.transform((decade, bottom))
        name = f"10{str(power).translate(_SUPERSCRIPTS)}"
        style.write(figure, x, y - 0.1, name, size=style.TICK, ha="center", va="top")
    for value, name in zip(ticks, names, strict=True):
        _, y = to_inches.transform((rates[0], value))
        style.write(figure, left - 0.08, y, name, size=style.TICK, ha="right", va="center_baseline")
    text: dict[str, Any] = {"size": style.LABEL, "ha": "center"}
    under = _EDGE + line(style.NOTE) + 0.05
    style.write(figure, left + width / 2, under, "learning rate", va="bottom", **text)
    text = {"size": style.LABEL, "rotation": 90, "ha": "left", "va": "center"}
    style.write(figure, _EDGE, below + height / 2, "training loss", **text)
    return axes


def _mark(figure: Figure, axes: Axes, name: str, rate: float, loss: float, row: int) -> None:
    """Marks a suggestion; its label stands above the axes, one line for each."""
    color = style.PALETTE[1 + row % (len(style.PALETTE) - 1)]
    top = axes.get_ylim()[1]
    to_inches = axes.transData - figure.dpi_scale_trans
    x, y = to_inches.transform((rate, top))
    height = y + 0.06 + row * style.line_height(style.LABEL)
    line: dict[str, Any] = {"color": color, "linewidth": 0.9, "linestyle": ":", "marker": "None"}
    _, point = to_inches.transform((rate, loss))
    axes.plot([x, x], [point, height], transform=figure.dpi_scale_trans, clip_on=False, **line)
    axes.plot(
        [rate],
        [loss],
        linestyle="None",
        marker="o",
        markersize=8,
        markerfacecolor=style.PAPER,
        markeredgecolor=color,
        markeredgewidth=2.0,
        zorder=6,
    )
    label = f"{name} {rate:.2g}"
    wide = style.text_width(label, style.LABEL, bold=True) + 0.1
    side = {"ha": "left"} if x + wide < _WIDTH - _EDGE else {"ha": "right"}
    shift = 0.06 if side["ha"] == "left" else -0.06
    style.write(
        figure,
        x + shift,
        height,
        label,
        size=style.LABEL,
        bold=True,
        color=color,
        va="bottom",
        **side,
    )
