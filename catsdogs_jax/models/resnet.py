"""Residual networks: torchvision's ResNet v1.5, and a small one to train from scratch.

Sources: He et al., 2015, https://arxiv.org/abs/1512.03385; the stride of a bottleneck stands in its
3x3 convolution, as in torchvision (v1.5); the last norm of each block starts at zero, so that a
block begins as the identity (Goyal et al., 2017, https://arxiv.org/abs/1706.02677); blurred
downsampling is Zhang's (2019, https://arxiv.org/abs/1904.11486).
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.models.batch_norm import BatchNorm
from catsdogs_jax.models.convolution import Conv, Linear
from catsdogs_jax.models.depthwise import depthwise_conv
from catsdogs_jax.models.dropout import Dropout, DropPath, drop_path_rates
from catsdogs_jax.models.fields import check_stages

_HE_NORMAL = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
_PYTORCH_LINEAR = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""U(-1/sqrt(inputs), 1/sqrt(inputs)), the start of PyTorch's dense layers."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """What tells one ResNet from another.

    Attributes:
        depths: Blocks of each stage.
        widths: Channels of the 3x3 convolutions of each stage.
        bottleneck: Whether blocks are 1x1, 3x3, 1x1 with four times the channels at the end.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: bool = False


VARIANTS = {
    "resnet18": Variant((2, 2, 2, 2)),
    "resnet34": Variant((3, 4, 6, 3)),
    "resnet50": Variant((3, 4, 6, 3), bottleneck=True),
    "resnet_small": Variant((2, 2, 2, 2), (48, 96, 192, 384)),
}


class ConvNorm(nnx.Module):
    """A convolution without bias, and BatchNorm over the global batch.

    Args:
        inputs: Channels of the pictures.
        outputs: Channels of the result.
        size: Rows and columns of the kernel.
        stride: Step of the window.
        zero: Whether the scale of the norm starts at zero.
        dtype: Type of the activations; statistics are float32.
        rngs: Random keys of the initial parameters.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        stride: int = 1,
        *,
        zero: bool = False,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        self.conv = Conv(
            inputs,
            outputs,
            size,
            stride=stride,
            padding=size // 2,
            kernel_init=_HE_NORMAL,
            dtype=dtype,
            rngs=rngs,
        )
        scale = nnx.initializers.zeros if zero else nnx.initializers.ones
        self.norm = BatchNorm(
            outputs, momentum=0.9, epsilon=1e-5, scale_init=scale, dtype=dtype, rngs=rngs
        )

    def __call__(self, x: jax.Array, *, training: bool) -> jax.Array:
        """Returns [batch, h', w', outputs] for [batch, h, w, inputs]."""
        return self.norm(self.conv(x), training=training)


class Block(nnx.Module):
    """A residual block: two 3x3 convolutions, or 1x1, 3x3 and 1x1.

    Args:
        inputs: Channels of the pictures.
        width: Channels of the 3x3 convolutions.
        stride: 1, or 2 to halve the picture.
        bottleneck: Whether to squeeze the channels around one 3x3 convolution.
        antialias: Whether to halve by a blur in place of a stride.
        drop_path: The drop path of the branch.
        dtype: Type of the activations.
        rngs: Random keys of the initial parameters.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        *,
        bottleneck: bool,
        antialias: bool,
        drop_path: DropPath,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        layer = functools.partial(ConvNorm, dtype=dtype, rngs=rngs)
        outputs = width * 4 if bottleneck else width
        blurred = antialias and stride > 1
        step = 1 if blurred else stride
        if bottleneck:
            layers = [layer(inputs, width, 1), layer(width, width, 3, step)]
            layers.append(layer(width, outputs, 1, zero=True))
        else:
            layers = [layer(inputs, width, 3, step), layer(width, outputs, 3, zero=True)]
        self.layers = nnx.List(layers)
        changes = stride > 1 or inputs != outputs
        self.shortcut = layer(inputs, outputs, 1, step) if changes else None
        self.blur_after = len(layers) - 2 if blurred else -1
        self.drop_path = drop_path

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Returns [batch, h', w', outputs] for [batch, h, w, inputs]; keys: in training."""
        training = keys is not None
        branch, last = x, len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            branch = layer(branch, training=training)
            branch = jax.nn.relu(branch) if number < last else branch
            branch = halve(branch) if number == self.blur_after else branch
        if self.shortcut is not None:
            x = halve(x) if self.blur_after >= 0 else x
            x = self.shortcut(x, training=training)
        return jax.nn.relu(x + self.drop_path(branch, keys))


class Stem(nnx.Module):
    """A 7x7 convolution with stride 2, then a 3x3 max-pooling with stride 2."""

    def __init__(self, width: int, *, antialias: bool, dtype: Any, rngs: nnx.Rngs):
        self.layer = ConvNorm(3, width, 7, 2, dtype=dtype, rngs=rngs)
        self.antialias = antialias

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Returns [batch, h', w', width] for [batch, h, w, 3]."""
        x = jax.nn.relu(self.layer(x, training=keys is not None))
        return halve(max_pool(x, 1)) if self.antialias else max_pool(x, 2)


