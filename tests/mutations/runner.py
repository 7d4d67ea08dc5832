"""Runs tests on a changed copy of the repository, in a process that may loop for ever."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Verdict = Literal["killed", "survived", "timed out"]

_REPOSITORY = Path(__file__).parents[2]
_COPIED = ("catsdogs_jax", "configs", "tests", "pyproject.toml")
_LOG = "tests.log"
_LEAST_SECONDS = 10


class Runner:
    """A copy of the repository, and a server of processes that have imported the libraries.

    Args:
        folder: An empty folder for the copy; the working tree is never changed.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._processes = multiprocessing.get_context("forkserver")
        self._processes.set_forkserver_preload(["tests.mutations.preload"])
        leave_out = shutil.ignore_patterns("__pycache__", "golden")
        for name in _COPIED:
            source = _REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=leave_out)
            else:
                shutil.copy(source, folder / name)

    def prove(self, file: str, tests: Sequence[str]) -> float:
        """Returns the seconds that the tests take on the file as it is.

        Raises:
            AssertionError: They fail on it, or pass although it is empty: they test another one.
        """
        start = time.monotonic()
        source = (self.folder / file).read_text()
        if self.verdict(file, source, tests, limit=600) != "survived":
            said = (self.folder / _LOG).read_text(errors="replace")[-3000:]
            raise AssertionError(f"{' '.join(tests)} do not pass on {file} as it is:\n{said}")
        seconds = time.monotonic() - start
        if self.verdict(file, "", tests, limit=600) != "killed":
            raise AssertionError(f"{' '.join(tests)} pass although {file} is empty")
        return seconds

    def limit(self, seconds: float) -> float:
        """Returns after how many seconds tests are taken to loop, from those that they take."""
        return _LEAST_SECONDS + 5 * seconds

    def verdict(self, file: str, source: str, tests: Sequence[str], limit: float) -> Verdict:
        """Runs tests with another text in place of a file, until the first of them fails."""
        path = self.folder / file
        before = path.read_text()
        path.write_text(source)
        process = self._processes.Process(target=_run_tests, args=(self.folder, list(tests)))
        process.start()
        process.join(limit)
        ended = process.exitcode
        process.kill()
        with contextlib.suppress(ProcessLookupError):  # And what it may have started.
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        path.write_text(before)
        if ended is None:
            return "timed out"
        return "killed" if ended else "survived"


def _run_tests(folder: Path, tests: Sequence[str]) -> None:
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
    import pytest

    code = pytest.main(["-xq", "--assert=plain", "-p", "no:cacheprovider", *tests])
    os._exit(int(code))
