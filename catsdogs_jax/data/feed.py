"""Batches on the devices, ahead of their use."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

import jax

from catsdogs_jax.data.pipeline import Batch

_LOOK = 0.005
"""Seconds between looks at whether the devices are still busy; so much may be counted too much."""


class Feed:
    """Reads batches and moves them to the devices in a thread of its own; a context manager.

    Attributes:
        waited: Seconds that the reader waited for batches so far while the devices were idle.
    """

    def __init__(
        self,
        batches: Iterator[Batch],
        sharding: jax.sharding.Sharding,
        depth: int = 4,
        busy: Callable[[], bool] = lambda: False,
    ):
        """Begins to read.

        Args:
            batches: Batches of numpy arrays.
            sharding: How to split their first axis over the devices.
            depth: Batches that may wait on the devices.
            busy: Whether the devices still work on earlier batches. While they do, they lose no
                time, however long the reader waits.
        """
        self.waited = 0.0
        self._batches, self._sharding, self._busy = batches, sharding, busy
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="feed", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for batch in self._batches:
                if self._closed.is_set():
                    return
                self._ready.put(to_devices(batch, self._sharding))
            self._ready.put(StopIteration())
        except BaseException as error:  # Raised again where the batches are used.
            self._ready.put(error)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """Returns the next batch.

        Raises:
            UserError: A picture cannot be read any more.
        """
        if self._closed.is_set():
            raise StopIteration
        found, idle_since = None, time.perf_counter()
        while found is None:
            busy = self._busy()
            if busy:
                idle_since = time.perf_counter()
            with contextlib.suppress(queue.Empty):
                found = self._ready.get(timeout=_LOOK if busy else None)
        if not self._busy():
            self.waited += time.perf_counter() - idle_since
        if isinstance(found, BaseException):
            self.close()
            raise found
        return found

    def close(self) -> None:
        """Ends the thread; further batches are dropped."""
        self._closed.set()
        while self._thread.is_alive():  # It may wait for a place in the queue.
            while not self._ready.empty():
                self._ready.get()
            self._thread.join(timeout=0.01)

    def __enter__(self) -> "Feed":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def to_devices(batch: Batch, sharding: jax.sharding.Sharding) -> Batch:
    """Splits a batch of numpy arrays over the devices by their first axis."""
    if sharding.is_fully_addressable:
        return jax.device_put(batch, sharding)
    return {
        name: jax.make_array_from_process_local_data(sharding, values)
        for name, values in batch.items()
    }
