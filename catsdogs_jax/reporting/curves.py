"""The curves of accuracy and loss over the epochs of a run."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catsdogs_jax.reporting import style
from catsdogs_jax.reporting.curve_data import Best, Line, Metric, find_best, read_lines

_WIDTH: Final = 7.0
_HEIGHT: Final = 4.3
_EDGE: Final = 0.15

# Lines with fewer points than this show each one, for a single point draws no line at all.
_MOST_MARKERS: Final = 30


@dataclasses.dataclass(frozen=True)
class _Limits:
    """The limits of both axes, and the ticks of the epochs with their labels."""

    left: float
    right: float
    low: float
    high: float
    ticks: tuple[list[float], list[str]]


def draw_curves(
    rows: Sequence[Mapping[str, Any]],
    directory: Path,
    *,
    best_step: int | None = None,
    sample: str = "",
) -> tuple[Path, Path]:
    """Draws the accuracy and the loss of every split over the epochs, as two pictures.

    A row counts for a curve where it has a number as "epoch" and as the curve's own key; other
    rows are left out. Of several rows of one split, epoch and step, the last one counts. Values
    that are not finite leave a gap, a cross on the axis and a note.

    Args:
      rows: The lines of a run's metrics: "step", "epoch", "split" and, as fractions from 0 to 1
        and in nats, "accuracy" and "loss".
      directory: The folder to write to, created where missing.
      best_step: The step that the run kept, marked on the validation line, or without a validation
        row of that step on another split's line; without any row of that step nothing is marked.
      sample: A note below the accuracy: of how many pictures it is, and how certain.

    Returns:
      The paths of accuracy.png and loss.png in `directory`.

    Raises:
      ValueError: If there are no rows.
    """
    if not rows:
        raise ValueError("no rows to draw curves from: the run has recorded no metrics yet")
    accuracy = style.save(
        curve_figure(rows, "accuracy", best_step=best_step, sample=sample),
        directory / "accuracy.png",
    )
    loss = style.save(curve_figure(rows, "loss", best_step=best_step), directory / "loss.png")
    return accuracy, loss


def curve_figure(
    rows: Sequence[Mapping[str, Any]],
    metric: Metric,
    *,
    best_step: int | None = None,
    sample: str = "",
) -> Figure:
    """Builds the figure of one metric's curves.

    Args:
      rows: As in `draw_curves`.
      metric: The metric to draw.
      best_step: As in `draw_curves`.
      sample: A note below the curves; empty: none.

    Returns:
      The figure, 7 inches wide.
    """
    figure = style.new_figure(_WIDTH, _HEIGHT)
    title_y = _HEIGHT - _EDGE
    style.write(figure, _EDGE, title_y, metric.capitalize(), size=style.TITLE, bold=True, va="top")
    lines = read_lines(rows, metric)
    drawn = [line for line in lines if line.finite.any()]
    if not drawn:
        missing = "is finite" if lines else "was recorded"
        style.write(
            figure,
            _WIDTH / 2,
            _HEIGHT / 2,
            f"no {metric} {missing}",
            size=style.LABEL,
            color=style.MUTED,
            ha="center",
            va="center",
        )
        return figure
    best = find_best(drawn, metric, best_step)
    limits = _limits(drawn, metric, best)
    notes = _notes(lines, metric, limits)
    notes += [style.literal(sample)] if sample else []
    axes = _add_axes(figure, metric, limits, _end_labels(drawn, metric), len(notes))
    for line in drawn:
        _draw_line(axes, line)
    _mark_hidden(axes, lines, limits)
    _label_ends(figure, axes, drawn, metric)
    if best:
        _mark_best(figure, axes, best, metric, drawn)
    for index, note in enumerate(notes, start=1):
        y = _EDGE + (len(notes) - index) * style.line_height(style.NOTE)
        style.write(figure, _EDGE, y, note, size=style.NOTE, color=style.MUTED, va="bottom")
    return figure


def _limits(lines: Sequence[Line], metric: Metric, best: Best | None) -> _Limits:
    epochs = np.concatenate([line.epochs for line in lines])
    left, right = float(epochs.min()), float(epochs.max())
    if left == right:
        ticks = [left], [_epoch(left)]
        left, right = left - 0.5, right + 0.5
    else:
        whole = bool(np.all(epochs == np.round(epochs)))
        ticks = style.tick_values(left, right, 8, whole=whole)
    values = np.concatenate([line.values[line.finite] for line in lines])
    low, high = float(values.min()), float(values.max())
    if metric == "accuracy":
        # A span under five points would blow the noise of a finished run up to the whole height.
        spread = max(5.0, high - low)
        bottom = max(high - spread, 0.0) if low >= 0.0 else low
        top = min(max(high, bottom + spread) + 0.05 * spread, 100.6)
    else:
        body = _body(lines, best)
        if high - low > 10.0 * (body - low) > 0.0:
            high = body + 0.25 * (body - low)
        high = high if (low, high) != (0.0, 0.0) else 1.0
        spread = (high - low) or abs(high)
        bottom, top = low, high + 0.05 * spread
    # Neither metric goes below zero, so an axis that does would leave room for nothing.
    floor = -0.01 * spread if low >= 0.0 else -math.inf
    return _Limits(left, right, max(bottom - 0.05 * spread, floor), top, ticks)


def _body(lines: Sequence[Line], best: Best | None) -> float:
    """Gives the value under which a loss counts as usual, so that outliers may leave the axes.

    The last value of each line and the best one are usual by definition, because labels point at
    them; so is everything where a line has too few values to tell an outlier.
    """
    usual = [best.value] if best else []
    for line in lines:
        values = line.values[line.finite]
        usual.append(float(values[-1]))
        usual.append(float(np.quantile(values, 0.95 if len(values) >= 20 else 1.0)))
    return max(usual)


def _format(value: float, metric: Metric) -> str:
    if metric == "accuracy":
        return f"{value:.1f}\N{NO-BREAK SPACE}%"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1000.0 or value == 0.0 else f"{value:.3g}"


def _epoch(value: float) -> str:
    if 0.0 < abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _notes(lines: Sequence[Line], metric: Metric, limits: _Limits) -> list[str]:
    """Says what the picture does not show, or shows in another form, in lines that fit."""
    notes = []
    windows = {line.window for line in lines if line.window > 1}
    if windows:
        means = " and ".join(str(window) for window in sorted(windows))
        notes.append(f"Thin: every value. Bold: running mean over {means} values.")
    for line in lines:
        lost = line.epochs[~line.finite]
        if lost.size:
            noun, first, last = "value is", _epoch(lost[0]), _epoch(lost[-1])
            where = f"at epoch {first}"
            if lost.size > 1:
                noun, where = "values are", f"between epochs {first} and {last}"
            notes.append(f"× {lost.size:,} {style.literal(line.split)} {noun} not finite, {where}.")
    hidden = np.concatenate(
        [line.values[line.finite & (line.values > limits.high)] for line in lines]
    )
    if hidden.size:
        noun = "value lies" if hidden.size == 1 else "values lie"
        notes.append(
            f"▲ {hidden.size:,} {noun} above the axis, the largest {_format(hidden.max(), metric)}."
        )
    room = _WIDTH - 2 * _EDGE
    return [line for note in notes for line in style.wrap(note, room, style.NOTE)]


def _end_labels(lines: Sequence[Line], metric: Metric) -> list[str]:
    """Names each line, with its last value unless that is one of many noisy ones."""
    labels = []
    for line in lines:
        name = style.fit(style.literal(line.split), 1.4, style.LABEL, bold=True)
        last = _format(line.values[line.finite][-1], metric)
        labels.append(name if line.window > 1 else f"{name} {last}")
    return labels


def _add_axes(
    figure: Figure, metric: Metric, limits: _Limits, labels: Sequence[str], notes: int
) -> Axes:
    """Adds the axes with their grid, ticks and labels, as large as the texts around them allow."""
    y_ticks, y_names = style.tick_values(limits.low, limits.high, 6)
    line = style.line_height
    tick_width = max(style.text_width(name, style.TICK) for name in y_names)
    left = _EDGE + line(style.LABEL) + tick_width + 0.18
    notes_height = notes * line(style.NOTE) + (0.08 if notes else 0.0)
    bottom = _EDGE + notes_height + line(style.LABEL) + line(style.TICK) + 0.15
    right = 0.28 + _EDGE + max(style.text_width(label, style.LABEL, bold=True) for label in labels)
    top = _EDGE + line(style.TITLE) + line(style.LABEL) + 0.12
    width, height = _WIDTH - left - right, _HEIGHT - bottom - top
    axes = style.new_axes(figure, left, bottom, width, height)
    axes.set_xlim(limits.left, limits.right)
    axes.set_ylim(limits.low, limits.high)
    axes.set_xticks(limits.ticks[0])
    axes.set_yticks(y_ticks)
    tick: dict[str, Any] = {"length": 4, "width": 0.8, "color": style.RULE, "direction": "out"}
    axes.tick_params(axis="x", bottom=True, **tick)
    axes.grid(visible=True, axis="y", color=style.GRID, linewidth=0.8, linestyle="-", alpha=1.0)
    axes.spines["bottom"].set_visible(True)
    axes.spines["bottom"].set_position(("outward", 4))
    to_inches = axes.transData - figure.dpi_scale_trans
    text: dict[str, Any] = {"size": style.TICK, "ha": "center", "va": "top"}
    for value, name in zip(*limits.ticks, strict=True):
        x, _ = to_inches.transform((value, limits.low))
        style.write(figure, x, bottom - 0.15, name, **text)
    text = {"size": style.TICK, "ha": "right", "va": "center_baseline"}
    for value, name in zip(y_ticks, y_names, strict=True):
        _, y = to_inches.transform((limits.left, value))
        style.write(figure, left - 0.08, y, name, **text)
    text = {"size": style.LABEL, "va": "bottom", "ha": "center"}
    style.write(figure, left + width / 2, _EDGE + notes_height, "epoch", **text)
    name = "accuracy (%)" if metric == "accuracy" else "loss"
    text = {"size": style.LABEL, "rotation": 90, "ha": "left", "va": "center"}
    style.write(figure, _EDGE, bottom + height / 2, name, **text)
    return axes


def _draw_line(axes: Axes, line: Line) -> None:
    values = np.where(line.finite, line.values, np.nan)
    common: dict[str, Any] = {"color": line.color, "linestyle": "-", "solid_joinstyle": "round"}
    if line.window > 1:
        axes.plot(line.epochs, values, linewidth=0.5, alpha=0.35, marker="None", **common)
    # Between two gaps a value has no neighbour to draw a line to, so it needs a marker.
    gaps = np.concatenate([[True], ~line.finite, [True]])
    marked = (gaps[:-2] & gaps[2:]) | (len(values) < _MOST_MARKERS)
    clipped = bool(np.nanmax(values) > axes.get_ylim()[1])
    axes.plot(
        line.epochs,
        line.course,
        linewidth=2.0,
        marker="o",
        markersize=4.5,
        markeredgewidth=0.0,
        markevery=marked.tolist(),
        clip_on=clipped,
        zorder=3,
        **common,
    )


def _mark_hidden(axes: Axes, lines: Sequence[Line], limits: _Limits) -> None:
    """Marks what has no place on the axes: a cross at the bottom, a triangle at the top."""
    for line in lines:
        above = line.finite & (line.values > limits.high)
        for where, y, marker, size in ((~line.finite, 0.0, "x", 6.0), (above, 1.0, "^", 5.0)):
            axes.plot(
                line.epochs[where],
                np.full(int(where.sum()), y),
                transform=axes.get_xaxis_transform(),
                linestyle="None",
                marker=marker,
                markersize=size,
                markeredgewidth=1.6 if marker == "x" else 0.0,
                color=line.color,
                clip_on=False,
                zorder=5,
            )


def _label_ends(figure: Figure, axes: Axes, lines: Sequence[Line], metric: Metric) -> None:
    """Writes each line's name beside its end, moved apart where the ends are close."""
    box = axes.get_position().transformed(figure.transFigure - figure.dpi_scale_trans)
    to_inches = axes.transData - figure.dpi_scale_trans
    ends = np.array(
        [
            to_inches.transform((line.epochs[line.finite][-1], line.course[line.finite][-1]))
            for line in lines
        ]
    )
    heights = style.spread(ends[:, 1], style.line_height(style.LABEL), box.y0, box.y1 - 0.1)
    labels = _end_labels(lines, metric)
    for line, end, label, y in zip(lines, ends, labels, heights, strict=True):
        x = box.x1 + 0.26
        far = end[0] < box.x1 - 0.1
        axes.plot(
            [end[0] + 0.05, x - 0.06],
            [end[1], y],
            transform=figure.dpi_scale_trans,
            color=line.color,
            linewidth=0.9,
            linestyle=":" if far else "-",
            marker="None",
            clip_on=False,
            zorder=2,
        )
        style.write(
            figure,
            x,
            y,
            label,
            size=style.LABEL,
            bold=True,
            color=line.color,
            ha="left",
            va="center_baseline",
        )


