"""One animal: coat, body, tail and face."""

from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from catsdogs_jax.data.drawing.pen import Colour, Pen, Shape, pick, smooth, tone
from catsdogs_jax.data.drawing.species import Pose, Species

# Every species wears every coat, so that colour does not tell the class.
_COATS = ("peru", "darkgray", "dimgray", "linen", "sienna", "burlywood", "white", "slategray")
_BEAKS = ("orange", "goldenrod", "dimgray", "tomato")


def _draw_markings(pen: Pen, rng: np.random.Generator) -> None:
    pattern = pick(rng, ("plain", "stripes", "patches", "spots"))
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
    half = root + (tip - root) * steps + species.brush * np.sin(np.pi * steps)
    side = np.stack([np.sin(bend), np.cos(bend)], axis=1) * half[:, None]
    pen.fill(smooth(np.concatenate([spine + side, (spine - side)[::-1]])), "coat", "ink")
    if species.brush:
        end = slice(6, None)
        tuft = np.concatenate([(spine + side)[end], (spine - side)[end][::-1]])
        pen.fill(smooth(tuft), "pale", "ink")


def _draw_legs(pen: Pen, feet: Shape, coat: str) -> None:
    for x, y in feet:
        pen.blob((x, y - 0.65, 0.27, 0.72), coat, "ink")
        pen.blob((x - 0.08, y - 0.08, 0.3, 0.18), "pale", "ink")


def _draw_stilts(pen: Pen, feet: Shape) -> None:
    for x, y in feet:
        pen.stroke(((x, y - 1.2), (x, y)), "horn", 0.13)
        pen.stroke(((x - 0.35, y + 0.08), (x, y - 0.05), (x + 0.3, y + 0.08)), "horn", 0.13)


