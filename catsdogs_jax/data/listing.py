"""What a source lists: files, labels and splits, before any picture is opened."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from catsdogs_jax.data.columns import Choices, Column, Lists, Table, Texts

if TYPE_CHECKING:
    from catsdogs_jax.data.pictures import Facts

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
"""The split that a folder or a table means by a name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """A picture file and what its source says about it.

    Attributes:
        file: Path below the root of the listing, with forward slashes.
        labels: Its class names; one, or any number for multi-label problems.
        split: "train", "validation" or "test"; none where the source does not say.
    """

    file: str
    labels: tuple[str, ...]
    split: str | None


class Names:
    """A column of lists of class names.

    Args:
        known: Class names, in the order of their numbers.
        lists: The lists, of such numbers.
    """

    def __init__(self, known: Iterable[str] = (), lists: Lists | None = None):
        self.known: dict[str, int] = {name: number for number, name in enumerate(known)}
        self.lists = Lists() if lists is None else lists
        self._names = list(self.known)

    def append(self, value: Sequence[str]) -> None:
        """Adds a list."""
        for name in value:
            if name not in self.known:
                self.known[name] = len(self._names)
                self._names.append(name)
        self.lists.append(self.known[name] for name in value)

    def taken(self, places: np.ndarray) -> "Names":
        """Returns the lists at some places."""
        return Names(self._names, self.lists.taken(places))

    def used(self) -> list[str]:
        """Returns the names that stand in a list, sorted."""
        return sorted(self._names[number] for number in np.unique(self.lists.numbers))

    def __getitem__(self, place: int) -> tuple[str, ...]:
        return tuple(self._names[number] for number in self.lists[place])

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return (tuple(self._names[number] for number in numbers) for numbers in self.lists)

    def __len__(self) -> int:
        return len(self.lists)


class Examples(Table[Example]):
    """Many examples."""

    @classmethod
    def _empty(cls) -> Mapping[str, Column]:
        return {"file": Texts(), "labels": Names(), "split": Choices((None, *SPLITS))}

    def _row(self, values: Iterable[Any]) -> Example:
        return Example(*values)

    def order(self) -> np.ndarray:
        """Returns the places of the examples in the order of their files, int64 [n]."""
        return self.column("file").order()

    def of_split(self, name: str | None) -> "Examples":
        """Returns those that the source puts into one split, or (none) into no split."""
        column = self.column("split")
        return self[column.values == column.among.index(name)]

    @property
    def single(self) -> bool:
        """Whether each has exactly one label."""
        return bool((np.diff(self.column("labels").lists.starts) == 1).all())


@dataclasses.dataclass(frozen=True)
class Listing:
    """All examples of a source.

    Attributes:
        root: The folder that `Example.file` is relative to.
        examples: Sorted by file.
        multilabel: Whether the source gives lists of labels.
        facts: What is known of each example, if they need not be opened for it.
        quarantined: File and reason of each that was found unusable before, and is not listed.
    """

    root: Path
    examples: Examples
    multilabel: bool = False
    facts: "Facts | None" = None
    quarantined: tuple[tuple[str, str], ...] = ()
