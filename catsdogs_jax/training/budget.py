"""How many steps fit into a wall-clock budget, so that the schedule ends with it."""

import contextlib
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import jax

from catsdogs_jax import hosts
from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import Dataset
from catsdogs_jax.data.feed import Feed
from catsdogs_jax.durations import seconds_of
from catsdogs_jax.errors import UserError
from catsdogs_jax.training.checkpoint import Checkpoints
from catsdogs_jax.training.evaluation import evaluate
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.state import TrainState
from catsdogs_jax.training.trainer import Trainer

PROVISIONAL_STEPS = 1000
"""Length of the plan of a step that is only timed: the number of steps is a constant of it."""

_WARM_STEPS = 3
_TIMED_STEPS = 1000
_TIMED_SHARE = 0.02
_SAVES = 3
_LEAST_TIMED_STEPS = 3
_KEPT_SHARE, _LEAST_KEPT_SECONDS = 0.05, 10.0
"""Kept back for what is not measured: opening the records, drawing, the noise of measuring."""


@dataclasses.dataclass(frozen=True)
class Pace:
    """How long the parts of a run take.

    Attributes:
        step: Seconds of a training step, with its pictures.
        evaluation: Seconds of an evaluation of the validation split, with the checkpoint after it.
        rest: Seconds of everything that is measured besides: the start so far, compiling again,
            and the evaluation of every held-out split at the end.
    """

    step: float
    evaluation: float
    rest: float


def fit_to_budget(
    config: Config, dataset: Dataset, trainer: Trainer, workdir: Path, started: float
) -> dict[str, Any]:
    """Measures the speed of a trainer and returns the plan to write down.

    Args:
        config: The run; `train.budget` is its length.
        dataset: Its pictures.
        trainer: Of a plan of `PROVISIONAL_STEPS`.
        workdir: The run folder, which need not exist: checkpoints are timed on its disk.
        started: When the run began, by `time.perf_counter`.

    Returns:
        `steps`, and what they were computed from.

    Raises:
        UserError: Not one step fits.
    """
    assert config.train.budget is not None
    budget = seconds_of(config.train.budget)
    pace = _measure(config, dataset, trainer, workdir, budget, started)
    steps = steps_within(budget, pace, config, len(dataset.splits["train"]))
    return {
        "steps": steps,
        "budget": config.train.budget,
        "seconds_per_step": pace.step,
        "seconds_per_evaluation": pace.evaluation,
        "other_seconds": pace.rest,
    }


def steps_within(budget: float, pace: Pace, config: Config, training_pictures: int) -> int:
    """Returns how many steps fit, with the evaluations that the config asks for between them.

    Args:
        budget: Seconds.
        pace: What was measured.
        config: Says how often a run evaluates.
        training_pictures: Number of pictures in the training split.

    Raises:
        UserError: Not one step fits.
    """
    kept = max(_KEPT_SHARE * budget, _LEAST_KEPT_SECONDS)
    # The last step is followed by an evaluation, whether or not one is due.
    left = budget - kept - pace.rest - pace.evaluation
    most = max(1, int(left / pace.step))
    every = make_plan(config, training_pictures, most).eval_every
    steps = int(left / (pace.step + pace.evaluation / every))
    if steps < 1:
        least = pace.rest + 2 * pace.evaluation + 2 * pace.step
        least = max(least / (1 - _KEPT_SHARE), least + _LEAST_KEPT_SECONDS)
        raise UserError(
            f"train.budget is {config.train.budget}, in which not one step fits: starting and "
            f"ending take {pace.rest + kept:.0f} s here, an evaluation {pace.evaluation:.1f} s, a "
            f"step {pace.step:.2f} s: give at least --config.train.budget={int(least) + 1}s"
        )
    return steps


