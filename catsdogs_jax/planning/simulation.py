"""Many hosts that feed one synchronous step, simulated: the slowest of them sets the pace."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Feeding:
    """How each host makes its part of a batch.

    Attributes:
        seconds: Mean time that a host takes for its part of a batch.
        spread: Standard deviation of that time over its mean; times are log-normal.
        ahead: Batches that a host may hold ready.
        stall_every: A host stalls once in so many batches on average, at random; 0: never.
        stall_seconds: For how long, as when a store does not answer.
    """

    seconds: float
    spread: float = 0.0
    ahead: int = 4
    stall_every: float = 0.0
    stall_seconds: float = 0.0


def simulated_step(
    step: float, hosts: int, feeding: Feeding, steps: int = 1000, seed: int = 0
) -> float:
    """Returns the mean seconds from step to step, once the first batches are used up.

    A host begins a batch when the one before is made and there is room for it, that is when the
    step `ahead` before has begun. A step begins when the last has ended and each host has its part.

    Args:
        step: Seconds of the chips' own work and exchange.
        hosts: Number of hosts.
        feeding: How each of them makes batches.
        steps: Length of the simulation.
        seed: Of the random times.
    """
    rng = np.random.default_rng(seed)
    warm_up = min(2 * feeding.ahead, steps // 2)
    begun = np.zeros(steps)
    made, ended = np.zeros(hosts), 0.0
    for number in range(steps):
        room = begun[number - feeding.ahead] if number >= feeding.ahead else 0.0
        made = np.maximum(made, room) + _times(feeding, hosts, rng)
        begun[number] = max(ended, made.max())
        ended = begun[number] + step
    return float((begun[-1] - begun[warm_up]) / (steps - 1 - warm_up))


def _times(feeding: Feeding, hosts: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the time that each host takes for its next part, seconds [hosts]."""
    width = np.sqrt(np.log1p(feeding.spread**2))
    times = feeding.seconds * np.exp(width * rng.standard_normal(hosts) - width**2 / 2)
    if feeding.stall_every:
        times += feeding.stall_seconds * (rng.random(hosts) < 1 / feeding.stall_every)
    return times
