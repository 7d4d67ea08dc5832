"""Runs tests on a changed copy of the repository, in a process that may loop for ever."""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

Verdict = Literal["killed", "survived", "timed out"]

_REPOSITORY = Path(__file__).parents[2]
_COPIED = ("catsdogs_jax", "configs", "tests", "pyproject.toml")
_LOG = "tests.log"
_SLOWEST = "slowest.json"
_LEAST_SECONDS = 10


class Limits(NamedTuple):
    """After how many seconds tests are taken to loop."""

    all: float
    each: float


_GENEROUS = Limits(600, 600)


class Runner:
    """A copy of the repository, and a server of processes that have imported the libraries.

    Args:
        folder: A new folder for the copy; the working tree is never changed.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["tests.mutations.preload"])
        leave_out = shutil.ignore_patterns("__pycache__", "golden")
        for name in _COPIED:
            source = _REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=leave_out)
            else:
                shutil.copy(source, folder / name)

    def prove(self, file: str, tests: Sequence[str]) -> Limits:
        """Returns how long to wait for tests, from what they take on the file as it is.

        Raises:
            AssertionError: They fail on it, or pass although it is empty: they test another one.
        """
        start = time.monotonic()
        source = (self.folder / file).read_text()
        if self.verdict(file, source, tests, _GENEROUS) != "survived":
            said = (self.folder / _LOG).read_text(errors="replace")[-3000:]
            raise AssertionError(f"{' '.join(tests)} do not pass on {file} as it is:\n{said}")
        seconds = time.monotonic() - start
        slowest = json.loads((self.folder / _SLOWEST).read_text())
        if self.verdict(file, "", tests, _GENEROUS) != "killed":
            raise AssertionError(f"{' '.join(tests)} pass although {file} is empty")
        return Limits(_LEAST_SECONDS + 5 * seconds, _LEAST_SECONDS + 5 * slowest)

    def verdict(self, file: str, source: str, tests: Sequence[str], limits: Limits) -> Verdict:
        """Runs tests with another text in place of a file, until the first of them fails."""
        path = self.folder / file
        before = path.read_text()
        path.write_text(source)
        process = self._processes.Process(
            target=_run_tests, args=(self.folder, list(tests), limits.each)
        )
        process.start()
        process.join(limits.all)
        ended = process.exitcode
        process.kill()
        with contextlib.suppress(ProcessLookupError):  # And what it may have started.
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        path.write_text(before)
        if ended in (None, -signal.SIGALRM):
            return "timed out"
        return "killed" if ended else "survived"


class _Clock:
    """Ends the process in the midst of a test that takes too long; writes down the slowest."""

    def __init__(self, limit: float):
        self.limit = limit
        self.slowest = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        start = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, self.limit)
        found = yield
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.slowest = max(self.slowest, time.monotonic() - start)
        return found

    def pytest_sessionfinish(self) -> None:
        Path(_SLOWEST).write_text(json.dumps(self.slowest))


def _run_tests(folder: Path, tests: Sequence[str], limit: float) -> None:
    os.setsid()
    sys.dont_write_bytecode = True  # Two mutants of one second and length would be taken for one.
    log = os.open(folder / _LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.chdir(folder)
    here = str(_REPOSITORY)
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in ("", here))]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    flags = ["-xq", "--assert=plain", "-p", "no:cacheprovider"]
    code = pytest.main([*flags, *tests], plugins=[_Clock(limit)])
    os._exit(int(code))
