"""Whether the other processes of a run are still there: heartbeats, and an end in place of a hang.

JAX has heartbeats too, but ends a process by them after 100 s, with a page of C++. Ours are kept in
the same key-value store. Each process tells that it lives, the first one looks whether all do, and
the others look at the first, so that the traffic grows with the number of processes and no faster.
"""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

SILENCE_SECONDS = 30.0
"""After this long without a heartbeat a process is taken for gone."""

EXIT_CODE = 75
"""The EX_TEMPFAIL of sysexits.h: nothing is wrong with the command, which may be given again."""

_BEAT_SECONDS = 1.0
_TELL_SECONDS = 5.0
_FIRST, _OTHERS = "catsdogs/first/", "catsdogs/others/"
_ALIVE, _LOST = f"{_FIRST}alive", f"{_FIRST}lost"


class Store(Protocol):
    """The key-value store of `jax.distributed`."""

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        """Sets a value."""
        ...

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]:
        """Returns keys and values below a folder."""
        ...


class Peers:
    """What a process knows of the others.

    Args:
        store: Where heartbeats are kept.
        process: Number of this process.
        count: Number of processes.
        silence: Seconds without a heartbeat after which a process is gone.
    """

    def __init__(self, store: Store, process: int, count: int, silence: float = SILENCE_SECONDS):
        self._store, self._process, self._silence = store, process, silence
        self._beats = 0
        now = time.monotonic()
        # Where each beats that this process watches; the last beat of each, and when it was new.
        watched = {n: f"{_OTHERS}{n}" for n in range(1, count)} if process == 0 else {0: _ALIVE}
        self._watched = watched
        self._seen: dict[int, tuple[str, float]] = {n: ("", now) for n in watched}
        self._reached = now
        self._told: str | None = None
        self._parted = threading.Event()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Beats and looks, in threads, and ends this process when another one is gone."""
        works = (self._beat_on, self._look_on)  # A beat waits while the store is frozen.
        threads = [threading.Thread(target=work, name="heartbeats", daemon=True) for work in works]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            # A thread that waits for the store while Python ends would abort the process.
            self._parted.set()
            for thread in threads:
                thread.join(_TELL_SECONDS)

    def beat(self) -> None:
        """Tells that this process lives, and notes which others do."""
        self._beats += 1
        key = f"{_OTHERS}{self._process}" if self._process else _ALIVE
        name = f"on {socket.gethostname()}, pid {os.getpid()}"
        self._store.key_value_set(key, f"{self._beats} {name}", allow_overwrite=True)
        folder = dict(self._store.key_value_dir_get(_FIRST if self._process else _OTHERS))
        self._told = folder.get(_LOST)
        self._reached = now = time.monotonic()
        for process, key in self._watched.items():
            if (found := folder.get(key, "")) != self._seen[process][0]:
                self._seen[process] = found, now

    def gone(self) -> str | None:
        """Returns which process is not heard of any more; none if all are."""
        if self._told:
            return self._told
        now = time.monotonic()
        if self._process and now - self._reached > self._silence:
            return self._name(0)  # The store is kept on the machine of the first process.
        for process, (_, since) in self._seen.items():
            if self._reached - since > self._silence:
                return self._name(process)
        return None

    def _name(self, process: int) -> str:
        place = self._seen[process][0].partition(" ")[2]
        return f"process {process} ({place})" if place else f"process {process}"

    def _beat_on(self) -> None:
        while not self._parted.is_set():
            with contextlib.suppress(Exception):  # Of the connection, whose silence is looked at.
                self.beat()
            self._parted.wait(_BEAT_SECONDS)

    def _look_on(self) -> None:
        while (gone := self.gone()) is None:
            if self._parted.wait(_BEAT_SECONDS):
                return
        if self._process == 0:
            # In a thread, as the store may be frozen by now: nothing shall keep this process here.
            telling = threading.Thread(target=self._tell, args=(gone,), daemon=True)
            telling.start()
            telling.join(_TELL_SECONDS)
        end(gone, self._silence)

    def _tell(self, gone: str) -> None:
        with contextlib.suppress(Exception):  # The others will miss this process.
            self._store.key_value_set(_LOST, gone, allow_overwrite=True)


def end(gone: str, silence: float) -> None:
    """Ends this process with one line; nothing else could, as it may wait in a computation."""
    said = (
        f"error: {gone} has not been heard of for {silence:.0f} s, killed, frozen or cut off, and "
        "this process of the same run cannot go on alone: the same command, in as many processes "
        "as there are, goes on from the last checkpoint"
    )
    try:
        with contextlib.suppress(OSError, ValueError):  # Whoever read the output may be gone too.
            sys.stdout.flush()
        print(said, file=sys.stderr, flush=True)
    finally:
        os._exit(EXIT_CODE)


def store_of_jax() -> Any:
    """Returns the key-value store of `jax.distributed`, for which there is no public name."""
    from jax._src import distributed

    return distributed.global_state.client
