"""The built-in data set: drawn cats and dogs, written as a folder of JPEG files.

Pose, coat, background, light, clutter and occlusion are random and do not depend on the species:
only the animal's shape tells the class. Lengths are in head radii, the head's middle at the origin,
y pointing down, facing left; a `Pen` maps these to pixels. A further species is one more `Species`.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFilter

from catsdogs_jax.data.places import make_once

VERSION: int = 1
_SUPERSAMPLING = 2
Colour = str | tuple[int, int, int]
Box = tuple[float, float, float, float]
Shape = Sequence[tuple[float, float]] | NDArray[np.float64]

_CIRCLE = np.array([(np.cos(a), np.sin(a)) for a in np.linspace(0, 2 * np.pi, 24)])
_LEAF = np.array([(-1.4, 0), (-1.4, 0), (-0.3, 0.7), (1.4, 0), (1.4, 0), (-0.3, -0.7)])
_BOX = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1)))
# Every species wears every coat, so that colour does not tell the class.
_COATS = ("peru", "darkgray", "dimgray", "linen", "sienna", "burlywood", "white", "slategray")
_WALLS = ("skyblue", "wheat", "lightsteelblue", "antiquewhite", "thistle", "slategray", "cadetblue")
_FLOORS = ("darkseagreen", "tan", "whitesmoke", "rosybrown", "gray", "olivedrab", "sienna")
_THINGS = ("teal", "indianred", "goldenrod", "seagreen", "slateblue", "ivory", "olive", "coral")


@dataclasses.dataclass(frozen=True)
class Species:
    """What makes one species look different from another; lengths in head radii."""

    singular: str
    head: Shape  # the right half's outline, from the crown to the chin
    ears: tuple[Shape, ...]  # the right ear's outlines to choose from
    ears_hang: bool  # over the head, rather than stand behind it
    muzzle: tuple[float, float, float]  # half width, half height, how far it reaches in profile
    nose: tuple[float, float]
    whiskers: bool
    tongue_chance: float
    eye: Box  # half width and half height of the eye, then of its pupil
    eye_colours: tuple[str, ...]
    tail: tuple[float, float, float]  # length, half width at the root and at the tip


_SPECIES = {
    "cats": Species(
        singular="cat",
        head=((0.3, -0.88), (0.86, -0.7), (1.08, 0), (1.24, 0.44), (0.65, 0.88)),
        # The doubled point keeps the tip sharp when the outline is rounded.
        ears=(((0.1, -0.6), (0.2, -0.95), (0.9, -1.6), (0.9, -1.6), (1.08, -0.8), (0.98, -0.2)),),
        ears_hang=False,
        muzzle=(0.42, 0.25, 0.08),
        nose=(0.13, 0.09),
        whiskers=True,
        tongue_chance=0,
        eye=(0.25, 0.25, 0.1, 0.21),
        eye_colours=("yellowgreen", "gold", "skyblue", "darkorange"),
        tail=(2.4, 0.2, 0.15),
    ),
    "dogs": Species(
        singular="dog",
        head=((0.3, -0.98), (0.75, -0.78), (0.94, 0), (0.94, 0.49), (0.56, 0.98)),
        ears=(
            ((0.3, -0.98), (0.8, -1.12), (1.36, -0.7), (1.42, 0.15), (1.08, 0.4), (0.86, -0.2)),
            ((0.4, -0.9), (0.9, -0.98), (1.3, -0.4), (1.5, 0.7), (1.2, 1.15), (0.82, 0.3)),
            ((0.25, -0.9), (0.5, -1.22), (0.95, -1.2), (1.5, -0.6), (1.4, -0.2), (0.95, -0.55)),
        ),
        ears_hang=True,
        muzzle=(0.52, 0.5, 0.3),
        nose=(0.3, 0.22),
        whiskers=False,
        tongue_chance=0.5,
        eye=(0.18, 0.2, 0.11, 0.13),
        eye_colours=("saddlebrown", "#3c281e", "sienna"),
        tail=(1.5, 0.3, 0.1),
    ),
}
SPECIES: tuple[str, ...] = tuple(_SPECIES)


class Pose(NamedTuple):
    """A body below the head; blobs are (x, y, half width, half height)."""

    box: Box  # left, top, right, bottom of the whole animal
    body: Shape
    tail: tuple[float, float] = (0, 9)
    pale: tuple[Box, ...] = ()  # bib and paws
    feet: Shape = ()  # of the near legs


_POSES = (
    Pose(  # sitting
        box=(-1.6, -1.6, 1.9, 2.8),
        body=((-0.6, 0.3), (0.6, 0.3), (0.95, 1.4), (1.3, 2.7), (-1.3, 2.7), (-0.95, 1.4)),
        tail=(0.7, 2.2),
        pale=((0, 1.25, 0.48, 0.55), (-0.85, 2.5, 0.42, 0.2), (0.85, 2.5, 0.42, 0.2)),
        feet=((-0.34, 2.65), (0.34, 2.65)),
    ),
    Pose(  # standing
        box=(-1.5, -1.6, 3.7, 2.7),
        body=((-0.3, 0), (1.2, 0.3), (3, 0.25), (3.3, 1.2), (2.6, 1.8), (0.8, 1.85), (-0.1, 1.3)),
        tail=(2.8, 0.8),
        feet=((0.35, 2.55), (2.4, 2.55)),
    ),
    Pose(  # lying
        box=(-1.5, -1.6, 3.6, 1.8),
        body=((-0.7, 0), (1, 0), (2.5, 0.2), (3.2, 1.1), (2.7, 1.75), (-0.5, 1.75), (-1, 1)),
        tail=(2.5, 1.3),
        pale=((-0.75, 1.5, 0.45, 0.24), (0.2, 1.5, 0.45, 0.24)),
    ),
    Pose(  # portrait, cut off by the lower edge of the picture
        box=(-1.7, -1.7, 1.7, 1.9),
        body=((-0.6, 0.2), (0.6, 0.2), (1.2, 1.6), (1.5, 9), (-1.5, 9), (-1.2, 1.6)),
        pale=((0, 1.6, 0.5, 0.7),),
    ),
)


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
        self.fill(_CIRCLE * box[2:] + box[:2], paint, ink)

    def stroke(self, line: Shape, ink: Colour, width: float = 0.06) -> None:
        """Draws an open line, at least one pixel wide."""
        pixels = max(1, round(width * abs(np.linalg.det(self.frame)) ** 0.5))
        ImageDraw.Draw(self.canvas).line(self._pixels(line), self.paints.get(ink, ink), pixels)

    def _pixels(self, shape: Shape) -> list[float]:
        return (np.asarray(shape) @ self.frame[:2, :2].T + self.frame[:2, 2]).ravel().tolist()


def _pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    return options[int(rng.integers(len(options)))]


def _tone(rng: np.random.Generator, name: str, spread: float, light: float = 0) -> Colour:
    """Varies a named colour, mixed with white (light > 0) or with black (light < 0)."""
    mean = np.array(ImageColor.getrgb(name)) * (1 - abs(light)) + 255 * max(light, 0)
    red, green, blue = np.clip(mean + rng.normal(0, spread, 3), 0, 255).astype(int).tolist()
    return red, green, blue


def _smooth(shape: Shape) -> NDArray[np.float64]:
    """Rounds a closed polygon by cutting its corners (Chaikin)."""
    points = np.asarray(shape, float)
    for _ in range(2):
        step = (np.concatenate([points[1:], points[:1]]) - points) / 4
        points = np.stack([points + step, points + 3 * step], axis=1).reshape(-1, 2)
    return points


def _draw_markings(pen: Pen, rng: np.random.Generator) -> None:
    pattern = _pick(rng, ("plain", "stripes", "patches", "spots"))
    if pattern == "stripes":
        pen, width = pen.at(0, 0, rng.uniform(-0.5, 0.5)), rng.uniform(0.1, 0.2)
        for x in np.arange(-3.5, 5, rng.uniform(0.4, 0.6)):
            pen.stroke([(x + 0.12 * (-1) ** i, 0.6 * i - 2) for i in range(12)], "mark", width)
    elif pattern != "plain":
        count, size = (7, 0.65) if pattern == "patches" else (40, 0.14)
        for x, y, rx, ry in rng.uniform((-2, -1.2, 0.6, 0.6), (4, 4, 1.3, 1.3), (count, 4)):
            pen.blob((x, y, rx * size, ry * size), "mark")


def _draw_tail(pen: Pen, species: Species, rng: np.random.Generator) -> None:
    length, root, tip = species.tail
    steps = np.linspace(0, 1, 9)
    bend = rng.uniform(-0.3, 1.2) + rng.uniform(-1.8, 1.8) * steps
    spine = np.stack([np.cos(bend), -np.sin(bend)], axis=1).cumsum(axis=0) * length / 9
    side = np.stack([np.sin(bend), np.cos(bend)], axis=1) * (root + (tip - root) * steps)[:, None]
    pen.fill(_smooth(np.concatenate([spine + side, (spine - side)[::-1]])), "coat", "ink")


def _draw_legs(pen: Pen, feet: Shape, coat: str) -> None:
    for x, y in feet:
        pen.blob((x, y - 0.65, 0.27, 0.72), coat, "ink")
        pen.blob((x - 0.08, y - 0.08, 0.3, 0.18), "pale", "ink")


def _draw_ears(pen: Pen, species: Species, profile: float, rng: np.random.Generator) -> None:
    outline = _smooth(_pick(rng, species.ears)) * (1, rng.uniform(0.88, 1.06))
    for side in (-1, 1):
        # The ear on the far side of a turned head looks narrower.
        ear = pen.at(-0.1 * profile, 0, rng.normal(0, 0.07), side - 0.2 * profile)
        ear.fill(outline, "shade" if species.ears_hang else "coat", "ink")
        if not species.ears_hang:
            ear.fill(outline * 0.62 + outline.mean(axis=0) * 0.38, "lightpink")


def _draw_eyes(pen: Pen, species: Species, profile: float, rng: np.random.Generator) -> None:
    (rx, ry, *pupil), iris = species.eye, _pick(rng, species.eye_colours)
    for side in (-1, 1):
        eye = pen.at(side * 0.42, -0.12, 0, 1 - 0.2 * profile * side)
        eye.blob((0, 0, rx, ry), iris, "black")
        eye.blob((0, 0, pupil[0], pupil[1]), "black")
        eye.blob((-rx * 0.3, -ry * 0.4, rx * 0.28, ry * 0.28), "white")


def _draw_muzzle(pen: Pen, species: Species, profile: float, rng: np.random.Generator) -> None:
    (rx, ry, reach), (nx, ny) = species.muzzle, species.nose
    pen = pen.at(reach * profile, 0.12 + ry / 2)
    if rng.random() < species.tongue_chance:
        pen.fill(_smooth(((-0.2, 0.2), (0.2, 0.2), (0.2, 0.9), (-0.2, 0.9))), "lightcoral", "ink")
    for slope in (-0.2, 0, 0.2) if species.whiskers else ():
        pen.stroke(((-1.25, slope * 1.6), (0, slope * 0.4), (1.25, slope * 1.6)), "white", 0.035)
    for x in (-rx / 2, 0, rx / 2):
        pen.blob((x, 0.02, rx * 0.62, ry * 0.95), "pale")
    mouth = ((-0.6, 0.5), (-0.3, 0.7), (0, 0.4), (0, -0.5), (0, 0.4), (0.3, 0.7), (0.6, 0.5))
    pen.stroke(np.array(mouth) * (rx, ry), "ink")
    nose = pen.at(0, -ry / 2, 0, nx, ny)
    nose.fill(_smooth(((-1, -1), (1, -1), (1, 0), (0, 1.5), (-1, 0))), _tone(rng, "#32201c", 9))
    nose.blob((-0.3, -0.4, 0.25, 0.2), "white")


def _draw_head(pen: Pen, species: Species, rng: np.random.Generator) -> None:
    profile = rng.uniform(-1, 1)
    if not species.ears_hang:
        _draw_ears(pen, species, profile, rng)
    right = np.asarray(species.head)
    pen.fill(_smooth(np.concatenate([right, right[::-1] * (-1, 1)])), "coat", "ink")
    face = pen.at(0.26 * profile, 0)
    _draw_eyes(face, species, profile, rng)
    _draw_muzzle(face, species, profile, rng)
    if species.ears_hang:
        _draw_ears(pen, species, profile, rng)


def _draw_animal(page: Pen, species: Species, pose: Pose, rng: np.random.Generator) -> None:
    name = _pick(rng, _COATS)
    base, mark, pale, ink = (_tone(rng, name, 6, light) for light in (0, -0.35, 0.65, -0.72))
    coat = Image.new("RGB", page.canvas.size, base)
    _draw_markings(Pen(coat, page.frame, {"mark": mark}), rng)
    shade = coat.point(lambda level: level * 0.75)
    pen = Pen(page.canvas, page.frame, {"pale": pale, "ink": ink, "coat": coat, "shade": shade})
    shadow, (left, _, right, bottom) = Pen(Image.new("L", coat.size), pen.frame, {}), pose.box
    shadow.blob(((left + right) / 2, bottom, (right - left) * 0.45, 0.3), "dimgray")
    pen.canvas.paste("black", None, shadow.canvas.filter(ImageFilter.BoxBlur(8)))
    _draw_tail(pen.at(*pose.tail), species, rng)
    _draw_legs(pen.at(0.4, -0.15), pose.feet, "shade")
    pen.fill(_smooth(pose.body), "coat", "ink")
    for blob in pose.pale:
        pen.blob(blob, "pale", "ink")
    _draw_legs(pen, pose.feet, "coat")
    if rng.random() < 0.35:
        pen.stroke(((-0.62, 0.8), (0, 1.02), (0.62, 0.8)), _tone(rng, "indianred", 60), 0.22)
    _draw_head(pen.at(0, 0, rng.uniform(-0.25, 0.25)), species, rng)


def _draw_background(size: tuple[int, int], rng: np.random.Generator) -> Pen:
    wall = np.array([_tone(rng, _pick(rng, _WALLS), 15) for _ in range(4)], np.uint8)
    canvas = Image.fromarray(wall.reshape(2, 2, 3)).resize(size, Image.Resampling.BILINEAR)
    edge = rng.uniform(0.45, 1.1) + _pick(rng, (0, 0.04)) * rng.normal(0, 1, 6).cumsum()
    field = [(0, 1), *zip(np.linspace(0, 1, 6), edge, strict=True), (1, 1)]
    Pen(canvas, np.diag((*size, 1.0)), {}).fill(field, _tone(rng, _pick(rng, _FLOORS), 20))
    grain = rng.integers(0, 255, rng.integers(6, 40, 2), np.uint8)
    texture = Image.fromarray(grain).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    canvas = Image.blend(canvas, texture, rng.uniform(0.03, 0.2))
    return Pen(canvas, np.diag((min(size), min(size), 1.0)), {})


def _draw_thing(pen: Pen, rng: np.random.Generator) -> None:
    pen = pen.at(0, 0, rng.uniform(-0.4, 0.4))
    box, bush = _BOX * rng.uniform(0.4, 1, 2), _CIRCLE * rng.uniform(0.75, 1.1, (24, 1))
    shape = _pick(rng, (_CIRCLE, box, _BOX * (0.15, 9), bush, _LEAF))
    pen.fill(_smooth(shape), _tone(rng, _pick(rng, _THINGS), 25), "black")


def _light(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Applies contrast, exposure, colour cast, one-sided light, vignette and sensor noise."""
    (width, height), pixels = picture.size, np.asarray(picture, np.float32)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    side, top, rim = rng.uniform((-0.2, -0.2, 0), 0.2).astype(np.float32)
    falloff = 1 + x * side + y * top - (x * x + y * y) * rim
    pixels = (pixels - 128) * rng.uniform(0.75, 1.1) + 128 + rng.uniform(-25, 15)
    pixels *= falloff[..., None] * rng.normal(0.97, 0.06, 3).astype(np.float32)
    pixels += rng.standard_normal(pixels.shape, np.float32) * rng.uniform(0, 5)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _place(page: Pen, box: Box, rng: np.random.Generator) -> Pen:
    size, start, span = np.array(page.canvas.size), np.array(box[:2]), np.subtract(box[2:], box[:2])
    unit = min(size / span) * rng.uniform(0.86, 1.1)
    x, y = (size + (abs(size - unit * span) + size * 0.1) * rng.uniform(-1, 1, 2)) / 2
    pen, flip = Pen(page.canvas, np.eye(3), {}), _pick(rng, (-1, 1))
    return pen.at(x, y, rng.uniform(-0.2, 0.2), unit * flip, unit).at(*-(start + span / 2))


