"""Promises of the model without parameters that a run asks for again and again."""

import dataclasses
import sys
import types
from typing import Any

import jax
import pytest
from flax import nnx

from catsdogs_jax.config import Config, ModelConfig
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.training import recipe
from catsdogs_jax.training.recipe import abstract_model
from catsdogs_jax.training.state import split_model

PREPROCESSING = Preprocessing(16, "stretch", Task("binary", ("a", "b")))


def shapes(model: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.shape, split_model(model)[1])


def config_of(**model: Any) -> Config:
    return Config(model=ModelConfig(**model))


def test_a_model_is_built_once_for_each_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[Any, ...]] = []
    real = recipe.build_model

    def counted(*arguments: Any) -> Any:
        built.append(arguments[:3])
        return real(*arguments)

    monkeypatch.setattr(recipe, "build_model", counted)
    recipe._split_once.cache_clear()
    first, wider = config_of(widths=(4,), hidden=8), config_of(widths=(6,), hidden=8)
    larger = dataclasses.replace(PREPROCESSING, image_size=20)
    asked = [(first, PREPROCESSING), (wider, PREPROCESSING), (first, larger)]
    found = [[shapes(abstract_model(*one)) for one in asked] for _ in range(3)]
    assert len(built) == 3
    assert found[0] == found[1] == found[2]
    assert found[0][0] != found[0][1] != found[0][2]


def test_each_gets_a_model_of_its_own() -> None:
    config = config_of(widths=(4,), hidden=8)
    changed, expected = abstract_model(config, PREPROCESSING), abstract_model(config, PREPROCESSING)
    before = shapes(expected)
    for _, variable in nnx.iter_graph(changed):
        if isinstance(variable, nnx.Param):
            variable.set_value(jax.ShapeDtypeStruct((1,), "float32"))
    assert shapes(changed) != before
    assert shapes(expected) == shapes(abstract_model(config, PREPROCESSING)) == before


def test_a_model_of_a_notebook_that_was_changed_is_built_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType("of_a_notebook")
    monkeypatch.setitem(sys.modules, "of_a_notebook", module)

    def made(width: int) -> type:
        class Model(nnx.Module):
            def __init__(self, config: Any, *, image_size: int, outputs: int, rngs: nnx.Rngs):
                del config, image_size
                self.hidden = nnx.Linear(3, width, rngs=rngs)
                self.head = nnx.Linear(width, outputs, rngs=rngs)

            def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
                del keys
                return self.head(self.hidden(images.mean((1, 2))))

            def stages(self) -> list[tuple[str, str, Any]]:
                return [("all", "all", self)]

        return Model

    config = config_of(name="of_a_notebook:Model")
    module.Model = made(4)  # type: ignore[attr-defined]
    first = shapes(abstract_model(config, PREPROCESSING))
    module.Model = made(5)  # type: ignore[attr-defined]
    assert shapes(abstract_model(config, PREPROCESSING)) != first
