"""Promises of scaling on paper: by hand on round numbers, and the limits that must hold."""

import pytest

from catsdogs_jax.planning.chips import Chip
from catsdogs_jax.planning.scaling import Network, Work, at_scale, pictures_of_host

CHIP = Chip("round", memory=1e9, flops=1000.0, bandwidth=1e9, interconnect=100.0)
NETWORK = Network(chips_of_slice=4, chips_of_host=2, slice_bandwidth=10.0)
WORK = Work(flops=(100.0, 10.0), accessed=(0.0, 0.0), gradient=50.0)


def test_one_chip_exchanges_nothing() -> None:
    found = at_scale(WORK, 90, 1, CHIP, NETWORK)
    assert found.own == pytest.approx((100 + 90 * 10) / 1000)
    assert found.exchange == 0
    assert found.pictures == found.pictures_apart == pytest.approx(90)


def test_a_slice_and_several_slices_by_hand() -> None:
    inside = 2 * 50 * (3 / 4) / 100
    assert at_scale(WORK, 360, 4, CHIP, NETWORK).exchange == pytest.approx(inside)
    outside = 2 * 50 * (1 / 2) / 10
    found = at_scale(WORK, 720, 8, CHIP, NETWORK)
    assert found.exchange == pytest.approx(inside + outside)
    assert found.pictures == pytest.approx(720 / (inside + outside))  # The network binds.
    assert found.pictures_apart == pytest.approx(720 / (1.0 + inside + outside))


def test_a_chip_that_memory_binds_takes_the_time_of_memory() -> None:
    bound = Work(flops=(0.0, 1.0), accessed=(0.0, 1e9), gradient=0.0)
    assert at_scale(bound, 8, 4, CHIP, NETWORK).own == pytest.approx(2.0)


def test_more_chips_are_faster_until_the_exchange_binds() -> None:
    light = Work(WORK.flops, WORK.accessed, gradient=5.0)
    rates = [at_scale(light, 64, n, CHIP, NETWORK).pictures for n in (1, 2, 4)]
    assert rates[0] < rates[1] < rates[2]
    assert at_scale(WORK, 64, 4, CHIP, NETWORK).pictures == pytest.approx(64 / 0.75)


def test_a_host_feeds_its_chips() -> None:
    found = at_scale(WORK, 360, 4, CHIP, NETWORK)
    assert pictures_of_host(found, NETWORK) == pytest.approx(found.pictures / 2)
