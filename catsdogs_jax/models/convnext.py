"""ConvNeXt: a convolutional network with the shape of a vision transformer.

Source: Liu et al., 2022, https://arxiv.org/abs/2201.03545, and its code
(https://github.com/facebookresearch/ConvNeXt): kernels start as a normal distribution of deviation
0.02 cut at two deviations, biases at zero, the scale of each branch at 1e-6.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.models.convolution import Conv, Linear, add_bias
from catsdogs_jax.models.depthwise import depthwise_conv
from catsdogs_jax.models.dropout import Dropout, DropPath, drop_path_rates
from catsdogs_jax.models.fields import check_stages
from catsdogs_jax.models.layer_norm import LayerNorm
from catsdogs_jax.models.resnet import StageOfBlocks, mean_of_places

_SMALL_NORMAL = nnx.initializers.truncated_normal(0.02)
_DEPTHS, _WIDTHS = (3, 3, 9, 3), (96, 192, 384, 768)  # ConvNeXt-T
_DROP_PATH = 0.1


class Block(nnx.Module):
    """Depthwise 7x7, LayerNorm, four times the channels, GELU, back, and added to the input.

    Args:
        channels: Channels of input and result.
        drop_path: The drop path of the branch.
        dtype: Type of the activations.
        rngs: Random keys of the initial parameters.
    """

    def __init__(self, channels: int, drop_path: DropPath, *, dtype: Any, rngs: nnx.Rngs):
        options = {"kernel_init": _SMALL_NORMAL, "dtype": dtype, "rngs": rngs}
        self.kernel = nnx.Param(_SMALL_NORMAL(rngs.params(), (7, 7, 1, channels), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.norm = LayerNorm(channels, dtype, rngs)
        self.widen = Linear(channels, 4 * channels, **options)
        self.narrow = Linear(4 * channels, channels, **options)
        self.scale = nnx.Param(jnp.full(channels, 1e-6))
        self.drop_path = drop_path

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Returns an array like x [batch, h, w, channels]; keys are there in training."""
        branch = add_bias(depthwise_conv(x, self.kernel[...], padding=3), self.bias[...])
        branch = self.narrow(jax.nn.gelu(self.widen(self.norm(branch)), approximate=False))
        scale = self.scale[...].reshape(1, 1, 1, -1)
        branch = (branch.astype(jnp.float32) * scale).astype(x.dtype)
        return x + self.drop_path(branch, keys)


class Downsample(nnx.Module):
    """LayerNorm, then a 2x2 convolution with stride 2."""

    def __init__(self, inputs: int, outputs: int, *, dtype: Any, rngs: nnx.Rngs):
        self.norm = LayerNorm(inputs, dtype, rngs)
        self.conv = _patches(inputs, outputs, 2, dtype, rngs)

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Returns [batch, h // 2, w // 2, outputs]; keys are not used."""
        return self.conv(self.norm(x))


class Stem(nnx.Module):
    """A 4x4 convolution with stride 4, then LayerNorm."""

    def __init__(self, width: int, *, dtype: Any, rngs: nnx.Rngs):
        self.conv = _patches(3, width, 4, dtype, rngs)
        self.norm = LayerNorm(width, dtype, rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns [batch, h // 4, w // 4, width] for [batch, h, w, 3]."""
        return self.norm(self.conv(x))


class ConvNeXt(nnx.Module):
    """ConvNeXt-T, or another of its kind by `widths` and `depths`.

    Args:
        config: `widths`, `depths`, `dropout`, `drop_path` (own: 0.1) and `dtype` are used.
        image_size: Side of the pictures, pixels.
        outputs: Number of logits.
        rngs: Random keys of the initial parameters.

    Raises:
        UserError: `widths` and `depths` are not of the same length, or the picture is too small.
    """

    def __init__(self, config: ModelConfig, *, image_size: int, outputs: int, rngs: nnx.Rngs):
        dtype = jnp.dtype(config.dtype)
        widths, depths = config.widths or _WIDTHS, config.depths or _DEPTHS
        check_stages(config.name, widths, depths)
        smallest = 4 * 2 ** (len(widths) - 1)
        if image_size < smallest:
            raise UserError(
                f"data.image_size is {image_size}: {config.name} halves the picture until "
                f"{smallest} pixels are one; give at least {smallest}"
            )
        rate = _DROP_PATH if config.drop_path is None else config.drop_path
        self.stem = Stem(widths[0], dtype=dtype, rngs=rngs)
        parts, number = [], 0
        for stage, rates in enumerate(drop_path_rates(rate, depths)):
            blocks: list[nnx.Module] = []
            if stage:
                blocks.append(Downsample(widths[stage - 1], widths[stage], dtype=dtype, rngs=rngs))
            for rate_of_block in rates:
                number += 1
                path = DropPath(rate_of_block, number)
                blocks.append(Block(widths[stage], path, dtype=dtype, rngs=rngs))
            parts.append(StageOfBlocks(blocks))
        self.parts = nnx.List(parts)
        self.norm = LayerNorm(widths[-1], dtype, rngs)
        self.dropout = Dropout(config.dropout or 0.0)
        self.head = Linear(widths[-1], outputs, kernel_init=_SMALL_NORMAL, dtype=dtype, rngs=rngs)
        self.widths, self.depths = tuple(widths), tuple(depths)

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        """Returns logits [batch, outputs]; see `Model`."""
        x = self.stem(images)
        for part in self.parts:
            x = part(x, keys)
        return self.head(self.dropout(self.norm(mean_of_places(x)), keys))

    def stages(self) -> Sequence[tuple[str, str, Any]]:
        """Returns name, description and function of each part, first to last."""
        parts = zip(self.depths, self.widths, self.parts, strict=True)
        stages = [
            (f"stage {number}", f"{depth} × ConvNeXt block, {width}", part)
            for number, (depth, width, part) in enumerate(parts, 1)
        ]
        return [
            ("stem", f"Conv 4×4, {self.widths[0]}, stride 4 → LayerNorm", self.stem),
            *stages,
            ("pool", "Mean over places", mean_of_places),
            ("norm", "LayerNorm", self.norm),
            ("head", f"Dense {self.head.kernel.shape[1]}", self.head),
        ]


def _patches(inputs: int, outputs: int, size: int, dtype: Any, rngs: nnx.Rngs) -> Conv:
    return Conv(
        inputs,
        outputs,
        size,
        stride=size,
        padding="VALID",
        bias=True,
        kernel_init=_SMALL_NORMAL,
        dtype=dtype,
        rngs=rngs,
    )
