"""What a pack says of its pictures, in the order in which they are packed."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from catsdogs_jax.data.columns import Texts
from catsdogs_jax.data.listing import SPLITS, Examples
from catsdogs_jax.data.manifest import ScannedListing
from catsdogs_jax.data.pictures import Facts
from catsdogs_jax.data.shards import Row


class Rows(Sequence[Row]):
    """Rows that are made when they are looked at, or sent to another process.

    Args:
        examples: What the source says of each picture.
        facts: What was found in each.
    """

    def __init__(self, examples: Examples, facts: Facts):
        self._examples, self._facts = examples, facts

    @property
    def files(self) -> Texts:
        """Their files."""
        return self._examples.column("file")

    def labels(self) -> Counter[str]:
        """Returns how many of them have each label."""
        return Counter(name for names in self._examples.column("labels") for name in names)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Rows(self._examples[index], self._facts[index])
        example = self._examples[index]
        return {
            "file": example.file,
            "labels": list(example.labels),
            "split": example.split or "",
            **dataclasses.asdict(self._facts[index]),
        }

    def __len__(self) -> int:
        return len(self._examples)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def rows_by_split(scanned: ScannedListing) -> dict[str, Rows]:
    """Returns the rows of each split that has pictures; of those in none under an empty name.

    They stand in the order of the hashes of their files: whoever reads a shard from front to end
    meets all classes.
    """
    splits, rows = scanned.examples.column("split"), {}
    for name in (None, *sorted(SPLITS)):
        members = np.flatnonzero(splits.values == splits.among.index(name))
        if len(members):
            contents = scanned.facts[members].column("content_hash").values.view(">u8")
            order = members[np.lexsort(contents.T[::-1])]  # Stable: then by names.
            rows[name or ""] = Rows(scanned.examples[order], scanned.facts[order])
    return rows
