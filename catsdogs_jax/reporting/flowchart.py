"""The flowchart of a model: its layers from top to bottom, with shapes and parameters."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Outline

from catsdogs_jax.reporting import style

_EDGE: Final = 0.25
_BOX: Final = 0.58
_PILL: Final = 0.34
_ARROW: Final = 0.44
_PAD: Final = 0.14
_GUTTER: Final = 0.5
_NARROWEST: Final = 3.9
_WIDEST: Final = 3.8
_BAR: Final = 0.07

# One column of more layers than this would be too long a strip for a page.
_MOST_ROWS: Final = 12


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of a model, as the flowchart shows it.

    Attributes:
      name: The layer's name in the model.
      description: What it does; its first word decides the colour, such as "Conv 3×3, 32 → ReLU".
      output_shape: Shape of its output without the batch, for example (74, 74, 32).
      parameters: Number of its parameters.
    """

    name: str
    description: str
    output_shape: tuple[int, ...]
    parameters: int


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A kind of layers that share a colour, known by how their descriptions start."""

    label: str
    starts: tuple[str, ...]
    edge: str
    fill: str


_CONVOLUTION: Final = _Kind(
    "convolution", ("conv", "depthwise", "pointwise", "separable"), style.BLUE, "#E3F0F8"
)
_DENSE: Final = _Kind("dense", ("dense", "linear", "fully"), style.VERMILION, "#FBEADF")
_NORM: Final = _Kind(
    "normalisation",
    ("norm", "batch", "layernorm", "layer-norm", "group", "instance", "rms"),
    style.GREEN,
    "#DFF1EB",
)
# "2 × basic block, 64": layers that are drawn as one.
_BLOCKS: Final = _Kind("blocks", tuple("123456789"), style.PURPLE, "#F6E9F2")
_PLAIN: Final = _Kind("no parameters", (), "#767676", "#F1F1F1")
_OTHER: Final = _Kind("other", (), style.BLACK, "#EDEDED")
_KINDS: Final = (_CONVOLUTION, _DENSE, _NORM, _BLOCKS, _PLAIN, _OTHER)


@dataclasses.dataclass(frozen=True)
class _Sizes:
    """The widths of a column's parts in inches, and how the columns are filled."""

    box: float
    count: float
    rows: int
    columns: int

    @property
    def column(self) -> float:
        return self.box + _PAD + self.count

    @property
    def width(self) -> float:
        return self.columns * self.column + (self.columns - 1) * _GUTTER


def draw_flowchart(
    layers: Sequence[Layer], path: Path, *, title: str = "", input_shape: tuple[int, ...]
) -> Path:
    """Draws the flowchart of a model, in several columns where it has many layers.

    Args:
      layers: The layers in the order of the data's flow.
      path: The PNG to write. Its folder is created where missing.
      title: A title above the chart.
      input_shape: Shape of one input without the batch, for example (150, 150, 3).

    Returns:
      `path`.

    Raises:
      ValueError: If there are no layers, or one has a negative number of parameters.
    """
    return style.save(flowchart_figure(layers, title=title, input_shape=input_shape), path)


def flowchart_figure(
    layers: Sequence[Layer], *, title: str = "", input_shape: tuple[int, ...]
) -> Figure:
    """Builds the figure of a model's flowchart.

    Args:
      layers: As in `draw_flowchart`.
      title: As in `draw_flowchart`.
      input_shape: As in `draw_flowchart`.

    Returns:
      The figure.

    Raises:
      ValueError: As in `draw_flowchart`.
    """
    if not layers:
        raise ValueError("no layers to draw a flowchart of")
    for layer in layers:
        if layer.parameters < 0:
            raise ValueError(
                f"layer {layer.name!r} needs a parameter count from 0 up, got {layer.parameters}"
            )
    total = sum(layer.parameters for layer in layers)
    sizes = _sizes(layers)
    width = sizes.width + 2 * _EDGE
    head = style.wrap(style.literal(title), width - 2 * _EDGE, style.TITLE, bold=True)
    kinds = [kind for kind in _KINDS if any(_kind(layer) is kind for layer in layers)]
    key = _key_lines(kinds, width - 2 * _EDGE)
    line = style.line_height
    above = _EDGE + len(head) * line(style.TITLE) + len(key) * 1.15 * line(style.NOTE) + 0.25
    body = 2 * (_PILL + _ARROW) + sizes.rows * _BOX + (sizes.rows - 1) * _ARROW
    below = 0.25 + line(style.LABEL) + _EDGE
    figure = style.new_figure(width, above + body + below)
    y = figure.get_figheight() - _EDGE
    for text in head:
        style.write(figure, _EDGE, y, text, size=style.TITLE, bold=True, va="top")
        y -= line(style.TITLE)
    _draw_key(figure, key, y - 0.05)
    _draw_layers(figure, layers, sizes, (_EDGE, below + body), (input_shape, total))
    rule = Line2D(
        [_EDGE, width - _EDGE],
        [below - 0.12] * 2,
        transform=figure.dpi_scale_trans,
        color=style.RULE,
        linewidth=0.8,
        linestyle="-",
        marker="None",
    )
    figure.add_artist(rule)
    noun = "parameter" if total == 1 else "parameters"
    text = f"{total:,} {noun}"
    style.write(
        figure, width - _EDGE, _EDGE, text, size=style.LABEL, bold=True, ha="right", va="bottom"
    )
    return figure


