"""Convolutions and dense layers whose weight gradients are float32, whatever the activations.

The gradient of a cast parameter has the type of the cast: under bfloat16 activations a sum over a
whole batch would be rounded to 8 bits, and the devices would then add such sums. Here both sums
stay float32; the operands are bfloat16 as before, so accelerators run at the same speed.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from catsdogs_jax.models.blocks import product

Padding = str | int | Sequence[tuple[int, int]]
"""As TensorFlow's "SAME" (the odd row goes to the bottom) or "VALID", the same number of zeros on
all sides as in PyTorch, or (before, after) for rows and columns."""

Pads = tuple[tuple[int, int], tuple[int, int]]
"""Zeros before and after rows, and before and after columns."""

_PICTURES = ("NHWC", "HWIO", "NHWC")
_SMALL_KERNEL = 5


def explicit_padding(
    padding: Padding, size: Sequence[int], window: Sequence[int], stride: int
) -> Pads:
    """Returns the zeros before and after rows and columns.

    Args:
        padding: See `Padding`.
        size: Rows and columns of the picture.
        window: Rows and columns of the kernel.
        stride: Step of the window.
    """
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(size, window, (stride, stride), padding)
    (top, bottom), (left, right) = padding
    return (int(top), int(bottom)), (int(left), int(right))


def kernel_gradient(
    x: jax.Array,
    gradient: jax.Array,
    shape: Sequence[int],
    stride: int,
    pads: Pads,
    groups: int = 1,
) -> jax.Array:
    """Returns the gradient of a convolution's kernel, summed in float32.

    It is itself a convolution: of the pictures with the gradient of the result.

    Args:
        x: [batch, h, w, inputs].
        gradient: [batch, h', w', outputs], of the type of x.
        shape: Shape of the kernel, [k, k, inputs / groups, outputs].
        stride: Step of the window.
        pads: Zeros around the pictures.
        groups: Groups of channels, `feature_group_count` of the convolution.
    """
    if tuple(shape[:2]) == (1, 1) and groups == 1 and pads == ((0, 0), (0, 0)):
        # A matrix product, which XLA's CPU backend would not make of it by itself.
        seen, places = x[:, ::stride, ::stride], (((0, 1, 2), (0, 1, 2)), ((), ()))
        product = lax.dot_general(seen, gradient, places, preferred_element_type=jnp.float32)
        return product.reshape(*shape)
    # What the window never reached at the end is cut off: the padding there may be negative.
    ends = [
        side + (count - 1) * stride - size - before
        for side, count, size, (before, _) in zip(
            shape[:2], gradient.shape[1:3], x.shape[1:3], pads, strict=True
        )
    ]
    return lax.conv_general_dilated(
        x,
        gradient,
        (1, 1),
        [(before, end) for (before, _), end in zip(pads, ends, strict=True)],
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        batch_group_count=groups,
        preferred_element_type=jnp.float32,
    )


def convolve(
    x: jax.Array, kernel: jax.Array, stride: int = 1, padding: Padding = "SAME"
) -> jax.Array:
    """Convolves pictures with a kernel, whose gradient is summed in float32.

    Args:
        x: [batch, h, w, inputs].
        kernel: [k, k, inputs, outputs], usually float32; rounded to the type of x for the products.
        stride: Step of the window along rows and columns.
        padding: Zeros around the picture, see `Padding`.

    Returns:
        [batch, h', w', outputs] of x's type.
    """
    window = (kernel.shape[0], kernel.shape[1])
    pads = explicit_padding(padding, x.shape[1:3], window, stride)
    if _outgrows(window, x.shape[1:3], stride, pads):
        seen = _patches(x, window, stride, pads)
        return multiply(seen, kernel.reshape(-1, kernel.shape[3]))
    return product(_convolve(x, kernel, stride, pads))


def _patches(x: jax.Array, window: tuple[int, int], stride: int, pads: Pads) -> jax.Array:
    """Returns what the window sees at each place, [batch, h', w', k * k * channels].

    Args:
        x: [batch, h, w, channels].
        window: Rows and columns of the kernel.
        stride: Step of the window.
        pads: Zeros around the pictures.
    """
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    reach = [size - side + 1 for size, side in zip(padded.shape[1:3], window, strict=True)]
    views = [
        padded[:, top : top + reach[0] : stride, left : left + reach[1] : stride]
        for top in range(window[0])
        for left in range(window[1])
    ]
    return jnp.concatenate(views, axis=-1)


def _outgrows(window: Sequence[int], size: Sequence[int], stride: int, pads: Pads) -> bool:
    """Returns whether a small kernel is larger than the picture, or than the result.

    XLA's CPU backend has fast code for neither the convolution nor its gradient then, see
    docs/performance.md; such pictures are so small that their patches cost nothing.
    """
    results = [
        (length + before + after - side) // stride + 1
        for length, side, (before, after) in zip(size, window, pads, strict=True)
    ]
    return max(window) <= _SMALL_KERNEL and any(
        side > min(length, result)
        for side, length, result in zip(window, size, results, strict=True)
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
    rounded = kernel.astype(x.dtype)
    return lax.conv_general_dilated(x, rounded, (stride, stride), pads, dimension_numbers=_PICTURES)


def _convolve_forward(
    x: jax.Array, kernel: jax.Array, stride: int, pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _convolve(x, kernel, stride, pads), (x, kernel)


def _convolve_backward(
    stride: int, pads: Pads, kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept

    def forward(x: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            x, kernel.astype(x.dtype), (stride, stride), pads, dimension_numbers=_PICTURES
        )

    (to_input,) = jax.linear_transpose(forward, x)(gradient)
    to_kernel = kernel_gradient(x, gradient, kernel.shape, stride, pads)
    return to_input, to_kernel.astype(kernel.dtype)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def multiply(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns x [..., inputs] times a kernel [inputs, outputs], in x's type.

    The gradient of the kernel is summed in float32.
    """
    return product(_multiply(x, kernel))


