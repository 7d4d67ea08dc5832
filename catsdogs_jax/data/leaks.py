"""Finds pictures that stand in two splits, to the byte or nearly."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from catsdogs_jax.data.manifest import Manifest, Picture, check_classes
from catsdogs_jax.data.sources import SPLITS
from catsdogs_jax.errors import UserError

MAX_DISTANCE = 3
"""Greatest number of the 64 bits of the perceptual hash in which near duplicates may differ."""

_BANDS = MAX_DISTANCE + 1
_BITS = 64 // _BANDS

Pair = tuple[Picture, Picture]


def find_leaks(pictures: Sequence[Picture]) -> list[Pair]:
    """Returns the pairs of alike pictures whose splits differ.

    Two hashes that differ in at most 3 bits agree in at least one of four bands of 16 bits, so
    only pictures that share a band are compared: far fewer than all pairs.

    Args:
        pictures: Pictures of all splits.
    """
    hashes = np.array([int(p.perceptual_hash, 16) for p in pictures], np.uint64)
    pairs: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        values = (hashes >> np.uint64(band * _BITS)) & np.uint64((1 << _BITS) - 1)
        buckets: dict[int, list[int]] = defaultdict(list)
        for index, value in enumerate(values.tolist()):
            buckets[value].append(index)
        for members in buckets.values():
            pairs.update(_close_pairs(members, hashes, pictures))
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
    pictures = tuple(p for p in manifest.pictures if p.file not in copies)
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


def _close_pairs(
    members: list[int], hashes: np.ndarray, pictures: Sequence[Picture]
) -> list[tuple[int, int]]:
    found = []
    for place, first in enumerate(members[:-1]):
        others = np.array(members[place + 1 :])
        distances = np.bitwise_count(hashes[others] ^ hashes[first])
        for second in others[distances <= MAX_DISTANCE].tolist():
            if pictures[first].split != pictures[second].split:
                found.append((first, second))
    return found