def _kind(layer: Layer) -> _Kind:
    words = layer.description.lower().split()
    first = words[0] if words else ""
    # "Layer norm" is two words, but "Layer" alone says nothing of a layer's kind.
    if first == "layer" and words[1:2] and words[1].startswith("norm"):
        return _NORM
    rest = _OTHER if layer.parameters else _PLAIN
    return next((kind for kind in _KINDS if first.startswith(kind.starts)), rest)


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(str(size) for size in shape) if shape else "scalar"


def _sizes(layers: Sequence[Layer]) -> _Sizes:
    """Makes the boxes as wide as their texts and the columns as even as they come."""
    texts = max(
        max(
            style.text_width(style.literal(layer.name), style.LABEL, bold=True),
            style.text_width(style.literal(layer.description), style.NOTE),
        )
        for layer in layers
    )
    count = max(style.text_width(f"{layer.parameters:,}", style.TICK) for layer in layers)
    count = max(count, style.text_width(">99.9 %", style.NOTE), 0.8)
    # Columns grow with the number of layers too, which keeps the chart about as wide as high.
    columns = max(1, math.ceil(len(layers) / max(_MOST_ROWS, 2.0 * math.sqrt(len(layers)))))
    rows = math.ceil(len(layers) / columns)
    # The title and the key need some room even where the layers do not.
    box = min(max(texts + 2 * _PAD, _NARROWEST - _PAD - count), _WIDEST)
    return _Sizes(box, count, rows, math.ceil(len(layers) / rows))


def _draw_layers(
    figure: Figure,
    layers: Sequence[Layer],
    sizes: _Sizes,
    corner: tuple[float, float],
    model: tuple[tuple[int, ...], int],
) -> None:
    """Draws input, layers and output with the arrows between them, column by column.

    Args:
      figure: The figure.
      layers: The layers.
      sizes: The sizes of the parts.
      corner: Left and top of the chart on the figure, in inches.
      model: The shape of the input and the number of all parameters.
    """
    left, top = corner
    shape, total = model
    _draw_pill(figure, left + sizes.box / 2, top - _PILL / 2, "input")
    first = top - _PILL - _ARROW
    x, y = left + sizes.box / 2, top - _PILL
    room = sizes.column - sizes.box / 2 - 0.1
    for index, layer in enumerate(layers):
        column, row = divmod(index, sizes.rows)
        start = x, y
        x = left + column * (sizes.column + _GUTTER) + sizes.box / 2
        y = first - row * (_BOX + _ARROW)
        if column and not row:
            _draw_turn(figure, start, (x, y), x - sizes.box / 2 - _GUTTER / 2)
        else:
            _draw_arrow(figure, x, start[1], y)
        _write_shape(figure, x, y, shape, room)
        _draw_layer(figure, layer, (x, y), sizes, total)
        y -= _BOX
        shape = layer.output_shape
    _draw_arrow(figure, x, y, y - _ARROW)
    _write_shape(figure, x, y - _ARROW, shape, room)
    _draw_pill(figure, x, y - _ARROW - _PILL / 2, "output")


def _draw_box(
    figure: Figure,
    corner: tuple[float, float],
    size: tuple[float, float],
    colors: tuple[str, str],
    *,
    rounding: float,
) -> None:
    figure.add_artist(
        FancyBboxPatch(
            corner,
            *size,
            boxstyle=f"round,pad=0,rounding_size={rounding}",
            transform=figure.dpi_scale_trans,
            edgecolor=colors[0],
            facecolor=colors[1],
            linewidth=1.2,
        )
    )


def _draw_pill(figure: Figure, x: float, y: float, text: str) -> None:
    corner, size = (x - 0.55, y - _PILL / 2), (1.1, _PILL)
    _draw_box(figure, corner, size, (style.INK, style.PAPER), rounding=_PILL / 2)
    style.write(figure, x, y, text, size=style.TICK, ha="center", va="center_baseline")


