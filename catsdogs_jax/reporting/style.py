"""The look that every picture of a report shares: colours, sizes, text and files.

Figures are built with matplotlib's object-oriented interface and drawn by Agg, without pyplot and
without touching the global rcParams, so that pictures can be drawn from any thread, on a machine
without a display, and come out the same whatever the caller's own matplotlib settings are.
"""

import functools
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.text import Text
from matplotlib.textpath import TextToPath
from matplotlib.ticker import MaxNLocator
from PIL import Image

DPI: Final = 200

# Okabe and Ito's palette stays distinct under the common colour vision deficiencies. Orange and
# green are darkened, because they also colour text, which needs more contrast than a line.
BLUE: Final = "#0072B2"
VERMILION: Final = "#C24E00"
GREEN: Final = "#00785A"
PURPLE: Final = "#A8558A"
BLACK: Final = "#222222"
PALETTE: Final = (BLUE, VERMILION, GREEN, PURPLE, BLACK)

PAPER: Final = "#FFFFFF"
INK: Final = "#222222"
MUTED: Final = "#5C5C5C"
RULE: Final = "#9A9A9A"
GRID: Final = "#E6E6E6"
EMPTY: Final = "#EDEDED"

# Font sizes in points, chosen to stay legible when the picture is printed at half its size.
TITLE: Final = 13.0
LABEL: Final = 11.0
TICK: Final = 10.0
NOTE: Final = 9.0

# Height of a line of text as a multiple of its font size, ascenders and descenders included.
LINE_HEIGHT: Final = 1.3

_POINTS_PER_INCH: Final = 72.0

# Agg moves each glyph to whole pixels, which makes small text a little wider than its outlines.
_HINTING: Final = 1.02


@functools.cache
def _font_file(bold: bool) -> Path:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name


@functools.cache
def _glyphs() -> frozenset[int]:
    regular, bold = (frozenset(get_font(str(_font_file(bold))).get_charmap()) for bold in (0, 1))
    return regular & bold


def font(size: float, *, bold: bool = False) -> FontProperties:
    """Gives matplotlib's bundled DejaVu Sans, whatever fonts the machine has.

    Args:
      size: Font size in points.
      bold: Whether to give the bold face.

    Returns:
      The font's properties.
    """
    return FontProperties(fname=str(_font_file(bold)), size=size)