def draw(species: str, rng: np.random.Generator) -> Image.Image:
    """Draws one picture of an animal.

    Args:
        species: One of `SPECIES`.
        rng: Source of all that varies; the picture is a function of its state.

    Returns:
        An RGB picture, 80 to 140 pixels on each side.

    Raises:
        ValueError: If the species is unknown.
    """
    if species not in _SPECIES:
        raise ValueError(f"unknown species {species!r}; allowed: {', '.join(SPECIES)}")
    width, height = (rng.integers(80, 141, 2) * _SUPERSAMPLING).tolist()
    page = _draw_background((width, height), rng)
    for x, y, size in rng.uniform((0, 0, 0.03), (1, 1, 0.2), (int(rng.integers(5)), 3)):
        _draw_thing(page.at(x, y, 0, size, size), rng)
    pose = _pick(rng, _POSES)
    pen = _place(page, pose.box, rng)
    _draw_animal(pen, _SPECIES[species], pose, rng)
    # The middle of the face stays free: a person must be able to tell the class.
    for angle, reach in rng.uniform((0, 1.4), (2 * np.pi, 2.4), (int(rng.integers(2)), 2)):
        _draw_thing(pen.at(0, 0, angle).at(reach, 0, 0, 0.45, 0.45), rng)
    return _light(page.canvas.reduce(_SUPERSAMPLING), rng)


def _draw_split(folder: Path, count: int, key: list[int]) -> None:
    for number, (name, species) in enumerate(_SPECIES.items()):
        (folder / name).mkdir(parents=True)
        for index in range((count + len(SPECIES) - 1 - number) // len(SPECIES)):
            rng = np.random.default_rng([*key, number, index])
            picture, path = draw(name, rng), folder / name / f"{species.singular}.{index:04d}.jpg"
            picture.save(path, quality=int(rng.integers(82, 94)))


def write_folder(root: str | os.PathLike, *, train: int, validation: int, seed: int = 0) -> Path:
    """Writes `root/split/species/name.jpg` all at once or, if it is there already, not again.

    Args:
        root: Folder to write; its parents are made.
        train: Number of training pictures over all species together.
        validation: Number of validation pictures over all species together.
        seed: Any integer from 0; another seed draws other pictures.

    Returns:
        `root` as a path.

    Raises:
        UserError: `root` exists and is not this data set with these settings.
    """
    counts = {"train": train, "validation": validation}

    def fill(folder: Path) -> None:
        for number, (split, count) in enumerate(counts.items()):
            _draw_split(folder / split, count, [VERSION, seed, number])

    return make_once(Path(root), {"version": VERSION, "seed": seed, **counts}, fill)
