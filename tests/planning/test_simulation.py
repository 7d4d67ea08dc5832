"""Promises of the simulation of many hosts: by hand where nothing is random, and its limits."""

import pytest

from catsdogs_jax.planning.simulation import Feeding, simulated_step


def test_without_chance_the_slower_of_step_and_input_sets_the_pace() -> None:
    for hosts in (1, 7):
        assert simulated_step(0.5, hosts, Feeding(0.25)) == pytest.approx(0.5)
        assert simulated_step(0.5, hosts, Feeding(0.75)) == pytest.approx(0.75)


def test_one_batch_ahead_is_made_while_a_step_runs() -> None:
    assert simulated_step(0.5, 3, Feeding(0.25, ahead=1)) == pytest.approx(0.5)


def test_a_stall_is_waited_for_by_all_and_only_as_far_as_batches_do_not_last() -> None:
    # Of 1000 steps some 10 meet a stall of 3 s; four batches ahead last for four steps of 0.5 s.
    stalling = Feeding(0.01, stall_every=100, stall_seconds=3.0)
    one, many = (simulated_step(0.5, hosts, stalling, steps=4000) for hosts in (1, 64))
    assert one == pytest.approx(0.5 + (3.0 - 2.0) / 100, rel=0.05)
    assert many > one
    short = Feeding(0.01, stall_every=100, stall_seconds=1.0)
    assert simulated_step(0.5, 1, short, steps=4000) == pytest.approx(0.5, rel=0.01)


def test_more_hosts_wait_longer_for_the_slowest_and_batches_ahead_help() -> None:
    uneven = Feeding(0.45, spread=0.5)
    times = [simulated_step(0.5, hosts, uneven) for hosts in (1, 8, 64)]
    assert times[0] < times[1] < times[2]
    patient = Feeding(0.45, spread=0.5, ahead=32)
    assert simulated_step(0.5, 64, patient) < times[2]
    assert simulated_step(0.5, 64, Feeding(0.1, spread=0.5)) == pytest.approx(0.5, rel=0.02)
