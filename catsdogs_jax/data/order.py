"""Which picture stands at which place of which step: a pure function of seed and step.

Training reads an endless sequence of epochs, each a permutation of all pictures; step s takes the
positions s * batch_size to (s + 1) * batch_size - 1 of it. Nothing is stored, so a run resumes at
any step, and a batch may hold the end of one epoch and the start of the next: no picture is
dropped or repeated.
"""

from typing import Any

import numpy as np

from catsdogs_jax.data.tensorflow import tf


def index_at(position: Any, count: int, seed: int) -> Any:
    """Returns the picture at a position of the endless training sequence.

    Source: `tf.random.experimental.index_shuffle`, a stateless format-preserving permutation.

    Args:
        position: Scalar int64 tensor, 0 or more.
        count: Number of pictures.
        seed: Seed of the run.

    Returns:
        Scalar int64 tensor, 0 to count - 1.
    """
    epoch, place = position // count, position % count
    key = tf().stack([tf().constant(seed, tf().int64), epoch])
    return tf().random.experimental.index_shuffle(place, seed=key, max_index=count - 1)


def training_indices(first_step: int, last_step: int, batch: int, count: int, seed: int) -> Any:
    """Returns a `tf.data.Dataset` of int64 [batch] picture indices, one for each step.

    Args:
        first_step: The first step to yield, 0 for a new run.
        last_step: One past the last step.
        batch: Pictures in a step.
        count: Number of pictures.
        seed: Seed of the run.
    """
    positions = tf().data.Dataset.range(first_step * batch, last_step * batch)
    indices = positions.map(lambda position: index_at(position, count, seed))
    return indices.batch(batch, drop_remainder=True)


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
