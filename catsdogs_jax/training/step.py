"""The training step and the evaluation step: pure functions that know no jit and no mesh."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from catsdogs_jax.augment import augment, mix, zoomed
from catsdogs_jax.config import AugmentConfig
from catsdogs_jax.data.pipeline import Batch
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import LossName
from catsdogs_jax.training.distillation import Distillation, Variables
from catsdogs_jax.training.remat import Remat, rematerialized
from catsdogs_jax.training.state import (
    Params,
    Sums,
    TrainState,
    merge_model,
    split_model,
)

Pictures = tuple[jax.Array, ...]
"""Varied pictures [B, size, size, 3] of 0 to 255, targets [B, outputs], mask [B] and keys [B]."""


@dataclasses.dataclass(frozen=True)
class EvalRecipe:
    """What stays the same in every evaluation step; hashable, so that jit can treat it as static.

    Attributes:
        graphdef: Structure of the model.
        preprocessing: Normalisation and task.
        microbatch: Pictures in one pass; the passes of a step are unrolled.
        gather: Brings parameters that are sharded together; none: they are whole.
    """

    graphdef: Any
    preprocessing: Preprocessing
    microbatch: int
    gather: Callable[[Params], Params] | None = None


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
        microbatch: Pictures in one gradient pass; the gradients of a step's passes are summed.
        devices: Each gives as many of its pictures to every pass.
        looped: Whether the passes are a loop on the device, compiled once, or unrolled: XLA's CPU
            backend runs convolutions inside loops an order of magnitude slower.
        sam_radius: How far from the parameters the gradient is taken, see `_uphill`; 0: at them.
        distillation: The teacher, if there is one.
        remat: What the backward pass computes again.
        gather: Brings parameters that are sharded together; none: they are whole.
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
    devices: int
    looped: bool
    sam_radius: float = 0.0
    distillation: Distillation | None = None
    remat: Remat = "none"
    gather: Callable[[Params], Params] | None = None

    @property
    def trained_size(self) -> int:
        """Side of the pictures that training sees, pixels; see `Config.trained_size`."""
        return self.augment.size or self.preprocessing.image_size


def train_step(
    recipe: Recipe, state: TrainState, batch: Batch, teacher: Variables | None = None
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Takes one optimisation step.

    Args:
        recipe: Static.
        state: State before the step.
        batch: `image` uint8 [B, size, size, 3], `target` [B, outputs], `mask` bool [B].
        teacher: Parameters and statistics of the teacher, if there is one.

    Returns:
        The state after the step, with the batch added to its sums, and the scalars `loss` (mean
        over the batch), `gradient_norm` and `failed` (of the state). If loss or gradient is not
        finite, the state is as it was, but for `failed`.
    """
    keys = picture_keys(recipe.seed, state.step, batch["mask"].shape[0])
    varied, targets = vary(recipe.augment, keys, batch["image"], batch["target"])
    dropout_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 1)
    pictures = (varied, targets, batch["mask"], dropout_keys)
    gradient, statistics, sums = _gradient(recipe, state, teacher, pictures)
    if recipe.sam_radius:
        uphill = dataclasses.replace(state, params=_uphill(recipe, state.params, gradient))
        gradient = _gradient(recipe, uphill, teacher, pictures)[0]
    norm = optax.tree.norm(gradient)
    failed = state.failed | ~(jnp.isfinite(sums.loss) & jnp.isfinite(norm))

    def stepped() -> TrainState:
        updates, optimizer = recipe.optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        moved = functools.partial(_moved_average, step=state.step, decay=recipe.average_decay)
        return TrainState(
            step=state.step + 1,
            params=params,
            statistics=statistics,
            optimizer=optimizer,
            average=moved(state.average, params),
            average_statistics=moved(state.average_statistics, statistics),
            sums=state.sums + sums,
            failed=state.failed,
        )

    # The host learns of a failure a few steps later, when the buffers of the state before it are
    # used up: so the state before it is what this step returns, and the next ones with it. A
    # branch, as choosing between both states value by value takes XLA's CPU backend a third of the
    # step of the seed CNN.
    after = jax.lax.cond(failed, lambda: state, stepped)
    metrics = {"loss": sums.mean_loss, "gradient_norm": norm, "failed": failed}
    return dataclasses.replace(after, failed=failed), metrics


