"""Promises of the convolutions and dense layers of the models."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.test_util import check_grads

from catsdogs_jax.models.convolution import (
    Conv,
    Linear,
    Padding,
    convolve,
    explicit_padding,
    multiply,
)
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.state import merge_model, split_model

_NORMAL = nnx.initializers.normal(0.1)


@pytest.mark.parametrize(
    ("size", "side", "stride", "padding"),
    [
        ((9, 10), 3, 1, "SAME"),
        ((9, 10), 3, 2, 1),
        ((9, 10), 4, 4, "VALID"),
        ((9, 10), 1, 1, 0),
        ((9, 10), 1, 2, 0),
        # Less than the kernel, and only the result is less.
        ((2, 2), 3, 1, 1),
        ((1, 2), 3, 2, "SAME"),
        ((4, 5), 3, 2, 1),
        ((7, 9), 5, 2, "VALID"),
        ((3, 2), 3, 1, ((0, 1), (2, 0))),
    ],
)
def test_result_and_gradients_are_those_of_the_native_operation(
    size: tuple[int, int], side: int, stride: int, padding: Padding
) -> None:
    x = jax.random.normal(jax.random.key(0), (2, *size, 3))
    kernel = jax.random.normal(jax.random.key(1), (side, side, 3, 4))
    pads = explicit_padding(padding, size, (side, side), stride)

    def native(x: jax.Array, kernel: jax.Array) -> jax.Array:
        names = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=names)

    @jax.jit
    def both(x: jax.Array, kernel: jax.Array) -> list[tuple[jax.Array, ...]]:
        results = []
        for function in (lambda x, k: convolve(x, k, stride, padding), native):
            found, back = jax.vjp(function, x, kernel)
            gradient = jnp.cos(jnp.arange(found.size, dtype=jnp.float32)).reshape(found.shape)
            results.append((found, *back(gradient)))
        return results

    ours, theirs = both(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), ours, theirs)


@pytest.mark.parametrize(("side", "stride"), [(2, 1), (4, 2), (1, 1)])
def test_pictures_smaller_than_the_kernel_are_no_convolutions_to_xla(
    side: int, stride: int
) -> None:
    x, kernel = jnp.ones((2, side, side, 3)), jnp.ones((3, 3, 3, 4))

    def gradients(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.grad(lambda x, k: (convolve(x, k, stride, 1) ** 2).sum(), (0, 1))(x, kernel)

    program = jax.jit(gradients).lower(x, kernel).as_text()
    assert "dot_general" in program
    assert "convolution" not in program


def test_gradients_are_those_of_finite_differences() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 6, 5, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 4))
    check = functools.partial(check_grads, order=1, modes=["rev"], rtol=1e-2, atol=1e-2)
    check(lambda x, kernel: convolve(x, kernel, 2, "SAME"), (x, kernel))
    check(multiply, (x, kernel[0, 0]))


class Both(nnx.Module):
    """A convolution and a dense layer, with biases, in bfloat16."""

    def __init__(self, rngs: nnx.Rngs):
        options: dict[str, Any] = {"kernel_init": _NORMAL, "dtype": jnp.bfloat16, "rngs": rngs}
        self.conv = Conv(3, 8, 3, bias=True, **options)
        self.dense = Linear(8, 4, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dense(jax.nn.relu(self.conv(x)))


def gradient_of(images: jax.Array, *, exact: bool) -> Any:
    """The gradient in bfloat16, or that of the same rounded numbers with all sums in float32."""
    graphdef, params, _ = split_model(Both(nnx.Rngs(0)))

    def loss(params: Any) -> jax.Array:
        model = merge_model(graphdef, params, {})
        if exact:
            model.conv.type = model.dense.type = jnp.float32
        return (model(images).astype(jnp.float32) ** 2).sum() / 1000

    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16).astype(jnp.float32), params)
    return jax.jit(jax.grad(loss))(rounded)


def test_bfloat16_activations_leave_the_sums_of_gradients_in_float32() -> None:
    """Of 4,096 places: a sum in bfloat16 stops growing at 256 equal terms."""
    images = jax.random.uniform(jax.random.key(0), (4, 32, 32, 3)).astype(jnp.bfloat16)
    found, exact = (gradient_of(images, exact=exact) for exact in (False, True))
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, theirs, rtol=0.02, atol=0.02 * np.abs(theirs).max())
        # No gradient is a bfloat16 number in disguise.
        assert (ours != ours.astype(jnp.bfloat16).astype(jnp.float32)).any()


def test_devices_add_gradients_in_float32() -> None:
    """What each device holds before they are added is float32: nothing is rounded on the way."""
    sharding = make_sharding(8)
    graphdef, params, _ = split_model(Both(nnx.Rngs(0)))

    def loss(params: Any, images: jax.Array) -> jax.Array:
        return merge_model(graphdef, params, {})(images).astype(jnp.float32).sum()

    images = jax.ShapeDtypeStruct((8, 8, 8, 3), jnp.float32, sharding=sharding.batch)
    jaxpr = jax.make_jaxpr(jax.grad(loss))(params, images)
    sums = [
        equation
        for equation in jaxpr.jaxpr.eqns
        if equation.primitive.name in ("conv_general_dilated", "dot_general", "reduce_sum")
        and tuple(equation.outvars[0].aval.shape)  # pyright: ignore[reportAttributeAccessIssue]
        in {leaf.shape for leaf in jax.tree.leaves(params)}
    ]
    assert len(sums) == 4
    for equation in sums:
        assert equation.outvars[0].aval.dtype == jnp.float32  # pyright: ignore
