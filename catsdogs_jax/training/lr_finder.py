"""A short training in which the learning rate rises, to see which one is right.

Source: Smith, 2017, https://arxiv.org/abs/1506.01186, with the course, the smoothing, the end and
the suggestions of fastai's `Learner.lr_find`.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import Dataset
from catsdogs_jax.data.feed import Feed
from catsdogs_jax.errors import UserError
from catsdogs_jax.training.optimizer import make_schedule
from catsdogs_jax.training.state import TrainState
from catsdogs_jax.training.trainer import Trainer

_SMOOTHING = 0.98
_AVERAGED_NOISE = math.sqrt((1 - _SMOOTHING) / (1 + _SMOOTHING))
_CLEAR = 5.0
"""Falls by fewer standard deviations of the average happen to a loss that stays as it is."""

_DIVERGED = 4.0
_LEAST_POINTS = 10
_IGNORED_PART = 10


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What was measured.

    Attributes:
        rates: Learning rate of each step [n], rising.
        losses: Loss of each step's batch [n], nats.
        smoothed: Their exponential average [n], without the bias of its start.
        diverged: Whether the sweep ended because the loss rose, not with its last step.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    diverged: bool


@dataclasses.dataclass(frozen=True)
class Suggestions:
    """Learning rates worth a try.

    Attributes:
        steepest: Where the loss falls fastest.
        valley: The middle of the longest fall of the curve.
        clear: Whether the loss falls by more than its noise explains.
    """

    steepest: float
    valley: float
    clear: bool


def sweep_config(config: Config, lowest: float, highest: float) -> Config:
    """Returns the config of a sweep: the run's own, but for the course of the learning rate.

    Args:
        config: The run.
        lowest: Learning rate of the first step.
        highest: Learning rate towards the last one.
    """
    train = dataclasses.replace(
        config.train,
        schedule="exponential",
        learning_rate=lowest,
        final_rate=highest / lowest,
        warmup=0.0,
        ema_decay=0.0,
    )
    return dataclasses.replace(config, train=train)


def sweep(
    config: Config, dataset: Dataset, trainer: Trainer, steps: int, state: TrainState
) -> Sweep:
    """Trains a step at each learning rate, until the loss diverges.

    Args:
        config: As `sweep_config` makes it.
        dataset: The pictures of the run, in its order and with its augmentation.
        trainer: Built for that config and a plan of that many steps.
        steps: Length of the sweep.
        state: What it begins with; not to be used afterwards.

    Raises:
        UserError: The loss diverges so soon that nothing can be seen.
    """
    schedule = make_schedule(config.train, steps)
    losses: list[float] = []
    averages = _smooth(losses)
    smoothed: list[float] = []
    for loss in _losses(config, dataset, trainer, steps, state):
        losses.append(loss)
        smoothed.append(next(averages))
        # Not a comparison that a loss which is not a number would escape.
        if not smoothed[-1] <= _DIVERGED * min(smoothed):
            break
    diverged = len(losses) < steps or not math.isfinite(losses[-1])
    finite = len(losses) if math.isfinite(smoothed[-1]) else len(losses) - 1
    if finite < _LEAST_POINTS:
        raise UserError(
            f"the loss diverged after {finite} steps, at a learning rate of "
            f"{float(np.asarray(schedule(finite))):.3g}: begin lower, with --lowest"
        )
    rates = np.array([float(np.asarray(schedule(step))) for step in range(finite)])
    return Sweep(rates, np.array(losses[:finite]), np.array(smoothed[:finite]), diverged)


def suggest(found: Sweep) -> Suggestions:
    """Returns the learning rates that a sweep speaks for.

    The first tenth, where the average rests on a few losses, and what follows the least loss, where
    the parameters are already spoilt, say nothing.
    """
    start = len(found.rates) // _IGNORED_PART
    end = start + int(found.smoothed[start:].argmin()) + 1
    start = max(min(start, end - 2), 0)  # A curve that only rises leaves two points.
    end = max(end, start + 2)
    rates, smoothed = found.rates[start:end], found.smoothed[start:end]
    slopes = np.gradient(smoothed, np.log(rates))
    noise = np.std(found.losses[start:end] - smoothed) * _AVERAGED_NOISE
    return Suggestions(
        steepest=float(rates[slopes.argmin()]),
        valley=float(rates[_valley(smoothed)]),
        clear=bool(np.ptp(smoothed) > _CLEAR * noise),
    )


def _losses(
    config: Config, dataset: Dataset, trainer: Trainer, steps: int, state: TrainState
) -> Iterator[float]:
    data = config.data
    batches = dataset.training.training_batches(
        0, steps, data.batch_size, config.seed, data.sampling
    )
    with Feed(batches, trainer.sharding.batch) as feed:
        for batch in feed:
            state, metrics = trainer.train(state, batch)
            yield float(metrics["loss"])  # Waits for the step: the next may not be wanted.


def _smooth(losses: Sequence[float]) -> Iterator[float]:
    """Yields the average after each loss, as the sequence grows."""
    average, count = 0.0, 0
    while True:
        average = _SMOOTHING * average + (1 - _SMOOTHING) * losses[count]
        count += 1
        yield average / (1 - _SMOOTHING**count)


def _valley(losses: np.ndarray) -> int:
    """Returns the middle of the longest falling subsequence of the losses.

    It may jump over rises between; of several that are as long, the earliest end counts.
    """
    lengths, before = np.ones(len(losses), int), np.full(len(losses), -1)
    for here in range(len(losses)):
        higher = np.flatnonzero(losses[:here] > losses[here])[::-1]  # A plateau is no fall.
        if higher.size:
            before[here] = higher[lengths[higher].argmax()]
            lengths[here] = lengths[before[here]] + 1
    end = first = int(lengths.argmax())
    while before[first] >= 0:
        first = int(before[first])
    return (first + end) // 2