def train_steps(
    recipe: Recipe,
    state: TrainState,
    batches: Batch,
    tiles: jax.Array,
    teacher: Variables | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Takes several optimisation steps, of pictures that lie on the devices.

    Args:
        recipe: Static.
        state: State before the first step.
        batches: `index` int32 [steps, B], the pictures of each batch, and what else `train_step`
            takes of a batch, with the same leading axis.
        tiles: All training pictures, see `resident.tiled`.
        teacher: Parameters and statistics of the teacher, if there is one.

    Returns:
        The state after the last step, and the metrics of `train_step`, each [steps]. After a step
        that failed the others change nothing.
    """
    side = round(recipe.preprocessing.image_size * recipe.augment.margin)

    def one(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        found = jnp.take(tiles, batch["index"], axis=0, mode="clip")
        values = found.reshape(len(found), -1)[:, : side * side * 3]
        image = values.reshape(-1, side, side, 3)
        return train_step(recipe, state, {**batch, "image": image}, teacher)

    return jax.lax.scan(one, state, batches)


def eval_step(
    recipe: EvalRecipe, params: Params, statistics: Params, batch: Batch
) -> tuple[jax.Array, Sums]:
    """Returns the logits [B, outputs] of a batch and its masked sums."""
    task = recipe.preprocessing.task
    images = recipe.preprocessing.normalize(batch["image"])
    model = merge_model(recipe.graphdef, whole(recipe, params), statistics)

    def forward(images: jax.Array) -> jax.Array:
        # Passes of a few pictures keep the activations in the CPU's cache, see docs/design.md.
        return jnp.concatenate([model(part) for part in passes(images, recipe.microbatch)])

    found = [forward(view) for view in views(recipe.preprocessing, images)]
    logits = jnp.mean(jnp.stack(found), axis=0)
    losses = task.losses(logits, batch["target"])
    return logits, Sums.of(losses, task.correct(logits, batch["target"]), batch["mask"])


def views(preprocessing: Preprocessing, images: jax.Array) -> Iterator[jax.Array]:
    """Yields pictures [B, size, size, 3] in each of the ways whose logits are averaged.

    Each is the centre [B, seen_size, seen_size, 3] of what its zoom shows.
    """
    for zoom in preprocessing.zooms:
        view = preprocessing.center(zoomed(images, zoom))
        yield view
        if preprocessing.mirror:
            yield view[:, :, ::-1]


def vary(
    config: AugmentConfig, keys: jax.Array, images: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the pictures and targets of a batch as a training step sees them.

    Args:
        config: What to vary, and how much.
        keys: What `picture_keys` returns, [B].
        images: uint8 [B, decoded, decoded, 3], see `augment`.
        targets: float32 [B, outputs].

    Returns:
        float32 [B, size, size, 3], 0 to 255, and float32 [B, outputs], mixed if the pictures are.
    """
    own = jax.vmap(jax.random.fold_in, (0, None))(keys, 0)
    return mix(config, own, augment(config, own, images), targets)


def picture_keys(seed: int, step: jax.Array, batch: int) -> jax.Array:
    """Returns a key for each place [batch] of a global batch, the same on any number of devices."""
    step_key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(jax.random.fold_in, (None, 0))(step_key, jnp.arange(batch))


def _gradient(
    recipe: Recipe, state: TrainState, teacher: Variables | None, pictures: Pictures
) -> tuple[Params, Params, Sums]:
    """Returns the gradient of the mean loss, new statistics and sums, pass by pass."""
    total = pictures[2].sum().astype(jnp.float32)
    loss = rematerialized(_loss, recipe.remat, static=2, gathers=recipe.gather is not None)

    def one(statistics: Params, part: Pictures) -> tuple[Params, Params, Sums]:
        (_, (statistics, sums)), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.params, statistics, recipe, teacher, total, *part
        )
        return gradient, statistics, sums

    def add(before: tuple[Params, Params, Sums], part: Pictures) -> tuple[Params, Params, Sums]:
        gradient, statistics, sums = one(before[1], part)
        return jax.tree.map(jnp.add, before[0], gradient), statistics, before[2] + sums

    passes = pictures[0].shape[0] // recipe.microbatch
    if passes == 1:
        return one(state.statistics, pictures)
    parts = tuple(_shared_out(value, passes, recipe.devices) for value in pictures)
    if recipe.looped:
        zero = jax.tree.map(jnp.zeros_like, state.params), state.statistics, Sums.zero()
        return jax.lax.scan(lambda sums, part: (add(sums, part), None), zero, parts)[0]
    unrolled = [tuple(value[n] for value in parts) for n in range(passes)]
    return functools.reduce(add, unrolled[1:], one(state.statistics, unrolled[0]))


