"""The start of a run: fresh, or from published weights, with a head fitted to the pictures."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from catsdogs_jax import hosts
from catsdogs_jax.pretrained import HEAD, Weights, lay_over
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
        UserError: The weights do not fit the model.
    """
    trainer = loop.trainer
    if weights is None or loop.config.finetune.depth == "all":
        return from_weights(trainer, weights)
    params, statistics = _laid(trainer, trainer.initialize(), weights)
    features = compute_features(trainer, params, statistics, loop.dataset.splits["train"])
    head = _fitted(loop, features)
    fitted = {**params, HEAD: {"kernel": head.kernel, "bias": head.bias}}
    state = _state(trainer, *_placed(trainer, fitted, statistics))
    loop.measure_start(state, _accuracy_and_loss(loop, head, features))
    return state


def from_weights(trainer: Trainer, weights: Weights | None) -> TrainState:
    """Returns a state before the first step, with weights laid over fresh parameters.

    Args:
        trainer: Of the run.
        weights: What to lay over them, the head too where it has as many outputs; none: nothing.

    Raises:
        UserError: The weights do not fit the model.
    """
    state = trainer.initialize()
    return state if weights is None else _state(trainer, *_laid(trainer, state, weights))


def _laid(trainer: Trainer, fresh: TrainState, weights: Weights) -> tuple[Params, Params]:
    """Returns the variables of a fresh state with weights laid over them, on the devices."""
    laid = lay_over(fresh.params, fresh.statistics, weights)
    _tell(f"weights   {note}" for note in laid.notes)
    return _placed(trainer, laid.params, laid.statistics)


def _fitted(loop: Loop, features: np.ndarray) -> Head:
    config, pictures = loop.config, loop.dataset.splits["train"]
    head = fit_head(
        features,
        pictures.targets,
        pictures.preprocessing.task,
        config.finetune.folds,
        balanced=config.train.class_weights == "balanced",
        seed=config.seed,
    )
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


def _accuracy_and_loss(loop: Loop, head: Head, features: np.ndarray) -> dict[str, float]:
    """Returns accuracy and loss (nats) on the training pictures as they are, not varied."""
    pictures = loop.dataset.splits["train"]
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