class StageOfBlocks(nnx.Module):
    """Blocks one after the other."""

    def __init__(self, blocks: Sequence[nnx.Module]):
        self.blocks = nnx.List(blocks)

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Returns what the last block makes of x [batch, h, w, channels]."""
        for block in self.blocks:
            x = block(x, keys)
        return x


class ResNet(nnx.Module):
    """A residual network.

    Args:
        config: `name`, `widths`, `depths`, `dropout`, `drop_path`, `antialias` and `dtype` are
            used.
        image_size: Side of the pictures, pixels; any will do.
        outputs: Number of logits.
        rngs: Random keys of the initial parameters.

    Raises:
        UserError: `widths` and `depths` are not of the same length.
    """

    def __init__(self, config: ModelConfig, *, image_size: int, outputs: int, rngs: nnx.Rngs):
        del image_size
        variant, dtype = VARIANTS[config.name], jnp.dtype(config.dtype)
        widths, depths = config.widths or variant.widths, config.depths or variant.depths
        check_stages(config.name, widths, depths)
        self.stem = Stem(widths[0], antialias=config.antialias, dtype=dtype, rngs=rngs)
        channels, parts, number = widths[0], [], 0
        for stage, rates in enumerate(drop_path_rates(config.drop_path or 0.0, depths)):
            blocks = []
            for place, rate in enumerate(rates):
                number += 1
                block = Block(
                    channels,
                    widths[stage],
                    2 if stage and not place else 1,
                    bottleneck=variant.bottleneck,
                    antialias=config.antialias,
                    drop_path=DropPath(rate, number),
                    dtype=dtype,
                    rngs=rngs,
                )
                channels = widths[stage] * (4 if variant.bottleneck else 1)
                blocks.append(block)
            parts.append(StageOfBlocks(blocks))
        self.parts = nnx.List(parts)
        self.dropout = Dropout(config.dropout or 0.0)
        self.head = Linear(channels, outputs, kernel_init=_PYTORCH_LINEAR, dtype=dtype, rngs=rngs)
        self.block_name = "bottleneck" if variant.bottleneck else "basic block"

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        """Returns logits [batch, outputs]; see `Model`."""
        x = self.stem(images, keys)
        for part in self.parts:
            x = part(x, keys)
        return self.head(self.dropout(mean_of_places(x), keys))

    def stages(self) -> Sequence[tuple[str, str, Any]]:
        """Returns name, description and function of each part, first to last."""
        kernel = self.stem.layer.conv.kernel.shape
        stem = f"Conv {kernel[0]}×{kernel[0]}, {kernel[3]}, stride 2 → max-pool 3×3"
        stages = []
        for number, part in enumerate(self.parts, 1):
            outputs = part.blocks[0].layers[-1].conv.kernel.shape[3]
            text = f"{len(part.blocks)} × {self.block_name}, {outputs}"
            stages.append((f"stage {number}", text, part))
        return [
            ("stem", stem, self.stem),
            *stages,
            ("pool", "Mean over places", mean_of_places),
            ("head", f"Dense {self.head.kernel.shape[1]}", self.head),
        ]


def mean_of_places(x: jax.Array) -> jax.Array:
    """Returns the mean [batch, channels] over the places of x [batch, h, w, channels]."""
    return x.mean((1, 2), dtype=jnp.float32).astype(x.dtype)


def max_pool(x: jax.Array, stride: int) -> jax.Array:
    """3x3 max-pooling with one row and column of padding on each side.

    Written as the greatest of three slices, along rows and then along columns: on CPUs the gradient
    of `reduce_window` is slow, see docs/design.md.
    """
    smallest = jnp.finfo(x.dtype).min
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=smallest)
    height, width = x.shape[1] - 2, x.shape[2] - 2
    x = functools.reduce(jnp.maximum, [x[:, i : height + i : stride] for i in range(3)])
    return functools.reduce(jnp.maximum, [x[:, :, i : width + i : stride] for i in range(3)])


def halve(x: jax.Array) -> jax.Array:
    """Blurs x [batch, h, w, channels] by the binomial filter 1 2 1 and takes every other place."""
    line = jnp.array([0.25, 0.5, 0.25])
    kernel = jnp.tile(jnp.outer(line, line).reshape(3, 3, 1, 1), (1, 1, 1, x.shape[-1]))
    padded = x
    for axis in (1, 2):  # As jnp.pad does at an edge, but of a batch whose size is not known too.
        ends = [
            jax.lax.slice_in_dim(padded, at, at + 1, axis=axis) for at in (0, x.shape[axis] - 1)
        ]
        padded = jnp.concatenate([ends[0], padded, ends[1]], axis=axis)
    return depthwise_conv(padded, kernel, 2, "VALID")
