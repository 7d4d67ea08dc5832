"""Depthwise convolutions: on a CPU as shifted multiply-adds, elsewhere the native operation.

XLA's CPU backend runs a depthwise convolution one output value after the other. The same sums,
written as k·k shifted copies of the picture times one weight a channel each, fill the vectors: 8 to
40 times faster forward, and its gradients 2 to 300 times.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from catsdogs_jax.models.blocks import product
from catsdogs_jax.models.convolution import Padding, Pads, explicit_padding, kernel_gradient

_BLOCKS = {1: 8, 2: 8, 3: 8}
"""Blocks of rows that are added up before the sum over all places, by the side of the kernel; of
larger ones 4. XLA's CPU backend adds blocks at the speed of the vectors, but reduces one value
after the other. More blocks are faster to run and slower to compile."""


def depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, padding: Padding = "SAME"
) -> jax.Array:
    """Convolves each channel with its own filter.

    Sums are made in float32 whatever the type of the pictures, and so is the gradient of the
    kernel.

    Args:
        x: [batch, h, w, channels].
        kernel: [k, k, 1, channels], usually float32; rounded to the type of x for the products.
        stride: Step of the window along rows and columns.
        padding: Zeros around the picture, see `Padding`.

    Returns:
        [batch, h', w', channels] of x's type.
    """
    shape = (kernel.shape[0], kernel.shape[1])
    pads = explicit_padding(padding, x.shape[1:3], shape, stride)
    return product(_depthwise(x, kernel, stride, pads))


class DepthwiseConv(nnx.Module):
    """A filter for each channel, without bias; zeros around the picture as in TensorFlow's SAME.

    Args:
        channels: Channels of the pictures and of the result.
        size: Rows and columns of the kernel.
        stride: Step of the window.
        dtype: Type of the activations.
        rngs: Random keys of the initial kernel, He's normal.
    """

    def __init__(self, channels: int, size: int, *, stride: int = 1, dtype: Any, rngs: nnx.Rngs):
        initial = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")
        self.kernel = nnx.Param(initial(rngs.params(), (size, size, 1, channels), jnp.float32))
        self.stride, self.type = stride, dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [batch, ceil(h / stride), ceil(w / stride), channels]."""
        return depthwise_conv(x.astype(self.type), self.kernel[...], self.stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
    shifted = functools.partial(_shifted, stride=stride, pads=pads)
    native = functools.partial(_native, stride=stride, pads=pads)
    return lax.platform_dependent(x, kernel.astype(x.dtype), cpu=shifted, default=native)


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _depthwise(x, kernel, stride, pads), (x, kernel)


def _backward(
    stride: int, pads: Pads, kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    rounded = kernel.astype(x.dtype)

    def native_input(kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        forward = functools.partial(_native, kernel=kernel, stride=stride, pads=pads)
        return jax.linear_transpose(forward, x)(gradient)[0]

    def shifted_input(kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        return _spread(gradient, kernel, stride, pads, x.shape[1:3])

    options = {"shape": kernel.shape, "stride": stride, "pads": pads}
    to_input = lax.platform_dependent(rounded, gradient, cpu=shifted_input, default=native_input)
    to_kernel = lax.platform_dependent(
        x,
        gradient,
        cpu=functools.partial(_shifted_kernel_gradient, **options),
        default=functools.partial(kernel_gradient, groups=x.shape[-1], **options),
    )
    return to_input, to_kernel.astype(kernel.dtype)


_depthwise.defvjp(_forward, _backward)


def _native(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _shifted(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows, columns = (
        (size - side) // stride + 1
        for size, side in zip(padded.shape[1:3], kernel.shape[:2], strict=True)
    )
    total = jnp.zeros((), jnp.float32)
    for i, j, window in _windows(padded, kernel.shape, rows, columns, stride):
        weight = kernel[i, j].astype(jnp.float32).reshape(1, 1, 1, -1)
        total = total + window.astype(jnp.float32) * weight
    return total.astype(x.dtype)


def _spread(
    gradient: jax.Array, kernel: jax.Array, stride: int, pads: Pads, size: Sequence[int]
) -> jax.Array:
    """The transpose of `_shifted`: gradients with zeros between them, and the kernel turned."""
    edges = [
        (side - 1 - before, length + before - 1 - (count - 1) * stride, stride - 1)
        for side, (before, _), length, count in zip(
            kernel.shape[:2], pads, size, gradient.shape[1:3], strict=True
        )
    ]
    zero = jnp.zeros((), gradient.dtype)
    spread = lax.pad(gradient, zero, ((0, 0, 0), *edges, (0, 0, 0)))
    return _shifted(spread, kernel[::-1, ::-1], 1, ((0, 0), (0, 0)))


def _shifted_kernel_gradient(
    x: jax.Array, gradient: jax.Array, shape: Sequence[int], stride: int, pads: Pads
) -> jax.Array:
    """Sums over pictures and places of shifted picture times gradient, [k, k, 1, channels]."""
    rows, columns = gradient.shape[1:3]
    block = -(-rows // _BLOCKS.get(shape[0], 4))
    blocks = -(-rows // block)
    more = blocks * block - rows  # Rows of zeros, so that all blocks are of one size.
    gradient = jnp.pad(gradient, ((0, 0), (0, more), (0, 0), (0, 0)))
    (top, bottom), sides = pads
    padded = jnp.pad(x, ((0, 0), (top, bottom + more * stride), sides, (0, 0)))
    sums = []
    for _, _, window in _windows(padded, shape, rows + more, columns, stride):
        total = jnp.zeros((), jnp.float32)
        for start in range(0, rows + more, block):
            part = slice(start, start + block)
            product = window[:, part].astype(jnp.float32) * gradient[:, part].astype(jnp.float32)
            total = total + product
        # A product with ones is a matrix product, which is fast where a reduction is not.
        places = total.reshape(-1, total.shape[-1])
        sums.append(jnp.ones(places.shape[0]) @ places)
    return jnp.stack(sums).reshape(*shape)


def _windows(
    padded: jax.Array, shape: Sequence[int], rows: int, columns: int, stride: int
) -> Iterator[tuple[int, int, jax.Array]]:
    """Yields each place of a kernel, and what it sees of the pictures at all its stops."""
    for i in range(shape[0]):
        for j in range(shape[1]):
            below, right = i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1
            yield i, j, padded[:, i:below:stride, j:right:stride]
