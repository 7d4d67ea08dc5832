"""JAX's coordination service in a process of its own, which outlives the first one.

`jax.distributed` keeps the service inside process 0. When that one is killed the service goes with
it, and JAX aborts the others with a page of C++ before they can say what has happened. Here the
first process starts the service beside itself, and it stays until the others have learned who is
gone (`catsdogs_jax.peers`) and have ended.
"""

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from catsdogs_jax.errors import UserError

UNUSED = "127.0.0.1:0"
"""Where JAX may keep the service that it always starts in process 0: nobody asks it anything."""

_HEARTBEAT_SECONDS = 100  # The default of `jax.distributed.initialize`.
_READY = "ready"
_LONGEST_WAIT_SECONDS = 300.0  # The default of `jax.distributed.initialize`, which then aborts.
_LONGEST_LINGER_SECONDS = 60.0
_LOOK_SECONDS = 0.2
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ESTABLISHED = "01"  # As those write it.


def start(address: str, processes: int) -> None:
    """Starts the service for the processes of a run; it ends after this process has.

    Args:
        address: HOST:PORT under which the others know this process; the service listens to that
            port on every network of this machine, as JAX's own does.
        processes: Number of processes that take part.

    Raises:
        UserError: The port is not free.
    """
    port = address.rpartition(":")[2]
    _wait_until_free(int(port))
    command = [sys.executable, "-m", __name__, port, str(processes), str(os.getpid())]
    service = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C ends the run, which needs the service to agree on a step.
    )
    assert service.stdout is not None
    assert service.stderr is not None
    with service.stdout, service.stderr:
        if service.stdout.readline().strip() != _READY:
            reason = service.stderr.read().strip().splitlines()[-1:]
            raise UserError(f"--coordinator {address}: cannot listen there {reason}")


def wait_for(address: str) -> None:
    """Waits until somebody listens at the address of the first process.

    Args:
        address: HOST:PORT.

    Raises:
        UserError: Nobody does in time, or the name of the host cannot be found.
    """
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as met:
                # A port of this machine that nobody listens at can be connected to itself.
                if met.getsockname() != met.getpeername():
                    return
            why = "nobody listens there"
        except OSError as error:  # A name may be known only once its machine is up.
            why = error.strerror or str(error)
        if time.monotonic() > deadline:
            raise UserError(
                f"--coordinator {address} has not answered in {_LONGEST_WAIT_SECONDS:.0f} s "
                f"({why}): see what process 0 says, and whether this machine can reach it"
            )
        time.sleep(_LOOK_SECONDS)


def serve(argv: Sequence[str]) -> None:
    """Serves until the first process has ended and nobody is connected any more."""
    port, processes, parent = (int(word) for word in argv)
    # Slurm signals every process of a job. The run needs this one to agree on its last step.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # JAX itself takes a second to import, and has no public name for it.
    service = importlib.import_module("jaxlib._jax").get_distributed_runtime_service(
        f"[::]:{port}", processes, heartbeat_timeout=_HEARTBEAT_SECONDS
    )
    print(_READY, flush=True)
    # The output of the run ends with the run: whoever reads it shall not wait for this process.
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(silence, stream.fileno())
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    deadline = time.monotonic() + _LONGEST_LINGER_SECONDS
    while _connections(port) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    del service  # Was held until here: it serves for as long as it exists.
    os._exit(0)


def _wait_until_free(port: int) -> None:
    """Waits for the service of an earlier run, whose last process may have ended just now.

    gRPC would share the port with it, and half of the processes would find the wrong service.
    """
    deadline = time.monotonic() + _LONGEST_LINGER_SECONDS
    while True:
        try:
            with socket.socket() as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(("", port))
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(f"--coordinator: port {port} of this machine: {error}") from error
            time.sleep(_LOOK_SECONDS)


def _connections(port: int) -> int:
    """Returns how many connections to a port of this machine are open; 1 where it is not told."""
    tables = [table for table in map(Path, _TABLES) if table.exists()]
    if not tables:
        return 1
    rows = [row.split() for table in tables for row in table.read_text().splitlines()[1:]]
    return sum(
        int(row[1].rpartition(":")[2], 16) == port and row[3] == _ESTABLISHED for row in rows
    )


if __name__ == "__main__":
    serve(sys.argv[1:])
