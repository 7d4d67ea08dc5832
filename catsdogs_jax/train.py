"""Trains a classifier: python -m catsdogs_jax.train --config configs/quickstart.py."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from catsdogs_jax import cli, hosts, runtime
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import describe_options, read_config
from catsdogs_jax.data.dataset import Dataset
from catsdogs_jax.errors import check_path
from catsdogs_jax.pretrained import read_weights
from catsdogs_jax.result import Result, conclude
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.training.agreement import check_same_config, check_same_pictures
from catsdogs_jax.training.announce import announce
from catsdogs_jax.training.checkpoint import Checkpoints
from catsdogs_jax.training.finetune import begin
from catsdogs_jax.training.goodput import Goodput
from catsdogs_jax.training.loop import Loop
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.preemption import AgreedStop, Observer, SignalStop, Stop, unobserved
from catsdogs_jax.training.prepare import dataset_of, prepare
from catsdogs_jax.training.progress import Progress
from catsdogs_jax.training.records import NoRecords, Records
from catsdogs_jax.training.sharding import make_sharding


def train_and_evaluate(
    config: Config,
    workdir: str | Path,
    stop: Stop | None = None,
    *,
    observe: Observer = unobserved,
    test: bool = True,
) -> Result:
    """Trains, evaluates and draws a run; goes on from where an earlier call stopped.

    Args:
        config: What the run is.
        workdir: The run folder, see docs/run-folder.md.
        stop: May ask to save and stop after any step; none: SIGTERM and Ctrl-C do.
        observe: Is told of each evaluation; what it raises ends the run.
        test: Whether to measure the test split, if there is one: not where runs are chosen from.

    Returns:
        What `result.json` holds.

    Raises:
        UserError: The config, the data, the devices or the folder cannot be used.
        Interrupted: The run was asked to stop, and has saved.
    """
    start = time.perf_counter()
    check_path("workdir", str(workdir))
    folder = RunFolder(Path(workdir))
    sharding = make_sharding(config.mesh.devices, config.mesh)
    with hosts.together():
        if hosts.is_first():
            folder.check(config)
        pretrained = read_weights(config.finetune.weights, config.model.name)
    check_same_config(config)
    dataset = dataset_of(config)
    check_same_pictures(dataset.manifest)
    plan, trainer, claimed = prepare(config, folder, dataset, sharding, start)

    with claimed, Checkpoints(folder.checkpoints, config.checkpoint) as checkpoints:
        latest = checkpoints.latest_step
        first = latest or 0
        announce(trainer, dataset, plan, folder, first)
        with _records(config, plan, dataset, folder, latest) as records:
            with AgreedStop() if hosts.several() else SignalStop() as signals:
                ends, account = stop or signals, Goodput(folder.goodput, start)
                loop = Loop(
                    config, plan, trainer, dataset, checkpoints, records, ends, account, observe
                )
                state = begin(loop, pretrained) if latest is None else loop.restore(latest)
                state = loop.fit(state, first)
            records.progress.close()
            checkpoints.prove(int(state.step), state)
            if (ended := loop.ended_early()) is not None and hosts.is_first():
                print(ended)
            splits = [n for n in dataset.splits if n != "train" and (test or n != "test")]
            return conclude(folder, loop, splits, seconds=time.perf_counter() - start)


def _records(
    config: Config, plan: Plan, dataset: Dataset, folder: RunFolder, latest: int | None
) -> Records | NoRecords:
    """Returns what keeps the metrics: the first process writes for all."""
    if not hosts.is_first():
        return NoRecords(folder.path, folder.metrics, latest)
    progress = Progress(
        plan,
        latest or 0,
        config.data.batch_size,
        in_memory=dataset.training.cache is not None,
        held_out=len(dataset.splits["validation"]),
    )
    return Records(folder.path, folder.metrics, latest, progress, config)


def main(argv: Sequence[str]) -> None:
    """Parses flags, trains, and says what was reached."""
    flags, overrides = cli.split_overrides(parser(), argv)
    config = read_config(flags.config, overrides)
    runtime.start(deterministic=config.train.deterministic)
    with hosts.joined(flags):
        if flags.require is not None:
            runtime.require_platform(flags.require)
        workdir = flags.workdir or cli.default_workdir(flags.config)
        if flags.repeat is None:
            said = train_and_evaluate(config, workdir).farewell()
        else:
            from catsdogs_jax import repeat  # It imports this module.

            said = repeat.farewell(repeat.train_repeats(config, workdir, flags.repeat), workdir)
        if hosts.is_first():
            print(said)


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "train",
        "Train a classifier from a folder of pictures.",
        "python -m catsdogs_jax.train --config configs/finetune.py "
        "--config.data.dir=my_pictures --workdir runs/mine",
    )
    made.add_argument(
        "--config", required=True, metavar="FILE", help="a file, or a name as finetune"
    )
    made.add_argument("--workdir", metavar="DIR", help="the run folder [runs/NAME of the config]")
    cli.add_require(made)
    hosts.add_flags(made)
    made.add_argument(
        "--repeat", type=int, metavar="N", help="train N seeds and report mean and spread"
    )
    made.epilog = f"{made.epilog}\n\nconfig keys:\n{describe_options()}"
    return made


if __name__ == "__main__":
    cli.run(main)
