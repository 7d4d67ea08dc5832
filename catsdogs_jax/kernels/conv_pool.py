"""3x3 convolution, 2x2 max-pooling, bias and ReLU as one operation, with its gradients."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from catsdogs_jax.kernels import conv_pool_ir, xla_call
from catsdogs_jax.kernels.conv_pool_ir import Shape
from catsdogs_jax.kernels.emitter import vector_registers

_PARTS = 16
"""Parts of a batch whose weight gradients are summed apart: fixed, so that the rounding does not
depend on the number of cores."""

_PREFIX = "catsdogs_conv_pool"
"""What the names begin with under which XLA knows the kernels."""


def supports(dtype: Any, outputs: int) -> bool:
    """Whether `conv_relu_pool` can be used, on a CPU.

    Args:
        dtype: Type of the pictures.
        outputs: Channels of the result: they must fill vectors.
    """
    lanes, _ = vector_registers()
    return dtype == jnp.float32 and outputs % lanes == 0


@jax.custom_vjp
def conv_relu_pool(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns relu(max_pool(conv(x, kernel)) + bias), by machine code for this CPU.

    The convolution has no padding; the pooling is 2x2 with stride 2 and cuts an odd last row or
    column. Where pooled places are equal, the gradient goes to the first, as `reduce_window`'s.

    Args:
        x: float32 [batch, height, width, inputs], height and width at least 4.
        kernel: float32 [3, 3, inputs, outputs].
        bias: float32 [outputs].

    Returns:
        float32 [batch, (height - 2) // 2, (width - 2) // 2, outputs].
    """
    return _forward(x, kernel, bias)[0]


def _forward(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, Any]:
    shape = _shape(x, kernel)
    result = (shape.pictures, shape.rows, shape.columns, shape.outputs)
    call = jax.ffi.ffi_call(
        _registered("forward", shape),
        (jax.ShapeDtypeStruct(result, jnp.float32), jax.ShapeDtypeStruct(result, jnp.uint8)),
    )
    y, winner = call(x, kernel, bias)
    return y, (x, kernel, winner)


def _backward(saved: Any, dy: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, kernel, winner = saved
    shape = _shape(x, kernel)
    parts = min(shape.pictures, _PARTS)
    call = jax.ffi.ffi_call(
        _registered("weight_gradient", shape),
        (
            jax.ShapeDtypeStruct((parts, *kernel.shape), jnp.float32),
            jax.ShapeDtypeStruct((parts, shape.outputs), jnp.float32),
        ),
    )
    dkernel, dbias = call(x, dy, winner)
    return _input_gradient(shape, dy, winner, kernel), dkernel.sum(0), dbias.sum(0)


def _input_gradient(shape: Shape, dy: jax.Array, winner: jax.Array, kernel: jax.Array) -> jax.Array:
    lanes, _ = vector_registers()
    like = jax.ShapeDtypeStruct(
        (shape.pictures, shape.height, shape.width, shape.inputs), jnp.float32
    )
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    missing = -shape.inputs % lanes
    if not missing:
        return jax.ffi.ffi_call(_registered("input_gradient", shape), like)(dy, winner, turned)
    # Three channels fill no vector. XLA drops all this where nobody asks for the gradient.
    padded = jnp.pad(turned, ((0, 0), (0, 0), (0, 0), (0, missing)))
    wider = Shape(shape.pictures, shape.height, shape.width, shape.inputs + missing, shape.outputs)
    wide = jax.ShapeDtypeStruct((*like.shape[:3], wider.inputs), jnp.float32)
    found = jax.ffi.ffi_call(_registered("input_gradient", wider), wide)(dy, winner, padded)
    return found[..., : shape.inputs]


def _shape(x: jax.Array, kernel: jax.Array) -> Shape:
    pictures, height, width, inputs = x.shape
    return Shape(pictures, height, width, inputs, kernel.shape[-1])


conv_relu_pool.defvjp(_forward, _backward)


@functools.cache
def _registered(kind: str, shape: Shape) -> str:
    """Compiles and registers one of the three tasks, once; returns its name."""
    sizes = (shape.pictures, shape.height, shape.width, shape.inputs, shape.outputs)
    name = f"{_PREFIX}_{kind}_{'x'.join(map(str, sizes))}"
    parts = min(shape.pictures, _PARTS)
    if kind == "forward":
        xla_call.register(name, conv_pool_ir.forward(shape), 3, 2, tasks=shape.pictures)
    elif kind == "weight_gradient":
        xla_call.register(name, conv_pool_ir.weight_gradient(shape, parts), 3, 2, tasks=parts)
    else:
        xla_call.register(name, conv_pool_ir.input_gradient(shape), 3, 1, tasks=shape.pictures)
    return name
