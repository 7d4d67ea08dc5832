"""The confusion matrix of a classifier, and the small ones of a classifier of several labels."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from catsdogs_jax.reporting import style

_EDGE: Final = 0.2
_GAP: Final = 0.08
_SMALLEST_TEXT: Final = 6.5
_SMALLEST_TICK: Final = 6.5
_LONGEST_NAME: Final = 28

_MOST_LABELS: Final = 36
_PANEL: Final = 1.5
_PANEL_COLUMNS: Final = 6

# One hue whose lightness only falls, so that it also reads in grey. It falls fastest at the start,
# because the errors among many classes are small shares.
_SHARES: Final = LinearSegmentedColormap.from_list(
    "shares",
    [
        (0.0, "#FBFDFE"),
        (0.04, "#DAEBF7"),
        (0.2, "#A6CFEA"),
        (0.5, "#4FA0D0"),
        (0.8, style.BLUE),
        (1.0, "#00446E"),
    ],
)
_FAINT: Final = "#8C959C"


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a square matrix lies on its figure, in inches, and the font size of its classes."""

    left: float
    bottom: float
    side: float
    cell: float
    tick: float


def draw_confusion_matrix(
    matrix: np.ndarray, classes: Sequence[str], path: Path, *, title: str = ""
) -> Path:
    """Draws a confusion matrix with the counts and their shares of the true class.

    Args:
      matrix: Counts of pictures, integers of shape [K, K]: rows are the true class, columns the
        predicted one. For several labels a picture, shape [K, 2, 2]: for each label, rows say
        whether it is truly absent or present, columns whether it is predicted absent or present;
        the first 36 labels are drawn.
      classes: The K names of the classes or labels, shown literally.
      path: The PNG to write. Its folder is created where missing.
      title: A title above the picture.

    Returns:
      `path`.

    Raises:
      ValueError: If the matrix has another shape, holds no classes, does not match the number of
        names, or holds anything but integers from zero up.
    """
    return style.save(confusion_figure(matrix, classes, title=title), path)


def confusion_figure(matrix: np.ndarray, classes: Sequence[str], *, title: str = "") -> Figure:
    """Builds the figure of a confusion matrix.

    Args:
      matrix: As in `draw_confusion_matrix`, integers of shape [K, K] or [K, 2, 2].
      classes: As in `draw_confusion_matrix`.
      title: As in `draw_confusion_matrix`.

    Returns:
      The figure.

    Raises:
      ValueError: As in `draw_confusion_matrix`.
    """
    counts = _checked(np.asarray(matrix), classes)
    names = [style.literal(name) for name in classes]
    if counts.ndim == 3:
        return _labels_figure(counts, names, style.literal(title))
    return _classes_figure(counts, names, style.literal(title))