def _uphill(recipe: Recipe, params: Params, gradient: Params) -> Params:
    """Returns the parameters within `sam_radius` whose loss is the greatest, to first order.

    Source: sharpness-aware minimisation, Foret et al., 2020, https://arxiv.org/abs/2010.01412, here
    over the whole batch and all parameters.
    """
    share = recipe.sam_radius / (optax.tree.norm(gradient) + 1e-12)
    return jax.tree.map(lambda value, slope: value + share * slope, params, gradient)


def _shared_out(values: jax.Array, passes: int, devices: int) -> jax.Array:
    """Returns values [B, ...] as [passes, B / passes, ...], without moving any between devices.

    Devices hold the batch in shares, one after the other, and each pass takes as many values of
    every share.
    """
    rest = values.shape[1:]
    shares = values.reshape(devices, passes, -1, *rest)
    return jnp.swapaxes(shares, 0, 1).reshape(passes, -1, *rest)


def _loss(
    params: Params,
    statistics: Params,
    recipe: Recipe,
    teacher: Variables | None,
    total: jax.Array,
    images: jax.Array,
    targets: jax.Array,
    mask: jax.Array,
    keys: jax.Array,
) -> tuple[jax.Array, tuple[Params, Sums]]:
    """Returns this pass's share of the mean loss, and as auxiliaries statistics and sums."""
    task = recipe.preprocessing.task
    model = merge_model(recipe.graphdef, whole(recipe, params), statistics)
    logits = model(recipe.preprocessing.normalize(images), keys=keys)
    smoothed = task.smooth(targets, recipe.label_smoothing)
    weights = task.weights(targets, recipe.class_weights)
    losses = task.training_losses(logits, smoothed, recipe.loss, recipe.focal_gamma) * weights
    if recipe.distillation is not None and teacher is not None:
        losses = recipe.distillation.mixed(losses, logits, images, teacher)
    sums = Sums.of(losses, task.correct(logits, targets), mask)
    return sums.loss / total, (split_model(model)[2], sums)


def whole(recipe: Recipe | EvalRecipe, params: Params) -> Params:
    """Returns parameters that may be sharded as whole ones."""
    return params if recipe.gather is None else recipe.gather(params)


def passes(values: jax.Array, size: int) -> list[jax.Array]:
    """Cuts an array along its first axis into parts of a size, the last one as it comes."""
    return [values[start : start + size] for start in range(0, values.shape[0], size)]


def _moved_average(
    average: Params | None, new: Params, *, step: jax.Array, decay: float
) -> Params | None:
    """Moves an average towards new values, faster at first so that it forgets the start.

    Source: the warm-up of `tf.train.ExponentialMovingAverage(num_updates=...)`.
    """
    if average is None:
        return None
    taken = step.astype(jnp.float32)
    share = jnp.minimum(decay, (1.0 + taken) / (10.0 + taken))

    def move(old: jax.Array, new: jax.Array) -> jax.Array:
        # A count, or a key, has no average.
        return share * old + (1 - share) * new if jnp.issubdtype(new, jnp.floating) else new

    return jax.tree.map(move, average, new)
