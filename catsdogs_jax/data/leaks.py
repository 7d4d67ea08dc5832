"""Finds pictures that stand in two splits, to the byte or nearly."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from catsdogs_jax.data.manifest import Picture

MAX_DISTANCE = 3
"""Greatest number of the 64 bits of the perceptual hash in which near duplicates may differ."""

_BANDS = MAX_DISTANCE + 1
_BITS = 64 // _BANDS


def find_leaks(pictures: Sequence[Picture]) -> list[tuple[Picture, Picture]]:
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
