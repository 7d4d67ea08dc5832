"""Intervals of shares."""


def wilson_interval(successes: int, n: int) -> list[float]:
    """Returns the 95 % Wilson score interval of a share.

    Source: Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    from scipy.stats import binomtest  # At the end of a run, not while it waits to begin.

    interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]
