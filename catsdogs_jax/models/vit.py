"""Vision transformers in the plain form of big_vision.

Sources: Dosovitskiy et al., 2020, https://arxiv.org/abs/2010.11929; Beyer et al., 2022, "Better
plain ViT baselines", https://arxiv.org/abs/2205.01580: fixed sine and cosine positions, the mean
over all patches in place of a class token, and one dense layer as the head. Kernels start as in
timm: a normal distribution of deviation 0.02 cut at two deviations.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.models.convolution import Conv, Linear
from catsdogs_jax.models.dropout import Dropout, DropPath, drop_path_rates
from catsdogs_jax.models.layer_norm import LayerNorm

_SMALL_NORMAL = nnx.initializers.truncated_normal(0.02)
_WIDTHS = {"vit_tiny": 192, "vit_small": 384}
_DEPTH = 12
_PATCH = 16
_HEAD_WIDTH = 64


class Patches(nnx.Module):
    """Cuts pictures into squares, makes each a vector, and adds where it lies.

    Args:
        patch: Side of a square, pixels.
        width: Length of a vector.
        dtype: Type of the activations.
        rngs: Random keys of the initial parameters.
    """

    def __init__(self, patch: int, width: int, *, dtype: Any, rngs: nnx.Rngs):
        self.conv = Conv(
            3,
            width,
            patch,
            stride=patch,
            padding="VALID",
            bias=True,
            kernel_init=_SMALL_NORMAL,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        """Returns [batch, patches, width] for [batch, size, size, 3]."""
        x = self.conv(images)
        batch, rows, columns, width = x.shape
        places = sine_cosine_positions(rows, columns, width).astype(x.dtype)
        return x.reshape(batch, rows * columns, width) + places.reshape(1, -1, width)


class Attention(nnx.Module):
    """Self-attention with heads of 64 channels.

    Args:
        width: Channels, a multiple of 64.
        dtype: Type of the activations; the softmax is float32.
        rngs: Random keys of the initial parameters.
    """

    def __init__(self, width: int, *, dtype: Any, rngs: nnx.Rngs):
        options = {"kernel_init": _SMALL_NORMAL, "dtype": dtype, "rngs": rngs}
        self.query_key_value = Linear(width, 3 * width, **options)
        self.out = Linear(width, width, **options)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns an array like x [batch, patches, width]."""
        batch, patches, width = x.shape
        joined = self.query_key_value(x).reshape(batch, patches, 3, -1, _HEAD_WIDTH)
        query, key, value = (joined[:, :, n] for n in range(3))
        mixed = jax.nn.dot_product_attention(query, key, value)
        return self.out(mixed.reshape(batch, patches, width))


class Block(nnx.Module):
    """LayerNorm and attention, then LayerNorm and two dense layers, each added to its input.

    Args:
        width: Channels.
        paths: The drop paths of the two branches.
        dtype: Type of the activations.
        rngs: Random keys of the initial parameters.
    """

    def __init__(self, width: int, paths: Sequence[DropPath], *, dtype: Any, rngs: nnx.Rngs):
        options = {"kernel_init": _SMALL_NORMAL, "dtype": dtype, "rngs": rngs}
        self.norms = nnx.List([LayerNorm(width, dtype, rngs) for _ in range(2)])
        self.attention = Attention(width, dtype=dtype, rngs=rngs)
        self.widen = Linear(width, 4 * width, **options)
        self.narrow = Linear(4 * width, width, **options)
        self.paths = nnx.List(paths)

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Returns an array like x [batch, patches, width]; keys are there in training."""
        x = x + self.paths[0](self.attention(self.norms[0](x)), keys)
        branch = self.narrow(jax.nn.gelu(self.widen(self.norms[1](x)), approximate=False))
        return x + self.paths[1](branch, keys)


class Encoder(nnx.Module):
    """The blocks one after the other, and a LayerNorm at the end."""

    def __init__(self, width: int, rates: Sequence[float], *, dtype: Any, rngs: nnx.Rngs):
        self.blocks = nnx.List(
            Block(
                width,
                [DropPath(rate, 2 * number + branch) for branch in (1, 2)],
                dtype=dtype,
                rngs=rngs,
            )
            for number, rate in enumerate(rates)
        )
        self.norm = LayerNorm(width, dtype, rngs)

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Returns an array like x [batch, patches, width]."""
        for block in self.blocks:
            x = block(x, keys)
        return self.norm(x)


