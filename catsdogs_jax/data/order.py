"""Which picture stands at which place of which step: a pure function of seed and step.

Training reads an endless sequence of epochs, each a permutation of all pictures; step s takes the
positions s * batch_size to (s + 1) * batch_size - 1 of it. Nothing is stored, so a run resumes at
any step, and a batch may hold the end of one epoch and the start of the next: no picture is
dropped or repeated.
"""

from collections.abc import Iterator

import numpy as np

STEPS_AT_ONCE = 64
_ROUNDS = 12
_LEAST_HALF = 2


def indices_at(
    positions: np.ndarray, count: int, seed: int, stream: tuple[int, ...] = ()
) -> np.ndarray:
    """Returns the pictures at some positions of the endless training sequence.

    Args:
        positions: int64 [n], 0 or more.
        count: Number of pictures.
        seed: Seed of the run.
        stream: Sequences of other streams are others.

    Returns:
        int64 [n], 0 to count - 1.
    """
    epochs, places = np.divmod(positions, count)
    found = np.empty_like(positions)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        found[here] = _permuted(places[here], count, np.random.SeedSequence([seed, *stream, epoch]))
    return found


def _permuted(places: np.ndarray, count: int, key: np.random.SeedSequence) -> np.ndarray:
    """Returns where a permutation of 0 to count - 1, given by its key, takes some places.

    A Feistel network permutes the numbers of an even count of bits; what falls outside goes
    through it again until it is inside. Memory does not grow with the number of pictures.
    Source: cycle-walking, Black and Rogaway, 2002, https://doi.org/10.1007/3-540-45760-7_9.
    """
    half = np.uint64(max(_LEAST_HALF, ((count - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = key.generate_state(_ROUNDS, np.uint64)
    found = places.astype(np.uint64)
    outside = np.ones(len(found), bool)
    while outside.any():
        left, right = found[outside] >> half, found[outside] & mask
        for round_key in keys:
            left, right = right, left ^ (mixed(right + round_key) & mask)
        found[outside] = left << half | right
        outside = found >= np.uint64(count)
    return found.astype(np.int64)


def mixed(words: np.ndarray) -> np.ndarray:
    """Scatters uint64 words: each bit of the result depends on all bits of the word.

    Source: the finalizer of SplitMix64, Steele et al., 2014, https://doi.org/10.1145/2660193.2660195
    """
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return words ^ words >> np.uint64(31)


def training_indices(
    first_step: int, last_step: int, batch: int, count: int, seed: int
) -> Iterator[np.ndarray]:
    """Yields int64 [batch] picture indices, one array for each step.

    Args:
        first_step: The first step to yield, 0 for a new run.
        last_step: One past the last step.
        batch: Pictures in a step.
        count: Number of pictures.
        seed: Seed of the run.
    """
    for first in range(first_step, last_step, STEPS_AT_ONCE):
        last = min(first + STEPS_AT_ONCE, last_step)
        positions = np.arange(first * batch, last * batch)
        yield from indices_at(positions, count, seed).reshape(last - first, batch)


def evaluation_indices(count: int, batch: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns (indices int64 [batch], mask bool [batch]) that together hold each picture once.

    The last batch is padded with picture 0 where the mask is false.
    """
    batches = []
    for start in range(0, count, batch):
        positions = np.arange(start, start + batch)
        mask = positions < count
        batches.append((np.where(mask, positions, 0), mask))
    return batches
