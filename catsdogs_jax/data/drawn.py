"""The built-in data sets: drawn animals, written as JPEG files, one or several in a picture.

Pose, coat, background, light, clutter and occlusion are random and do not depend on the species:
only the animal's shape tells the class. What is drawn how is in `drawing/`; a further species is
one more entry there.
"""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from catsdogs_jax.data.drawing import species as drawing
from catsdogs_jax.data.drawing.animal import draw_animal
from catsdogs_jax.data.drawing.pen import Box, Pen, pick
from catsdogs_jax.data.drawing.scene import draw_background, draw_thing, light, place
from catsdogs_jax.data.places import make_once
from catsdogs_jax.errors import UserError, nearest

VERSION: int = 1
SPECIES: tuple[str, ...] = tuple(drawing.SPECIES)
DEFAULT_SPECIES: tuple[str, ...] = ("cats", "dogs")
TABLE: str = "labels.csv"
_SUPERSAMPLING = 2
_COUNT_CHANCES = (0.15, 0.35, 0.3, 0.2)
"""How likely a picture of several animals holds none, one, two or three."""


def draw(species: str, rng: np.random.Generator) -> Image.Image:
    """Draws one picture of an animal.

    Args:
        species: One of `SPECIES`.
        rng: Source of all that varies; the picture is a function of its state.

    Returns:
        An RGB picture, 80 to 140 pixels on each side.

    Raises:
        UserError: If the species is unknown.
    """
    check_species((species,))
    width, height = (rng.integers(80, 141, 2) * _SUPERSAMPLING).tolist()
    page = _draw_scene((width, height), rng)
    _draw_placed(page, species, (0, 0, width, height), drawing.SPECIES[species].poses, rng)
    return light(page.canvas.reduce(_SUPERSAMPLING), rng)


def draw_several(species: Sequence[str], rng: np.random.Generator) -> Image.Image:
    """Draws one picture of any number of animals side by side; none gives an empty scene.

    Args:
        species: Any number of `SPECIES`, from left to right; the same may come again.
        rng: Source of all that varies; the picture is a function of its state.

    Returns:
        An RGB picture, 110 to 180 pixels wide and 80 to 130 high.

    Raises:
        UserError: If a species is unknown.
    """
    check_species(species)
    width, height = (rng.integers((110, 80), (181, 131)) * _SUPERSAMPLING).tolist()
    page = _draw_scene((width, height), rng)
    column = width / max(len(species), 1)
    overlap = 0.2 * column if len(species) > 1 else 0
    for index, name in enumerate(species):
        area = (index * column - overlap / 2, 0, column + overlap, height)
        poses = tuple(pose for pose in drawing.SPECIES[name].poses if not pose.cut)
        _draw_placed(page, name, area, poses, rng)
    return light(page.canvas.reduce(_SUPERSAMPLING), rng)


def check_species(species: Sequence[str]) -> None:
    """Checks names of species.

    Raises:
        UserError: One is none of `SPECIES`.
    """
    for name in species:
        if name not in SPECIES:
            raise UserError(
                f"unknown species {name!r}; drawn are {', '.join(SPECIES)}."
                f"{nearest(name, list(SPECIES))}"
            )


def _draw_scene(size: tuple[int, int], rng: np.random.Generator) -> Pen:
    page = draw_background(size, rng)
    for x, y, extent in rng.uniform((0, 0, 0.03), (1, 1, 0.2), (int(rng.integers(5)), 3)):
        draw_thing(page.at(x, y, 0, extent, extent), rng)
    return page


def _draw_placed(
    page: Pen, name: str, area: Box, poses: Sequence[drawing.Pose], rng: np.random.Generator
) -> None:
    species, pose = drawing.SPECIES[name], pick(rng, poses)
    left, top, right, bottom = pose.box
    pen = place(page, area, (left, top - species.crown, right, bottom), rng)
    draw_animal(pen, species, pose, rng)
    # The middle of the face stays free: a person must be able to tell the class.
    for angle, reach in rng.uniform((0, 1.4), (2 * np.pi, 2.4), (int(rng.integers(2)), 2)):
        draw_thing(pen.at(0, 0, angle).at(reach, 0, 0, 0.45, 0.45), rng)


def _save(picture: Image.Image, path: Path, rng: np.random.Generator) -> None:
    picture.save(path, quality=int(rng.integers(82, 94)))


def _draw_split(folder: Path, count: int, species: Sequence[str], key: list[int]) -> None:
    """Draws a folder for each species; a species' pictures do not depend on the others."""
    for place_of, name in enumerate(species):
        (folder / name).mkdir(parents=True)
        number, singular = SPECIES.index(name), drawing.SPECIES[name].singular
        for index in range((count + len(species) - 1 - place_of) // len(species)):
            rng = np.random.default_rng([*key, number, index])
            _save(draw(name, rng), folder / name / f"{singular}.{index:04d}.jpg", rng)


def write_folder(
    root: str | os.PathLike,
    *,
    train: int,
    validation: int,
    seed: int = 0,
    species: Sequence[str] = DEFAULT_SPECIES,
) -> Path:
    """Writes `root/split/species/name.jpg` all at once or, if it is there already, not again.

    Args:
        root: Folder to write; its parents are made.
        train: Number of training pictures over all species together.
        validation: Number of validation pictures over all species together.
        seed: Any integer from 0; another seed draws other pictures.
        species: Which of `SPECIES`.

    Returns:
        `root` as a path.

    Raises:
        UserError: `root` exists and is not this data set with these settings, or a species is
            unknown.
    """
    check_species(species)
    counts = {"train": train, "validation": validation}

    def fill(folder: Path) -> None:
        for number, (split, count) in enumerate(counts.items()):
            _draw_split(folder / split, count, species, [VERSION, seed, number])

    settings: dict[str, Any] = {"version": VERSION, "seed": seed, **counts}
    if tuple(species) != DEFAULT_SPECIES:  # Folders of cats and dogs are older than the choice.
        settings["species"] = list(species)
    return make_once(Path(root), settings, fill)


def write_table(
    root: str | os.PathLike, *, train: int, validation: int, seed: int = 0, species: Sequence[str]
) -> Path:
    """Writes pictures of none to three animals, and `labels.csv` that lists who is in each.

    Args:
        root: As in `write_folder`; the pictures are `root/split/name.jpg`.
        train: Number of training pictures.
        validation: Number of validation pictures.
        seed: Any integer from 0; another seed draws other pictures.
        species: Which of `SPECIES` may be in a picture, each as likely.

    Returns:
        The path of the table, of the columns file, labels (joined by "|") and split.

    Raises:
        UserError: As in `write_folder`.
    """
    check_species(species)
    counts = {"train": train, "validation": validation}

    def fill(folder: Path) -> None:
        with (folder / TABLE).open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(["file", "labels", "split"])
            for number, (split, count) in enumerate(counts.items()):
                (folder / split).mkdir()
                for index in range(count):
                    rng = np.random.default_rng([VERSION, seed, len(counts) + number, index])
                    drawn = rng.choice(species, rng.choice(len(_COUNT_CHANCES), p=_COUNT_CHANCES))
                    file = f"{split}/{index:05d}.jpg"
                    _save(draw_several(drawn.tolist(), rng), folder / file, rng)
                    table.writerow([file, "|".join(sorted(set(drawn.tolist()))), split])

    settings = {"version": VERSION, "seed": seed, **counts, "several": list(species)}
    return make_once(Path(root), settings, fill) / TABLE
