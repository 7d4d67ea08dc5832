"""Promises of the order: a permutation each epoch, a pure function of seed and step."""

import numpy as np
import pytest

from catsdogs_jax.data.order import evaluation_indices, training_indices
from catsdogs_jax.data.tensorflow import tf


def indices(first: int, last: int, batch: int, count: int, seed: int) -> np.ndarray:
    found = list(training_indices(first, last, batch, count, seed))
    return np.stack(found) if found else np.zeros((0, batch), np.int64)


@pytest.mark.parametrize(("count", "batch"), [(10, 1), (10, 3), (10, 10), (7, 5), (1, 1), (100, 7)])
def test_every_epoch_is_a_permutation_of_all_pictures(count: int, batch: int) -> None:
    steps = 3 * count
    stream = indices(0, steps, batch, count, seed=4).ravel()
    for epoch in range(len(stream) // count):
        np.testing.assert_array_equal(
            np.sort(stream[epoch * count : (epoch + 1) * count]), np.arange(count)
        )


def test_the_numbers_are_those_of_tensorflows_stateless_shuffle() -> None:
    shuffle = tf().random.experimental.index_shuffle
    found = indices(0, 300, 5, 500, seed=3).ravel()
    for position in (0, 1, 499, 500, 1499):
        epoch, place = divmod(position, 500)
        assert found[position] == shuffle(place, seed=[3, epoch], max_index=499)


@pytest.mark.parametrize("first", [0, 1, 5, 12, 20])
def test_a_run_resumes_at_any_step(first: int) -> None:
    whole = indices(0, 20, 3, 10, seed=1)
    np.testing.assert_array_equal(indices(first, 20, 3, 10, seed=1), whole[first:])


def test_epochs_and_seeds_differ() -> None:
    stream = indices(0, 20, 10, 100, seed=1)
    assert (stream[:10] != stream[10:]).any()
    assert (stream != indices(0, 20, 10, 100, seed=2)).any()


@pytest.mark.parametrize("batch", [1, 3, 10, 11])
def test_evaluation_counts_every_picture_once(batch: int) -> None:
    plan = evaluation_indices(10, batch)
    assert all(len(found) == len(mask) == batch for found, mask in plan)
    counted = np.concatenate([found[mask] for found, mask in plan])
    np.testing.assert_array_equal(counted, np.arange(10))
