"""Opens many files by processes, as Python's lock lets threads do only a part of a scan at once.

A process is asked by a line of JSON, a list of paths, and answers by one: of each the facts, or the
reason why it cannot be used. `python -m catsdogs_jax.data.scan_processes` is such a process. It is
no child of `multiprocessing`: that would import the program that began the scan, JAX and all of it.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import IO

from catsdogs_jax.cores import cores
from catsdogs_jax.data.pictures import Scanned
from catsdogs_jax.data.scan import from_row, scan_file, scan_files, to_row
from catsdogs_jax.errors import UserError

_FEW = 5_000
"""New files that threads scan before processes are started: that takes as long as some thousand."""

_AT_ONCE = 32
"""Files that a process is asked for at a time."""


class FileScanner:
    """Scans files of local disks: the first few by threads, all others by processes.

    Args:
        few: How many count as few.
    """

    def __init__(self, few: int | None = None):
        self._few = _FEW if few is None else few
        self._processes: list[_Process] = []
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._asking = ThreadPoolExecutor(cores())

    def scan(self, paths: Sequence[Path]) -> Iterator[Scanned | str]:
        """Yields `scan_file` of each path, in order; processes begin before it is looked at.

        Raises:
            UserError: A process was killed.
        """
        by_threads = self._few > 0
        self._few -= len(paths)
        if by_threads or not self._started():
            return scan_files(paths)
        parts = (paths[k : k + _AT_ONCE] for k in range(0, len(paths), _AT_ONCE))
        answers = [self._asking.submit(self._asked, part) for part in parts]
        return chain.from_iterable(answer.result() for answer in answers)

    def close(self) -> None:
        """Ends the processes, whatever they do."""
        self._asking.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
        self._asking.shutdown()
        while self._processes:
            self._processes.pop().close()

    def _started(self) -> bool:
        if not self._processes:
            with contextlib.suppress(OSError):  # There may be a limit on their number.
                for _ in range(cores()):
                    self._processes.append(_Process())
                    self._idle.put(self._processes[-1])
        return bool(self._processes)

    def _asked(self, paths: Sequence[Path]) -> Sequence[Scanned | str]:
        process = self._idle.get()
        try:
            return process.scan(paths)
        finally:
            self._idle.put(process)


class _Process:
    def __init__(self) -> None:
        self._answered = False
        # It finds all packages where this process has found them (-P: no others in the current
        # folder), uses one core, and warns of nothing that is in a picture.
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __spec__.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        )

    def scan(self, paths: Sequence[Path]) -> Sequence[Scanned | str]:
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        with contextlib.suppress(BrokenPipeError):
            asked.write(json.dumps(list(map(os.fspath, paths))).encode() + b"\n")
            asked.flush()
        answer = answers.readline()
        if not answer and not self._answered:  # It cannot start here, for whatever reason.
            return list(map(scan_file, paths))
        self._answered = True
        if not answer.endswith(b"\n"):
            code = self._process.wait()
            why = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise UserError(
                f"a process that opens pictures has ended {why}, with {str(paths[0])!r} or one of "
                f"the {len(paths) - 1} after it: if memory was short (SIGKILL), use fewer cores "
                "(taskset); otherwise look at these files"
            )
        return list(map(from_row, json.loads(answer)))

    def kill(self) -> None:
        self._process.kill()  # It holds nothing that could be lost.

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


def answer(asked: IO[bytes], answers: IO[bytes]) -> None:
    """Scans what is asked for, until nobody asks any more."""
    for line in asked:
        rows = [to_row(scan_file(Path(path))) for path in json.loads(line)]
        answers.write(json.dumps(rows).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    # Ctrl-C, or Slurm, reaches all processes of a job. The one that asks decides when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        answer(sys.stdin.buffer, sys.stdout.buffer)
