"""The static part of a training step, and the state that it begins with."""

import dataclasses
import functools
from typing import Any

import jax
import optax
from flax import nnx

from catsdogs_jax.config import Config, ModelConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.models import build_model
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.distillation import Distillation, Variables
from catsdogs_jax.training.layer_decay import with_layer_decay
from catsdogs_jax.training.optimizer import make_optimizer, scaled
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.remat import check_blocks
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.state import TrainState, create_state, split_model
from catsdogs_jax.training.step import Recipe


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A trained model that another learns from; no part of any saved state.

    Attributes:
        distillation: Its static part.
        variables: Its parameters and statistics, on the devices.
    """

    distillation: Distillation
    variables: Variables


def make_recipe(
    config: Config,
    preprocessing: Preprocessing,
    sharding: Sharding,
    plan: Plan,
    class_weights: tuple[float, ...],
    teacher: Teacher | None = None,
) -> Recipe:
    """Returns the static part of the training step of a config that pins its formulation.

    Arguments are those of `trainer.build_trainer`.

    Raises:
        UserError: The model has no blocks to compute again, or takes no pictures of
            `augment.size`, `augment.grow_from` or `eval.center_crop`.
    """
    model = abstract_model(config, preprocessing)
    sizes = {*config.trained_sizes, config.evaluated_size}
    for size in sorted(sizes - {preprocessing.image_size}):
        _check_size(model, config, preprocessing, size)
    if config.train.remat == "blocks":
        check_blocks(model, config.model.name, preprocessing.image_size)
    optimizer = make_optimizer(scaled(config), plan.steps)
    return Recipe(
        graphdef=split_model(model)[0],
        preprocessing=preprocessing,
        augment=config.augment,
        optimizer=with_layer_decay(optimizer, model, config.finetune.layer_decay),
        seed=config.seed,
        loss=config.train.loss,
        focal_gamma=config.train.focal_gamma,
        label_smoothing=config.train.label_smoothing,
        class_weights=class_weights,
        average_decay=config.train.ema_decay,
        microbatch=config.train.microbatch or config.data.batch_size,
        devices=sharding.device_count,
        looped=sharding.platform != "cpu",
        sam_radius=config.train.sam_radius,
        distillation=teacher and teacher.distillation,
        remat=config.train.remat,
        gather=sharding.gathered if sharding.group > 1 else None,
    )


def abstract_model(config: Config, preprocessing: Preprocessing) -> Any:
    """Returns the model with shapes in place of parameters, in a copy of its own."""
    # A user's own model may be another one the next time, as in a notebook.
    split = _split if ":" in config.model.name else _split_once
    outputs = preprocessing.task.outputs
    return nnx.merge(*split(config.model, preprocessing.image_size, outputs), copy=True)


def _split(config: ModelConfig, size: int, outputs: int) -> tuple[Any, Any]:
    return nnx.split(nnx.eval_shape(lambda: build_model(config, size, outputs, nnx.Rngs(0))))


_split_once = functools.lru_cache(maxsize=32)(_split)
"""A deep network takes a second to build, and a run asks for it some five times."""


def first_state(
    config: Config,
    preprocessing: Preprocessing,
    optimizer: optax.GradientTransformation,
    seed: int | jax.Array,
) -> TrainState:
    """Returns the state before the first step of a run of this seed."""
    size, outputs = preprocessing.image_size, preprocessing.task.outputs
    model = build_model(config.model, size, outputs, nnx.Rngs(jax.random.key(seed)))
    _, params, statistics = split_model(model)
    return create_state(params, statistics, optimizer, average=config.train.ema_decay > 0)


def _check_size(model: Any, config: Config, preprocessing: Preprocessing, size: int) -> None:
    """Checks that a model, built for `data.image_size`, takes pictures of another size too."""
    key, verb = "augment.grow_from", "has"
    if size in (config.augment.size, config.eval.center_crop):
        key = "augment.size" if size == config.augment.size else "eval.center_crop"
        verb = "is"
    told = f"{key} {verb} {size}"
    smaller = dataclasses.replace(preprocessing, image_size=size)
    try:
        other = _shapes(abstract_model(config, smaller)) != _shapes(model)
    except UserError as error:
        raise UserError(f"{told}: {error}") from error
    if other or getattr(model, "one_size", False):
        raise UserError(
            f"{told}, but {config.model.name} takes pictures of one size only, data.image_size "
            f"{config.data.image_size}: leave {key} out, or choose a model that ends in a mean "
            "over places, such as resnet_small"
        )


def _shapes(model: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.shape, split_model(model)[1:])
