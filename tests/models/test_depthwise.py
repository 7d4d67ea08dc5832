"""Promises of the depthwise convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from catsdogs_jax.models import depthwise
from catsdogs_jax.models.convolution import Padding, explicit_padding, kernel_gradient
from catsdogs_jax.models.depthwise import depthwise_conv

CASES = [
    (3, 2, "SAME", (9, 8)),
    (5, 1, 2, (11, 10)),
    (3, 2, "VALID", (10, 9)),
    (2, 2, ((0, 1), (1, 0)), (7, 5)),
]


def arrays(side: int, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    x = jax.random.normal(jax.random.key(0), (3, *size, 6))
    return x, jax.random.normal(jax.random.key(1), (side, side, 1, 6))


def native(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    pads = explicit_padding(padding, x.shape[1:3], kernel.shape[:2], stride)
    return depthwise._native(x, kernel, stride, pads)


@pytest.mark.parametrize(("side", "stride", "padding", "size"), CASES)
def test_result_and_gradients_are_those_of_the_native_operation(
    side: int, stride: int, padding: Padding, size: tuple[int, int]
) -> None:
    x, kernel = arrays(side, size)
    pads = explicit_padding(padding, size, (side, side), stride)

    @jax.jit
    def both(x: jax.Array, kernel: jax.Array) -> list[tuple[jax.Array, ...]]:
        results = []
        for convolve in (depthwise_conv, native):
            found, back = jax.vjp(lambda x, k, c=convolve: c(x, k, stride, padding), x, kernel)
            gradient = jnp.cos(jnp.arange(found.size, dtype=jnp.float32)).reshape(found.shape)
            results.append((found, *back(gradient)))
        elsewhere = kernel_gradient(x, gradient, kernel.shape, stride, pads, groups=6)
        return [*results, (*results[0][:2], elsewhere)]

    ours, theirs, elsewhere = both(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), ours, theirs)
    np.testing.assert_allclose(elsewhere[2], theirs[2], rtol=1e-4, atol=1e-4)


@pytest.mark.heavy
@pytest.mark.parametrize(("side", "stride", "padding", "size"), CASES)
def test_gradients_are_those_of_finite_differences(
    side: int, stride: int, padding: Padding, size: tuple[int, int]
) -> None:
    def convolved(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return depthwise_conv(x, kernel, stride, padding)

    check_grads(convolved, arrays(side, size), order=1, modes=["rev"], rtol=1e-2, atol=1e-2)


def test_same_padding_is_tensorflows_and_a_number_is_pytorchs() -> None:
    # TensorFlow: 8 columns in steps of 2 under 3 need one zero, and it goes to the end.
    assert explicit_padding("SAME", (8, 9), (3, 3), 2) == ((0, 1), (1, 1))
    assert explicit_padding(1, (8, 9), (3, 3), 2) == ((1, 1), (1, 1))


def test_bfloat16_pictures_give_a_float32_kernel_gradient() -> None:
    """A channel of 4,096 ones: summed in bfloat16 the gradient would stop at 256."""
    x, kernel = jnp.ones((1, 64, 64, 2), jnp.bfloat16), jnp.ones((1, 1, 1, 2))
    out, back = jax.vjp(lambda x, k: depthwise_conv(x, k), x, kernel)
    to_input, to_kernel = back(jnp.ones_like(out))
    assert (out.dtype, to_input.dtype, to_kernel.dtype) == (jnp.bfloat16, jnp.bfloat16, jnp.float32)
    np.testing.assert_array_equal(to_kernel, 4096.0)


def test_only_cpus_get_multiply_adds() -> None:
    x, kernel = arrays(3, (8, 8))
    step = jax.jit(jax.grad(lambda k: depthwise_conv(x, k).sum()))
    code = {
        platform: jax.export.export(step, platforms=[platform])(kernel).mlir_module()
        for platform in ("cpu", "tpu", "cuda")
    }
    assert "stablehlo.convolution" not in code["cpu"]
    for platform in ("tpu", "cuda"):
        assert "stablehlo.convolution" in code[platform]
