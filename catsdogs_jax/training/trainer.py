"""A model, an optimizer and the two compiled steps of a run."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from catsdogs_jax.config import Config
from catsdogs_jax.data.pipeline import Batch, PictureSet
from catsdogs_jax.errors import UserError
from catsdogs_jax.models import Model, build_model
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.optimizer import make_optimizer
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.state import Params, Sums, TrainState, create_state, split_model
from catsdogs_jax.training.step import EvalRecipe, Recipe, eval_step, train_step

_PIXELS_OF_A_PASS = 10_000
"""Half a picture of 150x150: with many more, the activations outgrow a core's cache."""

_MOST_PASSES = 32
"""Unrolled passes of a step at most: the compile time grows with their number."""


class CompiledStep:
    """A step compiled once, ahead of time; called with other shapes it fails and names them."""

    def __init__(
        self, name: str, function: Callable[..., Any], *arguments: Any, **jit_options: Any
    ):
        self.name = name
        self._compiled = (
            jax.jit(function, static_argnums=0, **jit_options).lower(*arguments).compile()
        )

    def __call__(self, *arguments: Any) -> Any:
        """Runs the step.

        Raises:
            TypeError: The shape or type of an argument is not the compiled one; a second
                compilation, which would stall an accelerator for a minute, never happens.
        """
        try:
            return self._compiled(*arguments)
        except TypeError as error:
            raise TypeError(f"the {self.name} step is compiled once per run: {error}") from error


@dataclasses.dataclass(frozen=True)
class Trainer:
    """The parts of a run that do not change.

    Attributes:
        recipe: Static part of every step.
        sharding: Devices.
        train: `(state, batch) -> (state, metrics)`; the state given is used up.
        evaluate: `(params, statistics, batch) -> (logits, sums)`.
        eval_batch: Pictures in an evaluation batch.
        initialize: Returns the state before the first step, on the devices.
        model: The model with abstract parameters.
    """

    recipe: Recipe
    sharding: Sharding
    train: CompiledStep
    evaluate: CompiledStep
    eval_batch: int
    initialize: Callable[[], TrainState]
    model: Model

    def abstract_state(self) -> TrainState:
        """Returns shapes, types and shardings of the state, to restore onto."""
        shapes = jax.eval_shape(self.initialize)
        return abstract(shapes, self.sharding.replicated)

    def reset_sums(self, state: TrainState) -> TrainState:
        """Returns the state with the sums over training pictures at zero."""
        zero = jax.device_put(Sums.zero(), self.sharding.replicated)
        return dataclasses.replace(state, sums=zero)


def build_trainer(
    config: Config,
    preprocessing: Preprocessing,
    sharding: Sharding,
    plan: Plan,
    class_weights: tuple[float, ...],
) -> Trainer:
    """Builds the model and compiles both steps.

    Raises:
        UserError: The model is unknown, or a batch does not fit the devices or the micro-batch.
    """
    model = abstract_model(config, preprocessing)
    graphdef, params, statistics = split_model(model)
    batch, eval_batch = config.data.batch_size, evaluation_batch(config, sharding)
    sharding.check_batch("data.batch_size", batch)
    has_statistics = bool(jax.tree.leaves(statistics))
    recipe = Recipe(
        graphdef=graphdef,
        preprocessing=preprocessing,
        augment=config.augment,
        optimizer=make_optimizer(config.train, plan.steps),
        seed=config.seed,
        label_smoothing=config.train.label_smoothing,
        class_weights=class_weights,
        average_decay=config.train.ema_decay,
        microbatch=_microbatch(config, batch, sharding, has_statistics),
    )
    initialize = _initializer(config, preprocessing, recipe, sharding)
    state = abstract(jax.eval_shape(initialize), sharding.replicated)
    train = CompiledStep(
        "training",
        train_step,
        recipe,
        state,
        _abstract_batch(preprocessing, batch, sharding),
        donate_argnums=1,
        out_shardings=sharding.replicated,
    )
    evaluate = compile_evaluation(graphdef, preprocessing, params, statistics, eval_batch, sharding)
    return Trainer(recipe, sharding, train, evaluate, eval_batch, initialize, model)


