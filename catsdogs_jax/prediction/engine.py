"""Pictures through a compiled step, a bounded number of batches at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from catsdogs_jax.data.feed import Feed
from catsdogs_jax.data.pipeline import Batch
from catsdogs_jax.data.stream import Block, stream_batches
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.sharding import Sharding

_IN_FLIGHT = 2

Step = Callable[[Batch], tuple[jax.Array, ...]]
"""From a batch on the devices to arrays [B, ...]."""


def answer(
    step: Step, names: Iterable[str], batch: int, preprocessing: Preprocessing, sharding: Sharding
) -> Iterator[tuple[Block, tuple[np.ndarray, ...]]]:
    """Yields the files of each batch and what the step returns for them, in order.

    Reading, decoding, the way to the devices and computing overlap, as in an evaluation. What is
    held does not grow with the number of names.

    Args:
        step: What to compute.
        names: Paths and URLs.
        batch: Pictures in a batch.
        preprocessing: How a file becomes an input.
        sharding: The devices.
    """
    taken: deque[Block] = deque()

    def batches() -> Iterator[Batch]:
        for block, arrays in stream_batches(names, batch, preprocessing):
            taken.append(block)  # Before the feed can hand on the batch.
            yield arrays

    in_flight: deque[tuple[Block, Any]] = deque()
    with Feed(batches(), sharding.batch) as feed:
        for fed in feed:
            in_flight.append((taken.popleft(), step(fed)))
            if len(in_flight) > _IN_FLIGHT:
                yield _fetched(*in_flight.popleft())
        while in_flight:
            yield _fetched(*in_flight.popleft())


def _fetched(block: Block, arrays: Any) -> tuple[Block, tuple[np.ndarray, ...]]:
    count = len(block.names)
    return block, tuple(np.asarray(array)[:count] for array in jax.device_get(arrays))
