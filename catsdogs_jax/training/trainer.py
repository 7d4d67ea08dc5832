"""A model, an optimizer and the two compiled steps of a run."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Compiled

from catsdogs_jax.config import Config
from catsdogs_jax.data.pipeline import Batch, PictureSet
from catsdogs_jax.models import Model, uses_kernels
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.compilation import compile_or_recall
from catsdogs_jax.training.formulation import Formulation, candidates, kernel_count
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.recipe import Teacher, abstract_model, first_state, make_recipe
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.state import Params, Sums, TrainState, split_model
from catsdogs_jax.training.step import EvalRecipe, Recipe, eval_step, train_step

if TYPE_CHECKING:
    from catsdogs_jax.training.resident import Resident


class CompiledStep:
    """A step compiled once, when it is first asked for; with other shapes it fails and names them.

    Attributes:
        name: What it is, for messages.
        arguments: The static one, then shapes of the others.
        always: Arrays that follow the other arguments in every call.

    Args:
        name: As above.
        function: The step; its first argument is static.
        *arguments: The static one, then shapes of the others.
        always: As above.
        **jit_options: Of `jax.jit`.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *arguments: Any,
        always: tuple[Any, ...] = (),
        **jit_options: Any,
    ):
        self.name, self.always = name, always
        self._jitted = jax.jit(function, static_argnums=0, **jit_options)
        self.arguments = arguments

    @functools.cached_property
    def _made(self) -> tuple[Compiled, bool, float]:
        start = time.perf_counter()
        lowered = self._jitted.lower(*self.arguments, *self.always)
        return *compile_or_recall(lowered), time.perf_counter() - start

    @property
    def compiled(self) -> Compiled:
        """What XLA made of it."""
        return self._made[0]

    @property
    def recalled(self) -> bool:
        """Whether an earlier run had compiled it."""
        return self._made[1]

    @property
    def seconds(self) -> float:
        """How long tracing and compiling took."""
        return self._made[2]

    def __call__(self, *arguments: Any) -> Any:
        """Runs the step.

        Raises:
            TypeError: The shape or type of an argument is not the compiled one; a second
                compilation, which would stall an accelerator for a minute, never happens.
        """
        try:
            return self.compiled(*arguments, *self.always)
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
        eval_recipe: Static part of an evaluation step.
        eval_batch: Pictures in an evaluation batch.
        initialize: Returns the state before the first step, on the devices.
        model: The model with abstract parameters, in XLA's own operations.
        formulation: How the steps are computed.
        abstract_batch: Shapes, types and shardings of a training batch.
        resident: What takes the steps of a run whose pictures lie on the devices; none: `train`.
        earlier: The stages of a run that begins with smaller pictures, see `stages`.
    """

    recipe: Recipe
    sharding: Sharding
    train: CompiledStep
    evaluate: CompiledStep
    eval_recipe: EvalRecipe
    eval_batch: int
    initialize: Callable[[], TrainState]
    model: Model
    formulation: Formulation
    abstract_batch: Batch
    resident: "Resident | None" = None
    earlier: tuple["Stage", ...] = ()

    @property
    def programs(self) -> tuple[CompiledStep, ...]:
        """The compiled steps that a run takes."""
        training = [
            program
            for one in self.by_size.values()
            for program in (one.resident.compiled if one.resident else (one.train,))
        ]
        return (*training, self.evaluate)

    @property
    def by_size(self) -> dict[int, "Trainer"]:
        """What takes the steps with pictures of each size, in pixels; this one is the last."""
        stages = {stage.trainer.recipe.trained_size: stage.trainer for stage in self.earlier}
        return {**stages, self.recipe.trained_size: self}

    def after(self, step: int) -> "Trainer":
        """Returns what takes the step after this one."""
        return next((stage.trainer for stage in self.earlier if step < stage.until), self)

    def abstract_state(self) -> TrainState:
        """Returns shapes, types and shardings of the state, to restore onto."""
        return self.sharding.abstract(jax.eval_shape(self.initialize))

    @property
    def abstract_eval_batch(self) -> Batch:
        """Shapes, types and shardings of an evaluation batch."""
        return _abstract_batch(self.recipe.preprocessing, self.eval_batch, self.sharding)

    def reset_sums(self, state: TrainState) -> TrainState:
        """Returns the state with the sums over training pictures at zero."""
        return dataclasses.replace(state, sums=self.sharding.everywhere(Sums.zero()))


@dataclasses.dataclass(frozen=True)
class Stage:
    """The steps of a run that see pictures of one size.

    Attributes:
        until: The last of them, counted from 1.
        trainer: What takes them.
    """

    until: int
    trainer: Trainer


def build_trainer(
    config: Config,
    preprocessing: Preprocessing,
    sharding: Sharding,
    plan: Plan,
    class_weights: tuple[float, ...],
    formulation: Formulation | None = None,
    teacher: Teacher | None = None,
) -> Trainer:
    """Builds the model and compiles both steps.

    Args:
        config: The run.
        preprocessing: How a picture becomes an input.
        sharding: The devices.
        plan: Length of the run.
        class_weights: Weight of each class in the loss.
        formulation: How to compute the steps; none: the likely fastest.
        teacher: What the model learns from besides the labels.

    Raises:
        UserError: The model is unknown, or a batch does not fit the devices or the micro-batch.
    """
    sharding.check_batch("data.batch_size", config.data.batch_size)
    formulation = formulation or formulations(config, preprocessing, sharding)[0]
    sharding.check_batch("train.microbatch", formulation.microbatch)
    shown, config = abstract_model(config, preprocessing), formulation.apply(config)
    _, params, statistics = split_model(abstract_model(config, preprocessing))
    batch, eval_batch = config.data.batch_size, evaluation_batch(config, sharding)
    recipe = make_recipe(config, preprocessing, sharding, plan, class_weights, teacher)
    initialize = _initializer(config, preprocessing, recipe, sharding)
    state = sharding.abstract(jax.eval_shape(initialize))
    fed = _abstract_batch(preprocessing, batch, sharding, config.augment.margin)
    train = CompiledStep(
        "training",
        train_step,
        recipe,
        state,
        fed,
        always=(teacher.variables,) if teacher else (),
        donate_argnums=1,
        out_shardings=(sharding.shardings(state), sharding.replicated),
    )
    passes = formulation.evaluation_pass(
        eval_batch, preprocessing.seen_size, sharding, kernel_count(params)
    )
    eval_recipe = EvalRecipe(recipe.graphdef, preprocessing, passes, recipe.gather)
    evaluate = compile_evaluation(eval_recipe, params, statistics, eval_batch, sharding)
    return Trainer(
        recipe=recipe,
        sharding=sharding,
        train=train,
        evaluate=evaluate,
        eval_recipe=eval_recipe,
        eval_batch=eval_batch,
        initialize=initialize,
        model=shown,
        formulation=formulation,
        abstract_batch=fed,
    )


def formulations(
    config: Config, preprocessing: Preprocessing, sharding: Sharding
) -> list[Formulation]:
    """Returns the ways to compute the steps of a config, the likely fastest first.

    Raises:
        UserError: The model is unknown, or what the config pins cannot be had.
    """
    pinned = Formulation("compiled", config.data.batch_size).apply(config)
    model = abstract_model(pinned, preprocessing)
    _, params, statistics = split_model(model)
    return candidates(
        config,
        sharding,
        kernels=uses_kernels(model),
        statistics=bool(jax.tree.leaves(statistics)) and config.model.batch_norm == "train",
        layers=kernel_count(params),
    )


def class_weights(config: Config, pictures: PictureSet) -> tuple[float, ...]:
    """Returns the weight of each class in the loss; empty: all count the same.

    "balanced" is scikit-learn's: pictures / (classes * pictures of the class).
    """
    if config.train.class_weights == "none":
        return ()
    counts = pictures.class_counts()
    return tuple((counts.sum() / (len(counts) * np.maximum(counts, 1))).tolist())


def compile_evaluation(
    recipe: EvalRecipe,
    params: Params,
    statistics: Params,
    batch: int,
    sharding: Sharding,
) -> CompiledStep:
    """Compiles the evaluation step for parameters and statistics of these shapes."""
    return CompiledStep(
        "evaluation",
        eval_step,
        recipe,
        sharding.abstract(params, "params/"),
        sharding.abstract(statistics, "statistics/"),
        _abstract_batch(recipe.preprocessing, batch, sharding),
        out_shardings=(sharding.batch, sharding.replicated),  # Logits meet on the host alone.
    )


def evaluation_batch(config: Config, sharding: Sharding) -> int:
    """Returns the pictures in an evaluation batch: as configured, rounded up to the devices."""
    wanted = config.eval.batch_size or config.data.batch_size
    return -(-wanted // sharding.device_count) * sharding.device_count


def _initializer(
    config: Config, preprocessing: Preprocessing, recipe: Recipe, sharding: Sharding
) -> Callable[[], TrainState]:
    def initialize() -> TrainState:
        return first_state(config, preprocessing, recipe.optimizer, config.seed)

    if sharding.group == 1:
        return jax.jit(initialize, out_shardings=sharding.replicated)
    return jax.jit(initialize, out_shardings=sharding.shardings(jax.eval_shape(initialize)))


def _abstract_batch(
    preprocessing: Preprocessing, batch: int, sharding: Sharding, margin: float = 1.0
) -> Batch:
    size, outputs = round(preprocessing.image_size * margin), preprocessing.task.outputs
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
