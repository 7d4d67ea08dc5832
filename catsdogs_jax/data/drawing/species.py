"""The species, and the poses that they take: what is different in shape, and nothing else.

Lengths are in head radii, the head's middle at the origin, y pointing down, facing left.
"""

import dataclasses
from typing import Literal, NamedTuple

from catsdogs_jax.data.drawing.pen import CIRCLE, Box, Shape


class Pose(NamedTuple):
    """A body below the head; blobs are (x, y, half width, half height)."""

    box: Box  # left, top, right, bottom of the whole animal
    body: Shape
    tail: tuple[float, float] = (0, 9)
    pale: tuple[Box, ...] = ()  # bib and paws
    feet: Shape = ()  # of the near legs
    stilts: Shape = ()  # of a bird's legs
    wings: tuple[Shape, ...] = ()
    cut: bool = False  # by the lower edge of the picture


_FOUR_LEGGED = (
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
    Pose(  # portrait
        box=(-1.7, -1.7, 1.7, 1.9),
        body=((-0.6, 0.2), (0.6, 0.2), (1.2, 1.6), (1.5, 9), (-1.5, 9), (-1.2, 1.6)),
        pale=((0, 1.6, 0.5, 0.7),),
        cut=True,
    ),
)

_LEFT_WING = ((-0.75, 0.9), (-1.25, 1.2), (-1.4, 2.3), (-1.1, 2.75), (-0.85, 2.1))
_RIGHT_WING = tuple((-x, y) for x, y in _LEFT_WING)
_BIRDS = (
    Pose(  # seen from the front
        box=(-1.6, -1.4, 1.6, 3.6),
        body=((-0.7, 0.4), (0.7, 0.4), (1.25, 1.6), (0.9, 2.9), (-0.9, 2.9), (-1.25, 1.6)),
        pale=((0, 1.85, 0.72, 0.85),),
        stilts=((-0.4, 3.5), (0.4, 3.5)),
        wings=(_LEFT_WING, _RIGHT_WING),
    ),
    Pose(  # seen from the side
        box=(-1.5, -1.4, 3.4, 3.3),
        body=((-0.8, 0), (0.6, -0.3), (1.9, 0.8), (2.9, 1.7), (1.6, 2.3), (0.2, 2.2), (-0.7, 1.3)),
        tail=(2.2, 1.6),
        stilts=((0.6, 3.2), (1.3, 3.2)),
        wings=(((0.4, 0.8), (1.3, 0.7), (2.3, 1.3), (3.2, 2.1), (1.8, 1.9), (0.7, 1.5)),),
    ),
    Pose(  # portrait
        box=(-1.6, -1.5, 1.6, 1.9),
        body=((-0.7, 0.3), (0.7, 0.3), (1.3, 1.6), (1.4, 9), (-1.4, 9), (-1.3, 1.6)),
        pale=((0, 2.3, 0.75, 1.1),),
        wings=(_LEFT_WING, _RIGHT_WING),
        cut=True,
    ),
)


@dataclasses.dataclass(frozen=True)
class Species:
    """What makes one species look different from another; lengths in head radii."""

    singular: str
    head: Shape  # the right half's outline, from the crown to the chin
    ears: tuple[Shape, ...]  # the right ear's outlines to choose from; none: no ears
    ears_hang: bool  # over the head, rather than stand behind it
    muzzle: tuple[float, float, float]  # half width, half height, how far it reaches in profile
    nose: tuple[float, float]
    whiskers: bool
    tongue_chance: float
    eye: Box  # half width and half height of the eye, then of its pupil
    eye_colours: tuple[str, ...]
    tail: tuple[float, float, float]  # length, half width at the root and at the tip
    face: Literal["muzzle", "pointed", "snout", "beak"] = "muzzle"
    teeth: bool = False
    brush: float = 0  # how much wider the tail is in its middle
    crown: float = 0  # room above the poses' boxes for tall ears
    poses: tuple[Pose, ...] = _FOUR_LEGGED


def _round_ear(x: float, y: float, radius: float) -> Shape:
    return CIRCLE[::3] * radius * 1.1 + (x, y)  # smoothing takes the tenth off again