def _measure(
    config: Config, dataset: Dataset, trainer: Trainer, near: Path, budget: float, started: float
) -> Pace:
    """Returns the pace of the slowest process, so that all come to the same plan."""
    held_out = sum(len(split) for name, split in dataset.splits.items() if name != "train")
    evaluation = _seconds_per_evaluation(dataset, trainer)
    saving = _seconds_per_checkpoint(config, dataset, trainer, near)
    most = _TIMED_SHARE * budget / len(trainer.by_size)
    by_size = {
        size: _seconds_per_step(config, dataset, one, most) for size, one in trainer.by_size.items()
    }
    step = statistics.fmean(by_size[size] for size in config.trained_sizes)
    rest = time.perf_counter() - started
    rest += sum(program.seconds for program in trainer.programs)
    rest += evaluation * held_out / len(dataset.splits["validation"])
    return Pace(_slowest(step), _slowest(evaluation + saving), _slowest(rest))


def _slowest(seconds: float) -> float:
    return max(float(word) for word in hosts.told_by_all(repr(seconds)))


def _seconds_per_evaluation(dataset: Dataset, trainer: Trainer) -> float:
    state = jax.block_until_ready(trainer.initialize())
    start = time.perf_counter()
    evaluate(
        trainer.evaluate,
        state.evaluated_params,
        state.evaluated_statistics,
        dataset.splits["validation"],
        trainer.eval_batch,
        trainer.sharding,
    )
    return time.perf_counter() - start


def _seconds_per_checkpoint(
    config: Config, dataset: Dataset, trainer: Trainer, near: Path
) -> float:
    """Times a checkpoint to its end, though most of it goes on beside the steps that follow."""
    state = trainer.initialize()
    with (
        _scratch_folder(near) as folder,
        Checkpoints(folder, config.checkpoint) as checkpoints,
    ):
        times = []
        for step in range(_SAVES):
            start = time.perf_counter()
            checkpoints.save(state, step, dataset.preprocessing, {"accuracy": 0.0, "loss": 0.0})
            checkpoints.wait()
            times.append(time.perf_counter() - start)
    return sum(times[1:]) / len(times[1:])  # The first also makes folders and threads.


@contextlib.contextmanager
def _scratch_folder(near: Path) -> Iterator[Path]:
    """A folder on the disk that `near` will lie on, the same one for all processes."""
    whole = near.absolute()  # It may be there, with its parent on another disk.
    ground = next(place for place in (whole, *whole.parents) if place.is_dir())
    with contextlib.ExitStack() as stack:
        mine = ""
        if hosts.is_first():
            made = tempfile.TemporaryDirectory(dir=ground, prefix=".catsdogs-")
            mine = stack.enter_context(made)
        yield Path(hosts.told_by_all(mine)[0])
        hosts.wait_for_all("the checkpoints that were timed are closed")


def _seconds_per_step(config: Config, dataset: Dataset, trainer: Trainer, most: float) -> float:
    """Times steps on the run's own pictures for about `most` seconds; their state is dropped."""
    data, state = config.data, trainer.initialize()
    last = _WARM_STEPS + _LEAST_TIMED_STEPS + _TIMED_STEPS
    places = trainer.sharding.places(data.batch_size)
    batches = dataset.training.training_batches(
        0, last, data.batch_size, config.seed, data.sampling, places
    )
    with Feed(batches, trainer.sharding.batch) as feed:
        state, _ = _timed(trainer, state, feed, _WARM_STEPS)
        state, seconds = _timed(trainer, state, feed, _LEAST_TIMED_STEPS)
        # All processes must take the same steps.
        more = min(_TIMED_STEPS, int(most / _slowest(seconds)))
        if more > _LEAST_TIMED_STEPS:
            state, seconds = _timed(trainer, state, feed, more)
    return seconds


def _timed(trainer: Trainer, state: TrainState, feed: Feed, count: int) -> tuple[TrainState, float]:
    """Takes steps; returns the state after them, and the seconds of each."""
    start, last = time.perf_counter(), None
    for batch in islice(feed, count):
        state, metrics = trainer.train(state, batch)
        if last is not None:  # One step is in flight, as in training.
            jax.block_until_ready(last)
        last = metrics["loss"]
    jax.block_until_ready(state)
    return state, (time.perf_counter() - start) / count
