"""Everything that changes in a run, as one pytree."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

Params = Any
"""Nested dicts of float32 arrays, as `nnx.to_pure_dict` makes them."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sums:
    """Sums over pictures; metrics are quotients of them, formed once at the end.

    Attributes:
        loss: Sum of the losses, nats.
        correct: Sum of the shares of labels that were right.
        count: Number of pictures.
    """

    loss: jax.Array
    correct: jax.Array
    count: jax.Array

    @classmethod
    def zero(cls) -> "Sums":
        """Returns the sums over no pictures, on the host so that no device is touched yet."""
        zero: Any = np.zeros((), np.float32)
        return cls(zero, zero, zero)

    @classmethod
    def of(cls, losses: jax.Array, correct: jax.Array, mask: jax.Array) -> "Sums":
        """Sums over the pictures of a batch where the mask is true; all arrays are [batch]."""
        weights = mask.astype(jnp.float32)
        return cls(jnp.vdot(losses, weights), jnp.vdot(correct, weights), weights.sum())

    @property
    def mean_loss(self) -> jax.Array:
        """Mean loss over the pictures, nats."""
        return self.loss / self.count

    @property
    def accuracy(self) -> jax.Array:
        """Share of the pictures that were right."""
        return self.correct / self.count

    def __add__(self, other: "Sums") -> "Sums":
        return jax.tree.map(jnp.add, self, other)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """The state of training between two steps.

    Attributes:
        step: int32 scalar, number of finished steps.
        params: Trainable parameters.
        statistics: Other variables of the model, for example BatchNorm's running means.
        optimizer: State of the Optax transformation.
        average: Exponential moving average of the parameters; none if the run keeps none.
        average_statistics: The same of the statistics, as those of the last parameters do not fit
            the average of many; none likewise.
        sums: Sums over the training pictures since the last record.
        failed: bool scalar, whether a loss or gradient was not finite. The step that fails, and
            those after it, change nothing else. Not saved: what is saved has not failed.
    """

    step: jax.Array
    params: Params
    statistics: Params
    optimizer: optax.OptState
    average: Params | None
    average_statistics: Params | None
    sums: Sums
    failed: jax.Array

    @property
    def evaluated_params(self) -> Params:
        """The parameters that are evaluated and used to predict."""
        return self.params if self.average is None else self.average

    @property
    def evaluated_statistics(self) -> Params:
        """The other variables that go with `evaluated_params`."""
        return self.statistics if self.average_statistics is None else self.average_statistics


def create_state(
    params: Params, statistics: Params, optimizer: optax.GradientTransformation, *, average: bool
) -> TrainState:
    """Returns the state before the first step; `average` says whether a moving average is kept."""
    params_average, statistics_average = (
        jax.tree.map(jnp.array, tree) if average else None for tree in (params, statistics)
    )
    return TrainState(
        step=jnp.int32(0),
        params=params,
        statistics=statistics,
        optimizer=optimizer.init(params),
        average=params_average,
        average_statistics=statistics_average,
        sums=Sums.zero(),
        failed=jnp.bool_(False),
    )


def split_model(model: nnx.Module) -> tuple[Any, Params, Params]:
    """Returns the static graph definition, the parameters and the other variables of a module."""
    graphdef, params, statistics = nnx.split(model, nnx.Param, ...)
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(statistics)


def merge_model(graphdef: Any, params: Params, statistics: Params) -> Any:
    """Returns the module that `split_model` took apart."""
    return nnx.merge(graphdef, nnx.State(params), nnx.State(statistics))
