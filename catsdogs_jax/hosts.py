"""Several processes as one run: how they find each other, and what one of them does for all."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np

from catsdogs_jax import coordinator, peers
from catsdogs_jax.errors import Interrupted, UserError

_FLAGS = ("coordinator", "processes", "process_id")
_VARIABLES = {flag: f"CATSDOGS_{flag.upper()}" for flag in _FLAGS}
_LAST_PORT = 65_535
_LINGER_SECONDS = 3


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that name the other processes where no cluster does."""
    group = parser.add_argument_group(
        "several processes",
        "found by themselves on TPU pods, under Slurm and Open MPI; elsewhere give all three, or "
        f"set {', '.join(_VARIABLES.values())}",
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
    group.add_argument("--processes", metavar="N", help="number of processes")
    group.add_argument("--process-id", metavar="I", help="number of this process, from 0")


@contextlib.contextmanager
def joined(flags: argparse.Namespace) -> Iterator[None]:
    """Makes this process one of its run for as long as the block lasts, if there are others.

    Must be entered before the first computation.

    Raises:
        UserError: Some of the flags are missing or are no numbers.
    """
    if (others := _others(flags)) is None:
        yield
        return
    _initialize(*others)
    known = peers.Peers(peers.store_of_jax(), jax.process_index(), jax.process_count())
    with known.watched(), _parting():
        yield
        jax.distributed.shutdown()  # Waits for all, and all are watched until then.


def _others(flags: argparse.Namespace) -> tuple[Any, ...] | None:
    """Returns address, number of processes and this one's; None where it is alone."""
    given = {
        flag: getattr(flags, flag) or os.environ.get(variable)
        for flag, variable in _VARIABLES.items()
    }
    if not any(given.values()):
        led = in_cluster(os.environ) or on_tpu_pod(os.environ)
        return _told_by_the_cluster() if led else None
    where, count, place = (given[flag] for flag in _FLAGS)
    port = (where or "").rpartition(":")[2]
    if not all((word or "").isdigit() for word in (port, count, place)):
        raise UserError(
            "several processes need all of --coordinator HOST:PORT --processes N --process-id I, "
            f"not { ({flag: value for flag, value in given.items() if value}) }"
        )
    if not 0 < int(port) <= _LAST_PORT:
        raise UserError(f"--coordinator {where}: there is no port {port}: give 1 to {_LAST_PORT}")
    processes, process = int(count or 0), int(place or 0)
    if process >= processes:
        raise UserError(f"--process-id is {process}: give 0 to {processes - 1}")
    return where, processes, process


def in_cluster(environment: Mapping[str, str]) -> bool:
    """Whether a scheduler started several processes, by the variables that it sets.

    JAX reads their addresses from the same variables.
    """
    counts = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    if any(int(environment.get(name, "1")) > 1 for name in counts):
        return True
    workers = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    return len(workers) > 1 or "MEGASCALE_COORDINATOR_ADDRESS" in environment


def on_tpu_pod(environment: Mapping[str, str]) -> bool:
    """Whether this is one of several hosts of a Cloud TPU.

    No variable says so there, but Google's metadata server, which JAX asks for the addresses too.
    It is asked only where there are TPU chips.
    """
    if "tpu" not in (environment.get("JAX_PLATFORMS") or "tpu"):
        return False
    from jax._src import hardware_utils  # There are no public names.
    from jax._src.clusters.cloud_tpu_cluster import GceTpuCluster

    chips, _ = hardware_utils.num_available_tpu_chips_and_device_id()
    if not chips:
        return False
    try:
        return GceTpuCluster.is_env_present() and GceTpuCluster.get_process_count() > 1
    except (OSError, RuntimeError, ValueError) as error:
        print(
            f"TPU chips, but no metadata of a Cloud TPU ({type(error).__name__}): taken for a host "
            "of its own; give --coordinator, --processes and --process-id if there are others",
            file=sys.stderr,
        )
        return False


def several() -> bool:
    """Whether the run has several processes."""
    return count() > 1


def cut_off(error: Exception) -> bool:
    """Whether an error, of JAX or a `ValueError`, says that another process cannot be reached.

    It is to be left as it is: `joined` waits for the heartbeats to name that process.
    """
    return several() and "Gloo" in str(error)


def number() -> int:
    """Returns the number of this process, from 0."""
    return jax.process_index() if several() else 0


def count() -> int:
    """Returns how many processes the run has; opens no device where it has not joined others."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes and speaks for all."""
    return number() == 0


def wait_for_all(what: str) -> None:
    """Waits until every process has come here."""
    if several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def told_by_all(word: str) -> list[str]:
    """Returns the word of each process; all wait for the last."""
    told = gathered(word.encode("utf-8", "backslashreplace"))
    return [one.decode("utf-8", "replace") for one in told]


def gathered(mine: bytes) -> list[bytes]:
    """Returns the bytes of each process, of any length; all wait for the last."""
    if not several():
        return [mine]
    lengths = _gathered_rows(np.array([len(mine)], np.int32))[:, 0]
    # Each length is a program of its own to XLA: few are asked for.
    longest = 1 << max(10, int(lengths.max() - 1).bit_length())
    padded = np.zeros(longest, np.uint8)
    padded[: len(mine)] = np.frombuffer(mine, np.uint8)
    rows = _gathered_rows(padded)
    return [bytes(row[:length]) for row, length in zip(rows, lengths, strict=True)]


def _gathered_rows(mine: np.ndarray) -> np.ndarray:
    from jax.experimental import multihost_utils

    with jax.transfer_guard("allow"):
        return np.asarray(multihost_utils.process_allgather(mine))


@contextlib.contextmanager
def together() -> Iterator[None]:
    """What is done inside succeeds in every process, or ends in every process with one error.

    Raises:
        UserError: That of this process, or the first that another has met. Without it the others
            would wait for a process that is gone.
    """
    try:
        yield
        mine = None
    except UserError as error:
        mine = error
    words = told_by_all("" if mine is None else str(mine))
    if mine is not None:
        raise mine
    for process, word in enumerate(words):
        if word:
            raise UserError(f"process {process}: {word}")


@contextlib.contextmanager
def held_by_first(held: AbstractContextManager[None]) -> Iterator[None]:
    """Enters a context in the first process alone, once all have come here.

    Raises:
        UserError: In every process, what entering it has raised.
    """
    wait_for_all("every process has looked into the run folder")
    with contextlib.ExitStack() as stack:
        with together():
            if is_first():
                stack.enter_context(held)
        yield


@contextlib.contextmanager
def _parting() -> Iterator[None]:
    """Lets each process say why it ends, where the end of one would cut the others short."""
    try:
        yield
    except (UserError, Interrupted):
        if several() and is_first():  # The others end with the store that it keeps.
            time.sleep(_LINGER_SECONDS)
        raise
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        # The heartbeats will name the process whose end made this fail.
        if cut_off(error) or (several() and isinstance(error, jax.errors.JaxRuntimeError)):
            time.sleep(2 * peers.SILENCE_SECONDS)
        raise


def _told_by_the_cluster() -> tuple[Any, ...]:
    """Returns what JAX finds by itself: address, number of processes, this one, its devices."""
    from jax._src import clusters  # There is no public name.

    seconds = 300  # As `jax.distributed.initialize` waits.
    found = clusters.ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, seconds
    )
    if found[0] is None:
        raise UserError(
            "a scheduler started several processes, but JAX does not know how they find each other "
            "there: give --coordinator HOST:PORT --processes N --process-id I"
        )
    return found


def _initialize(where: Any, processes: Any, process: Any, devices: Any = None) -> None:
    # CPUs of several processes reduce over the network by Gloo; TPUs and GPUs do not look at this.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if process == 0:
        coordinator.start(where, processes)
    else:
        coordinator.wait_for(where)
    bind = coordinator.UNUSED if process == 0 else None
    jax.distributed.initialize(where, processes, process, devices, coordinator_bind_address=bind)
