"""Promises of intervals and tests: the published numbers."""

import pytest

from catsdogs_jax.statistics import (
    mcnemar_p,
    mean_interval,
    paired_difference_interval,
    wilson_interval,
)


def test_the_wilson_interval_is_the_published_one() -> None:
    # Newcombe, 1998, Statistics in Medicine 17, table I: 81 of 263.
    assert wilson_interval(81, 263) == pytest.approx([0.2553, 0.3662], abs=5e-5)
    assert wilson_interval(0, 10)[0] == 0
    assert wilson_interval(10, 10)[1] == 1


def test_mcnemars_exact_test_counts_both_tails() -> None:
    # Of 17 pictures on which the runs differ, 5 or fewer, or 12 or more: twice 9,402 of 2^17 ways.
    assert mcnemar_p(5, 12) == pytest.approx(2 * 9_402 / 2**17)
    assert mcnemar_p(12, 5) == mcnemar_p(5, 12)
    assert mcnemar_p(0, 0) == 1
    assert mcnemar_p(0, 8) == pytest.approx(2 / 2**8)


def test_the_paired_interval_is_the_published_one() -> None:
    # Newcombe, 1998, Statistics in Medicine 17, 2635-2650, method 10: (36, 12, 2, 0) of 50.
    assert paired_difference_interval(36, 2, 12, 0) == pytest.approx([0.0569, 0.3404], abs=5e-5)
    low, high = paired_difference_interval(36, 12, 2, 0)
    assert [-high, -low] == pytest.approx([0.0569, 0.3404], abs=5e-5)
    assert paired_difference_interval(0, 0, 10, 0)[1] == pytest.approx(1, abs=0.01)
    # Fagerland, Lydersen and Laake, 2017, Statistical Analysis of Contingency Tables, chapter 8:
    # the examples of Cavo, where the correction for continuity matters, and of Bentur, where it is
    # greater than what it corrects.
    cavo = paired_difference_interval(59, 16, 6, 80)
    assert cavo == pytest.approx([-0.1186, -0.0046], abs=5e-5)
    bentur = paired_difference_interval(1, 7, 1, 12)
    assert bentur == pytest.approx([-0.507, -0.026], abs=5e-4)


def test_the_paired_interval_is_the_one_by_hand_where_there_is_no_or_little_correlation() -> None:
    # The correction takes all of a small correlation away: sqrt(2) times half of Wilson's width.
    reach = 2**0.5 * (0.5 - wilson_interval(1, 2)[0])
    assert paired_difference_interval(1, 0, 0, 1) == pytest.approx([-reach, reach])
    # One run is always wrong and one always right: nothing to correlate.
    low = 1 - 2**0.5 * wilson_interval(0, 10)[1]
    assert paired_difference_interval(0, 0, 10, 0)[0] == pytest.approx(low)
    # Five pictures, an odd number: half of it is 2.5.
    below, above = 0.8 - wilson_interval(4, 5)[0], wilson_interval(3, 5)[1] - 0.6
    correlation = (3 - 2.5) / (3 * 2 * 4 * 1) ** 0.5
    low = 0.2 - (below**2 - 2 * correlation * below * above + above**2) ** 0.5
    assert paired_difference_interval(3, 0, 1, 1)[0] == pytest.approx(low)


def test_the_interval_of_a_mean_is_students() -> None:
    # t(0.975, 2 degrees of freedom) is 4.303; the standard error here is 0.1 / sqrt(3).
    reach = 4.302653 * 0.1 / 3**0.5
    assert mean_interval([0.4, 0.5, 0.6]) == pytest.approx([0.5 - reach, 0.5 + reach], abs=1e-6)
    assert mean_interval([0.5, 0.5]) == [0.5, 0.5]
    # t(0.975, 3 degrees of freedom) is 3.182; an even number of values.
    reach = 3.182446 * 0.2581989 / 4**0.5
    found = mean_interval([0.2, 0.4, 0.6, 0.8])
    assert found == pytest.approx([0.5 - reach, 0.5 + reach], abs=1e-6)
