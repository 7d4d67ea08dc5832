"""Faults, and the runs they are injected into."""

import dataclasses
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.faults import child

STEPS = 12
_LIMIT_SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a fault.

    Attributes:
        kind: Name of the fault.
        lost: What was lost or went wrong; empty if the run survived.
    """

    kind: str
    lost: str


class Missed(Exception):
    """The fault met nothing, for example a kill that came after the end: it does not count."""


class Harness:
    """Runs on tiny pictures, a reference that no fault met, and what is compared with it.

    Args:
        folder: An empty folder.
        seed: Which moments, files and bits.
    """

    def __init__(self, folder: Path, seed: int):
        self.random = random.Random(seed)
        self.folder = folder
        self.pictures = _paint(folder / "pictures")
        self.config = _config(self.pictures)
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["tests.faults.preload"])
        self._runs = 0
        reference = self.new_run()
        self.finish(reference)  # Fills the cache of compiled steps too.
        again = self.new_run()
        start = time.monotonic()
        self.finish(again)
        self.seconds = time.monotonic() - start
        self._expected = bits_of(reference)
        if bits_of(again) != self._expected:
            raise AssertionError("two runs that no fault met differ")
        self._half = self.new_run()
        self.start_and_kill(self._half, lambda: (self._half / "checkpoints/8").exists())

    def new_run(self) -> Path:
        """Returns the name of a run folder."""
        self._runs += 1
        return self.folder / f"run-{self._runs}"

    def half_run(self) -> Path:
        """Returns a copy of a run that was killed after two checkpoints or more."""
        run = self.new_run()
        shutil.copytree(self._half, run)
        return run

    def start(
        self, run: Path, largest_file: int | None = None, place: child.Place | None = None
    ) -> BaseProcess:
        """Starts a process that trains, alone or as one of several."""
        devices = {"mesh": {"devices": place.count if place else 1}}
        arguments = ({**self.config, **devices}, run, largest_file, place)
        process = self._processes.Process(target=child.train, args=arguments)
        process.start()
        return process

    def finish(self, run: Path, largest_file: int | None = None) -> tuple[int, str]:
        """Trains to the end; returns the exit code and what was said."""
        process = self.start(run, largest_file)
        return end_of(process), child.log_of(run).read_text(errors="replace")

    def start_and_kill(
        self, run: Path, moment: Callable[[], bool], number: int = signal.SIGKILL
    ) -> int:
        """Starts a run and sends it a signal at a moment, if it has not ended before."""
        process = self.start(run)
        while process.is_alive() and not moment():
            time.sleep(0.0005)
        if process.pid is None or not process.is_alive():
            raise Missed
        os.kill(process.pid, number)
        return end_of(process)

    def verdict(self, run: Path) -> str:
        """Runs the same command again, to the end; returns what differs from the reference."""
        code, said = self.finish(run)
        if code:
            return f"exit code {code}: {said[-500:]}"
        return differing(bits_of(run), self._expected)


def bits_of(run: Path) -> tuple[bytes, ...]:
    """Returns what a run that has ended must have to the bit."""
    files = (Path(f"{run}.digest"), run / "metrics.jsonl", run / "predictions.csv")
    return tuple(path.read_bytes() for path in files)


def differing(found: tuple[bytes, ...], expected: tuple[bytes, ...]) -> str:
    """Returns which bits of two runs differ; empty if none do."""
    names = ("state", "metrics.jsonl", "predictions.csv")
    lost = [n for n, one, other in zip(names, found, expected, strict=True) if one != other]
    return f"{', '.join(lost)} differ" if lost else ""


def end_of(process: BaseProcess, seconds: float = _LIMIT_SECONDS) -> int:
    """Waits for a process and returns its exit code; one that hangs is killed: -1000."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        return -1000  # It hung.
    return process.exitcode


def _paint(folder: Path) -> Path:
    for split, count in (("train", 6), ("validation", 3)):
        for name, colour in (("blue", (40, 40, 200)), ("red", (200, 40, 40))):
            for i in range(count):
                noise = np.random.default_rng([len(split), len(name), i]).integers(
                    -60, 60, (24, 20, 3)
                )
                path = folder / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(path)
    return folder


def _config(pictures: Path) -> Mapping[str, Any]:
    return {
        "data": {"dir": str(pictures), "image_size": 16, "batch_size": 4},
        "model": {"widths": (4,), "hidden": 8, "convolutions": "native"},
        "augment": {"flip": True, "zoom": (0.9, 1.1)},
        "train": {"steps": STEPS, "learning_rate": 1e-2, "ema_decay": 0.9, "microbatch": 4},
        "eval": {"every_steps": 6},
        "checkpoint": {"every_steps": 2},
    }
