"""Promises of batch normalisation: the numbers of `nnx.BatchNorm`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

from catsdogs_jax.models.batch_norm import BatchNorm, normalize, sum_of_places
from catsdogs_jax.training.state import merge_model, split_model

CHANNELS = 5
OPTIONS: dict[str, Any] = {"momentum": 0.9, "epsilon": 1e-3}


def pictures(*shape: int) -> jax.Array:
    """Pictures whose channels have other means and spreads, [*shape, CHANNELS]."""
    spread = jnp.arange(1.0, CHANNELS + 1).reshape(1, 1, 1, -1)
    return jax.random.normal(jax.random.key(0), (*shape, CHANNELS)) * spread + spread


def norms(dtype: Any = jnp.float32) -> tuple[BatchNorm, nnx.BatchNorm]:
    """Ours and Flax's, of the same parameters, which are not those of the start."""
    found = []
    for kind in (BatchNorm, nnx.BatchNorm):
        norm: Any = kind(CHANNELS, dtype=dtype, rngs=nnx.Rngs(0), **OPTIONS)
        norm.scale[...] = jnp.linspace(0.5, 2.0, CHANNELS)
        norm.bias[...] = jnp.linspace(-1.0, 1.0, CHANNELS)
        found.append(norm)
    return found[0], found[1]


@pytest.mark.parametrize("shape", [(4, 8, 8), (3, 7, 5), (2, 1, 1), (1, 6, 9)])
def test_results_statistics_and_gradients_are_those_of_flax(shape: tuple[int, int, int]) -> None:
    x, found = pictures(*shape), []
    ways = ({"training": True}, {"use_running_average": False})
    for norm, way in zip(norms(), ways, strict=True):
        graphdef, params, statistics = split_model(norm)

        def run(params: Any, x: jax.Array, of: Any = (graphdef, statistics, way)) -> Any:
            norm = merge_model(of[0], params, of[1])
            return norm(x, **of[2]), split_model(norm)[2]

        @jax.jit
        def all_of(params: Any, x: jax.Array, run: Any = run) -> Any:
            y, back, moved = jax.vjp(run, params, x, has_aux=True)
            gradients = back(jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape))
            return [y, *jax.tree.leaves((moved, gradients))]

        found.append(all_of(params, x))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)


def test_evaluation_uses_the_running_statistics_to_the_bit_of_flax() -> None:
    ours, theirs = norms()
    for norm in (ours, theirs):
        norm.mean[...], norm.var[...] = jnp.full(CHANNELS, 0.3), jnp.full(CHANNELS, 2.0)
    x = pictures(2, 4, 4)
    expected = theirs(x, use_running_average=True)
    np.testing.assert_array_equal(ours(x, training=False), expected)
    np.testing.assert_array_equal(ours.mean[...], np.full(CHANNELS, 0.3, np.float32))


def test_gradients_are_those_of_finite_differences() -> None:
    x, scale, bias = pictures(2, 3, 4), jnp.linspace(0.5, 2.0, CHANNELS), jnp.ones(CHANNELS)
    check_grads(
        lambda x, scale, bias: normalize(x, scale, bias, 1e-3)[0],
        (x, scale, bias),
        order=1,
        modes=["rev"],
        rtol=1e-2,
        atol=1e-2,
    )


@pytest.mark.parametrize("training", [True, False])
def test_bfloat16_pictures_are_rounded_once_and_their_sums_are_float32(training: bool) -> None:
    x = pictures(64, 16, 16).astype(jnp.bfloat16)
    weights, results = jnp.cos(jnp.arange(x.size)).reshape(x.shape).astype(jnp.bfloat16), []
    for dtype in (jnp.bfloat16, jnp.float32):
        graphdef, params, statistics = split_model(norms(dtype)[0])

        def loss(params: Any, graphdef: Any = graphdef, statistics: Any = statistics) -> Any:
            norm = merge_model(graphdef, params, statistics)
            y = norm(x, training=training)
            return (y * weights).astype(jnp.float32).sum(), (y, split_model(norm)[2])

        gradient, (y, moved) = jax.grad(loss, has_aux=True)(params)
        assert y.dtype == dtype
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((gradient, moved)))
        results.append((y, gradient, moved))
    (rounded, gradient, moved), (exact, near, expected) = results
    np.testing.assert_array_equal(rounded, exact.astype(jnp.bfloat16))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), moved, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), gradient, near)


def test_members_of_a_population_have_statistics_of_their_own() -> None:
    x, scale = pictures(2, 4, 4), jnp.linspace(0.5, 2.0, 3 * CHANNELS).reshape(3, CHANNELS)

    def loss(scale: jax.Array, x: jax.Array) -> jax.Array:
        return (normalize(x, scale, jnp.ones(CHANNELS), 1e-3)[0] ** 3).sum()

    several = jnp.stack([x, 2 * x, x + 1])
    found = jax.jit(jax.vmap(jax.grad(loss, (0, 1))))(scale, several)
    alone = [jax.grad(loss, (0, 1))(*each) for each in zip(scale, several, strict=True)]
    expected = jax.tree.map(lambda *parts: jnp.stack(parts), *alone)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), found, expected
    )


def test_only_cpus_get_sums_by_halves() -> None:
    traced = jax.jit(sum_of_places).trace(pictures(2, 8, 8))
    slices = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.slice")
        for platform in ("cpu", "tpu", "cuda")
    }
    assert slices["cpu"] > 0
    assert slices["tpu"] == slices["cuda"] == 0


@pytest.mark.parametrize("places", [(1, 1), (2, 3), (5, 5), (8, 16)])
def test_the_sum_by_halves_is_the_sum(places: tuple[int, int]) -> None:
    x = pictures(3, *places)
    np.testing.assert_allclose(
        jax.jit(sum_of_places)(x), np.asarray(x, np.float64).sum((0, 1, 2)), rtol=1e-5
    )
