"""What is around an animal: background, things, light, and where in the picture it stands."""

import numpy as np
from PIL import Image

from catsdogs_jax.data.drawing.pen import CIRCLE, Box, Pen, pick, smooth, tone

_LEAF = np.array([(-1.4, 0), (-1.4, 0), (-0.3, 0.7), (1.4, 0), (1.4, 0), (-0.3, -0.7)])
_BOX = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1)))
_WALLS = ("skyblue", "wheat", "lightsteelblue", "antiquewhite", "thistle", "slategray", "cadetblue")
_FLOORS = ("darkseagreen", "tan", "whitesmoke", "rosybrown", "gray", "olivedrab", "sienna")
_THINGS = ("teal", "indianred", "goldenrod", "seagreen", "slateblue", "ivory", "olive", "coral")


def draw_background(size: tuple[int, int], rng: np.random.Generator) -> Pen:
    """Returns a pen on a new picture of a wall and a floor, its unit the shorter side."""
    wall = np.array([tone(rng, pick(rng, _WALLS), 15) for _ in range(4)], np.uint8)
    canvas = Image.fromarray(wall.reshape(2, 2, 3)).resize(size, Image.Resampling.BILINEAR)
    edge = rng.uniform(0.45, 1.1) + pick(rng, (0, 0.04)) * rng.normal(0, 1, 6).cumsum()
    field = [(0, 1), *zip(np.linspace(0, 1, 6), edge, strict=True), (1, 1)]
    Pen(canvas, np.diag((*size, 1.0)), {}).fill(field, tone(rng, pick(rng, _FLOORS), 20))
    grain = rng.integers(0, 255, rng.integers(6, 40, 2), np.uint8)
    texture = Image.fromarray(grain).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    canvas = Image.blend(canvas, texture, rng.uniform(0.03, 0.2))
    return Pen(canvas, np.diag((min(size), min(size), 1.0)), {})


def draw_thing(pen: Pen, rng: np.random.Generator) -> None:
    """Draws a ball, box, pole, bush or leaf, about one unit in size."""
    pen = pen.at(0, 0, rng.uniform(-0.4, 0.4))
    box, bush = _BOX * rng.uniform(0.4, 1, 2), CIRCLE * rng.uniform(0.75, 1.1, (24, 1))
    shape = pick(rng, (CIRCLE, box, _BOX * (0.15, 9), bush, _LEAF))
    pen.fill(smooth(shape), tone(rng, pick(rng, _THINGS), 25), "black")


def light(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Applies contrast, exposure, colour cast, one-sided light, vignette and sensor noise."""
    (width, height), pixels = picture.size, np.asarray(picture, np.float32)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    side, top, rim = rng.uniform((-0.2, -0.2, 0), 0.2).astype(np.float32)
    falloff = 1 + x * side + y * top - (x * x + y * y) * rim
    pixels = (pixels - 128) * rng.uniform(0.75, 1.1) + 128 + rng.uniform(-25, 15)
    pixels *= falloff[..., None] * rng.normal(0.97, 0.06, 3).astype(np.float32)
    pixels += rng.standard_normal(pixels.shape, np.float32) * rng.uniform(0, 5)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def place(page: Pen, area: Box, box: Box, rng: np.random.Generator) -> Pen:
    """Returns a pen that draws an animal somewhere in an area of the picture, facing either way.

    Args:
        page: Pen of the whole picture.
        area: Left, top, width and height of the area, pixels.
        box: Left, top, right and bottom of the animal, head radii.
        rng: Source of place, size, turn and direction.
    """
    size, start, span = np.array(area[2:]), np.array(box[:2]), np.subtract(box[2:], box[:2])
    unit = min(size / span) * rng.uniform(0.86, 1.1)
    x, y = (size + (abs(size - unit * span) + size * 0.1) * rng.uniform(-1, 1, 2)) / 2 + area[:2]
    pen, flip = Pen(page.canvas, np.eye(3), {}), pick(rng, (-1, 1))
    return pen.at(x, y, rng.uniform(-0.2, 0.2), unit * flip, unit).at(*-(start + span / 2))
