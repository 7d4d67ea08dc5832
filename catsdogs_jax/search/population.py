"""A population: small models of several seeds and learning rates, trained in one program by vmap.

One model of a few thousand parameters leaves an accelerator idle; many at once do not. The training
pictures lie on the device once, and every member gathers its own batches from them, in the order
that a run of its seed would read. XLA's own convolutions only: the kernels have no vmap.
"""

import dataclasses
from collections import deque
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import with_values
from catsdogs_jax.data.dataset import Dataset
from catsdogs_jax.errors import UserError
from catsdogs_jax.training.formulation import kernel_count
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.recipe import abstract_model, first_state, make_recipe
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.state import Params, Sums, TrainState, split_model
from catsdogs_jax.training.step import EvalRecipe, Recipe, eval_step, train_step
from catsdogs_jax.training.trainer import (
    class_weights,
    evaluation_batch,
    formulations,
)

_IN_FLIGHT = 2


@dataclasses.dataclass(frozen=True)
class Members:
    """What differs between the members.

    Attributes:
        seeds: int32 [members].
        rates: Peak learning rates, float32 [members].
    """

    seeds: np.ndarray
    rates: np.ndarray

    def __len__(self) -> int:
        return len(self.seeds)


def members_step(
    recipe: Recipe,
    members: Mapping[str, jax.Array],
    pictures: Mapping[str, jax.Array],
    state: TrainState,
    indices: jax.Array,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Takes one optimisation step of every member.

    Every rule of `make_optimizer` ends by multiplying with the learning rate, so a member's rate is
    the recipe's times its `scale`.

    Args:
        recipe: Static; its seed is not used.
        members: `seed` int32 [members], `scale` float32 [members].
        pictures: `image` uint8 [n, size, size, 3] and `target` [n, outputs], shared by all.
        state: States, each leaf with a leading axis [members].
        indices: The pictures of each member's batch, int32 [members, B].

    Returns:
        The states after the step, and the metrics of `train_step`, each [members].
    """

    def one(
        member: Mapping[str, jax.Array], state: TrainState, rows: jax.Array
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        optimizer = _scaled(recipe.optimizer, member["scale"])
        seed: Any = member["seed"]
        batch = {
            "image": pictures["image"][rows],
            "target": pictures["target"][rows],
            "mask": jnp.ones(rows.shape, jnp.bool_),
            "index": rows,
        }
        return train_step(dataclasses.replace(recipe, seed=seed, optimizer=optimizer), state, batch)

    return jax.vmap(one)(members, state, indices)


def members_sums(
    recipe: EvalRecipe, params: Params, statistics: Params, batch: Mapping[str, jax.Array]
) -> Sums:
    """Returns the sums [members] of every member over one batch of held-out pictures."""
    return jax.vmap(lambda own, other: eval_step(recipe, own, other, batch)[1])(params, statistics)


class Population:
    """Members that train side by side.

    Attributes:
        members: Their seeds and learning rates.
        plan: The course of each.
        state: Their states, each leaf with a leading axis [members].
    """

    def __init__(
        self, config: Config, dataset: Dataset, sharding: Sharding, plan: Plan, members: Members
    ):
        """Puts the pictures on the devices and draws the first states.

        Raises:
            UserError: The devices cannot share the members evenly, or the decoded pictures are not
                in memory.
        """
        sharding.check_batch("--population", len(members))
        self.config = with_values(config, {"model.convolutions": "native"})
        self.members, self.plan = members, plan
        self._dataset, self._sharding = dataset, sharding
        preprocessing, training = dataset.preprocessing, dataset.training
        if training.cache is None:
            raise UserError(
                "a population needs its decoded training pictures in memory, "
                f"{training.decoded_bytes / 2**20:,.0f} MiB: raise --config.data.cache_mb, or "
                "lower --config.data.image_size"
            )
        _refuse_what_members_lack(config)
        formulation = formulations(self.config, preprocessing, sharding)[0]
        weights = class_weights(config, training)
        self._recipe = make_recipe(
            formulation.apply(self.config), preprocessing, sharding, plan, weights
        )
        self._eval_batch = evaluation_batch(config, sharding)
        layers = kernel_count(split_model(abstract_model(self.config, preprocessing))[1])
        passes = formulation.evaluation_pass(
            self._eval_batch, config.evaluated_size, sharding, layers
        )
        self._eval_recipe = EvalRecipe(self._recipe.graphdef, preprocessing, passes)
        self._pictures = jax.device_put(
            {"image": np.asarray(training.cache), "target": training.targets}, sharding.replicated
        )
        scales = (members.rates / config.train.learning_rate).astype(np.float32)
        self._differing = jax.device_put({"seed": members.seeds, "scale": scales}, sharding.batch)
        self._step = jax.jit(
            members_step, static_argnums=0, donate_argnums=3, out_shardings=sharding.batch
        )
        self._sums = jax.jit(members_sums, static_argnums=0)
        self.state = self._first_states()

    def _first_states(self) -> TrainState:
        optimizer = _scaled(self._recipe.optimizer, 1.0)

        def first(seed: jax.Array) -> TrainState:
            return first_state(self.config, self._dataset.preprocessing, optimizer, seed)

        start = jax.jit(jax.vmap(first), out_shardings=self._sharding.batch)
        return start(self._differing["seed"])

    def train(self, first_step: int, last_step: int) -> None:
        """Takes steps first_step to last_step - 1 of every member."""
        data, training = self.config.data, self._dataset.training
        orders = [
            training.training_order(
                first_step, last_step, data.batch_size, int(seed), data.sampling
            )
            for seed in self.members.seeds
        ]
        in_flight: deque[jax.Array] = deque()
        for rows in zip(*orders, strict=True):
            indices = jax.device_put(np.stack(rows).astype(np.int32), self._sharding.batch)
            self.state, metrics = self._step(
                self._recipe, self._differing, self._pictures, self.state, indices
            )
            in_flight.append(metrics["loss"])
            if len(in_flight) > _IN_FLIGHT:  # Bounds the steps that wait on the device.
                in_flight.popleft().block_until_ready()

    def evaluate(self, split: str) -> list[dict[str, float]]:
        """Returns accuracy and loss (nats) of each member on a held-out split.

        The loss of one that met a step which was not finite is not a number: its state is that of
        the step before, and its average or statistics may look well.
        """
        params, statistics = self.state.evaluated_params, self.state.evaluated_statistics
        sums = [
            self._sums(
                self._eval_recipe,
                params,
                statistics,
                jax.device_put(dict(batch), self._sharding.replicated),
            )
            for batch in self._dataset.splits[split].evaluation_batches(self._eval_batch)
        ]
        parts = jax.device_get(sums)
        loss, correct, count = (
            np.stack([getattr(part, name) for part in parts]).sum(axis=0, dtype=np.float64)
            for name in ("loss", "correct", "count")
        )
        losses = np.where(jax.device_get(self.state.failed), np.nan, loss / count)
        return [
            {"accuracy": float(right), "loss": float(mean)}
            for right, mean in zip(correct / count, losses, strict=True)
        ]


def _refuse_what_members_lack(config: Config) -> None:
    """Raises UserError for settings of a run that members would not follow."""
    train, finetune, augment = config.train, config.finetune, config.augment
    for key, value, why in (
        ("finetune.weights", finetune.weights, "begins with parameters of its own"),
        ("augment.grow_from", augment.grow_from, "trains with pictures of one size"),
        ("train.teacher", train.teacher, "learns from the labels alone"),
        ("train.budget", train.budget, "needs its length in advance, as train.epochs"),
        ("train.patience", train.patience, "is measured once, at the end"),
    ):
        if value:
            raise UserError(
                f"{key} is {value!r}, but a population {why}: leave it out, or leave --population "
                "out"
            )


def _scaled(
    optimizer: optax.GradientTransformation, scale: float | jax.Array
) -> optax.GradientTransformation:
    return optax.chain(optimizer, optax.scale(scale))  # type: ignore[arg-type]