@jax.custom_vjp
def _multiply(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return x @ kernel.astype(x.dtype)


def _multiply_forward(
    x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _multiply(x, kernel), (x, kernel)


def _multiply_backward(
    kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    rows = tuple(range(x.ndim - 1))
    to_kernel = lax.dot_general(
        x, gradient, ((rows, rows), ((), ())), preferred_element_type=jnp.float32
    )
    return gradient @ kernel.astype(x.dtype).T, to_kernel.astype(kernel.dtype)


_multiply.defvjp(_multiply_forward, _multiply_backward)


def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns x [..., channels] plus a float32 bias, in x's type; its gradient is float32."""
    bias = bias.reshape((1,) * (x.ndim - 1) + bias.shape)
    return (x.astype(jnp.float32) + bias).astype(x.dtype)


class Conv(nnx.Conv):
    """A convolution of pictures, in parameters and their start the same as `nnx.Conv`.

    Args:
        inputs: Channels of the pictures.
        outputs: Channels of the result.
        size: Rows and columns of the kernel.
        stride: Step of the window.
        padding: Zeros around the picture, see `Padding`.
        bias: Whether a bias is added; not before a BatchNorm, where its true gradient is zero.
        kernel_init: Of the kernel [size, size, inputs, outputs].
        dtype: Type of the activations.
        rngs: Random keys of the initial parameters.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        stride: int = 1,
        padding: Padding = "SAME",
        bias: bool = False,
        kernel_init: nnx.Initializer,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            inputs,
            outputs,
            kernel_size=(size, size),
            strides=stride,
            padding=padding,
            use_bias=bias,
            kernel_init=kernel_init,
            dtype=dtype,
            rngs=rngs,
        )
        self.stride, self.zeros, self.type = stride, padding, dtype

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: jax.Array
    ) -> jax.Array:
        """Returns [batch, h', w', outputs] for [batch, h, w, inputs]."""
        y = convolve(x.astype(self.type), self.kernel[...], self.stride, self.zeros)
        return y if self.bias is None else add_bias(y, self.bias[...])


class Linear(nnx.Linear):
    """A dense layer, in parameters and their start the same as `nnx.Linear`.

    Args:
        inputs: Length of the last axis.
        outputs: Units.
        kernel_init: Of the kernel [inputs, outputs].
        dtype: Type of the activations.
        rngs: Random keys of the initial parameters.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel_init: nnx.Initializer,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        super().__init__(inputs, outputs, kernel_init=kernel_init, dtype=dtype, rngs=rngs)
        self.type = dtype

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: jax.Array
    ) -> jax.Array:
        """Returns [..., outputs] for [..., inputs]."""
        y = multiply(x.astype(self.type), self.kernel[...])
        return y if self.bias is None else add_bias(y, self.bias[...])
