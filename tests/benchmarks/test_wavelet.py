"""Promises of the model that benchmarks.ablation brings along."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.wavelet import haar
from catsdogs_jax.config import ModelConfig
from catsdogs_jax.models import build_model


def test_the_wavelet_transform_keeps_lengths_and_averages_squares_in_its_first_band() -> None:
    images = np.random.default_rng(0).normal(size=(2, 8, 6, 3)).astype(np.float32)
    bands = np.asarray(jax.jit(haar)(jnp.asarray(images)))
    assert bands.shape == (2, 4, 3, 12)
    np.testing.assert_allclose((bands**2).sum((1, 2, 3)), (images**2).sum((1, 2, 3)), rtol=1e-5)
    means = images.reshape(2, 4, 2, 3, 2, 3).mean((2, 4))
    np.testing.assert_allclose(bands[..., :3], 2 * means, atol=1e-5)
    odd = np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)))
    np.testing.assert_array_equal(jax.jit(haar)(jnp.asarray(odd)), bands)
    flat = np.asarray(jax.jit(haar)(jnp.ones((1, 4, 4, 3))))
    assert not flat[..., 3:].any()


def test_the_wavelet_resnet_is_a_model_that_a_config_can_name() -> None:
    config = ModelConfig(name="benchmarks.wavelet:WaveletResNet", widths=(4, 8), depths=(1, 1))
    model = nnx.eval_shape(lambda: build_model(config, 32, 1, nnx.Rngs(0)))
    assert model.stem.layer.conv.kernel.shape == (3, 3, 12, 4)
