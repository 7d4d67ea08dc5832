"""A plan for the machine it is made on: steps are run and timed."""

import dataclasses
import os
from collections.abc import Iterator

from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import preprocessing_of
from catsdogs_jax.errors import UserError
from catsdogs_jax.planning import report
from catsdogs_jax.planning.costs import read_costs
from catsdogs_jax.planning.decoder import Decoder, measure_decoder
from catsdogs_jax.planning.duration import Duration, duration_of, features_seconds
from catsdogs_jax.planning.problem import Problem
from catsdogs_jax.training.fastest import Trial, fastest_trainer
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import Sharding, make_sharding
from catsdogs_jax.training.trainer import Trainer

_TIMED = 3
_LARGER = (2, 4)
_WORTH = 1.1
"""Another batch is chosen if it trains this many times as many pictures a second."""


def plan_for_here(
    config: Config, problem: Problem, budget: float | None, price: float | None
) -> list[str]:
    """Runs a few steps and returns the lines of a plan.

    Args:
        config: The run.
        problem: The size of its data.
        budget: Seconds that the run may take; none: as long as configured.
        price: Of one device for one hour; none: no cost is given.

    Raises:
        UserError: The config cannot be run here, or the budget is too short for one epoch.
    """
    trains = make_plan(config, problem.train).steps > 0
    if budget is not None and not trains:
        raise UserError(
            "--budget chooses the length of a training, and finetune.depth is probe, which takes "
            "no step: leave --budget out, or --config.finetune.depth=head_then_all"
        )
    sharding = make_sharding(config.mesh.devices, config.mesh)
    device = sharding.mesh.devices.flat[0]
    where = f"{sharding.device_count} x {device.device_kind} ({device.platform}), here"
    lines = report.head(config, problem, where)
    trainer, seconds = _timed(config, problem, sharding)
    decoder, chosen = measure_decoder(config), ""
    if budget is not None:
        config, trainer, seconds = _best_batch(config, problem, sharding, trainer, seconds)
        config = _within(config, problem, seconds, decoder, budget)
        flags = (
            f"--config.data.batch_size={config.data.batch_size}",
            f"--config.train.epochs={config.train.epochs:g}",
        )
        chosen = f"budget        {report.minutes(budget)}: {' '.join(flags)}"
    costs = read_costs(trainer, trains=trains)
    spent = _duration(config, problem, seconds, decoder)
    batch = config.data.batch_size
    return [
        *lines,
        *report.memory(costs, _room(device)),
        f"training step {seconds * 1e3:.3g} ms measured, {batch / seconds:,.0f} pictures/s "
        f"({trainer.formulation})",
        *([] if trains else report.probe()),
        *report.collectives(costs.train),
        *report.pictures(spent, decoder, 1),
        *([chosen] if chosen else []),
        *report.length(spent, config, sharding.device_count, price, "by the measured step"),
        *report.checkpoint(costs),
    ]


def _timed(config: Config, problem: Problem, sharding: Sharding) -> tuple[Trainer, float]:
    """Returns a trainer and the seconds of its step on the devices."""
    plan = make_plan(config, problem.train)
    trainer = fastest_trainer(
        config, preprocessing_of(config, problem.task), sharding, plan, (), None
    )
    trial = Trial(trainer)
    for _ in range(_TIMED):
        trial.step()
    return trainer, trial.seconds


def _best_batch(
    config: Config, problem: Problem, sharding: Sharding, trainer: Trainer, seconds: float
) -> tuple[Config, Trainer, float]:
    """Returns the config with the batch that trains the most pictures a second."""
    best = (config, trainer, seconds)
    for times in _LARGER:
        batch = config.data.batch_size * times
        if batch > problem.train:
            break
        data = dataclasses.replace(config.data, batch_size=batch)
        larger = dataclasses.replace(config, data=data)
        found, its_seconds = _timed(larger, problem, sharding)
        if batch / its_seconds > _WORTH * best[0].data.batch_size / best[2]:
            best = (larger, found, its_seconds)
    return best


def _within(
    config: Config, problem: Problem, seconds: float, decoder: Decoder, budget: float
) -> Config:
    """Returns the config with as many whole epochs as fit in a budget."""
    chosen = None
    for epochs in _epochs():
        train = dataclasses.replace(config.train, steps=None, budget=None, epochs=epochs)
        longer = dataclasses.replace(config, train=train)
        if _duration(longer, problem, seconds, decoder).total > budget:
            break
        chosen = longer
    if chosen is None:
        raise UserError(
            f"--budget {report.minutes(budget)} is too short for one epoch with its evaluation: "
            "give more, or a smaller --config.data.image_size"
        )
    return chosen


def _epochs() -> Iterator[float]:
    """Yields whole numbers, every one at first and then in steps of about 5 %."""
    epochs = 1
    while epochs < 1_000_000:
        yield float(epochs)
        epochs += max(1, epochs // 20)


def _duration(config: Config, problem: Problem, seconds: float, decoder: Decoder) -> Duration:
    # An evaluation step is a forward pass: a third of a training step's operations.
    area = (config.evaluated_size / config.trained_size) ** 2
    share = (config.eval.batch_size or config.data.batch_size) / config.data.batch_size
    evaluation = seconds / 3 * config.eval.views * area * share
    plan = make_plan(config, problem.train)
    step = seconds if plan.steps else features_seconds(config, evaluation)
    return duration_of(config, problem, plan, step, evaluation, decoder, 1)


def _room(device: object) -> float:
    """Returns the bytes of memory that a device, or its host, has."""
    stats = getattr(device, "memory_stats", dict)() or {}
    return stats.get("bytes_limit") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
