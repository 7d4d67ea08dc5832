"""Promises of the batcher: the answers of one by one in fewer calls, and an end to the queue."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from catsdogs_jax.serving.batcher import Batcher, Busy


class Model:
    """Answers a picture with its first value; counts calls, and can be held up."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.go.wait(10)
        self.sizes.append(len(images))
        if (images == 255).any():
            raise ValueError("this one breaks it")
        return images.reshape(len(images), -1)[:, :1].astype(np.float64)


def picture(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def run(model: Model, work: Callable[[Batcher], Awaitable[list[Any]]], **options: int) -> list[Any]:
    async def main() -> list[Any]:
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher(model, thread, wait=0.02, **options)
            task = asyncio.create_task(batcher.run())
            try:
                return await work(batcher)
            finally:
                model.go.set()
                task.cancel()

    return asyncio.run(main())


def test_many_requests_get_their_own_answers_in_fewer_calls() -> None:
    model = Model()

    async def work(batcher: Batcher) -> list:
        return await asyncio.gather(*(batcher.answer([picture(k)]) for k in range(40)))

    found = run(model, work, most=8)
    assert [float(row[0][0]) for row in found] == list(range(40))
    assert max(model.sizes) == 8
    assert len(model.sizes) < 40
    assert sum(model.sizes) == 40


def test_too_many_waiting_pictures_are_refused_and_the_others_answered() -> None:
    model = Model()
    model.go.clear()

    async def work(batcher: Batcher) -> list:
        first = asyncio.create_task(batcher.answer([picture(1)]))
        await asyncio.sleep(0.1)  # It is in the model's hands.
        waiting = asyncio.create_task(batcher.answer([picture(2), picture(3)]))
        await asyncio.sleep(0.05)
        with pytest.raises(Busy):
            await batcher.answer([picture(4), picture(5)])
        model.go.set()
        return [*await first, *await waiting]

    assert np.ravel(run(model, work, waiting=3)).tolist() == [1, 2, 3]


def test_an_error_goes_to_those_who_asked_and_the_next_are_answered() -> None:
    model = Model()

    async def work(batcher: Batcher) -> list:
        with pytest.raises(ValueError, match="this one breaks it"):
            await batcher.answer([picture(255)])
        return await batcher.answer([picture(7)])

    assert np.ravel(run(model, work)).tolist() == [7]


def test_what_was_given_up_is_not_computed() -> None:
    model = Model()
    model.go.clear()

    async def work(batcher: Batcher) -> list:
        first = asyncio.create_task(batcher.answer([picture(1)]))
        await asyncio.sleep(0.1)  # It is in the model's hands.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(batcher.answer([picture(2)] * 20), 0.05)
        last = asyncio.create_task(batcher.answer([picture(3)]))
        model.go.set()
        return [*await first, *await last]

    assert np.ravel(run(model, work)).tolist() == [1, 3]
    assert model.sizes == [1, 1]


def test_a_client_that_is_gone_harms_nobody() -> None:
    model = Model()
    model.go.clear()

    async def work(batcher: Batcher) -> list:
        gone = asyncio.create_task(batcher.answer([picture(1)]))
        await asyncio.sleep(0.05)
        gone.cancel()
        model.go.set()
        return await batcher.answer([picture(2)])

    assert np.ravel(run(model, work)).tolist() == [2]