class VisionTransformer(nnx.Module):
    """ViT-Ti or ViT-S, or another by `widths`, `depths` (one number each) and `patch`.

    Args:
        config: `name`, `widths`, `depths`, `patch`, `dropout`, `drop_path` and `dtype` are used.
        image_size: Side of the pictures, pixels, a multiple of the patch.
        outputs: Number of logits.
        rngs: Random keys of the initial parameters.

    Raises:
        UserError: The patch does not divide the picture, or the width has no whole heads.
    """

    one_size = True
    """Its places are known by number: on another grid it is another network."""

    def __init__(self, config: ModelConfig, *, image_size: int, outputs: int, rngs: nnx.Rngs):
        dtype, patch = jnp.dtype(config.dtype), config.patch or _PATCH
        widths, depths = config.widths or (_WIDTHS[config.name],), config.depths or (_DEPTH,)
        _check(config.name, image_size, patch, widths, depths)
        (width,) = widths
        (rates,) = drop_path_rates(config.drop_path or 0.0, depths)
        self.patches = Patches(patch, width, dtype=dtype, rngs=rngs)
        self.encoder = Encoder(width, rates, dtype=dtype, rngs=rngs)
        self.dropout = Dropout(config.dropout or 0.0)
        self.head = Linear(width, outputs, kernel_init=_SMALL_NORMAL, dtype=dtype, rngs=rngs)

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        """Returns logits [batch, outputs]; see `Model`."""
        x = mean_of_patches(self.encoder(self.patches(images), keys))
        return self.head(self.dropout(x, keys))

    def stages(self) -> Sequence[tuple[str, str, Any]]:
        """Returns name, description and function of each part, first to last."""
        patch, _, _, width = self.patches.conv.kernel.shape
        blocks = len(self.encoder.blocks)
        return [
            ("patches", f"Conv {patch}×{patch}, {width}, stride {patch} → positions", self.patches),
            ("encoder", f"{blocks} × attention and dense, {width}", self.encoder),
            ("pool", "Mean over patches", mean_of_patches),
            ("head", f"Dense {self.head.kernel.shape[1]}", self.head),
        ]


def mean_of_patches(x: jax.Array) -> jax.Array:
    """Returns the mean [batch, width] over the patches of x [batch, patches, width]."""
    return x.mean(1, dtype=jnp.float32).astype(x.dtype)


def sine_cosine_positions(rows: int, columns: int, width: int) -> jax.Array:
    """Returns the vectors [rows · columns, width] of the places of a grid, row by row.

    As in MoCo v3 (https://arxiv.org/abs/2104.02057) and big_vision: sine and cosine of the column,
    then of the row, each at width / 4 wavelengths from 2π to 20,000π patches.
    """
    quarter = width // 4
    # Made here and not kept as a variable, so that it is neither trained nor saved.
    frequencies = 1.0 / 10_000.0 ** (np.arange(quarter) / (quarter - 1))
    row, column = np.mgrid[:rows, :columns].reshape(2, -1, 1)
    parts = [wave(axis * frequencies) for axis in (column, row) for wave in (np.sin, np.cos)]
    return jnp.asarray(np.concatenate(parts, axis=1), jnp.float32)


def _check(
    name: str, image_size: int, patch: int, widths: Sequence[int], depths: Sequence[int]
) -> None:
    if image_size % patch:
        lower = max(image_size // patch, 1) * patch
        raise UserError(
            f"data.image_size is {image_size}, which {name} cannot cut into squares of {patch}: "
            f"use {lower} or {lower + patch}, or set model.patch to a divisor of it"
        )
    for field, values in (("widths", widths), ("depths", depths)):
        if len(values) != 1:
            raise UserError(
                f"model.{field} is {tuple(values)}, but {name} has a single stage: give one number"
            )
    if widths[0] % _HEAD_WIDTH:
        raise UserError(
            f"model.widths is {tuple(widths)}, but the heads of {name} have {_HEAD_WIDTH} channels "
            f"each: give a multiple of {_HEAD_WIDTH}"
        )
