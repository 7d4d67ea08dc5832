"""Which picture stands at which place of which step: a pure function of seed and step.

Training reads an endless sequence of epochs, each a permutation of all pictures; step s takes the
positions s * batch_size to (s + 1) * batch_size - 1 of it. Nothing is stored, so a run resumes at
any step, and a batch may hold the end of one epoch and the start of the next: no picture is
dropped or repeated.
"""

from collections.abc import Iterator

import numpy as np

from catsdogs_jax.data.tensorflow import tf

_STEPS_AT_ONCE = 64
_PADDING = 498247692
"""First of the three numbers of a key, as TensorFlow's `index_shuffle` sets it."""


def indices_at(positions: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns the pictures at some positions of the endless training sequence.

    Source: `tf.random.experimental.index_shuffle`, a stateless format-preserving permutation.

    Args:
        positions: int64 [n], 0 or more.
        count: Number of pictures.
        seed: Seed of the run.

    Returns:
        int64 [n], 0 to count - 1.
    """
    epochs, places = np.divmod(positions, count)
    keys = np.stack([np.full_like(epochs, _PADDING), np.full_like(epochs, seed), epochs], axis=1)
    # The function around this operation (TensorFlow 2.21) pads the keys of a vector at the wrong
    # end; the numbers are those that it finds for each position alone.
    shuffle = tf().raw_ops.RandomIndexShuffle
    return shuffle(index=places, seed=keys, max_index=np.int64(count - 1), rounds=4).numpy()


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
    for first in range(first_step, last_step, _STEPS_AT_ONCE):
        last = min(first + _STEPS_AT_ONCE, last_step)
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
