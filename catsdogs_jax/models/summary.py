"""Shapes and parameter counts of a model's parts, without running it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from catsdogs_jax.models.registry import Model


@dataclasses.dataclass(frozen=True)
class StageSummary:
    """One part of a model.

    Attributes:
        name: Short name.
        description: What it does, first word the kind of operation.
        output_shape: Shape of its result without the batch axis.
        parameters: Number of trainable values.
    """

    name: str
    description: str
    output_shape: tuple[int, ...]
    parameters: int


def summarize(model: Model, image_size: int) -> list[StageSummary]:
    """Follows the shape of a picture through the parts of a model.

    Args:
        model: May have abstract parameters.
        image_size: Side of the pictures, pixels.
    """
    graphdef, state = nnx.split(model)

    def outputs(state: nnx.State, x: jax.Array) -> list[jax.Array]:
        results = []
        for _, _, function in nnx.merge(graphdef, state).stages():
            x = function(x)
            results.append(x)
        return results

    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    shapes = jax.eval_shape(outputs, state, image)
    return [
        StageSummary(name, description, shape.shape[1:], parameter_count(function))
        for (name, description, function), shape in zip(model.stages(), shapes, strict=True)
    ]


def parameter_count(module: Any) -> int:
    """Returns the number of trainable values of an NNX module, 0 for a plain function."""
    if not isinstance(module, nnx.Module):
        return 0
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))
