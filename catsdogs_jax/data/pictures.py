"""What is known of a picture, and tables of many."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from catsdogs_jax.data.columns import Choices, Column, Hashes, Lists, Numbers, Table, Texts, Truths
from catsdogs_jax.data.listing import SPLITS


@dataclasses.dataclass(frozen=True, slots=True)
class Scanned:
    """Facts of one readable picture.

    Attributes:
        width: Pixels, upright.
        height: Pixels, upright.
        orientation: EXIF orientation, 1 to 8.
        plain_jpeg: Whether the fast decoder reads it.
        content_hash: SHA-256 of the file's bytes, hexadecimal.
        perceptual_hash: 64-bit pHash of the picture, hexadecimal; alike for alike pictures.
    """

    width: int
    height: int
    orientation: int
    plain_jpeg: bool
    content_hash: str
    perceptual_hash: str


class Facts(Table[Scanned]):
    """Facts of many pictures."""

    @classmethod
    def _empty(cls) -> Mapping[str, Column]:
        return {
            "width": Numbers("I"),
            "height": Numbers("I"),
            "orientation": Numbers("B"),
            "plain_jpeg": Truths(),
            "content_hash": Hashes(64),
            "perceptual_hash": Hashes(16),
        }

    def _row(self, values: Iterable[Any]) -> Scanned:
        return Scanned(*values)


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A usable picture.

    Attributes:
        file: Path below the manifest's root.
        labels: Indices into the class names.
        split: "train", "validation" or "test"; empty: it is in none yet.
        width: Pixels, upright.
        height: Pixels, upright.
        orientation: EXIF orientation, 1 to 8.
        plain_jpeg: Whether the fast decoder reads it.
        content_hash: SHA-256 of the bytes.
        perceptual_hash: 64-bit pHash, hexadecimal.
    """

    file: str
    labels: tuple[int, ...]
    split: str
    width: int
    height: int
    orientation: int
    plain_jpeg: bool
    content_hash: str
    perceptual_hash: str

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Picture":
        """Reads an entry of `manifest.json`."""
        return cls(**{**entry, "labels": tuple(entry["labels"])})


PLACES = ("", *SPLITS)
"""Where a picture can be, as `Picture.split` says it; the numbers of the column of splits."""


class Pictures(Table[Picture]):
    """Many pictures."""

    @classmethod
    def _empty(cls) -> Mapping[str, Column]:
        columns = {"file": Texts(), "labels": Lists(), "split": Choices(PLACES)}
        return {**columns, **Facts._empty()}

    def _row(self, values: Iterable[Any]) -> Picture:
        return Picture(*values)

    @classmethod
    def joined(cls, files: Texts, labels: Lists, splits: Choices, facts: Facts) -> "Pictures":
        """Returns pictures made of columns of one length, which they share."""
        return cls({"file": files, "labels": labels, "split": splits, **facts.columns()})

    def placed(self, splits: Sequence[int]) -> "Pictures":
        """Returns the same pictures in other splits, given by their numbers in `PLACES`."""
        return Pictures({**self.columns(), "split": Choices(PLACES, splits)})

    def of_split(self, name: str) -> "Pictures":
        """Returns those of one split."""
        return self[self.column("split").values == PLACES.index(name)]

    def evenly(self, most: int) -> "Pictures":
        """Returns all, or so many of them evenly over the list."""
        places = np.linspace(0, len(self) - 1, min(most, len(self)))
        return self[places.astype(int)]
