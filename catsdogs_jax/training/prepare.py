"""From a config and its pictures to the course of a run and its compiled steps."""

import dataclasses
from contextlib import AbstractContextManager

from catsdogs_jax import hosts
from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import Dataset, load_dataset
from catsdogs_jax.models import input_spec
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.training.budget import PROVISIONAL_STEPS, fit_to_budget
from catsdogs_jax.training.fastest import fastest_trainer
from catsdogs_jax.training.formulation import STEPS_PER_CALL
from catsdogs_jax.training.plan import Plan, make_plan
from catsdogs_jax.training.resident import with_resident_pictures
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.stages import with_stages
from catsdogs_jax.training.teacher import load_teacher
from catsdogs_jax.training.trainer import Trainer, class_weights


def dataset_of(config: Config) -> Dataset:
    """Returns the pictures that a config names, with colours as its model takes them.

    Raises:
        UserError: See `load_dataset`; or there is no such model.
    """
    spec = input_spec(config.model.name)
    return load_dataset(config, mean=spec.mean, std=spec.std)


def prepare(
    config: Config, folder: RunFolder, dataset: Dataset, sharding: Sharding, started: float
) -> tuple[Plan, Trainer, AbstractContextManager[None]]:
    """Plans a run and builds its trainer.

    What an earlier call chose by measuring (how the steps are computed, how many fit a budget) is
    read from the folder, so that a run which goes on repeats it.

    Args:
        config: The run.
        folder: Its folder.
        dataset: Its pictures.
        sharding: The devices.
        started: When the run began, by `time.perf_counter`; a budget counts from there.

    Returns:
        The plan, the trainer, and a context in which the folder is held for this run.

    Raises:
        UserError: The config, the devices or the folder cannot be used.
    """
    pictures, preprocessing = dataset.splits["train"], dataset.preprocessing
    weights, recorded = class_weights(config, pictures), folder.read_formulation()
    teacher = load_teacher(config.train, preprocessing, sharding)

    def trainer_of(plan: Plan) -> Trainer:
        last = fastest_trainer(config, preprocessing, sharding, plan, weights, recorded, teacher)
        return with_stages(last, config, preprocessing, plan, weights, teacher)

    fitted = folder.read_plan()
    if config.train.budget and fitted is None:
        trial = trainer_of(make_plan(config, len(pictures), PROVISIONAL_STEPS))
        fitted = fit_to_budget(config, dataset, trial, folder.path, started)
    plan = make_plan(config, len(pictures), fitted["steps"] if fitted else None)
    calls = None if recorded is None else recorded.get(STEPS_PER_CALL, 1)
    trainer = with_resident_pictures(trainer_of(plan), config, dataset.training, plan, calls)
    steps = trainer.resident.steps if trainer.resident else 1
    formulation = {**dataclasses.asdict(trainer.formulation), STEPS_PER_CALL: steps}
    claimed = folder.claimed(config, dataset.manifest, formulation, fitted)
    return plan, trainer, hosts.held_by_first(claimed)
