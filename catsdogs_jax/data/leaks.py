"""Finds pictures that stand in two splits, to the byte or nearly."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, overload

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


class Leaks(Sequence[Pair]):
    """Pairs of alike pictures, which are looked up one at a time: there can be as many as pictures.

    Args:
        pictures: All pictures.
        places: Places of the two of each pair among them, int [n, 2].
    """

    def __init__(self, pictures: Pictures, places: np.ndarray):
        self._pictures, self._places = pictures, places

    @overload
    def __getitem__(self, place: int) -> Pair: ...

    @overload
    def __getitem__(self, place: slice) -> list[Pair]: ...

    def __getitem__(self, place: int | slice) -> Pair | list[Pair]:
        if isinstance(place, slice):
            return [self[k] for k in range(len(self))[place]]
        first, second = self._places[range(len(self))[place]].tolist()
        return self._pictures[first], self._pictures[second]

    def __len__(self) -> int:
        return len(self._places)


def find_leaks(pictures: Pictures, within: bool = False) -> Leaks:
    """Returns pairs of alike pictures whose splits differ.

    Not all pairs: of thousands of frames of a fixed camera that would be millions. Each picture
    that has alike ones in another split stands in a pair with one of them, an exact copy if there
    is one, else the first that is nearly the same.

    Args:
        pictures: Pictures of all splits.
        within: Whether pairs within a split count too; each picture but the first of its like has
            one, with an earlier one.
    """
    count, splits = len(pictures), pictures.column("split").values
    hashes = pictures.column("perceptual_hash").values.view(">u8")[:, 0].astype(np.uint64)
    # Equal files too: hashes that different versions have computed may differ by more.
    _, content = np.unique(content_numbers(pictures), return_inverse=True)
    exact = _firsts(content, splits, count)
    distinct, near = np.unique(hashes, return_inverse=True)
    own = _firsts(near, splits, count)
    firsts = own.copy()
    for one, other in _alike(distinct):
        np.minimum.at(firsts, one, own[other])
        np.minimum.at(firsts, other, own[one])
    found, places = [np.empty((0, 2), np.int64)], np.arange(count)
    for split in np.unique(splits):
        partner = exact[content, split]
        partner = np.where((partner == count) | (partner == places), firsts[near, split], partner)
        wanted = (partner < count) & (partner != places)
        if not within:
            wanted &= splits != split
        pairs = np.stack([places[wanted], partner[wanted]], axis=1)
        found.append(np.sort(pairs, axis=1))
    return Leaks(pictures, np.unique(np.concatenate(found), axis=0))


def _firsts(groups: np.ndarray, splits: np.ndarray, none: int) -> np.ndarray:
    """Returns the first place of each group in each split, int [groups, splits], or `none`."""
    found = np.full((groups.max(initial=-1) + 1, splits.max(initial=0) + 1), none)
    np.minimum.at(found, (groups, splits), np.arange(len(groups)))
    return found


def _alike(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields places of hashes that differ in at most `MAX_DISTANCE` bits, many at a time.

    Two such hashes agree in at least one of four bands of 16 bits, so only those that share a band
    are compared: far fewer than all pairs.
    """
    for band in range(_BANDS):
        for first, second in _sharing((hashes >> np.uint64(band * _BITS)).astype(np.uint16)):
            alike = np.bitwise_count(hashes[first] ^ hashes[second]) <= MAX_DISTANCE
            yield first[alike], second[alike]


def settle_leaks(
    manifest: Manifest, policy: Literal["report", "exclude", "error"]
) -> tuple[Manifest, Sequence[Pair]]:
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
