"""Promises of every registered model, each in a small size."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from catsdogs_jax.config import CheckpointConfig, ModelConfig
from catsdogs_jax.models import Model, build_model, input_spec
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.training.checkpoint import Checkpoints
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.state import create_state, merge_model, split_model
from tests.models.small import every_model, small_config

SIZE, BATCH, OUTPUTS = 32, 8, 5


def training(graphdef: Any, params: Any, statistics: Any, images: jax.Array) -> dict[str, Any]:
    """What a training step looks at."""
    keys = jax.random.split(jax.random.key(1), images.shape[0])

    def loss(params: Any) -> tuple[jax.Array, Any]:
        model: Any = merge_model(graphdef, params, statistics)
        logits = model(images, keys=keys)
        targets = jnp.arange(images.shape[0]) % OUTPUTS
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        return losses.mean(), (split_model(model)[2], logits)

    (value, (moved, trained)), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    return {"trained": trained, "loss": value, "gradient": gradient, "statistics": moved}


def results(graphdef: Any, params: Any, statistics: Any, images: jax.Array) -> dict[str, Any]:
    """All that the tests look at."""
    staged = images
    for _, _, function in merge_model(graphdef, params, statistics).stages():
        staged = function(staged)
    evaluated = merge_model(graphdef, params, statistics)(images)
    more = training(graphdef, params, statistics, images)
    return {"logits": evaluated, "staged": staged, **more}


# Models of one structure share the compilation.
COMPILED = {f: jax.jit(f, static_argnums=0) for f in (training, results)}


@pytest.fixture(scope="module", params=every_model())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def parts(name: str) -> tuple[Any, Any, Any]:
    return drawn(small_config(name))


def drawn(config: ModelConfig) -> tuple[Any, Any, Any]:
    """Structure and variables; drawn here, as to compile the initialisation takes longer."""
    model: Any = nnx.eval_shape(lambda: build_model(config, SIZE, OUTPUTS, nnx.Rngs(0)))
    graphdef, params, statistics = split_model(model)
    draw = np.random.default_rng(0)

    def parameter(leaf: Any) -> np.ndarray:
        # Scales that start at zero would hide what lies before them.
        inputs = np.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 100.0
        value = draw.normal(0.0 if leaf.ndim > 1 else 0.5, inputs**-0.5, leaf.shape)
        return value.astype(leaf.dtype)

    positive = jax.tree.map(lambda s: draw.uniform(0.5, 1.5, s.shape).astype(s.dtype), statistics)
    return graphdef, jax.tree.map(parameter, params), positive


def on_devices(
    function: Callable[..., dict[str, Any]], parts: tuple[Any, Any, Any], devices: int
) -> dict[str, Any]:
    graphdef, params, statistics = parts
    sharding = make_sharding(devices)
    params, statistics = jax.device_put((params, statistics), sharding.replicated)
    images = jax.random.normal(jax.random.key(0), (BATCH, SIZE, SIZE, 3))
    images = jax.device_put(images, sharding.batch)
    return jax.device_get(COMPILED[function](graphdef, params, statistics, images))


@pytest.fixture(scope="module")
def one(parts: tuple[Any, Any, Any]) -> dict[str, Any]:
    return on_devices(results, parts, 1)


def test_logits_and_gradients_are_whole_under_jit(one: dict[str, Any], parts: tuple) -> None:
    assert one["logits"].shape == (BATCH, OUTPUTS)
    assert one["logits"].dtype == np.float32
    assert np.isfinite(one["logits"]).all()
    for path, leaf in jax.tree.leaves_with_path(one["gradient"]):
        place = jax.tree_util.keystr(path)
        assert np.isfinite(leaf).all(), place
        assert np.abs(leaf).max() > 0, place
    assert {leaf.dtype for leaf in jax.tree.leaves(parts[1])} == {np.dtype(np.float32)}


def test_training_differs_from_evaluation(one: dict[str, Any]) -> None:
    assert (one["trained"] != one["logits"]).any()


def test_the_stages_one_after_the_other_are_the_model(one: dict[str, Any]) -> None:
    np.testing.assert_allclose(one["staged"], one["logits"], rtol=1e-5, atol=1e-5)


def test_eight_devices_give_what_one_gives(one: dict[str, Any], parts: tuple) -> None:
    """Statistics of BatchNorm are of the global batch, and so are the losses and gradients."""
    eight = on_devices(training, parts, 8)
    np.testing.assert_allclose(eight["loss"], one["loss"], rtol=1e-5)
    for kind in ("statistics", "gradient"):
        for (path, ours), theirs in zip(
            jax.tree.leaves_with_path(eight[kind]), jax.tree.leaves(one[kind]), strict=True
        ):
            place = f"{kind} {jax.tree_util.keystr(path)}"
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4, err_msg=place)


def test_statistics_move_in_training(name: str, one: dict[str, Any], parts: tuple) -> None:
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), one["statistics"], parts[2])
    assert all(jax.tree.leaves(moved))
    if name.startswith("resnet"):
        assert len(jax.tree.leaves(moved)) > 4


def test_bfloat16_is_the_type_of_the_activations_alone(name: str) -> None:
    config = small_config(name, dtype="bfloat16")
    model = nnx.eval_shape(lambda: build_model(config, SIZE, OUTPUTS, nnx.Rngs(0)))
    graphdef, *variables = split_model(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    images = jax.ShapeDtypeStruct((BATCH, SIZE, SIZE, 3), jnp.float32)
    found = jax.eval_shape(functools.partial(results, graphdef), *variables, images)
    for kind in ("logits", "trained", "staged"):
        assert found[kind].dtype == jnp.bfloat16, kind
    wide = jax.tree.leaves((found["gradient"], found["statistics"]))
    assert {leaf.dtype for leaf in wide} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    "model", ["seed_cnn", "vit_tiny", pytest.param("convnext_tiny", marks=pytest.mark.heavy)]
)
def test_gradients_of_biases_and_norms_are_no_bfloat16_numbers_in_disguise(model: str) -> None:
    """Summed over places and pictures in bfloat16, they would be summed over devices in it too."""
    parts = drawn(small_config(model, dtype="bfloat16"))
    images = np.random.default_rng(1).normal(size=(BATCH, SIZE, SIZE, 3)).astype(np.float32)
    # A CPU's compiler leaves out what rounds unless it is told not to; a TPU's does not.
    exactly: dict[str, Any] = {"xla_allow_excess_precision": False}
    compiled = COMPILED[training].lower(*parts, images).compile(compiler_options=exactly)
    for path, leaf in jax.tree.leaves_with_path(compiled(*parts[1:], images)["gradient"]):
        rounded = leaf.astype(jnp.bfloat16).astype(jnp.float32)
        assert (leaf != rounded).any(), jax.tree_util.keystr(path)


def test_what_is_saved_comes_back(parts: tuple[Any, Any, Any], tmp_path: Path) -> None:
    _, params, statistics = parts
    sharding = make_sharding(1)
    state = create_state(params, statistics, optax.sgd(0.1), average=False)
    state = jax.device_put(state, sharding.replicated)
    preprocessing = Preprocessing(SIZE, "stretch", Task("binary", ("a", "b")))
    with Checkpoints(tmp_path, CheckpointConfig()) as checkpoints:
        checkpoints.save(state, 0, preprocessing, None)
        checkpoints.wait()
        restored = checkpoints.restore(0, sharding.abstract(state))
    jax.tree.map(np.testing.assert_array_equal, restored.params, state.params)
    jax.tree.map(np.testing.assert_array_equal, restored.statistics, state.statistics)


def test_every_model_says_what_pictures_it_was_made_for(name: str) -> None:
    spec = input_spec(name)
    model = nnx.eval_shape(
        lambda: build_model(ModelConfig(name=name), spec.image_size, 3, nnx.Rngs(0))
    )
    assert isinstance(model, Model)
    assert len(spec.mean) == len(spec.std) == 3
    assert min(spec.std) > 0
    assert hash(dataclasses.replace(spec)) == hash(spec)
