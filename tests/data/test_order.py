"""Promises of the order: a permutation each epoch, a pure function of seed and step."""

import numpy as np
import pytest
from scipy.stats import chisquare

from catsdogs_jax.data.order import evaluation_indices, indices_at, mixed, training_indices


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


@pytest.mark.parametrize("count", [65_535, 65_536, 65_537, 300_000])
def test_large_sets_are_permuted_too(count: int) -> None:
    found = indices_at(np.arange(count, 2 * count), count, seed=5)
    assert len(np.unique(found)) == count
    assert (found.min(), found.max()) == (0, count - 1)


def test_a_position_far_away_costs_no_more() -> None:
    count = 10**12
    found = indices_at(np.arange(10**15, 10**15 + 1000), count, seed=0)
    assert len(np.unique(found)) == 1000
    assert found.max() > 0.9 * count


@pytest.mark.heavy
def test_every_picture_is_as_likely_at_every_place() -> None:
    count, epochs = 7, 4000
    found = indices_at(np.arange(count * epochs), count, seed=1).reshape(epochs, count)
    for place in (0, 3, 6):
        counts = np.bincount(found[:, place], minlength=count)
        assert chisquare(counts).pvalue > 1e-3
    # Neighbours do not stay neighbours.
    following = np.mean((found[:, 1:] - found[:, :-1]) % count == 1)
    assert abs(following - 1 / (count - 1)) < 0.01


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
    padding = np.concatenate([found[~mask] for found, mask in plan])
    np.testing.assert_array_equal(padding, np.zeros(len(padding)))  # A picture that exists.
    assert all(found.dtype == np.int64 for found, _ in plan)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (3, [0, 2, 1, 1, 0, 2, 2, 0, 1, 0, 2, 1, 2, 0, 1, 0]),
        (17, [11, 13, 12, 5, 4, 1, 8, 16, 3, 10, 9, 3, 13, 14, 4, 0]),
        (1000, [61, 379, 491, 313, 888, 166, 568, 388, 983, 348, 709, 938, 635, 897, 628, 276]),
        (4096, [22, 1837, 517, 71, 766, 1840, 1627, 4050, 2431, 1009, 273, 1231, 2394, 3619]),
        (70000, [28049, 10749, 64186, 64289, 67260, 51452, 39816, 61998, 42212, 17682, 59815]),
    ],
)
def test_the_order_of_a_seed_never_changes(count: int, expected: list[int]) -> None:
    # A run that was begun by an older release goes on with the order that it began with.
    last_of_an_epoch = max(count // 8 - 1, 0)
    found = indices(last_of_an_epoch, last_of_an_epoch + 2, 8, count, seed=3).ravel()
    np.testing.assert_array_equal(found[: len(expected)], expected)


def test_the_mixer_is_that_of_splitmix64() -> None:
    # The first numbers of SplitMix64 with seed 0, as published with its reference code.
    states = np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    np.testing.assert_array_equal(mixed(states), np.array(published, np.uint64))
