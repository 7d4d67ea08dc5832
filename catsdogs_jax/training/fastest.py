"""Builds the trainer whose step is the fastest on this machine."""

import time

import jax
import numpy as np

from catsdogs_jax.config import Config
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.formulation import MachineMemory, from_dict
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.trainer import Trainer, build_trainer, formulations

_TIMED_STEPS = 3


def fastest_trainer(
    config: Config,
    preprocessing: Preprocessing,
    sharding: Sharding,
    plan: Plan,
    class_weights: tuple[float, ...],
    recorded: dict | None,
) -> Trainer:
    """Builds the trainer that a run repeats, that this machine remembers, or that a trial finds.

    Args:
        config: The run.
        preprocessing: How a picture becomes an input.
        sharding: The devices.
        plan: Length of the run.
        class_weights: Weight of each class in the loss.
        recorded: The formulation that the run began with; none: it begins now. It is repeated
            where it can be, so that a resumed run ends with the same bits.

    Raises:
        UserError: The model is unknown, or a batch does not fit the devices or the micro-batch.
    """
    options = formulations(config, preprocessing, sharding)
    memory = MachineMemory(config, preprocessing.task.outputs)
    known = from_dict(recorded) or memory.recall()
    if known in options:
        options = [known]
    trainers = [
        build_trainer(config, preprocessing, sharding, plan, class_weights, option)
        for option in options
    ]
    if len(trainers) == 1:
        return trainers[0]
    fastest = min(trainers, key=seconds_per_step)
    memory.keep(fastest.formulation)
    return fastest


def seconds_per_step(trainer: Trainer) -> float:
    """Returns the shortest duration of a few steps on grey pictures, after one to warm up."""
    shapes = trainer.abstract_batch
    batch = {
        name: jax.device_put(np.ones(leaf.shape, leaf.dtype), leaf.sharding)
        for name, leaf in shapes.items()
    }
    state, metrics = trainer.train(trainer.initialize(), batch)
    durations = []
    for _ in range(_TIMED_STEPS):
        jax.block_until_ready(metrics)
        start = time.perf_counter()
        state, metrics = trainer.train(state, batch)
        jax.block_until_ready((state, metrics))
        durations.append(time.perf_counter() - start)
    return min(durations)
