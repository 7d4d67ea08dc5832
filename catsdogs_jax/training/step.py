"""The training step and the evaluation step: pure functions that know no jit and no mesh."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from catsdogs_jax.augment import augment, zoomed
from catsdogs_jax.config import AugmentConfig
from catsdogs_jax.data.pipeline import Batch
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import LossName
from catsdogs_jax.training.state import (
    Params,
    Sums,
    TrainState,
    merge_model,
    split_model,
)


@dataclasses.dataclass(frozen=True)
class EvalRecipe:
    """What stays the same in every evaluation step; hashable, so that jit can treat it as static.

    Attributes:
        graphdef: Structure of the model.
        preprocessing: Normalisation and task.
        microbatch: Pictures in one pass; the passes of a step are unrolled.
    """

    graphdef: Any
    preprocessing: Preprocessing
    microbatch: int


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What stays the same in every training step.

    Attributes:
        graphdef: Structure of the model.
        preprocessing: Normalisation and task.
        augment: Random variation of the pictures.
        optimizer: The Optax transformation.
        seed: Seed of the run.
        loss: What is minimised, see `Task.training_losses`.
        focal_gamma: Exponent of the focal loss.
        label_smoothing: Share of each target spread over all classes.
        class_weights: Weight of each class in the loss, mean 1 over the training pictures.
        average_decay: Decay of the moving average of the parameters.
        microbatch: Pictures in one gradient pass; the passes of a step are unrolled and summed.
    """

    graphdef: Any
    preprocessing: Preprocessing
    augment: AugmentConfig
    optimizer: optax.GradientTransformation
    seed: int
    loss: LossName
    focal_gamma: float
    label_smoothing: float
    class_weights: tuple[float, ...]
    average_decay: float
    microbatch: int


def train_step(
    recipe: Recipe, state: TrainState, batch: Batch
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Takes one optimisation step.

    Args:
        recipe: Static.
        state: State before the step.
        batch: `image` uint8 [B, size, size, 3], `target` [B, outputs], `mask` bool [B].

    Returns:
        The state after the step, with the batch added to its sums, and the scalars `loss` (mean
        over the batch) and `gradient_norm`.
    """
    keys = picture_keys(recipe.seed, state.step, batch["mask"].shape[0])
    varied = augment(
        recipe.augment, jax.vmap(jax.random.fold_in, (0, None))(keys, 0), batch["image"]
    )
    images = recipe.preprocessing.normalize(varied)
    dropout_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 1)
    gradient, statistics, sums = _gradient(
        recipe, state, images, batch["target"], batch["mask"], dropout_keys
    )
    updates, optimizer = recipe.optimizer.update(gradient, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    after = TrainState(
        step=state.step + 1,
        params=params,
        statistics=statistics,
        optimizer=optimizer,
        average=_moved_average(state, params, recipe.average_decay),
        sums=state.sums + sums,
    )
    return after, {"loss": sums.mean_loss, "gradient_norm": optax.tree.norm(gradient)}


def eval_step(
    recipe: EvalRecipe, params: Params, statistics: Params, batch: Batch
) -> tuple[jax.Array, Sums]:
    """Returns the logits [B, outputs] of a batch and its masked sums."""
    task = recipe.preprocessing.task
    images = recipe.preprocessing.normalize(batch["image"])
    model = merge_model(recipe.graphdef, params, statistics)

    def forward(images: jax.Array) -> jax.Array:
        # Passes of a few pictures keep the activations in the CPU's cache, see docs/design.md.
        return jnp.concatenate([model(part) for part in passes(images, recipe.microbatch)])

    views = list(_views(recipe.preprocessing, images))
    logits = jnp.mean(jnp.stack([forward(view) for view in views]), axis=0)
    losses = task.losses(logits, batch["target"])
    return logits, Sums.of(losses, task.correct(logits, batch["target"]), batch["mask"])


def _views(preprocessing: Preprocessing, images: jax.Array) -> Iterator[jax.Array]:
    """Yields the pictures [B, size, size, 3] in each of the ways whose logits are averaged."""
    for zoom in preprocessing.zooms:
        view = zoomed(images, zoom)
        yield view
        if preprocessing.mirror:
            yield view[:, :, ::-1]


def picture_keys(seed: int, step: jax.Array, batch: int) -> jax.Array:
    """Returns a key for each place [batch] of a global batch, the same on any number of devices."""
    step_key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(jax.random.fold_in, (None, 0))(step_key, jnp.arange(batch))


def _gradient(
    recipe: Recipe,
    state: TrainState,
    images: jax.Array,
    targets: jax.Array,
    mask: jax.Array,
    keys: jax.Array,
) -> tuple[Params, Params, Sums]:
    """Returns the gradient of the mean loss, new statistics and sums, pass by pass."""
    total = mask.sum().astype(jnp.float32)
    gradient, sums, statistics = None, Sums.zero(), state.statistics
    parts = (passes(value, recipe.microbatch) for value in (images, targets, mask, keys))
    for part in zip(*parts, strict=True):
        (_, (statistics, part_sums)), part_gradient = jax.value_and_grad(_loss, has_aux=True)(
            state.params, statistics, recipe, total, *part
        )
        sums = sums + part_sums
        if gradient is None:
            gradient = part_gradient
        else:
            gradient = jax.tree.map(jnp.add, gradient, part_gradient)
    return gradient, statistics, sums


def _loss(
    params: Params,
    statistics: Params,
    recipe: Recipe,
    total: jax.Array,
    images: jax.Array,
    targets: jax.Array,
    mask: jax.Array,
    keys: jax.Array,
) -> tuple[jax.Array, tuple[Params, Sums]]:
    """Returns this pass's share of the mean loss, and as auxiliaries statistics and sums."""
    task = recipe.preprocessing.task
    model = merge_model(recipe.graphdef, params, statistics)
    logits = model(images, keys=keys)
    smoothed = task.smooth(targets, recipe.label_smoothing)
    weights = task.weights(targets, recipe.class_weights)
    losses = task.training_losses(logits, smoothed, recipe.loss, recipe.focal_gamma) * weights
    sums = Sums.of(losses, task.correct(logits, targets), mask)
    return sums.loss / total, (split_model(model)[2], sums)


def passes(values: jax.Array, size: int) -> list[jax.Array]:
    """Cuts an array along its first axis into parts of a size, the last one as it comes."""
    return [values[start : start + size] for start in range(0, values.shape[0], size)]


def _moved_average(state: TrainState, params: Params, decay: float) -> Params | None:
    """Moves the average towards the parameters, faster at first so that it forgets the start.

    Source: the warm-up of `tf.train.ExponentialMovingAverage(num_updates=...)`.
    """
    if state.average is None:
        return None
    step = state.step.astype(jnp.float32)
    share = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: share * old + (1 - share) * new, state.average, params)
