"""Shapes, parameters and multiply-adds of a model's parts, without running it."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.models.registry import Model, build_model, entry, model_names


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

    shapes = jax.eval_shape(outputs, state, _image(image_size))
    return [
        StageSummary(name, description, shape.shape[1:], parameter_count(function))
        for (name, description, function), shape in zip(model.stages(), shapes, strict=True)
    ]


def parameter_count(module: Any) -> int:
    """Returns the number of trainable values of an NNX module, 0 for a plain function."""
    if not isinstance(module, nnx.Module):
        return 0
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


def multiply_adds(model: Model, image_size: int) -> int:
    """Returns the multiplications of convolutions and matrix products for one picture.

    Papers call these FLOPs; each is one multiplication and one addition. A training step takes
    about three times as many.

    Args:
        model: May have abstract parameters.
        image_size: Side of the pictures, pixels.
    """
    graphdef, state = nnx.split(model)

    def logits(state: nnx.State, images: jax.Array) -> jax.Array:
        again: Any = nnx.merge(graphdef, state)
        return again(images)

    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
    return _count(jax.make_jaxpr(logits)(shapes, _image(image_size)).jaxpr)


def describe_size(parameters: int, multiplications: int) -> str:
    """Returns both in words: "11.7 M parameters, 1.81 G multiply-adds a picture"."""
    return (
        f"{parameters / 1e6:.3g} M parameters, "
        f"{multiplications / 1e9:.3g} G multiply-adds a picture"
    )


def table_of_models() -> str:
    """Returns the table of docs/models.md: every model at its natural size, with 1,000 outputs."""
    lines = [
        "| name | parameters | multiply-adds, G | picture, px | reads | source |",
        "|---|---:|---:|---:|---|---|",
    ]
    for name in model_names():
        found = entry(name)
        size = found.spec.image_size
        config = ModelConfig(name=name)
        model = nnx.eval_shape(lambda c=config, s=size: build_model(c, s, 1000, nnx.Rngs(0)))
        fields = ", ".join(f"`{field}`" for field in sorted(found.fields))
        count, work = f"{parameter_count(model):,}", f"{multiply_adds(model, size) / 1e9:.2f}"
        lines.append(f"| `{name}` | {count} | {work} | {size} | {fields} | {found.source} |")
    return "\n".join(lines)


def _image(size: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)


def _count(jaxpr: Jaxpr) -> int:
    return sum(_count_one(equation) for equation in jaxpr.eqns)


def _count_one(equation: JaxprEqn) -> int:
    kind = equation.primitive.name
    if kind == "conv_general_dilated":
        kernel, out = _shape(equation.invars[1]), _shape(equation.outvars[0])
        outputs = equation.params["dimension_numbers"].rhs_spec[0]
        return math.prod(out) * math.prod(kernel) // kernel[outputs]
    if kind == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        left, out = _shape(equation.invars[0]), _shape(equation.outvars[0])
        return math.prod(out) * math.prod(left[axis] for axis in contracted)
    inner = [
        value.jaxpr if isinstance(value, ClosedJaxpr) else value
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr)
        if _is_jaxpr(value)
    ]
    # The branches of a platform-dependent operation are ways to compute the same.
    once = max((_count(jaxpr) for jaxpr in inner), default=0)
    return once * (equation.params["length"] if kind == "scan" else 1)


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _is_jaxpr(value: Any) -> bool:
    return isinstance(value, (Jaxpr, ClosedJaxpr))


if __name__ == "__main__":
    print(table_of_models())
