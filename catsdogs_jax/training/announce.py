"""What a run says before its first step."""

from pathlib import Path

import numpy as np
from clu import parameter_overview

from catsdogs_jax import hosts, runtime
from catsdogs_jax.data.dataset import Dataset
from catsdogs_jax.data.leaks import spell
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.places import origin_of
from catsdogs_jax.escaping import printable
from catsdogs_jax.models.summary import describe_size, multiply_adds
from catsdogs_jax.run_folder import RunFolder, write_text
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.trainer import Trainer


def announce(
    trainer: Trainer, dataset: Dataset, plan: Plan, folder: RunFolder, first_step: int
) -> None:
    """Compiles, and prints the devices first, then data, model and length; writes `parameters.txt`.

    Of several processes all compile, and the first speaks: where the compiler shares out what it
    tries (autotuning on GPUs), each waits for the others.
    """
    if hosts.is_first():
        _tell_what(trainer, dataset, folder)
    steps = trainer.programs if plan.steps else [trainer.evaluate]
    recalled = sum(step.recalled for step in steps)
    if hosts.is_first():
        print(f"compiled  {recalled} of {len(steps)} steps were in the cache of compiled functions")
        _tell_how_long(trainer, plan, folder, first_step)


def _tell_what(trainer: Trainer, dataset: Dataset, folder: RunFolder) -> None:
    device = trainer.sharding.mesh.devices.flat[0]
    print(f"device    {trainer.sharding.device_count} x {device.device_kind} ({device.platform})")
    if told := runtime.unused_accelerator(device.platform):
        print(f"  warning: {told}")
    task = dataset.manifest.task
    counts = ", ".join(f"{name} {len(pictures):,}" for name, pictures in dataset.splits.items())
    print(f"pictures  {counts} from {origin_of(dataset.manifest.root)}")
    print(f"decoded   {_where_decoded(dataset.splits['train'])}")
    classes = printable(", ".join(task.classes[:10]))
    print(f"classes   {classes}{' ...' if len(task.classes) > 10 else ''}")
    for file, reason in dataset.manifest.quarantined[:5]:
        print(f"  left out {file!r}: {reason}")
    if len(dataset.manifest.quarantined) > 5:
        print(f"  left out {len(dataset.manifest.quarantined)} in all, see {folder.manifest}")
    for pair in dataset.leaks[:5]:
        print(f"  leak: {spell(pair)} (--config.data.leaks=exclude leaves out the training copy)")
    if len(dataset.leaks) > 5:
        print(f"  {len(dataset.leaks):,} leaks in all, see result.json when the run has ended")
    for file, reason in dataset.manifest.excluded[:5]:
        print(f"  excluded {file!r}: {reason}")
    if len(dataset.manifest.excluded) > 5:
        print(f"  excluded {len(dataset.manifest.excluded):,} in all, see {folder.manifest}")
    overview = parameter_overview.get_parameter_overview(
        trainer.abstract_state().params, include_stats=False
    )
    write_text(folder.path / "parameters.txt", overview + "\n")
    total = parameter_overview.count_parameters(trainer.abstract_state().params)
    work = multiply_adds(trainer.model, trainer.recipe.trained_size)
    print(f"model     {describe_size(total, work)}, see {folder.path / 'parameters.txt'}")
    print(f"step      {trainer.formulation}{_how_many(trainer)}")


def _tell_how_long(trainer: Trainer, plan: Plan, folder: RunFolder, first_step: int) -> None:
    if plan.steps:
        print(f"length    {plan.steps:,} steps, {plan.epoch(plan.steps):g} epochs")
    if trainer.earlier:
        print(f"sizes     {_sizes(trainer)}")
    if fitted := folder.read_plan():
        print(
            f"budget    {fitted['budget']}: {fitted['seconds_per_step']:.3g} s a step, "
            f"{fitted['seconds_per_evaluation']:.3g} s an evaluation, "
            f"{fitted['other_seconds']:.0f} s for the rest"
        )
    if first_step:
        print(f"going on  from the checkpoint of step {first_step:,}")


def _sizes(trainer: Trainer) -> str:
    """Returns the sides of the pictures: "64 px to step 600, then 96 px"."""
    stages = [(stage.trainer.recipe.trained_size, stage.until) for stage in trainer.earlier]
    merged = {size: f"{size} px to step {until:,}" for size, until in stages}
    return ", ".join([*merged.values(), f"then {trainer.recipe.trained_size} px"])


def _how_many(trainer: Trainer) -> str:
    if trainer.resident is None:
        return ""
    return f", {trainer.resident.steps} in a call, of pictures that lie on the devices"


def _where_decoded(pictures: PictureSet) -> str:
    size = f"{pictures.decoded_bytes / 2**20:,.0f} MiB"
    if pictures.cache is None:
        return "whenever they are needed"
    if isinstance(pictures.cache, np.memmap):
        return f"once, {size} on disk in {Path(str(pictures.cache.filename)).parent}"
    return f"once, {size} in memory"
