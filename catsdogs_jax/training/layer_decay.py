"""Smaller learning rates for earlier stages, whose features need to change the least."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from catsdogs_jax.models import Model
from catsdogs_jax.training.state import Params


def with_layer_decay(
    optimizer: optax.GradientTransformation, model: Model, decay: float
) -> optax.GradientTransformation:
    """Multiplies the updates of each stage by decay^k, k stages before the last one.

    Source: Howard and Ruder, 2018, https://arxiv.org/abs/1801.06146 ("discriminative" rates); in
    the exponential form Bao et al., 2021, https://arxiv.org/abs/2106.08254.

    Args:
        optimizer: Makes the updates.
        model: Tells which parameters belong to which of its `stages()`.
        decay: Factor from each stage to the one before it, above 0 to 1; 1 changes nothing.
    """
    if decay == 1.0:
        return optimizer
    factors = stage_factors(model, decay)

    def scale(updates: Params, params: Params | None = None) -> Params:
        del params
        return jax.tree.map(lambda update, factor: update * jnp.float32(factor), updates, factors)

    return optax.chain(optimizer, optax.stateless(scale))


def stage_factors(model: Model, decay: float) -> Any:
    """Returns a factor for each parameter, as a tree like the parameters."""
    owners = {}
    stages = list(model.stages())
    for number, (_, _, part) in enumerate(stages):
        if isinstance(part, nnx.Module):
            owners.update({id(node): number for _, node in nnx.iter_graph(part)})
    last = len(stages) - 1
    numbers = {
        path: owners.get(id(node), 0)
        for path, node in nnx.iter_graph(model)
        if isinstance(node, nnx.Param)
    }
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    return jax.tree_util.tree_map_with_path(
        lambda path, _: decay ** (last - numbers[tuple(key.key for key in path)]), params
    )
