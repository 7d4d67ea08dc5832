"""Where the time of a run goes, over all the calls of the program that it took."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from catsdogs_jax import hosts
from catsdogs_jax.errors import UserError
from catsdogs_jax.run_folder import write_json

PARTS = ("start", "compile", "step", "data_wait", "evaluation", "checkpoint", "end")
"""start: until the first step, compilation apart; end: all that follows the last step."""

NOTED_EVERY = 5.0
"""Seconds between two notes."""


class Goodput:
    """The account of a run, kept in its folder so that it outlives a kill.

    It is written down every few seconds of training (`note`) and with each checkpoint (`keep`).
    What a killed call did after that is not in it; the steps beyond the checkpoint that the next
    call goes on from are counted as repeated.

    Args:
        path: Where the account is kept.
        started: When this call began, by `time.perf_counter`.
    """

    def __init__(self, path: Path, started: float):
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self._path, self._started = path, started
        self._before: dict[str, float] = {
            part: kept.get("seconds", {}).get(part, 0.0) for part in PARTS
        }
        self._calls = kept.get("calls", 0) + 1
        self._furthest = kept.get("furthest_step", 0)
        self._taken, self._repeated = kept.get("taken", 0), kept.get("repeated", 0)
        self._seconds: dict[str, float] = {part: 0.0 for part in PARTS}
        self._open: list[str] = []
        self._since = 0.0
        self._last = 0
        self._noted = started

    def begin(self, first_step: int, compiling: float) -> None:
        """Is told where this call goes on, and how many seconds it has compiled for."""
        self._repeated += max(0, self._furthest - first_step)
        self._last = first_step
        self._seconds["compile"] = compiling
        self._seconds["start"] = time.perf_counter() - self._started - compiling

    @contextlib.contextmanager
    def spend(self, part: str) -> Iterator[None]:
        """Counts the time inside for a part, and not for the part around it."""
        self._settle()
        self._open.append(part)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def note(self, step: int, waited: float) -> None:
        """Writes the account down if that was some seconds ago; arguments are those of `keep`.

        A disk that has no room for it just now is not worth the run.
        """
        if time.perf_counter() - self._noted >= NOTED_EVERY:
            with contextlib.suppress(OSError, UserError):
                self.keep(step, waited)

    def keep(self, step: int, waited: float) -> None:
        """Writes the account down after a step, so that a later call can go on from it.

        Args:
            step: Steps that were begun.
            waited: Seconds of this call's steps that went into waiting for data.
        """
        self._settle()
        self._noted = time.perf_counter()
        self._seconds["step"] += self._seconds["data_wait"] - waited
        self._seconds["data_wait"] = waited
        self._taken += step - self._last
        self._last, self._furthest = step, max(self._furthest, step)
        if not hosts.is_first():
            return
        write_json(
            self._path,
            {
                "calls": self._calls,
                "furthest_step": self._furthest,
                "taken": self._taken,
                "repeated": self._repeated,
                "seconds": self._in_all(),
            },
        )

    def summary(self) -> dict[str, Any]:
        """Returns the account at the end of a run, as `result.json` has it.

        `share` is the time of the steps that were not taken twice, of all time; `repeated_seconds`
        is what the others have cost.
        """
        here = time.perf_counter() - self._started
        self._seconds["end"] = here - sum(self._seconds.values())
        seconds = self._in_all()
        twice = min(1.0, self._repeated / self._taken) if self._taken else 0.0
        return {
            "share": seconds["step"] * (1 - twice) / sum(seconds.values()),
            "seconds": seconds,
            "calls": self._calls,
            "repeated_steps": self._repeated,
            "repeated_seconds": seconds["step"] * twice,
        }

    def _in_all(self) -> dict[str, float]:
        return {part: self._before[part] + self._seconds[part] for part in PARTS}

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._open:
            self._seconds[self._open[-1]] += now - self._since
        self._since = now