def _mark_best(
    figure: Figure, axes: Axes, best: Best, metric: Metric, lines: Sequence[Line]
) -> None:
    """Marks the best step's point; its label stands above the axes, where no line can cross it."""
    color = next(line.color for line in lines if line.split == best.split)
    limits = axes.get_ylim()
    axes.plot(
        [best.epoch, best.epoch],
        [best.value, limits[1]],
        color=style.MUTED,
        linewidth=0.9,
        linestyle=":",
        marker="None",
        zorder=4,
    )
    axes.plot(
        [best.epoch],
        [best.value],
        linestyle="None",
        marker="o",
        markersize=8,
        markerfacecolor=style.PAPER,
        markeredgecolor=color,
        markeredgewidth=2.0,
        clip_on=False,
        zorder=6,
    )
    name = "best" if best.leads else "best step:"
    label = f"{name} {_format(best.value, metric)} at epoch {_epoch(best.epoch)}"
    x, y = (axes.transData - figure.dpi_scale_trans).transform((best.epoch, limits[1]))
    half = style.text_width(label, style.LABEL) / 2
    style.write(
        figure,
        min(max(x, _EDGE + half), _WIDTH - _EDGE - half),
        y + 0.1,
        label,
        size=style.LABEL,
        ha="center",
        va="bottom",
    )