def _checked(matrix: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    shape = list(matrix.shape)
    square = matrix.ndim == 2 and shape[0] == shape[1]
    if not (square or (matrix.ndim == 3 and shape[1:] == [2, 2])):
        raise ValueError(
            f"a confusion matrix has shape [K, K], or [K, 2, 2] for several labels, got {shape}"
        )
    if shape[0] == 0:
        raise ValueError(f"a confusion matrix needs at least one class, got shape {shape}")
    if len(classes) != shape[0]:
        raise ValueError(
            f"a confusion matrix of shape {shape} needs {shape[0]} class names, got {len(classes)}"
        )
    if not np.issubdtype(matrix.dtype, np.integer):
        raise ValueError(f"a confusion matrix holds integer counts, got {matrix.dtype}")
    if (matrix < 0).any():
        raise ValueError(f"a confusion matrix holds counts from 0 up, got {int(matrix.min())}")
    return matrix


def _shares(counts: np.ndarray) -> np.ndarray:
    """Divides each row by its sum, giving nan for a row of zeros."""
    sums = counts.sum(axis=1, keepdims=True)
    return np.where(sums > 0, counts / np.maximum(sums, 1), np.nan)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _classes_figure(counts: np.ndarray, names: Sequence[str], title: str) -> Figure:
    size = len(names)
    # Few classes get roomy cells; many share a side that still fits a page when printed smaller.
    side = min(max(3.0, 0.95 * size), max(8.0, min(0.3 * size, 11.0)))
    cell = side / size
    tick = min(style.TICK, max(_SMALLEST_TICK, cell * 72 / style.LINE_HEIGHT))
    short = [style.shorten(name, _LONGEST_NAME) for name in names]
    widest = max(style.text_width(name, tick) for name in short)
    angle = _angle(widest, cell, tick)
    below = widest * math.sin(math.radians(angle)) + style.line_height(tick)
    # Slanted names reach out to the left of their columns, below the names of the rows.
    reach = widest * math.cos(math.radians(angle)) if angle == 45 else 0.0
    left = _EDGE + style.line_height(style.LABEL) + 2 * _GAP + max(widest, reach - cell / 2)
    bottom = _EDGE + style.line_height(style.LABEL) + 2 * _GAP + below
    sums = [f"{int(n):,}" for n in counts.sum(axis=1)]
    right = _GAP + max(style.text_width(text, tick) for text in ["n", *sums]) + _EDGE
    shown = _cell_texts(counts, cell)
    scale = 0.0 if shown and shown[1] else 0.9
    width = max(left + side + right + scale, 4.2)
    subtitle = _accuracy(int(np.trace(counts)), int(counts.sum()), "picture")
    head = _head_lines(title, subtitle, width)
    height = bottom + side + style.line_height(tick) + _GAP + _head_height(head) + _EDGE
    figure = style.new_figure(width, height)
    _write_head(figure, head)
    place = _Place(left, bottom, side, cell, tick)
    _draw_cells(figure, counts, place)
    _write_classes(figure, short, sums, place, angle)
    axis: dict[str, Any] = {"size": style.LABEL, "color": style.MUTED}
    write = style.write
    write(figure, left + side / 2, _EDGE, "predicted", ha="center", va="bottom", **axis)
    y = bottom + side / 2
    write(figure, _EDGE, y, "true", rotation=90, ha="left", va="center", **axis)
    if scale:
        _draw_scale(figure, left + side + right, place)
    return figure


def _angle(widest: float, cell: float, tick: float) -> int:
    """Turns the names below the columns as little as their room allows, in degrees."""
    if widest + _GAP <= cell:
        return 0
    return 45 if cell * math.sin(math.radians(45)) >= style.line_height(tick) else 90


def _accuracy(right: int, total: int, noun: str) -> str:
    if total == 0:
        return f"no {noun}s"
    return f"accuracy {style.percent(right / total)}, n = {_plural(total, noun)}"


def _head_lines(title: str, subtitle: str, width: float) -> list[tuple[str, float, bool]]:
    """Breaks the title and the subtitle into lines: text, font size, whether bold."""
    room = width - 2 * _EDGE
    return [
        (line, size, bold)
        for text, size, bold in ((title, style.TITLE, True), (subtitle, style.LABEL, False))
        for line in style.wrap(text, room, size, bold=bold)
    ]


def _head_height(head: Sequence[tuple[str, float, bool]]) -> float:
    return sum(style.line_height(size) for _, size, _ in head) + 2 * _GAP


def _write_head(figure: Figure, head: Sequence[tuple[str, float, bool]]) -> None:
    y = figure.get_figheight() - _EDGE
    for text, size, bold in head:
        color = style.INK if bold else style.MUTED
        style.write(figure, _EDGE, y, text, size=size, bold=bold, color=color, va="top")
        y -= style.line_height(size)


def _cell_texts(counts: np.ndarray, cell: float) -> tuple[float, float] | None:
    """Chooses the font sizes of the counts and of the shares below them, 0 for no share.

    Returns:
      The two sizes in points, or None where not even the counts are legible in a cell.
    """
    room = 0.86 * cell
    number = style.text_width(f"{int(counts.max()):,}", 1.0)
    percent = style.text_width(">99.9 %", 1.0)
    both = min(15.0, room / number, room * 72 / (1.7 * style.LINE_HEIGHT))
    small = min(0.7 * both, room / percent)
    if small >= _SMALLEST_TEXT:
        return both, small
    alone = min(11.0, room / number, room * 72 / style.LINE_HEIGHT)
    return (alone, 0.0) if alone >= _SMALLEST_TEXT else None


def _draw_cells(figure: Figure, counts: np.ndarray, place: _Place) -> Axes:
    """Draws the coloured cells with their texts where these are legible."""
    shares = _shares(counts)
    size = len(counts)
    axes = style.new_axes(figure, place.left, place.bottom, place.side, place.side)
    colors = np.where(np.isnan(shares)[..., None], (*to_rgb(style.EMPTY), 1.0), _SHARES(shares))
    # The lines between cells give way where they would hide much of the cells.
    line = min(1.2, 0.05 * place.cell * 72)
    axes.pcolormesh(
        np.arange(size + 1),
        np.arange(size + 1),
        colors,
        edgecolors=style.PAPER,
        linewidth=line,
        antialiased=True,
        rasterized=False,
    )
    axes.set_xlim(0, size)
    axes.set_ylim(size, 0)
    for spine in axes.spines.values():
        spine.set_visible(True)
    sizes = _cell_texts(counts, place.cell)
    if sizes is None:
        return axes
    for row, column in np.ndindex(size, size):
        share = float(shares[row, column])
        color = _contrasting(colors[row, column])
        # Without shares below them, the zeros of many classes would drown the errors.
        if not counts[row, column] and not sizes[1]:
            color = _FAINT
        _write_cell(
            figure,
            place.left + (column + 0.5) * place.cell,
            place.bottom + (size - row - 0.5) * place.cell,
            (f"{int(counts[row, column]):,}", "" if math.isnan(share) else style.percent(share)),
            sizes,
            color,
        )
    return axes


def _contrasting(color: np.ndarray) -> str:
    """Chooses white or ink, whichever stands out more on the colour, by relative luminance."""
    linear = np.where(color[:3] <= 0.04045, color[:3] / 12.92, ((color[:3] + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ np.array([0.2126, 0.7152, 0.0722]))
    return style.PAPER if luminance < 0.2 else style.INK


def _write_cell(
    figure: Figure,
    x: float,
    y: float,
    texts: tuple[str, str],
    sizes: tuple[float, float],
    color: str,
) -> None:
    count, share = texts
    text: dict[str, Any] = {"color": color, "ha": "center", "va": "center_baseline"}
    if not share:
        style.write(figure, x, y, "–", size=sizes[0], **text)
        return
    lift = 0.5 * style.line_height(sizes[1]) if sizes[1] else 0.0
    style.write(figure, x, y + lift, count, size=sizes[0], **text)
    if sizes[1]:
        drop = 0.55 * style.line_height(sizes[0])
        style.write(figure, x, y - drop, share, size=sizes[1], **text)


def _write_classes(
    figure: Figure, names: Sequence[str], sums: Sequence[str], place: _Place, angle: int
) -> None:
    """Writes the names of the rows and columns, leaving some out where they would touch."""
    stride = math.ceil(style.line_height(place.tick) / place.cell - 1e-9)
    right, top = place.left + place.side + _GAP, place.bottom + place.side
    style.write(
        figure,
        right,
        top + _GAP / 2,
        "n",
        size=place.tick,
        color=style.MUTED,
        ha="left",
        va="bottom",
    )
    for index in range(0, len(names), stride):
        y = top - (index + 0.5) * place.cell
        text: dict[str, Any] = {"size": place.tick, "va": "center_baseline"}
        style.write(figure, place.left - _GAP, y, names[index], ha="right", **text)
        style.write(figure, right, y, sums[index], ha="left", color=style.MUTED, **text)
        x = place.left + (index + 0.5) * place.cell
        _write_column(figure, x, place.bottom - _GAP, names[index], place.tick, angle)


def _write_column(figure: Figure, x: float, y: float, name: str, size: float, angle: int) -> None:
    if angle == 45:
        # Anchored at the middle of its end, a slanted name points at the centre of its column.
        y -= style.line_height(size) / 3
        style.write(
            figure,
            x,
            y,
            name,
            size=size,
            rotation=45,
            rotation_mode="anchor",
            ha="right",
            va="center",
        )
    else:
        style.write(figure, x, y, name, size=size, rotation=angle, ha="center", va="top")


def _draw_scale(figure: Figure, left: float, place: _Place) -> None:
    """Draws the scale of the colours, which the cells need where they print no shares."""
    height = min(place.side, 3.0)
    bottom = place.bottom + place.side - height
    axes = style.new_axes(figure, left, bottom, 0.14, height)
    axes.pcolormesh([0, 1], np.linspace(0, 1, 257), np.linspace(0, 1, 256)[:, None], cmap=_SHARES)
    for share in (0.0, 0.5, 1.0):
        y, va = bottom + share * height, {0.0: "bottom", 0.5: "center", 1.0: "top"}[share]
        text = f"{100 * share:.0f}\N{NO-BREAK SPACE}%"
        style.write(figure, left + 0.2, y, text, size=style.NOTE, color=style.MUTED, va=va)
    x, y = left + 0.07, bottom - _GAP
    style.write(figure, x, y, "of row", size=style.NOTE, color=style.MUTED, ha="center", va="top")


def _labels_figure(counts: np.ndarray, names: Sequence[str], title: str) -> Figure:
    """Draws one small matrix of absent and present for each label."""
    shown = min(len(names), _MOST_LABELS)
    columns = min(_PANEL_COLUMNS, math.ceil(math.sqrt(shown)))
    rows = math.ceil(shown / columns)
    line = style.line_height
    left = _EDGE + line(style.LABEL) + style.text_width("present", style.NOTE) + 2 * _GAP
    bottom = _EDGE + line(style.LABEL) + line(style.NOTE) + 2 * _GAP
    across, down = _PANEL + 0.3, _PANEL + line(style.LABEL) + line(style.NOTE) + 0.3
    width = max(left + columns * across - 0.3 + _EDGE, 4.2)
    right = int(counts[:, 0, 0].sum() + counts[:, 1, 1].sum())
    subtitle = _accuracy(right, int(counts.sum()), "decision")
    if shown < len(names):
        subtitle += f" on {_plural(len(names), 'label')}; the first {shown} labels are shown"
    elif counts.sum():
        subtitle += f" on {_plural(len(names), 'label')}"
    head = _head_lines(title, subtitle, width)
    above = _head_height(head) + _EDGE
    figure = style.new_figure(width, bottom + rows * down - line(style.NOTE) - 0.3 + above)
    _write_head(figure, head)
    first = figure.get_figheight() - above - line(style.LABEL) - _PANEL
    for index in range(shown):
        row, column = divmod(index, columns)
        place = _Place(left + column * across, first - row * down, _PANEL, _PANEL / 2, style.NOTE)
        _draw_panel(figure, counts[index], names[index], place, rows_named=column == 0)
    middle = left + (columns * across - 0.3) / 2
    axis: dict[str, Any] = {"size": style.LABEL, "color": style.MUTED}
    style.write(figure, middle, _EDGE, "predicted", ha="center", va="bottom", **axis)
    y = bottom + (rows * down - line(style.NOTE) - 0.3) / 2
    style.write(figure, _EDGE, y, "true", rotation=90, ha="left", va="center", **axis)
    return figure


def _draw_panel(
    figure: Figure, counts: np.ndarray, name: str, place: _Place, *, rows_named: bool
) -> None:
    _draw_cells(figure, counts, place)
    top = place.bottom + place.side
    title = style.fit(name, place.side, style.LABEL)
    style.write(figure, place.left, top + _GAP / 2, title, size=style.LABEL, va="bottom")
    for index, state in enumerate(("absent", "present")):
        middle = (index + 0.5) * place.cell
        text: dict[str, Any] = {"size": place.tick, "color": style.MUTED}
        x, y = place.left + middle, place.bottom - _GAP / 2
        style.write(figure, x, y, state, ha="center", va="top", **text)
        if rows_named:
            x, y = place.left - _GAP, top - middle
            style.write(figure, x, y, state, ha="right", va="center_baseline", **text)
