"""Signs of life of the workers of a search, as files in the folder that they share.

Optuna's heartbeat knows relational databases only; these files do for every storage. Times are
those of the file system, so that the clocks of the machines need not agree.
"""

import math
import threading
from pathlib import Path
from typing import Self


class Heartbeat:
    """Touches a file until it is left; a context manager.

    Args:
        path: The file of a trial.
        seconds: Time between two touches.
    """

    def __init__(self, path: Path, seconds: float):
        self._path, self._seconds = path, seconds
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._left.wait(self._seconds):
            self._path.touch()


def silence(path: Path) -> float:
    """Returns the seconds since a file was touched; infinite if there is none."""
    now = path.with_name(".now")
    now.parent.mkdir(parents=True, exist_ok=True)
    now.touch()
    try:
        return now.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return math.inf
