"""The process that trains: forked from a server that has imported everything, to be killed."""

import argparse
import dataclasses
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Place:
    """Which process of several: where the first listens, how many there are, and the number."""

    coordinator: str
    count: int
    number: int


def log_of(workdir: Path, number: int = 0) -> Path:
    """Returns where a process of a run writes what it says."""
    return Path(f"{workdir}.{number}.log" if number else f"{workdir}.log")


def train(
    tree: Mapping[str, Any], workdir: Path, largest_file: int | None, place: Place | None = None
) -> None:
    """Trains as the command does, with its exit codes; output goes to the log.

    Args:
        tree: The config.
        workdir: The run folder.
        largest_file: Bytes that a file may have, as if the disk were full; none: no limit.
        place: Which process of several this is; none: the only one.
    """
    from catsdogs_jax import cli, hosts, result, runtime
    from catsdogs_jax.config.reader import config_from_dict
    from catsdogs_jax.train import train_and_evaluate

    os.environ["XLA_FLAGS"] = ""  # One device a process.
    log = os.open(
        log_of(workdir, place.number if place else 0), os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    )
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["train"]
    if largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # The write fails in place of the process.
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    _note_the_state(workdir)
    # Plots take longer than the training.
    result.draw = result.show_samples = lambda *_: None

    def main(_: object) -> None:
        config = config_from_dict(tree)
        runtime.start()
        given = dict.fromkeys(("coordinator", "processes", "process_id"))
        if place is not None:
            numbers = {"processes": str(place.count), "process_id": str(place.number)}
            given = {"coordinator": place.coordinator, **numbers}
        with hosts.joined(argparse.Namespace(**given)):
            train_and_evaluate(config, workdir)

    cli.run(main)
    sys.stdout.flush()
    os._exit(0)


def _note_the_state(workdir: Path) -> None:
    """Writes a digest of every bit of the state, once a save of it was read back."""
    import hashlib

    import jax
    import numpy as np

    from catsdogs_jax import hosts
    from catsdogs_jax.training.checkpoint import Checkpoints

    prove = Checkpoints.prove

    def noted(self: Checkpoints, step: int, state: Any) -> None:
        prove(self, step, state)
        if not hosts.is_first():
            return
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(state):
            digest.update(np.asarray(leaf).tobytes())
        Path(f"{workdir}.digest").write_text(f"{step} {digest.hexdigest()}")

    Checkpoints.prove = noted
