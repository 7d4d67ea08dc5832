"""The network of the Keras notebook that the project grew from.

Three times a 3x3 convolution without padding, ReLU and 2x2 max-pooling, then a dense layer,
dropout and a dense head. With 150x150 pictures, widths 32, 32, 64 and one output it has
1,212,513 parameters.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.kernels.conv_pool import conv_relu_pool, supports
from catsdogs_jax.models.blocks import block_end
from catsdogs_jax.models.convolution import Conv, Linear, add_bias
from catsdogs_jax.models.dropout import Dropout

_WIDTHS, _HIDDEN, _DROPOUT = (32, 32, 64), 64, 0.5  # The notebook's.
_INITIAL_KERNEL = nnx.initializers.glorot_uniform()  # Keras's default, as in the notebook.


class ConvPool(nnx.Module):
    """3x3 convolution without padding, then ReLU and 2x2 max-pooling.

    The pooling comes before bias and ReLU: both are monotone, so the result is the same, on a
    quarter of the data.

    Args:
        inputs: Channels of the pictures.
        outputs: Channels of the result.
        dtype: Type of the activations.
        compiled: Whether to use the kernels for this CPU where they can be used.
        rngs: Random keys of the initial parameters.
    """

    def __init__(self, inputs: int, outputs: int, dtype: Any, *, compiled: bool, rngs: nnx.Rngs):
        self.conv = Conv(
            inputs,
            outputs,
            3,
            padding="VALID",
            kernel_init=_INITIAL_KERNEL,
            dtype=dtype,
            rngs=rngs,
        )
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.compiled = compiled and supports(dtype, outputs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [batch, (h - 2) // 2, (w - 2) // 2, outputs] for [batch, h, w, inputs]."""
        if self.compiled:
            return conv_relu_pool(x, self.conv.kernel[...], self.bias[...])
        pooled = max_pool(self.conv(x))
        return jax.nn.relu(add_bias(pooled, self.bias[...]))


class DenseRelu(Linear):
    """A dense layer, then ReLU."""

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [..., outputs] for [..., inputs]."""
        return jax.nn.relu(super().__call__(x))


def max_pool(x: jax.Array) -> jax.Array:
    """2x2 max-pooling with stride 2 of [batch, h, w, channels]; an odd last row or column is cut.

    Written as the greatest of four strided slices: on CPUs its gradient runs at twice the speed of
    `reduce_window`'s, see docs/design.md.
    """
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    corners = [x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    return functools.reduce(jnp.maximum, corners)


class SeedCNN(nnx.Module):
    """The notebook's network, for any number of outputs.

    Args:
        config: `widths`, `hidden`, `dropout`, `dtype` and `convolutions` are used; what is not set
            is as in the notebook.
        image_size: Side of the pictures, pixels.
        outputs: Number of logits.
        rngs: Random keys of the initial parameters.

    Raises:
        UserError: The picture is too small for that many convolutions.
    """

    def __init__(self, config: ModelConfig, *, image_size: int, outputs: int, rngs: nnx.Rngs):
        widths, hidden = config.widths or _WIDTHS, config.hidden or _HIDDEN
        dtype = jnp.dtype(config.dtype)
        compiled = config.convolutions == "compiled"
        side, channels, blocks = image_size, 3, []
        for width in widths:
            side = (side - 2) // 2
            if side < 1:
                raise UserError(
                    f"data.image_size is {image_size}: too small for {len(widths)} "
                    "convolutions with pooling; give a larger size or fewer model.widths"
                )
            blocks.append(ConvPool(channels, width, dtype, compiled=compiled, rngs=rngs))
            channels = width
        self.blocks = nnx.List(blocks)
        self.hidden = DenseRelu(
            side * side * channels,
            hidden,
            kernel_init=_INITIAL_KERNEL,
            dtype=dtype,
            rngs=rngs,
        )
        self.dropout = Dropout(_DROPOUT if config.dropout is None else config.dropout)
        self.head = Linear(hidden, outputs, kernel_init=_INITIAL_KERNEL, dtype=dtype, rngs=rngs)

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        """Returns logits [batch, outputs]; see `Model`."""
        x = images
        for block in self.blocks:
            x = block_end(block(x))
        x = self.hidden(x.reshape(x.shape[0], -1))
        return self.head(self.dropout(x, keys))

    def stages(self) -> Sequence[tuple[str, str, Any]]:
        """Returns name, description and function of each part, first to last."""
        convolutions = [
            (f"conv {n}", f"Conv 3×3, {block.bias.shape[0]} → ReLU → max-pool 2×2", block)
            for n, block in enumerate(self.blocks, 1)
        ]
        units, rate = self.hidden.out_features, self.dropout.rate
        return [
            *convolutions,
            ("flatten", "Flatten", lambda x: x.reshape(x.shape[0], -1)),
            ("hidden", f"Dense {units} → ReLU", self.hidden),
            ("dropout", f"Dropout {rate:g}", lambda x: x),
            ("head", f"Dense {self.head.out_features}", self.head),
        ]
