"""Promises of the models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.models import build_model, resnet
from catsdogs_jax.models.dropout import Dropout, DropPath, drop_path_rates
from catsdogs_jax.models.seed_cnn import max_pool
from catsdogs_jax.models.summary import describe_size, multiply_adds, parameter_count, summarize
from catsdogs_jax.models.vit import sine_cosine_positions

SMALL = ModelConfig(widths=(4, 6), hidden=8)


def test_the_seed_cnn_has_1212513_parameters() -> None:
    model = nnx.eval_shape(lambda: build_model(ModelConfig(), 150, 1, nnx.Rngs(0)))
    assert parameter_count(model) == 1_212_513
    parts = {part.name: part for part in summarize(model, 150)}
    assert parts["flatten"].output_shape == (18_496,)
    assert parts["conv 1"].output_shape == (74, 74, 32)
    assert [part.parameters for part in parts.values()] == [896, 9248, 18496, 0, 1183808, 0, 65]


@pytest.mark.heavy
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


def test_an_unknown_model_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match="'seed_cn'.*Did you mean 'seed_cnn'"):
        build_model(ModelConfig(name="seed_cn"), 32, 1, nnx.Rngs(0))


@pytest.mark.parametrize(
    ("name", "parameters", "giga"),
    [
        # Multiply-adds by hand: outputs x kernel x input channels, added over torchvision's layers.
        ("resnet18", 11_689_512, 1.814),
        ("resnet34", 21_797_672, 3.664),
        ("resnet50", 25_557_032, 4.089),
        ("convnext_tiny", 28_589_128, 4.455),
    ],
)
def test_parameters_and_multiply_adds_are_those_of_the_papers(
    name: str, parameters: int, giga: float
) -> None:
    model = nnx.eval_shape(lambda: build_model(ModelConfig(name=name), 224, 1000, nnx.Rngs(0)))
    assert parameter_count(model) == parameters
    assert multiply_adds(model, 224) / 1e9 == pytest.approx(giga, abs=0.002)


def test_multiply_adds_are_the_sum_by_hand() -> None:
    model = nnx.eval_shape(lambda: build_model(SMALL, 10, 3, nnx.Rngs(0)))
    # 8x8x4 of 3x3x3, pooled to 4x4, 2x2x6 of 3x3x4, pooled to 1x1, dense 6 to 8, dense 8 to 3.
    assert multiply_adds(model, 10) == 256 * 27 + 24 * 36 + 48 + 24
    assert describe_size(11_689_512, 1_814_073_344) == (
        "11.7 M parameters, 1.81 G multiply-adds a picture"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "resnet18", "hidden": 32}, "model.hidden is 32, but resnet18 has no such part"),
        ({"name": "seed_cnn", "drop_path": 0.1}, "model.drop_path is 0.1, but seed_cnn has no"),
        ({"name": "resnet18", "widths": (8, 8)}, r"are 2 stages, but model.depths \(2, 2, 2, 2\)"),
        ({"name": "vit_tiny"}, "data.image_size is 40, which vit_tiny cannot.*: use 32 or 48"),
        ({"name": "vit_tiny", "patch": 8, "widths": (100,)}, "give a multiple of 64"),
        ({"name": "vit_tiny", "patch": 8, "depths": (1, 1)}, "vit_tiny has a single stage"),
        ({"name": "convnext_tiny", "widths": (8,) * 5, "depths": (1,) * 5}, "at least 64"),
    ],
)
def test_fields_that_a_model_cannot_use_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        nnx.eval_shape(lambda: build_model(ModelConfig(**fields), 40, 3, nnx.Rngs(0)))


def test_a_residual_block_begins_as_the_identity() -> None:
    config = ModelConfig(name="resnet18", widths=(8,), depths=(1,))
    model = build_model(config, 16, 3, nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    np.testing.assert_array_equal(model.parts[0](x), jax.nn.relu(x))


def test_positions_of_a_vit_are_big_visions() -> None:
    """As `posemb_sincos_2d` there: sine and cosine of the column, then of the row."""
    found = sine_cosine_positions(2, 3, 8).reshape(2, 3, 8)
    row, column = 1, 2
    slow = 1e-4
    expected = [
        wave(place * frequency)
        for place in (column, row)
        for wave in (np.sin, np.cos)
        for frequency in (1.0, slow)
    ]
    np.testing.assert_allclose(found[row, column], expected, rtol=1e-5)


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


def test_drop_path_leaves_out_whole_pictures_by_their_own_keys() -> None:
    keys = jax.random.split(jax.random.key(0), 200)
    x = jnp.ones((200, 2, 3))
    whole = DropPath(0.25, 1)(x, keys)
    np.testing.assert_array_equal(whole[5:9], DropPath(0.25, 1)(x[5:9], keys[5:9]))
    pictures = np.asarray(whole).reshape(200, -1)
    assert (pictures == pictures[:, :1]).all()
    kept = pictures[:, 0] > 0
    assert 0.65 < kept.mean() < 0.85
    np.testing.assert_allclose(pictures[kept], 4 / 3, rtol=1e-6)
    assert (DropPath(0.25, 2)(x, keys) != whole).any()
    rates = [rate for stage in drop_path_rates(0.3, (1, 3)) for rate in stage]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_the_pooling_of_a_stem_is_reduce_window() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 7, 8, 3))
    expected = jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    )
    np.testing.assert_array_equal(resnet.max_pool(x, 2), expected)


def test_a_blur_keeps_the_mean_of_a_flat_picture_and_halves_it() -> None:
    flat = jnp.full((1, 6, 7, 2), 3.0)
    np.testing.assert_allclose(resnet.halve(flat), jnp.full((1, 3, 4, 2), 3.0))