_SEED_SPECIES = {
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
_DARK_EYES = ("saddlebrown", "#3c281e", "#281c18")
_FURTHER_SPECIES = {
    "rabbits": Species(
        singular="rabbit",
        head=((0.25, -0.86), (0.68, -0.68), (0.86, 0), (0.98, 0.45), (0.5, 0.9)),
        ears=(
            ((0.1, -0.6), (0.06, -1.6), (0.3, -2.85), (0.62, -2.8), (0.78, -1.6), (0.68, -0.5)),
            ((0.1, -0.6), (0.2, -1.6), (0.8, -2.65), (1.15, -2.5), (1.0, -1.5), (0.72, -0.5)),
            ((0.1, -0.6), (0.2, -1.5), (0.8, -2.1), (1.75, -1.7), (1.7, -1.3), (0.72, -1.0)),
        ),
        ears_hang=False,
        muzzle=(0.36, 0.28, 0.06),
        nose=(0.12, 0.08),
        whiskers=True,
        tongue_chance=0,
        eye=(0.2, 0.22, 0.14, 0.17),
        eye_colours=(*_DARK_EYES, "indianred"),
        tail=(0.55, 0.34, 0.36),
        teeth=True,
        crown=0.9,
    ),
    "bears": Species(
        singular="bear",
        head=((0.35, -0.98), (0.86, -0.72), (1.06, 0), (1.0, 0.55), (0.5, 0.98)),
        ears=(_round_ear(0.78, -0.74, 0.4), _round_ear(0.72, -0.82, 0.34)),
        ears_hang=False,
        muzzle=(0.5, 0.4, 0.14),
        nose=(0.24, 0.18),
        whiskers=False,
        tongue_chance=0.1,
        eye=(0.12, 0.13, 0.09, 0.1),
        eye_colours=_DARK_EYES,
        tail=(0.4, 0.24, 0.2),
    ),
    "foxes": Species(
        singular="fox",
        head=((0.3, -0.72), (0.85, -0.62), (1.22, 0.15), (0.62, 0.5), (0.16, 1.22)),
        ears=(((0.25, -0.5), (0.3, -0.9), (0.8, -1.8), (0.8, -1.8), (1.12, -0.9), (1.0, -0.3)),),
        ears_hang=False,
        muzzle=(0.2, 0.2, 0.12),
        nose=(0.17, 0.14),
        whiskers=False,
        tongue_chance=0,
        eye=(0.19, 0.14, 0.08, 0.12),
        eye_colours=("goldenrod", "darkorange", "sienna"),
        tail=(2.6, 0.16, 0.1),
        face="pointed",
        brush=0.36,
        crown=0.1,
    ),
    "mice": Species(
        singular="mouse",
        head=((0.25, -0.7), (0.68, -0.56), (0.8, 0), (0.52, 0.5), (0.14, 0.98)),
        ears=(_round_ear(0.92, -0.86, 0.66), _round_ear(1.0, -0.74, 0.58)),
        ears_hang=False,
        muzzle=(0.18, 0.16, 0.1),
        nose=(0.12, 0.1),
        whiskers=True,
        tongue_chance=0,
        eye=(0.16, 0.17, 0.13, 0.14),
        eye_colours=("#281c18", "#3c281e"),
        tail=(3.0, 0.08, 0.05),
        face="pointed",
    ),
    "pigs": Species(
        singular="pig",
        head=((0.35, -0.94), (0.86, -0.7), (1.04, 0), (1.02, 0.5), (0.6, 0.94)),
        ears=(
            ((0.25, -0.8), (0.6, -1.2), (1.15, -1.35), (1.3, -0.4), (1.3, -0.4), (0.8, -0.4)),
            ((0.3, -0.85), (0.75, -1.25), (1.3, -0.9), (1.15, 0.0), (1.15, 0.0), (0.72, -0.4)),
        ),
        ears_hang=True,
        muzzle=(0.5, 0.36, 0.26),
        nose=(0.1, 0.16),
        whiskers=False,
        tongue_chance=0,
        eye=(0.13, 0.14, 0.09, 0.11),
        eye_colours=(*_DARK_EYES, "steelblue"),
        tail=(0.9, 0.1, 0.06),
        face="snout",
    ),
    "birds": Species(
        singular="bird",
        head=((0.3, -0.9), (0.76, -0.66), (0.92, 0), (0.8, 0.6), (0.4, 0.92)),
        ears=(),
        ears_hang=False,
        muzzle=(0.3, 0.34, 0.3),
        nose=(0.05, 0.05),
        whiskers=False,
        tongue_chance=0,
        eye=(0.22, 0.22, 0.13, 0.14),
        eye_colours=("gold", "ivory", "#3c281e", "darkorange"),
        tail=(1.6, 0.3, 0.5),
        face="beak",
        poses=_BIRDS,
    ),
}
SPECIES = {**_SEED_SPECIES, **_FURTHER_SPECIES}
