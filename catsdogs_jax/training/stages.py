"""Runs that begin with small pictures: most of what there is to learn is learned from them, faster.

Sources: progressive resizing, Howard, 2018, https://www.fast.ai/posts/2018-04-30-dawnbench-fastai.html;
Tan and Le, 2021, https://arxiv.org/abs/2104.00298
"""

import dataclasses

from catsdogs_jax.config import Config
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.recipe import Teacher
from catsdogs_jax.training.trainer import Stage, Trainer, build_trainer


def with_stages(
    trainer: Trainer,
    config: Config,
    preprocessing: Preprocessing,
    plan: Plan,
    class_weights: tuple[float, ...],
    teacher: Teacher | None,
) -> Trainer:
    """Returns a trainer whose first steps see pictures of the sizes `augment.grow_from`.

    A program is compiled for each size. The host, which knows the step, chooses: as branches of one
    program, XLA's CPU backend would run convolutions many times slower.

    Args:
        trainer: What takes the last steps; see `build_trainer` for the rest.
        config: The run.
        preprocessing: How a picture becomes an input.
        plan: Length of the run.
        class_weights: Weight of each class in the loss.
        teacher: What the model learns from besides the labels.
    """
    trainers = {trainer.recipe.trained_size: trainer}
    for size in config.augment.grow_from:
        if size not in trainers:
            augment = dataclasses.replace(config.augment, size=size, grow_from=())
            trainers[size] = build_trainer(
                dataclasses.replace(config, augment=augment),
                preprocessing,
                trainer.sharding,
                plan,
                class_weights,
                trainer.formulation,
                teacher,
            )
    sizes = config.trained_sizes
    stages = [
        Stage(round(plan.steps * number / len(sizes)), trainers[size])
        for number, size in enumerate(sizes[:-1], 1)
    ]
    return dataclasses.replace(trainer, earlier=tuple(stages))
