"""Runs a command in several processes on this machine, as one run.

    python launch/local.py -n 2 -- python -m catsdogs_jax.train --config configs/quickstart.py

Each process gets the address of the first and its own number in CATSDOGS_COORDINATOR,
CATSDOGS_PROCESSES and CATSDOGS_PROCESS_ID. When one fails the others are stopped; SIGTERM and
Ctrl-C are passed on, so that the run saves and stops.
"""

import argparse
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

_GRACE_SECONDS = 60
_PORTS = (20_000, 32_768)


def main(argv: Sequence[str]) -> int:
    """Starts the processes and returns the first exit code that is not 0, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=2, metavar="N", help="number of processes [2]")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --, what each runs")
    flags = parser.parse_args(argv)
    command = flags.command[1:] if flags.command[:1] == ["--"] else flags.command
    if flags.n < 1 or not command:
        parser.error("give -n 1 or more, and after -- a command")
    started = start(flags.n, command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _pass_on(started))
    return wait(started)


def start(count: int, command: Sequence[str]) -> list[subprocess.Popen[bytes]]:
    """Starts `count` processes that know of each other."""
    coordinator = f"127.0.0.1:{free_port()}"
    return [
        subprocess.Popen(
            command,
            env={
                **os.environ,
                "CATSDOGS_COORDINATOR": coordinator,
                "CATSDOGS_PROCESSES": str(count),
                "CATSDOGS_PROCESS_ID": str(number),
            },
            start_new_session=True,  # Ctrl-C reaches them once, through this program.
        )
        for number in range(count)
    ]


def wait(started: Sequence[subprocess.Popen[bytes]]) -> int:
    """Waits for all; when one fails, gives the others a while and stops them."""
    codes: list[int | None] = [None] * len(started)
    failed, deadline = 0, float("inf")
    while None in codes:
        time.sleep(0.1)
        codes = [process.poll() for process in started]
        bad = [code for code in codes if code]
        if bad and not failed:
            failed, deadline = bad[0], time.monotonic() + _GRACE_SECONDS
        if time.monotonic() > deadline:
            for process in started:
                process.kill()
    return failed if failed >= 0 else 128 - failed


def _pass_on(started: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in started:
        if process.poll() is None:
            process.terminate()


def free_port() -> int:
    """Returns a port of this machine that nobody listens at.

    It lies below those that systems give to connections (32768 and up on Linux), one of which
    could take it before the first process does.
    """
    while True:
        port = random.randrange(*_PORTS)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