def _draw_layer(
    figure: Figure, layer: Layer, head: tuple[float, float], sizes: _Sizes, total: int
) -> None:
    """Draws a layer's box below the middle of its upper edge, and its parameters beside it."""
    x, top = head
    left = x - sizes.box / 2
    kind = _kind(layer)
    corner, size = (left, top - _BOX), (sizes.box, _BOX)
    _draw_box(figure, corner, size, (kind.edge, kind.fill), rounding=0.09)
    room = sizes.box - 2 * _PAD
    name = style.fit(style.literal(layer.name), room, style.LABEL, bold=True)
    description = style.fit(style.literal(layer.description), room, style.NOTE)
    middle: dict[str, Any] = {"ha": "center", "va": "center_baseline"}
    # Without a description the name takes the middle of the box.
    y = top - (0.33 if description else 0.5) * _BOX
    style.write(figure, x, y, name, size=style.LABEL, bold=True, **middle)
    style.write(figure, x, top - 0.71 * _BOX, description, size=style.NOTE, **middle)
    side = left + sizes.box + _PAD
    text: dict[str, Any] = {"ha": "left", "va": "center_baseline"}
    if not layer.parameters:
        y = top - _BOX / 2
        style.write(figure, side, y, "0", size=style.TICK, color=style.MUTED, **text)
        return
    style.write(figure, side, top - 0.16 * _BOX, f"{layer.parameters:,}", size=style.TICK, **text)
    bar = top - 0.56 * _BOX
    share = layer.parameters / total
    for width, color in ((sizes.count, style.GRID), (share * sizes.count, kind.edge)):
        figure.add_artist(
            Rectangle(
                (side, bar),
                width,
                _BAR,
                transform=figure.dpi_scale_trans,
                facecolor=color,
                edgecolor="none",
                linewidth=0.0,
            )
        )
    y = top - 0.84 * _BOX
    percent = style.percent(share)
    style.write(figure, side, y, percent, size=style.NOTE, color=style.MUTED, **text)


def _draw_arrow(figure: Figure, x: float, start: float, end: float) -> None:
    _draw_path(figure, Outline([(x, start), (x, end)]))


def _draw_turn(
    figure: Figure, start: tuple[float, float], end: tuple[float, float], gutter: float
) -> None:
    """Leads an arrow from the foot of one column through the gutter to the head of the next."""
    (x0, y0), (x1, y1) = start, end
    low, high = y0 - _ARROW / 2, y1 + _ARROW + _PILL / 2
    corners = [(x0, low), (gutter, low), (gutter, high), (x1, high)]
    points, codes = [(x0, y0)], [Outline.MOVETO]
    stops = [(x0, y0), *corners, (x1, y1)]
    for before, corner, after in zip(stops, corners, stops[2:], strict=False):
        points += [_towards(corner, before, 0.1), corner, _towards(corner, after, 0.1)]
        codes += [Outline.LINETO, Outline.CURVE3, Outline.CURVE3]
    _draw_path(figure, Outline([*points, (x1, y1)], [*codes, Outline.LINETO]))


def _towards(
    start: tuple[float, float], end: tuple[float, float], distance: float
) -> tuple[float, float]:
    share = distance / math.dist(start, end)
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _draw_path(figure: Figure, outline: Outline) -> None:
    figure.add_artist(
        FancyArrowPatch(
            path=outline,
            transform=figure.dpi_scale_trans,
            arrowstyle="-|>,head_length=4.5,head_width=2.6",
            mutation_scale=1.0,
            shrinkA=0.0,
            shrinkB=0.0,
            color=style.MUTED,
            linewidth=1.1,
            capstyle="butt",
            joinstyle="miter",
        )
    )


def _write_shape(figure: Figure, x: float, end: float, shape: tuple[int, ...], room: float) -> None:
    y = end + _ARROW / 2
    style.write(
        figure,
        x + 0.1,
        y,
        style.fit(_shape(shape), room, style.NOTE),
        size=style.NOTE,
        color=style.MUTED,
        ha="left",
        va="center_baseline",
    )


def _key_lines(kinds: Sequence[_Kind], room: float) -> list[list[tuple[float, _Kind]]]:
    """Places the names of the kinds in lines: each with its distance from the left, in inches."""
    lines: list[list[tuple[float, _Kind]]] = []
    end = math.inf
    for kind in kinds:
        width = 0.22 + style.text_width(kind.label, style.NOTE)
        if end + width > room:
            lines.append([])
            end = 0.0
        lines[-1].append((end, kind))
        end += width + 0.2
    return lines


def _draw_key(figure: Figure, lines: Sequence[Sequence[tuple[float, _Kind]]], top: float) -> None:
    for index, line in enumerate(lines):
        y = top - (index + 0.5) * 1.15 * style.line_height(style.NOTE)
        for offset, kind in line:
            x = _EDGE + offset
            corner, size = (x, y - 0.065), (0.15, 0.13)
            _draw_box(figure, corner, size, (kind.edge, kind.fill), rounding=0.03)
            style.write(
                figure,
                x + 0.22,
                y,
                kind.label,
                size=style.NOTE,
                color=style.MUTED,
                va="center_baseline",
            )
