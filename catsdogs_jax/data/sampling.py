"""Which picture stands at which place when classes are to be met more evenly than they occur.

As in `order`, this is a pure function of seed and step, so a run resumes at any step. The pictures
are put into groups, one a class. An epoch has as many places as there are pictures, and each group
a fixed number of them, its quota, spread evenly over the epoch: stratified, with a random place in
each stratum. Each group goes through its own endless sequence of permutations, so that at any time
its pictures have been met equally often, to one. A rare class is repeated within an epoch, and of
a common one the rest comes in the following epochs.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from catsdogs_jax.data.order import STEPS_AT_ONCE, indices_at, mixed

Sampling = Literal["natural", "square_root", "balanced"]

_JITTER = 1
"""Marks the key of the places in the strata; those of the permutations end in 0."""


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Draws from groups of pictures by quotas.

    Attributes:
        groups: int64 indices of the pictures of each group, none empty.
        quotas: Places of each group in an epoch, int64; their sum is the number of pictures.
        seed: Seed of the run.
    """

    groups: tuple[np.ndarray, ...]
    quotas: np.ndarray
    seed: int

    @classmethod
    def create(cls, groups: Sequence[np.ndarray], sampling: Sampling, seed: int) -> "Sampler":
        """Shares the places of an epoch among groups: all alike, or by the root of their size.

        Source of the square root: Mahajan et al., 2018, https://arxiv.org/abs/1805.00932
        """
        sizes = np.array([len(group) for group in groups])
        powers = {"natural": 1.0, "square_root": 0.5, "balanced": 0.0}
        weights = sizes ** powers[sampling]
        wanted = weights * (sizes.sum() / weights.sum())
        quotas = np.floor(wanted).astype(np.int64)
        largest_remainders = np.argsort(quotas - wanted, kind="stable")
        quotas[largest_remainders[: sizes.sum() - quotas.sum()]] += 1
        return cls(tuple(groups), quotas, seed)

    def indices_at(self, positions: np.ndarray) -> np.ndarray:
        """Returns the pictures, int64 [n], at some positions [n] of the endless sequence."""
        epochs, places = np.divmod(positions, self.quotas.sum())
        found = np.empty_like(positions)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            groups, turns = (values[places[here]] for values in self._epoch(int(epoch)))
            found[here] = self._pictures(groups, turns)
        return found

    def _pictures(self, groups: np.ndarray, turns: np.ndarray) -> np.ndarray:
        found = np.empty_like(turns)
        for number in np.unique(groups):
            here, members = groups == number, self.groups[number]
            stream = (int(number),)
            found[here] = members[indices_at(turns[here], len(members), self.seed, stream)]
        return found

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns for each place of an epoch its group, and the turns this has had since step 0."""
        return _arranged(tuple(self.quotas.tolist()), self.seed, epoch)


@functools.lru_cache(maxsize=2)
def _arranged(quotas: tuple[int, ...], seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    counts = np.array(quotas)
    groups = np.repeat(np.arange(len(counts)), counts)
    turns = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    key = np.random.SeedSequence([seed, epoch, 0, _JITTER]).generate_state(1, np.uint64)
    jitter = (mixed(np.arange(len(groups), dtype=np.uint64) + key) >> np.uint64(11)) * 2.0**-53
    places = np.argsort((turns + jitter) / counts[groups], kind="stable")
    return groups[places], (turns + epoch * counts[groups])[places]


def sampled_indices(
    first_step: int, last_step: int, batch: int, sampler: Sampler
) -> Iterator[np.ndarray]:
    """Yields int64 [batch] picture indices, one array for each step from first to last - 1."""
    for first in range(first_step, last_step, STEPS_AT_ONCE):
        last = min(first + STEPS_AT_ONCE, last_step)
        positions = np.arange(first * batch, last * batch)
        yield from sampler.indices_at(positions).reshape(last - first, batch)
