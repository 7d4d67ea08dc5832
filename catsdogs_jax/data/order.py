"""Which picture stands at which place of which step: a pure function of seed and step.

Training reads an endless sequence of epochs, each a permutation of all pictures; step s takes the
positions s * batch_size to (s + 1) * batch_size - 1 of it. Nothing is stored, so a run resumes at
any step, and a batch may hold the end of one epoch and the start of the next: no picture is
dropped or repeated.
"""

from typing import Any

import numpy as np

from catsdogs_jax.data.tensorflow import tf

_PADDING = 498247692
"""First of the three numbers of a key, as TensorFlow's `index_shuffle` sets it."""


def indices_at(positions: Any, count: int, seed: int) -> Any:
    """Returns the pictures at some positions of the endless training sequence.

    Source: `tf.random.experimental.index_shuffle`, a stateless format-preserving permutation.

    Args:
        positions: int64 tensor [n], 0 or more.
        count: Number of pictures.
        seed: Seed of the run.

    Returns:
        int64 tensor [n], 0 to count - 1.
    """
    epochs, places = positions // count, positions % count
    zeros = tf().zeros_like(epochs)
    keys = tf().stack([zeros + _PADDING, zeros + seed, epochs], axis=1)
    last = tf().constant(count - 1, tf().int64)
    # The function around this operation (TensorFlow 2.21) pads the keys of a vector at the wrong
    # end; the numbers are those that it finds for each position alone.
    return tf().raw_ops.RandomIndexShuffle(index=places, seed=keys, max_index=last, rounds=4)


def training_indices(first_step: int, last_step: int, batch: int, count: int, seed: int) -> Any:
    """Returns a `tf.data.Dataset` of int64 [batch] picture indices, one for each step.

    Args:
        first_step: The first step to yield, 0 for a new run.
        last_step: One past the last step.
        batch: Pictures in a step.
        count: Number of pictures.
        seed: Seed of the run.
    """
    steps = tf().data.Dataset.range(first_step, last_step)
    offsets = tf().range(batch, dtype=tf().int64)
    return steps.map(lambda step: indices_at(step * batch + offsets, count, seed))


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
