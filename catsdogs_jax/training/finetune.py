"""The start of a run: fresh, or from published weights, with a head fitted to the pictures."""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from catsdogs_jax import hosts
from catsdogs_jax.config import Config
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.errors import UserError
from catsdogs_jax.pretrained import HEAD, Weights, lay_over
from catsdogs_jax.task import Task
from catsdogs_jax.training.features import compute_features
from catsdogs_jax.training.loop import Loop
from catsdogs_jax.training.probe import Head, fit_head
from catsdogs_jax.training.state import Params, TrainState, create_state
from catsdogs_jax.training.trainer import Trainer


def begin(loop: Loop, weights: Weights | None) -> TrainState:
    """Returns the state before the first step.

    With a fitted head it is measured and saved as step 0, so that the best checkpoint of a run is
    never worse than its probe.

    Args:
        loop: The run.
        weights: What it begins with; none: fresh parameters.

    Raises:
        UserError: The weights do not fit the model, or its head cannot be fitted.
    """
    state, measured = start(loop.config, loop.trainer, weights, loop.dataset.splits["train"])
    if measured:
        loop.measure_start(state, measured)
    return state


def start(
    config: Config, trainer: Trainer, weights: Weights | None, pictures: PictureSet
) -> tuple[TrainState, dict[str, float]]:
    """Returns the state before the first step, and how well a fitted head does in training.

    Args:
        config: The run.
        trainer: Of the run.
        weights: What to lay over fresh parameters, the head too where it has as many outputs and is
            not fitted; none: nothing.
        pictures: The training pictures.

    Returns:
        The state, and accuracy and loss (nats) on the training pictures; empty if none was fitted.

    Raises:
        UserError: The weights do not fit the model, or its head cannot be fitted.
    """
    if weights is None:
        return trainer.initialize(), {}
    params, statistics = _laid(trainer, weights)
    if config.finetune.depth == "all":
        return _state(trainer, params, statistics), {}
    _check_head(config, params, pictures.preprocessing.task)
    features = compute_features(trainer, params, statistics, pictures)
    head = _fitted(config, pictures, features)
    fitted = {**params, HEAD: {"kernel": head.kernel, "bias": head.bias}}
    state = _state(trainer, *_placed(trainer, fitted, statistics))
    return state, _accuracy_and_loss(pictures, head, features)


def _check_head(config: Config, params: Params, task: Task) -> None:
    """Checks that the last layer is one that a regression can be put in place of."""
    found = params.get(HEAD)
    names = set(found) if isinstance(found, Mapping) else set()
    if names != {"kernel", "bias"} or found["kernel"].shape[1:] != (task.outputs,):
        raise UserError(
            f"finetune.depth={config.finetune.depth} fits the last layer, but {config.model.name} "
            f"has no dense layer {HEAD!r} of {task.outputs} outputs, with a bias: name it so (see "
            "docs/models.md), or --config.finetune.depth=all"
        )


def _laid(trainer: Trainer, weights: Weights) -> tuple[Params, Params]:
    """Returns the variables of a fresh state with weights laid over them, on the devices.

    Only what the weights leave fresh is drawn: to compile the drawing of a whole model takes as
    long as to compile a step.
    """
    like = trainer.abstract_state()
    laid = lay_over(like.params, like.statistics, weights)
    _tell(f"weights   {note}" for note in laid.notes)
    leaves, tree = jax.tree.flatten((laid.params, laid.statistics))
    fresh = [n for n, leaf in enumerate(leaves) if isinstance(leaf, jax.ShapeDtypeStruct)]

    def draw() -> list[jax.Array]:
        state = trainer.initialize()
        drawn = jax.tree.leaves((state.params, state.statistics))
        return [drawn[n] for n in fresh]

    drawn = jax.jit(draw, out_shardings=[leaves[n].sharding for n in fresh])()
    for n, leaf in zip(fresh, drawn, strict=True):
        leaves[n] = leaf
    return _placed(trainer, *jax.tree.unflatten(tree, leaves))


def _fitted(config: Config, pictures: PictureSet, features: np.ndarray) -> Head:
    """Returns the head that the first process fits: of other CPUs the last bits may differ."""
    spelled = b""
    with hosts.together():
        if hosts.is_first():
            found = fit_head(
                features,
                pictures.targets,
                pictures.preprocessing.task,
                config.finetune.folds,
                balanced=config.train.class_weights == "balanced",
                seed=config.seed,
            )
            spelled = found.to_bytes()
    head = Head.from_bytes(hosts.gathered(spelled)[0])
    how = f"chosen by {head.folds} folds" if head.folds else "too few pictures to choose it"
    _tell(
        [
            f"probe     logistic regression on {features.shape[2]:,} features of {len(features):,} "
            f"pictures and their mirror images, C = {head.strength:.2g} ({how})"
        ]
    )
    return head


def _tell(lines: Iterable[str]) -> None:
    if hosts.is_first():
        print(*lines, sep="\n")


def _placed(trainer: Trainer, params: Params, statistics: Params) -> tuple[Params, Params]:
    """Moves variables to where the state of the run has them."""
    like = trainer.abstract_state()
    shardings = jax.tree.map(lambda leaf: leaf.sharding, (like.params, like.statistics))
    return jax.device_put((params, statistics), shardings)


def _accuracy_and_loss(pictures: PictureSet, head: Head, features: np.ndarray) -> dict[str, float]:
    """Returns accuracy and loss (nats) on the training pictures as they are, not varied."""
    task, targets = pictures.preprocessing.task, jnp.asarray(pictures.targets)
    logits = jnp.asarray(head.logits(features[:, 0]))
    return {
        "accuracy": float(task.correct(logits, targets).mean()),
        "loss": float(task.losses(logits, targets).mean()),
    }


def _state(trainer: Trainer, params: Params, statistics: Params) -> TrainState:
    """Returns the state before the first step with these variables."""

    def create(params: Params, statistics: Params) -> TrainState:
        average = trainer.recipe.average_decay > 0
        return create_state(params, statistics, trainer.recipe.optimizer, average=average)

    shardings = jax.tree.map(lambda leaf: leaf.sharding, trainer.abstract_state())
    return jax.jit(create, out_shardings=shardings)(params, statistics)
