"""Promises of looking inside a model."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from catsdogs_jax.errors import UserError
from catsdogs_jax.insight.network import Network
from catsdogs_jax.models import build_model
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Kind, Task
from catsdogs_jax.training.state import split_model
from tests.models.small import every_model, small_config

SIZE = 64


class Brightest(nnx.Module):
    """Class 1 is a bright left half, class 2 a bright right half; as a map or as tokens."""

    def __init__(self, *, tokens: bool):
        self.tokens = tokens

    def pool(self, x: jax.Array) -> jax.Array:
        side = SIZE // 8
        blocks = x.mean(axis=-1).reshape(x.shape[0], side, 8, side, 8).mean(axis=(2, 4))
        left = jnp.arange(side).reshape(1, 1, -1) < side // 2
        maps = jnp.stack([jnp.zeros_like(blocks), blocks * left, blocks * ~left], axis=-1)
        if not self.tokens:
            return maps
        flat = maps.reshape(x.shape[0], side * side, 3)
        return jnp.concatenate([jnp.zeros_like(flat[:, :1]), flat], axis=1)

    def head(self, x: jax.Array) -> jax.Array:
        return x.sum(axis=tuple(range(1, x.ndim - 1)))

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        return self.head(self.pool(images))

    def stages(self) -> list[tuple[str, str, Any]]:
        return [("pool", "Pool", self.pool), ("head", "Sum", self.head), ("out", "", lambda x: x)]


def network(model: Any, kind: Kind = "multiclass", classes: int = 3) -> Network:
    graphdef, params, statistics = split_model(model)
    task = Task(kind, tuple("abc"[:classes]))
    return Network(graphdef, Preprocessing(SIZE, "stretch", task), params, statistics)


def halves() -> np.ndarray:
    """A picture bright on both sides, and one that is black but for its right half."""
    images = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    images[0] = 200
    images[1, :, SIZE // 2 :] = 200
    return images


@pytest.mark.parametrize("tokens", [False, True])
def test_grad_cam_shows_the_places_that_speak_for_the_class(tokens: bool) -> None:
    maps = network(Brightest(tokens=tokens)).grad_cam(halves()[[0, 0]], [1, 2])
    middle = maps.shape[2] // 2
    assert maps[0, :, :middle].min() > 0.99
    assert maps[0, :, middle:].max() == 0
    np.testing.assert_allclose(maps[1], maps[0, :, ::-1])


def test_occlusion_shows_the_places_whose_loss_costs_the_class() -> None:
    image = halves()[1]
    image[:, : SIZE // 2] = 128  # The grey that hides.
    heat = network(Brightest(tokens=False)).occlusion(image, 2)
    assert heat.shape == (10, 10)
    assert heat.max() == 1
    assert heat[:, :4].max() == 0
    assert heat[:, 6:].min() > 0


def test_features_are_what_the_last_stage_is_given_whatever_the_batch() -> None:
    images = np.random.default_rng(0).integers(0, 255, (19, SIZE, SIZE, 3)).astype(np.uint8)
    model = network(Brightest(tokens=False))
    features = model.embeddings(images)
    assert features.shape == (19, 3)
    np.testing.assert_allclose(features[17:], model.embeddings(images[17:]), rtol=1e-6)
    np.testing.assert_allclose(features, model.logits(images), rtol=1e-6)


@pytest.mark.parametrize("name", every_model())
def test_every_registered_model_has_features_and_a_heat_map(name: str) -> None:
    model = network(build_model(small_config(name), SIZE, 1, nnx.Rngs(0)), "binary", 2)
    images = np.random.default_rng(0).integers(0, 255, (2, SIZE, SIZE, 3)).astype(np.uint8)
    assert model.embeddings(images).shape[0] == 2
    maps = model.grad_cam(images, [0, 1])
    assert maps.shape[0] == 2
    assert maps.ndim == 3
    assert np.isfinite(maps).all()
    assert maps.min() >= 0
    assert maps.max() <= 1


def test_a_model_without_places_says_so() -> None:
    class Flat(Brightest):
        def stages(self) -> list[tuple[str, str, Any]]:
            return [("all", "", self.__call__)]

    with pytest.raises(UserError, match="--method occlusion"):
        network(Flat(tokens=False)).grad_cam(halves(), [0, 0])
