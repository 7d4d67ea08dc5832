"""Intervals and tests of shares and means, on SciPy.

SciPy's statistics are imported where they are used: not while a run waits to begin.
"""

import math
from collections.abc import Sequence

import numpy as np

CONFIDENCE = 0.95


def wilson_interval(successes: int, n: int) -> list[float]:
    """Returns the 95 % Wilson score interval of a share.

    Source: Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(CONFIDENCE, method="wilson")
    return [float(interval.low), float(interval.high)]


def mcnemar_p(first_alone: int, second_alone: int) -> float:
    """Returns the two-sided p of McNemar's exact test.

    Pictures that both runs get right, or both wrong, say nothing of the difference. If there is
    none, each of the others is as likely to favour either run.
    Source: McNemar, 1947, https://doi.org/10.1007/BF02295996

    Args:
        first_alone: Pictures that the first run alone gets right.
        second_alone: Pictures that the second run alone gets right.
    """
    from scipy.stats import binomtest

    discordant = first_alone + second_alone
    return float(binomtest(second_alone, discordant).pvalue) if discordant else 1.0


def paired_difference_interval(
    both: int, first_alone: int, second_alone: int, neither: int
) -> list[float]:
    """Returns the 95 % interval of the second run's accuracy minus the first's.

    The Wilson intervals of both shares are joined, with the correlation of the pairs.
    Source: Newcombe, 1998, method 10,
    https://doi.org/10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C

    Args:
        both: Pictures that both runs get right.
        first_alone: That the first alone gets right.
        second_alone: That the second alone gets right.
        neither: That neither gets right.
    """
    n = both + first_alone + second_alone + neither
    first, second = both + first_alone, both + second_alone
    product = both * neither - first_alone * second_alone
    if product > 0:  # Edwards's correction for continuity, as Newcombe has it.
        product = max(product - n / 2, 0.0)
    scale = math.sqrt(first * (n - first) * second * (n - second))
    correlation = product / scale if scale else 0.0
    first_low, first_high = wilson_interval(first, n)
    second_low, second_high = wilson_interval(second, n)
    below, first_above = second / n - second_low, first_high - first / n
    above, first_below = second_high - second / n, first / n - first_low
    difference = (second - first) / n
    return [
        difference - math.sqrt(below**2 - 2 * correlation * below * first_above + first_above**2),
        difference + math.sqrt(above**2 - 2 * correlation * above * first_below + first_below**2),
    ]


def mean_interval(values: Sequence[float]) -> list[float]:
    """Returns the 95 % interval of a mean, by Student's t distribution.

    Args:
        values: At least two independent values.
    """
    from scipy.stats import t

    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * error
    return [float(np.mean(values)) - reach, float(np.mean(values)) + reach]