def literal(text: str) -> str:
    r"""Replaces the characters that the bundled font cannot show by Python's escapes.

    Args:
      text: Any text, for example the name of a class as its folder is called.

    Returns:
      The text on one line, in which a newline reads "\n" and a missing glyph reads like "\u732b".
    """
    glyphs = _glyphs()
    return "".join(
        character
        if ord(character) in glyphs and character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def line_height(size: float) -> float:
    """Gives the height in inches of one line of text of `size` points."""
    return size * LINE_HEIGHT / _POINTS_PER_INCH


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Gives the width in inches of one line of text.

    Args:
      text: A line that `literal` has passed.
      size: Font size in points.
      bold: Whether the line is set in the bold face.

    Returns:
      The width in inches.
    """
    if not text:
        return 0.0
    properties = font(size, bold=bold)
    width, _, _ = TextToPath().get_text_width_height_descent(text, properties, ismath=False)
    return _HINTING * float(width) / _POINTS_PER_INCH


def shorten(text: str, limit: int) -> str:
    """Shortens a text in its middle, where names of classes differ least.

    Args:
      text: Any text.
      limit: The most characters to keep, the ellipsis included; at least 1.

    Returns:
      The text itself where it is short enough, else its start, an ellipsis and its end.
    """
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    head = limit - 1 - tail
    return f"{text[:head]}…{text[len(text) - tail :]}"


def fit(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """Shortens a text in its middle until it is at most `width` inches wide.

    Args:
      text: A line that `literal` has passed.
      width: The room in inches.
      size: Font size in points.
      bold: Whether the line is set in the bold face.

    Returns:
      The longest shortened form that fits, at least one character.
    """
    if text_width(text, size, bold=bold) <= width:
        return text
    shortest, longest = 1, len(text) - 1
    while shortest < longest:
        middle = (shortest + longest + 1) // 2
        if text_width(shorten(text, middle), size, bold=bold) <= width:
            shortest = middle
        else:
            longest = middle - 1
    return shorten(text, shortest)


def wrap(text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
    """Breaks a text into lines of at most `width` inches; a longer single word is shortened.

    Args:
      text: A text that `literal` has passed.
      width: The room in inches.
      size: Font size in points.
      bold: Whether the lines are set in the bold face.

    Returns:
      The lines, none for a text without words.
    """
    lines: list[str] = []
    # Only plain spaces break a line: str.split() would also break "92.7 %" at its no-break space.
    for word in filter(None, text.split(" ")):
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, size, bold=bold) <= width:
            lines[-1] = joined
        else:
            lines.append(fit(word, width, size, bold=bold))
    return lines


def percent(share: float) -> str:
    """Writes a share from 0 to 1 in percent, rounding neither a few to none nor most to all."""
    text = f"{100.0 * share:.1f}"
    if text == "0.0" and share > 0.0:
        text = "<0.1"
    elif text == "100.0" and share < 1.0:
        text = ">99.9"
    return f"{text}\N{NO-BREAK SPACE}%"


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """Makes an empty white figure that draws without a display.

    Args:
      width_inches: Width in inches.
      height_inches: Height in inches.

    Returns:
      The figure, at `DPI` dots per inch, with an Agg canvas.
    """
    figure = Figure(
        figsize=(width_inches, height_inches),
        dpi=DPI,
        facecolor=PAPER,
        edgecolor=PAPER,
        linewidth=0.0,
        frameon=True,
    )
    figure.set_layout_engine("none")
    FigureCanvasAgg(figure)
    return figure


def new_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Adds axes without ticks, grid or frame, placed in inches.

    Args:
      figure: The figure.
      left: Distance of the axes from the figure's left edge, in inches.
      bottom: Distance of the axes from the figure's bottom edge, in inches.
      width: Width of the axes in inches.
      height: Height of the axes in inches.

    Returns:
      The axes.
    """
    figure_width, figure_height = figure.get_size_inches()
    axes = figure.add_axes(
        (left / figure_width, bottom / figure_height, width / figure_width, height / figure_height),
        facecolor=PAPER,
    )
    axes.grid(visible=False)
    axes.set_axisbelow(True)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.minorticks_off()
    # Matplotlib makes ticks, and their labels, anew from the caller's settings whenever it likes.
    sides = ("top", "bottom", "left", "right")
    hidden: dict[str, Any] = dict.fromkeys([*sides, *(f"label{side}" for side in sides)], False)
    axes.tick_params(which="both", **hidden)
    for spine in axes.spines.values():
        spine.set(visible=False, edgecolor=RULE, linewidth=0.8)
    return axes


def write(
    figure: Figure,
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    bold: bool = False,
    color: str = INK,
    **properties: Any,
) -> Text:
    """Writes one line literally, without reading mathematics or TeX into it.

    Args:
      figure: The figure.
      x: Distance of the text's anchor from the figure's left edge, in inches.
      y: Distance of the text's anchor from the figure's bottom edge, in inches.
      text: A line that `literal` has passed.
      size: Font size in points.
      bold: Whether to use the bold face.
      color: The text's colour.
      **properties: More properties of the text, such as its alignment.

    Returns:
      The text.
    """
    return figure.text(
        x,
        y,
        text,
        transform=figure.dpi_scale_trans,
        fontproperties=font(size, bold=bold),
        color=color,
        parse_math=False,
        usetex=False,
        **properties,
    )


def tick_values(
    low: float, high: float, count: int, *, whole: bool = False
) -> tuple[list[float], list[str]]:
    """Chooses round values between two limits, with their labels.

    Args:
      low: The lower limit.
      high: The upper limit, above `low`.
      count: About the most values wanted.
      whole: Whether to choose whole numbers only.

    Returns:
      The values within the limits, ascending, and their labels, all with as many decimals.
    """
    locator = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10], integer=whole, min_n_ticks=1)
    slack = 1e-9 * (high - low)
    values = [
        float(value)
        for value in locator.tick_values(low, high)
        if low - slack <= value <= high + slack
    ]
    step = float(min(np.diff(values), default=abs(values[0]) if values else 1.0))
    decimals = next((n for n in range(12) if abs(round(step, n) - step) <= 1e-6 * step), 12)
    # Adding 0.0 turns a negative zero into a zero, which would be written "-0".
    return values, [f"{round(value, decimals) + 0.0:,.{decimals}f}" for value in values]


def spread(wanted: np.ndarray, distance: float, low: float, high: float) -> np.ndarray:
    """Moves heights apart so that labels written there do not overlap.

    Args:
      wanted: The heights that the labels should have, shape [N] with N of at least 1.
      distance: The least distance between two heights.
      low: The lower limit, kept before the upper one where there is too little room.
      high: The upper limit.

    Returns:
      The new heights, shape [N], in the order of the old ones from low to high.
    """
    order = np.argsort(wanted, kind="stable")
    placed = wanted[order].astype(float)
    # Pushing up from below and then down from above settles any order in two passes.
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + distance)
    crowd = np.arange(1 - len(placed), 1) * distance
    placed = np.minimum(placed, min(placed[-1], high) + crowd)
    placed += max(0.0, low - placed[0])
    result = np.empty_like(placed)
    result[order] = placed
    return result


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as PNG; a reader sees the old file or the whole new one, never a part.

    The file holds the pixels and their density only, so that the same figure gives the same bytes.

    Args:
      figure: A figure made by `new_figure`.
      path: The file to write. Its folder is created where missing.

    Returns:
      `path`.
    """
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        pixels.save(temporary, format="PNG", dpi=(DPI, DPI))
        os.replace(temporary, path)
    return path
