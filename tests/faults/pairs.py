"""Faults of one of two processes that train together."""

import functools
import os
import signal
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

from launch.local import free_port
from tests.faults.child import Place, log_of
from tests.faults.harness import Harness, Missed, bits_of, differing, end_of

_PATIENCE_SECONDS = 60


class Pair:
    """Runs of two processes, and a reference that no fault met.

    Args:
        harness: What starts the processes.
    """

    def __init__(self, harness: Harness):
        self._harness = harness
        reference = harness.new_run()
        if lost := self.finish(reference):
            raise AssertionError(lost)
        self._expected = bits_of(reference)
        run = harness.new_run()
        pair = self.start(run)
        _until_it_begins(pair, run)
        begun = time.monotonic()
        for process in pair:
            end_of(process)
        self.seconds = time.monotonic() - begun
        if lost := differing(bits_of(run), self._expected):
            raise AssertionError(f"two runs of two processes that no fault met: {lost}")

    def start(self, run: Path) -> list[BaseProcess]:
        """Starts two processes that train together."""
        coordinator = f"127.0.0.1:{free_port()}"
        places = [Place(coordinator, 2, number) for number in range(2)]
        return [self._harness.start(run, place=place) for place in places]

    def finish(self, run: Path) -> str:
        """Trains to the end; returns what went wrong."""
        codes = [end_of(process) for process in self.start(run)]
        if any(codes):
            said = [log_of(run, n).read_text(errors="replace")[-500:] for n in range(2)]
            return f"exit codes {codes}: {said}"
        return ""

    def verdict(self, run: Path) -> str:
        """Runs the same command again, to the end; returns what differs from the reference."""
        return self.finish(run) or differing(bits_of(run), self._expected)


def one_of_two(number: int) -> Callable[[Harness], str]:
    """Returns a fault: a signal to one of two processes, from their first common word on.

    The other must end within a minute, and say which one is gone.
    """

    def fault(harness: Harness) -> str:
        pair, run = _pair_of(harness), harness.new_run()
        victim = harness.random.randrange(2)
        moment = harness.random.uniform(0, pair.seconds)
        processes = pair.start(run)
        _until_it_begins(processes, run)
        time.sleep(moment)
        hit, other = processes[victim], processes[1 - victim]
        if hit.pid is None or not hit.is_alive():
            raise Missed
        os.kill(hit.pid, number)
        code = end_of(other, _PATIENCE_SECONDS)
        hit.kill()
        hit.join()
        said = log_of(run, 1 - victim).read_text(errors="replace")
        words = {75: f"error: process {victim} (", 0: ""}
        if code not in words or words[code] not in said:
            return f"the other process ended with {code}: {said[-500:]}"
        return pair.verdict(run)

    return fault


@functools.cache
def _pair_of(harness: Harness) -> Pair:
    return Pair(harness)


def _until_it_begins(processes: list[BaseProcess], run: Path) -> None:
    """Waits until the two have found each other: the run folder is made after that."""
    while all(process.is_alive() for process in processes) and not run.exists():
        time.sleep(0.001)


PAIR_KINDS: Mapping[str, Callable[[Harness], str]] = {
    "one of two processes killed": one_of_two(signal.SIGKILL),
    "one of two processes frozen": one_of_two(signal.SIGSTOP),
}
