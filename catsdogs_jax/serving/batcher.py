"""Gathers pictures of many requests into batches, for one thread that owns the model."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]
"""uint8 [n, size, size, 3] to probabilities [n, classes]."""


class Busy(Exception):
    """As many pictures wait as may; try again a little later."""


class Batcher:
    """Answers pictures one by one, and computes them together.

    Args:
        predict: The model.
        thread: The one thread in which it is called.
        most: Pictures in a batch.
        wait: Seconds that the first picture of a batch waits for others.
        waiting: Pictures that may wait at once; more are refused.
    """

    def __init__(
        self,
        predict: Predict,
        thread: ThreadPoolExecutor,
        *,
        most: int = 8,
        wait: float = 0.005,
        waiting: int = 256,
    ):
        self._predict, self._thread, self._most, self._wait = predict, thread, most, wait
        self._queue: asyncio.Queue[tuple[np.ndarray, asyncio.Future[np.ndarray]]]
        self._queue = asyncio.Queue(waiting)

    async def answer(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the probabilities [classes] of each picture.

        Raises:
            Busy: They would be too many to wait.
        """
        if self._queue.qsize() + len(images) > self._queue.maxsize:
            raise Busy
        loop = asyncio.get_running_loop()
        asked = [(image, loop.create_future()) for image in images]
        for one in asked:
            self._queue.put_nowait(one)
        return list(await asyncio.gather(*(future for _, future in asked)))

    async def run(self) -> None:
        """Computes batches until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._gather()
            images = np.stack([image for image, _ in batch])
            try:
                rows = await loop.run_in_executor(self._thread, self._predict, images)
            except Exception as error:  # Whatever it is, it belongs to those who asked.
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), row in zip(batch, rows, strict=True):
                if not future.done():  # The client may be gone.
                    future.set_result(row)

    async def _gather(self) -> list[tuple[np.ndarray, "asyncio.Future[np.ndarray]"]]:
        batch = [await self._wanted()]
        try:
            async with asyncio.timeout(self._wait):
                while len(batch) < self._most:
                    batch.append(await self._wanted())
        except TimeoutError:
            pass
        return batch

    async def _wanted(self) -> tuple[np.ndarray, "asyncio.Future[np.ndarray]"]:
        """Returns the next picture that somebody still waits for."""
        while True:
            image, future = await self._queue.get()
            if not future.done():  # Else the client is gone, or was told that it takes too long.
                return image, future
