"""Promises of sampling: even classes, every picture in its turn, a pure function of the step."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.data.feed import Feed
from catsdogs_jax.data.groups import groups_by_rarest
from catsdogs_jax.data.sampling import Sampler, Sampling, sampled_indices
from catsdogs_jax.training.sharding import make_sharding

SIZES = (400, 81, 16, 3)
LABELS = np.repeat(np.arange(len(SIZES)), SIZES)
GROUPS = groups_by_rarest([(int(label),) for label in LABELS], len(SIZES))


def steps(sampling: Sampling, first: int, last: int, batch: int, seed: int = 0) -> np.ndarray:
    sampler = Sampler.create(GROUPS, sampling, seed)
    return np.stack(list(sampled_indices(first, last, batch, sampler)))


def test_quotas_fill_an_epoch_exactly() -> None:
    cases: list[tuple[Sampling, np.ndarray]] = [
        ("natural", np.array(SIZES)),
        ("balanced", np.full(4, 125)),
        ("square_root", np.sqrt(SIZES) / np.sqrt(SIZES).sum() * 500),
    ]
    for sampling, expected in cases:
        quotas = Sampler.create(GROUPS, sampling, 0).quotas
        assert quotas.sum() == 500
        assert np.abs(quotas - expected).max() < 1
    uneven = Sampler.create(groups_by_rarest([(i % 3,) for i in range(11)], 3), "balanced", 0)
    assert sorted(uneven.quotas) == [3, 4, 4]


@pytest.mark.parametrize("sampling", ["balanced", "square_root"])
def test_each_step_holds_the_classes_in_their_shares(sampling: Sampling) -> None:
    drawn = LABELS[steps(sampling, 0, 300, 32)]
    shares = Sampler.create(GROUPS, sampling, 0).quotas / 500
    counts = np.stack([(drawn == label).sum(axis=1) for label in range(len(SIZES))], axis=1)
    # Stratified: closer than independent draws, whose counts would stray by 10 and more.
    assert np.abs(counts - 32 * shares).max() <= 4
    np.testing.assert_allclose(counts.mean(axis=0) / 32, shares, atol=0.002)


@pytest.mark.parametrize("sampling", ["balanced", "square_root"])
@pytest.mark.parametrize("pictures", [1, 37, 250, 500, 1777])
def test_at_any_time_the_pictures_of_a_class_came_equally_often(
    sampling: Sampling, pictures: int
) -> None:
    counts = np.bincount(steps(sampling, 0, pictures, 1).ravel(), minlength=500)
    for group in GROUPS:
        assert np.ptp(counts[group]) <= 1


@pytest.mark.parametrize("first", [1, 63, 64, 65, 130])
def test_a_run_resumes_at_any_step(first: int) -> None:
    whole = steps("balanced", 0, 140, 7)
    np.testing.assert_array_equal(steps("balanced", first, 140, 7), whole[first:])


def test_the_batch_size_does_not_change_the_sequence() -> None:
    one = steps("balanced", 0, 120, 5).ravel()
    np.testing.assert_array_equal(one, steps("balanced", 0, 20, 30).ravel())


def test_epochs_and_seeds_differ_and_classes_are_mixed() -> None:
    stream = steps("balanced", 0, 1000, 1).ravel()
    assert (stream[:500] != stream[500:]).any()
    assert (stream != steps("balanced", 0, 1000, 1, seed=1).ravel()).any()
    followers = LABELS[stream[1:]] == LABELS[stream[:-1]]
    assert 0.05 < followers.mean() < 0.35


def test_a_picture_of_several_labels_counts_for_the_rarest_of_them() -> None:
    labels = [(0,), (0, 1), (0, 2), (), (0, 1, 2), (1,), (0,)]
    groups = groups_by_rarest(labels, 4)  # Label 2 is rarest, nobody has label 3.
    assert [group.tolist() for group in groups] == [[0, 6], [1, 5], [2, 4], [3]]


@pytest.mark.parametrize("sampling", ["natural", "balanced"])
def test_training_takes_the_sampling_of_the_config(
    tiny: Callable[..., Config], colours: Path, sampling: Sampling
) -> None:
    for path in sorted(colours.glob("train/blue/*.png"))[3:]:
        path.unlink()
    pictures = load_dataset(tiny()).splits["train"]
    batches = pictures.training_batches(0, 15, 5, 0, sampling)  # Five epochs of 15 pictures.
    share = np.mean([1 - batch["target"].mean() for batch in batches])  # blue is class 0
    assert share == pytest.approx(7 / 15 if sampling == "balanced" else 3 / 15, abs=0.07)


def test_any_number_of_devices_is_given_the_same_pictures(tiny: Callable[..., Config]) -> None:
    pictures = load_dataset(tiny()).splits["train"]
    found = []
    for devices in (1, 2, 8):
        batches = pictures.training_batches(0, 6, 8, 3, "balanced")
        with Feed(batches, make_sharding(devices).batch) as feed:
            found.append(np.stack([np.asarray(batch["index"]) for batch in feed]))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
