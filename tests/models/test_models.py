"""Promises of the models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.models import build_model, model_names
from catsdogs_jax.models.dropout import Dropout
from catsdogs_jax.models.registry import Model
from catsdogs_jax.models.seed_cnn import max_pool
from catsdogs_jax.models.summary import parameter_count, summarize

SMALL = ModelConfig(widths=(4, 6), hidden=8)


def test_the_seed_cnn_has_1212513_parameters() -> None:
    model = nnx.eval_shape(lambda: build_model(ModelConfig(), 150, 1, nnx.Rngs(0)))
    assert parameter_count(model) == 1_212_513
    parts = {part.name: part for part in summarize(model, 150)}
    assert parts["flatten"].output_shape == (18_496,)
    assert parts["conv 1"].output_shape == (74, 74, 32)
    assert [part.parameters for part in parts.values()] == [896, 9248, 18496, 0, 1183808, 0, 65]


def test_the_seed_cnn_is_keras_formulation() -> None:
    """Conv + bias, ReLU, then reduce_window max-pooling: the textbook order."""
    model = build_model(SMALL, 21, 3, nnx.Rngs(0))
    for block in model.blocks:
        block.bias[...] = jax.random.normal(jax.random.key(1), block.bias.shape)
    images = jax.random.normal(jax.random.key(2), (2, 21, 21, 3))
    x = images
    for block in model.blocks:
        x = jax.nn.relu(block.conv(x) + block.bias[...].reshape(1, 1, 1, -1))
        x = jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), padding="VALID"
        )
    x = jax.nn.relu(model.hidden(x.reshape(2, -1)))
    np.testing.assert_allclose(model(images), model.head(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (1, 7, 9, 2)])
def test_pooling_and_its_gradient_equal_reduce_window(shape: tuple[int, ...]) -> None:
    x = jax.random.normal(jax.random.key(0), shape)

    def native(x: jax.Array) -> jax.Array:
        window = (1, 2, 2, 1)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, padding="VALID")

    np.testing.assert_array_equal(max_pool(x), native(x))
    ours, theirs = (jax.grad(lambda x, f=f: (f(x) ** 2).sum())(x) for f in (max_pool, native))
    np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("name", model_names())
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_model_keeps_the_contract(name: str, dtype: str) -> None:
    config = ModelConfig(name=name, widths=(4, 6), hidden=8, dtype=dtype)  # type: ignore[arg-type]
    model = build_model(config, 24, 5, nnx.Rngs(0))
    assert isinstance(model, Model)
    images = jnp.ones((2, 24, 24, 3))
    logits = model(images)
    assert logits.shape == (2, 5)
    assert logits.dtype == jnp.dtype(dtype)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    stages = images
    for _, _, function in model.stages():
        stages = function(stages)
    assert stages.shape == logits.shape
    keys = jax.random.split(jax.random.key(0), 2)
    assert (model(images, keys=keys) != logits).any()


def test_an_unknown_model_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match="'seed_cn'.*Did you mean 'seed_cnn'"):
        build_model(ModelConfig(name="seed_cn"), 32, 1, nnx.Rngs(0))


def test_a_picture_too_small_is_refused_with_the_mend() -> None:
    with pytest.raises(UserError, match="data.image_size is 16: too small for 3"):
        build_model(ModelConfig(), 16, 1, nnx.Rngs(0))


def test_dropout_depends_on_the_picture_alone() -> None:
    keys = jax.random.split(jax.random.key(0), 4)
    x, dropout = jnp.ones((4, 100)), Dropout(0.4)
    whole = dropout(x, keys)
    np.testing.assert_array_equal(whole[1:3], dropout(x[1:3], keys[1:3]))
    assert 0.5 < float((whole > 0).mean()) < 0.7
    np.testing.assert_allclose(whole[whole > 0], 1 / 0.6, rtol=1e-6)
    assert dropout(x, None) is x
