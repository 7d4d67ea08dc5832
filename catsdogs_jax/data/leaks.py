"""Finds pictures that stand in two splits, to the byte or nearly."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np

from catsdogs_jax.data.digest import content_numbers
from catsdogs_jax.data.listing import SPLITS
from catsdogs_jax.data.manifest import Manifest, check_classes
from catsdogs_jax.data.pictures import Picture, Pictures
from catsdogs_jax.errors import UserError

MAX_DISTANCE = 3
"""Greatest number of the 64 bits of the perceptual hash in which near duplicates may differ."""

_BANDS = MAX_DISTANCE + 1
_BITS = 64 // _BANDS
_PAIRS_AT_ONCE = 1 << 16

Pair = tuple[Picture, Picture]


def find_leaks(pictures: Pictures, within: bool = False) -> list[Pair]:
    """Returns the pairs of alike pictures whose splits differ.

    Two hashes that differ in at most 3 bits agree in at least one of four bands of 16 bits, so
    only pictures that share a band are compared: far fewer than all pairs.

    Args:
        pictures: Pictures of all splits.
        within: Whether pairs within a split count too.
    """
    contents, splits = content_numbers(pictures), pictures.column("split").values
    hashes = pictures.column("perceptual_hash").values.view(">u8")[:, 0].astype(np.uint64)
    pairs: set[tuple[int, int]] = set()
    # Equal files too: hashes that different versions have computed may differ by more.
    bands = ((hashes >> np.uint64(band * _BITS)).astype(np.uint16) for band in range(_BANDS))
    for values in (contents, *bands):
        for first, second in _sharing(values):
            alike = np.bitwise_count(hashes[first] ^ hashes[second]) <= MAX_DISTANCE
            alike |= contents[first] == contents[second]
            if not within:
                alike &= splits[first] != splits[second]
            pairs.update(zip(first[alike].tolist(), second[alike].tolist(), strict=True))
    return [(pictures[a], pictures[b]) for a, b in sorted(pairs)]


def settle_leaks(
    manifest: Manifest, policy: Literal["report", "exclude", "error"]
) -> tuple[Manifest, list[Pair]]:
    """Finds alike pictures in different splits, and does what the config says about them.

    Args:
        manifest: All pictures.
        policy: "report" changes nothing; "exclude" leaves out the copy of the split that comes
            first of train, validation, test; "error" stops.

    Returns:
        The manifest, and the leaks that are left in it.

    Raises:
        UserError: There is a leak and the policy is "error", or a class has no picture left.
    """
    leaks = find_leaks(manifest.pictures)
    if policy == "report" or not leaks:
        return manifest, leaks
    if policy == "error":
        raise UserError(
            f"{len(leaks)} pairs of alike pictures stand in two splits, as {spell(leaks[0])}: "
            "remove one of each, or leave out the training copies with --config.data.leaks=exclude"
        )
    copies: dict[str, str] = {}
    for pair in leaks:
        copy, kept = sorted(pair, key=lambda picture: SPLITS.index(picture.split))
        copies.setdefault(copy.file, f"{kind(pair)} of {kept.file!r} of the {kept.split} split")
    files = manifest.pictures.column("file")
    pictures = manifest.pictures[np.array([file not in copies for file in files])]
    check_classes(pictures, manifest.task)
    excluded = tuple(sorted(copies.items()))
    return dataclasses.replace(manifest, pictures=pictures, excluded=excluded), []


def kind(pair: Pair) -> str:
    """Returns "exact copy" for files that are equal to the byte, else "near copy"."""
    return "exact copy" if pair[0].content_hash == pair[1].content_hash else "near copy"


def spell(pair: Pair) -> str:
    """Returns a pair in words."""
    first, second = pair
    return f"{first.file!r} ({first.split}) and {second.file!r} ({second.split}), {kind(pair)}"


def leaked_files(leaks: Iterable[Pair], split: str) -> set[str]:
    """Returns the files of a split that are alike one of a split before it."""
    place = SPLITS.index(split)
    return {
        picture.file
        for first, second in leaks
        for picture, other in ((first, second), (second, first))
        if picture.split == split and SPLITS.index(other.split) < place
    }


def listed(leaks: Sequence[Pair], most: int = 100) -> list[dict[str, str]]:
    """Returns the first pairs as JSON types for `result.json`."""
    return [
        {"kind": kind(pair), "first": pair[0].file, "second": pair[1].file} for pair in leaks[:most]
    ]


def _sharing(values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields all pairs of places, the lower first, whose values are equal; many at a time."""
    order = np.argsort(values, kind="stable")
    ordered, apart = values[order], 1
    left = np.flatnonzero(ordered[1:] == ordered[:-1])
    while len(left):
        for start in range(0, len(left), _PAIRS_AT_ONCE):
            some = left[start : start + _PAIRS_AT_ONCE]
            yield order[some], order[some + apart]
        apart += 1
        left = left[: np.searchsorted(left, len(values) - apart)]
        left = left[ordered[left] == ordered[left + apart]]