def _draw_wings(pen: Pen, wings: tuple[Shape, ...], rng: np.random.Generator) -> None:
    for wing in wings:
        outline = smooth(wing)
        feathers = pen.at(0, 0, rng.normal(0, 0.04))
        feathers.fill(outline, "shade", "ink")
        middle = outline.mean(axis=0)
        for reach in (0.35, 0.7):
            feathers.stroke(outline[len(outline) // 3 :: 3] * reach + middle * (1 - reach), "ink")


def _draw_ears(pen: Pen, species: Species, profile: float, rng: np.random.Generator) -> None:
    if not species.ears:
        return
    outline = smooth(pick(rng, species.ears)) * (1, rng.uniform(0.88, 1.06))
    for side in (-1, 1):
        # The ear on the far side of a turned head looks narrower.
        ear = pen.at(-0.1 * profile, 0, rng.normal(0, 0.07), side - 0.2 * profile)
        ear.fill(outline, "shade" if species.ears_hang else "coat", "ink")
        if not species.ears_hang:
            ear.fill(outline * 0.62 + outline.mean(axis=0) * 0.38, "lightpink")


def _draw_eyes(pen: Pen, species: Species, profile: float, rng: np.random.Generator) -> None:
    (rx, ry, *pupil), iris = species.eye, pick(rng, species.eye_colours)
    for side in (-1, 1):
        eye = pen.at(side * 0.42, -0.12, 0, 1 - 0.2 * profile * side)
        eye.blob((0, 0, rx, ry), iris, "black")
        eye.blob((0, 0, pupil[0], pupil[1]), "black")
        eye.blob((-rx * 0.3, -ry * 0.4, rx * 0.28, ry * 0.28), "white")


def _draw_nose(pen: Pen, rng: np.random.Generator) -> None:
    pen.fill(smooth(((-1, -1), (1, -1), (1, 0), (0, 1.5), (-1, 0))), tone(rng, "#32201c", 9))
    pen.blob((-0.3, -0.4, 0.25, 0.2), "white")


def _draw_whiskers(pen: Pen) -> None:
    for slope in (-0.2, 0, 0.2):
        pen.stroke(((-1.25, slope * 1.6), (0, slope * 0.4), (1.25, slope * 1.6)), "white", 0.035)


def _draw_muzzle(pen: Pen, species: Species, profile: float, rng: np.random.Generator) -> None:
    (rx, ry, reach), (nx, ny) = species.muzzle, species.nose
    pen = pen.at(reach * profile, 0.12 + ry / 2)
    if rng.random() < species.tongue_chance:
        pen.fill(smooth(((-0.2, 0.2), (0.2, 0.2), (0.2, 0.9), (-0.2, 0.9))), "lightcoral", "ink")
    if species.whiskers:
        _draw_whiskers(pen)
    if species.teeth:
        for x in (-0.1, 0.1):
            pen.fill(np.array(((-0.1, 0), (0.1, 0), (0.1, 0.5), (-0.1, 0.5))) + (x, 0), "white")
        pen.stroke(((0, 0), (0, 0.5)), "ink", 0.03)
    for x in (-rx / 2, 0, rx / 2):
        pen.blob((x, 0.02, rx * 0.62, ry * 0.95), "pale")
    mouth = ((-0.6, 0.5), (-0.3, 0.7), (0, 0.4), (0, -0.5), (0, 0.4), (0.3, 0.7), (0.6, 0.5))
    pen.stroke(np.array(mouth) * (rx, ry), "ink")
    _draw_nose(pen.at(0, -ry / 2, 0, nx, ny), rng)


def _draw_pointed(pen: Pen, species: Species, profile: float, rng: np.random.Generator) -> None:
    """Draws pale cheeks that meet at the tip of the chin, and the nose there."""
    (rx, ry, reach), chin = species.muzzle, np.asarray(species.head)[-1]
    cheek = np.array(((0, 0.3), (0.3, 0.2), (0.8, 0.24), (0.45, 0.56), chin, (0, chin[1] + 0.04)))
    for side in (-1, 1):
        pen.fill(smooth(cheek * (side * (1 - reach * profile * side), 1)), "pale")
    tip = pen.at(reach * profile * 0.5, chin[1] - ry)
    if species.whiskers:
        _draw_whiskers(tip.at(0, -0.1, 0, 0.8))
    tip.stroke(((-rx, 0.2), (0, 0.3), (rx, 0.2)), "ink")
    _draw_nose(tip.at(0, 0, 0, *species.nose), rng)


def _draw_snout(pen: Pen, species: Species, profile: float, _: np.random.Generator) -> None:
    rx, ry, reach = species.muzzle
    pen = pen.at(reach * profile, 0.34)
    pen.stroke(((-0.4, 0.4), (0, 0.52), (0.4, 0.4)), "ink")
    pen.blob((0, 0, rx, ry), "pale", "ink")
    for side in (-1, 1):
        pen.blob((side * 0.19, 0, *species.nose), "ink")


def _draw_beak(pen: Pen, species: Species, profile: float, rng: np.random.Generator) -> None:
    rx, ry, reach = species.muzzle
    pen = pen.at(reach * profile, 0.12, 0, rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.15))
    lean = 0.5 * profile
    pen.fill(((-rx * 0.7, 0.14), (rx * 0.7, 0.14), (lean, ry * 1.7)), "horn", "ink")
    pen.fill(smooth(((-rx, 0), (0, -0.16), (rx, 0), (lean, ry * 1.5))), "horn", "ink")
    for side in (-1, 1):
        pen.blob((side * 0.09, 0.02, *species.nose), "ink")


_FACES = {
    "muzzle": _draw_muzzle,
    "pointed": _draw_pointed,
    "snout": _draw_snout,
    "beak": _draw_beak,
}


def _draw_head(pen: Pen, species: Species, rng: np.random.Generator) -> None:
    profile = rng.uniform(-1, 1)
    if not species.ears_hang:
        _draw_ears(pen, species, profile, rng)
    right = np.asarray(species.head)
    pen.fill(smooth(np.concatenate([right, right[::-1] * (-1, 1)])), "coat", "ink")
    face = pen.at(0.26 * profile, 0)
    _draw_eyes(face, species, profile, rng)
    _FACES[species.face](face, species, profile, rng)
    if species.ears_hang:
        _draw_ears(pen, species, profile, rng)


def draw_animal(page: Pen, species: Species, pose: Pose, rng: np.random.Generator) -> None:
    """Draws an animal in a pose; the pen's frame says where and how large its head is."""
    name = pick(rng, _COATS)
    base, mark, pale, ink = (tone(rng, name, 6, light) for light in (0, -0.35, 0.65, -0.72))
    coat = Image.new("RGB", page.canvas.size, base)
    _draw_markings(Pen(coat, page.frame, {"mark": mark}), rng)
    shade = coat.point(lambda level: level * 0.75)
    paints: dict[Colour, Any] = {"pale": pale, "ink": ink, "coat": coat, "shade": shade}
    if species.face == "beak":
        paints["horn"] = tone(rng, pick(rng, _BEAKS), 15)
    pen = Pen(page.canvas, page.frame, paints)
    shadow, (left, _, right, bottom) = Pen(Image.new("L", coat.size), pen.frame, {}), pose.box
    shadow.blob(((left + right) / 2, bottom, (right - left) * 0.45, 0.3), "dimgray")
    pen.canvas.paste("black", None, shadow.canvas.filter(ImageFilter.BoxBlur(8)))
    _draw_stilts(pen, pose.stilts)
    _draw_tail(pen.at(*pose.tail), species, rng)
    _draw_legs(pen.at(0.4, -0.15), pose.feet, "shade")
    pen.fill(smooth(pose.body), "coat", "ink")
    for blob in pose.pale:
        pen.blob(blob, "pale", "ink")
    _draw_legs(pen, pose.feet, "coat")
    _draw_wings(pen, pose.wings, rng)
    if rng.random() < 0.35:
        pen.stroke(((-0.62, 0.8), (0, 1.02), (0.62, 0.8)), tone(rng, "indianred", 60), 0.22)
    _draw_head(pen.at(0, 0, rng.uniform(-0.25, 0.25)), species, rng)
