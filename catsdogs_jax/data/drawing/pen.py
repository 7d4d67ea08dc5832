"""A pen that draws in a local frame, and the small tools of everything that is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

Colour = str | tuple[int, int, int]
Box = tuple[float, float, float, float]
Shape = Sequence[tuple[float, float]] | NDArray[np.float64]

CIRCLE = np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 24)])


class Pen(NamedTuple):
    """Draws in a local frame; `paints` names an animal's own colours and coat pictures."""

    canvas: Image.Image
    frame: NDArray[np.float64]  # 3x3 affine map to pixels
    paints: Mapping[Colour, Any]

    def at(self, x: float, y: float, turn: float = 0, sx: float = 1, sy: float = 1) -> "Pen":
        """Returns a pen with its origin at (x, y), turned by radians and stretched."""
        cos, sin = np.cos(turn), np.sin(turn)
        local = np.array([[cos * sx, -sin * sy, x], [sin * sx, cos * sy, y], [0, 0, 1]])
        return Pen(self.canvas, self.frame @ local, self.paints)

    def fill(self, shape: Shape, paint: Colour, ink: Colour | None = None) -> None:
        """Fills a polygon with a colour, or with its cut-out of a coat, and outlines it."""
        corners, source = self._pixels(shape), self.paints.get(paint, paint)
        if isinstance(source, Image.Image):
            mask = Image.new("1", self.canvas.size)
            ImageDraw.Draw(mask).polygon(corners, fill=1)
            self.canvas.paste(source, None, mask)
        else:
            ImageDraw.Draw(self.canvas).polygon(corners, fill=source)
        if ink:
            self.stroke(np.concatenate([shape, shape[:1]]), ink)

    def blob(self, box: Box, paint: Colour, ink: Colour | None = None) -> None:
        """Fills an ellipse (x, y, half width, half height)."""
        self.fill(CIRCLE * box[2:] + box[:2], paint, ink)

    def stroke(self, line: Shape, ink: Colour, width: float = 0.06) -> None:
        """Draws an open line, at least one pixel wide."""
        pixels = max(1, round(width * abs(np.linalg.det(self.frame)) ** 0.5))
        ImageDraw.Draw(self.canvas).line(self._pixels(line), self.paints.get(ink, ink), pixels)

    def _pixels(self, shape: Shape) -> list[float]:
        return (np.asarray(shape) @ self.frame[:2, :2].T + self.frame[:2, 2]).ravel().tolist()


def pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    """Returns one of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def tone(rng: np.random.Generator, name: str, spread: float, light: float = 0) -> Colour:
    """Varies a named colour, mixed with white (light > 0) or with black (light < 0)."""
    mean = np.array(ImageColor.getrgb(name)) * (1 - abs(light)) + 255 * max(light, 0)
    red, green, blue = np.clip(mean + rng.normal(0, spread, 3), 0, 255).astype(int).tolist()
    return red, green, blue


def smooth(shape: Shape) -> NDArray[np.float64]:
    """Rounds a closed polygon by cutting its corners (Chaikin)."""
    points = np.asarray(shape, float)
    for _ in range(2):
        step = (np.concatenate([points[1:], points[:1]]) - points) / 4
        points = np.stack([points + step, points + 3 * step], axis=1).reshape(-1, 2)
    return points
