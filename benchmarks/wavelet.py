"""A ResNet whose stem is a wavelet transform, as a model of one's own; see benchmarks.ablation.

Sources: the Haar transform in place of a strided first layer, Liu et al., 2018, multi-level wavelet
CNN, https://arxiv.org/abs/1805.07071; the stem of `resnet_small` is what it is compared with.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.models import InputSpec, input_spec
from catsdogs_jax.models.resnet import ConvNorm, ResNet, max_pool

_LIKE = "resnet_small"


class WaveletStem(nnx.Module):
    """The Haar transform, a 3x3 convolution of its bands, then a 3x3 max-pooling with stride 2.

    Args:
        width: Channels of the result.
        dtype: Type of the activations.
        rngs: Random keys of the initial parameters.
    """

    def __init__(self, width: int, *, dtype: Any, rngs: nnx.Rngs):
        self.layer = ConvNorm(12, width, 3, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Returns [batch, h / 4, w / 4, width] for [batch, h, w, 3]."""
        return max_pool(jax.nn.relu(self.layer(haar(x), training=keys is not None)), 2)


class WaveletResNet(ResNet):
    """`resnet_small` with a wavelet stem; its arguments are those of `ResNet`."""

    input_spec: InputSpec = input_spec(_LIKE)

    def __init__(self, config: ModelConfig, *, image_size: int, outputs: int, rngs: nnx.Rngs):
        config = dataclasses.replace(config, name=_LIKE)
        super().__init__(config, image_size=image_size, outputs=outputs, rngs=rngs)
        width = self.stem.layer.conv.kernel.shape[3]
        self.stem = WaveletStem(width, dtype=jnp.dtype(config.dtype), rngs=rngs)


def haar(x: jax.Array) -> jax.Array:
    """Returns the four bands [batch, h / 2, w / 2, 4 c] of x [batch, h, w, c], orthonormal.

    Of an odd number of rows or columns the last one is left out.
    """
    height, width = (length // 2 * 2 for length in x.shape[1:3])
    x = x[:, :height, :width]
    a, b, c, d = (x[:, i::2, j::2] for i in (0, 1) for j in (0, 1))
    bands = [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]
    return jnp.concatenate(bands, axis=-1) / 2
