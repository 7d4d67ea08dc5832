"""Measures a model on a split, counting every picture once."""

import dataclasses
from collections import deque
from collections.abc import Callable

import jax
import numpy as np

from catsdogs_jax.data.feed import Feed
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.state import Params
from catsdogs_jax.training.trainer import CompiledStep

_IN_FLIGHT = 2


class GivenUp(Exception):
    """The evaluation was not finished, as it was asked to stop."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a model says of the pictures of a split.

    Attributes:
        logits: float32 [n, outputs], in the order of the pictures.
        loss: Mean cross-entropy, nats.
        accuracy: Share of the pictures that are right.
    """

    logits: np.ndarray
    loss: float
    accuracy: float

    @property
    def n(self) -> int:
        """Number of pictures."""
        return len(self.logits)


def of_all_processes(values: jax.Array) -> jax.Array:
    """Returns values [B, ...] that this process can read; those of others are sent to it."""
    if values.is_fully_addressable:
        return values
    from jax.experimental import multihost_utils

    with jax.transfer_guard("allow"):
        return multihost_utils.process_allgather(values, tiled=True)


def evaluate(
    step: CompiledStep,
    params: Params,
    statistics: Params,
    pictures: PictureSet,
    batch: int,
    sharding: Sharding,
    given_up: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Runs the compiled evaluation step over a split.

    Sums and counts of the batches are added, and divided once at the end, so the result depends
    neither on the batch size nor on the number of devices.

    Raises:
        GivenUp: `given_up()` was true after some batch.
    """
    logits, sums = [], []
    in_flight: deque[jax.Array] = deque()
    batches = pictures.evaluation_batches(batch, sharding.places(batch))
    with Feed(batches, sharding.batch) as feed:
        for fed in feed:
            batch_logits, batch_sums = step(params, statistics, fed)
            logits.append(batch_logits)
            sums.append(batch_sums)
            in_flight.append(batch_logits)
            if len(in_flight) > _IN_FLIGHT:  # Bounds the pictures that wait on the device.
                in_flight.popleft().block_until_ready()
            if given_up():
                raise GivenUp
    logits = [of_all_processes(part) for part in logits]
    logits, sums = jax.device_get((logits, sums))  # The one synchronisation of an evaluation.
    count = float(sum(part.count for part in sums))
    return Evaluation(
        logits=np.concatenate(logits)[: len(pictures)],
        loss=float(sum(np.float64(part.loss) for part in sums)) / count,
        accuracy=float(sum(np.float64(part.correct) for part in sums)) / count,
    )