def class_weights(config: Config, pictures: PictureSet) -> tuple[float, ...]:
    """Returns the weight of each class in the loss; empty: all count the same.

    "balanced" is scikit-learn's: pictures / (classes * pictures of the class).
    """
    if config.train.class_weights == "none":
        return ()
    counts = pictures.class_counts()
    return tuple((counts.sum() / (len(counts) * np.maximum(counts, 1))).tolist())


def compile_evaluation(
    graphdef: Any,
    preprocessing: Preprocessing,
    params: Params,
    statistics: Params,
    batch: int,
    sharding: Sharding,
) -> CompiledStep:
    """Compiles the evaluation step for parameters and statistics of these shapes."""
    size = preprocessing.image_size
    return CompiledStep(
        "evaluation",
        eval_step,
        EvalRecipe(graphdef, preprocessing, _pass_size(batch, size, sharding)),
        abstract(params, sharding.replicated),
        abstract(statistics, sharding.replicated),
        _abstract_batch(preprocessing, batch, sharding),
        out_shardings=sharding.replicated,
    )


def abstract_model(config: Config, preprocessing: Preprocessing) -> Any:
    """Returns the model with shapes in place of parameters."""
    return nnx.eval_shape(lambda: _build(config, preprocessing))


def evaluation_batch(config: Config, sharding: Sharding) -> int:
    """Returns the pictures in an evaluation batch: as configured, rounded up to the devices."""
    wanted = config.eval.batch_size or config.data.batch_size
    return -(-wanted // sharding.device_count) * sharding.device_count


def abstract(tree: Any, sharding: jax.sharding.Sharding) -> Any:
    """Returns the shapes and types of a tree of arrays, all with one sharding."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def _build(config: Config, preprocessing: Preprocessing) -> Any:
    rngs = nnx.Rngs(jax.random.key(config.seed))
    size, outputs = preprocessing.image_size, preprocessing.task.outputs
    return build_model(config.model, size, outputs, rngs)


def _initializer(
    config: Config, preprocessing: Preprocessing, recipe: Recipe, sharding: Sharding
) -> Callable[[], TrainState]:
    def initialize() -> TrainState:
        _, params, statistics = split_model(_build(config, preprocessing))
        average = config.train.ema_decay > 0
        return create_state(params, statistics, recipe.optimizer, average=average)

    return jax.jit(initialize, out_shardings=sharding.replicated)


def _abstract_batch(preprocessing: Preprocessing, batch: int, sharding: Sharding) -> Batch:
    size, outputs = preprocessing.image_size, preprocessing.task.outputs
    shapes = {
        "image": ((batch, size, size, 3), jnp.uint8),
        "target": ((batch, outputs), jnp.float32),
        "mask": ((batch,), jnp.bool_),
        "index": ((batch,), jnp.int32),
    }
    return {
        name: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding.batch)
        for name, (shape, dtype) in shapes.items()
    }


def _microbatch(config: Config, batch: int, sharding: Sharding, has_statistics: bool) -> int:
    wanted = config.train.microbatch
    if wanted is not None and batch % wanted:
        raise UserError(
            f"train.microbatch is {wanted}, which does not divide data.batch_size {batch}"
        )
    # Statistics over a whole batch cannot be had in passes of a few pictures.
    if wanted is None and not has_statistics:
        return _pass_size(batch, config.data.image_size, sharding)
    return wanted or batch


def _pass_size(batch: int, image_size: int, sharding: Sharding) -> int:
    """Returns the pictures in a pass: few on a CPU, where its cache sets the pace, else all."""
    platform = sharding.mesh.devices.flat[0].platform
    if platform != "cpu" or sharding.device_count > 1:
        return batch
    wanted = max(_PIXELS_OF_A_PASS / image_size**2, batch / _MOST_PASSES)
    return next(m for m in range(1, batch + 1) if batch % m == 0 and (m >= wanted or m == batch))
