"""Builds the trainer whose step is the fastest on this machine."""

import math
import time

import jax
import numpy as np

from catsdogs_jax.config import Config
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.formulation import MachineMemory, from_dict
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.recipe import Teacher
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.trainer import Trainer, build_trainer, formulations

_TIMED_STEPS = 4


def fastest_trainer(
    config: Config,
    preprocessing: Preprocessing,
    sharding: Sharding,
    plan: Plan,
    class_weights: tuple[float, ...],
    recorded: dict | None,
    teacher: Teacher | None = None,
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
        teacher: What the model learns from besides the labels.

    Raises:
        UserError: The model is unknown, or a batch does not fit the devices or the micro-batch.
    """
    options = formulations(config, preprocessing, sharding)
    memory = MachineMemory(config, preprocessing.task.outputs)
    known = from_dict(recorded) or memory.recall()
    if known in options:
        options = [known]
    if not plan.steps:  # Nothing to time.
        options = options[:1]
    trainers = [
        build_trainer(config, preprocessing, sharding, plan, class_weights, option, teacher)
        for option in options
    ]
    if len(trainers) == 1:
        return trainers[0]
    trials = [Trial(trainer) for trainer in trainers]
    for _ in range(_TIMED_STEPS):
        for trial in trials:  # In turn, so that what else the machine does meets all of them.
            trial.step()
    fastest = min(trials, key=lambda trial: trial.seconds).trainer
    memory.keep(fastest.formulation)
    return fastest


class Trial:
    """Times the steps of a trainer on pictures of one colour, after a step to warm up.

    Attributes:
        trainer: What is timed.
        seconds: The shortest step so far.
    """

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self._batch = {
            name: jax.device_put(np.ones(leaf.shape, leaf.dtype), leaf.sharding)
            for name, leaf in trainer.abstract_batch.items()
        }
        self._state = trainer.initialize()
        self.seconds = math.inf
        self.step()
        self.seconds = math.inf

    def step(self) -> None:
        """Takes and times a step."""
        start = time.perf_counter()
        self._state, metrics = self.trainer.train(self._state, self._batch)
        jax.block_until_ready((self._state, metrics))
        self.seconds = min(self.seconds, time.perf_counter() - start)
