"""Promises of the convolution kernels: the plain formulation's results, on every kind of CPU."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from catsdogs_jax.kernels import conv_pool, conv_pool_ir, emitter
from catsdogs_jax.kernels.conv_pool import conv_relu_pool, supports

SHAPES = [
    (2, 4, 4, 3, 16),  # one place of result
    (3, 23, 18, 16, 48),  # odd height; a row that is no multiple of a block
    (5, 13, 27, 3, 32),
    (20, 11, 12, 32, 16),  # more pictures than parts
]
LANES = {"AVX-512": (16, 32), "AVX2": (8, 16), "NEON": (4, 32), "SSE": (4, 16)}


@pytest.fixture(params=LANES)
def _lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Emits for the registers of another CPU; LLVM makes do with those that there are."""
    for module in (conv_pool, emitter):
        monkeypatch.setattr(module, "vector_registers", lambda: LANES[request.param])
    # XLA lets no name be registered twice: another name, and another memory of what is compiled.
    monkeypatch.setattr(conv_pool, "_PREFIX", f"{conv_pool._PREFIX}_{request.param}")
    compiled = functools.cache(conv_pool._registered.__wrapped__)
    monkeypatch.setattr(conv_pool, "_registered", compiled)
    jax.clear_caches()
    yield
    jax.clear_caches()


def plain(x: Any, kernel: Any, bias: Any) -> jax.Array:
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=dimensions)
    pooled = lax.reduce_window(y, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return jax.nn.relu(pooled + bias.reshape(1, 1, 1, -1))


@functools.partial(jax.jit, static_argnums=0)
def backwards(layer: Any, inputs: Any, dy: Any) -> tuple[jax.Array, Any]:
    """What a layer gives, and its gradients, compiled as a whole."""
    y, back = jax.vjp(layer, *inputs)
    return y, back(dy)


def arrays(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, ...]:
    pictures, height, width, inputs, outputs = shape
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((pictures, height, width, inputs))
    kernel = rng.standard_normal((3, 3, inputs, outputs)) / np.sqrt(9 * inputs)
    bias = rng.standard_normal(outputs) * 0.3
    dy = rng.standard_normal((pictures, (height - 2) // 2, (width - 2) // 2, outputs))
    return tuple(a.astype(np.float32) for a in (x, kernel, bias, dy))


def close(found: Any, expected: Any) -> None:
    """Within 1e-5 of the greatest value: sums of thousands of terms, in another order."""
    scale = max(float(jnp.abs(expected).max()), 1e-3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.usefixtures("_lanes")
def test_results_and_gradients_are_those_of_the_plain_formulation(shape: tuple[int, ...]) -> None:
    *inputs, dy = arrays(shape)
    found, expected = (backwards(layer, inputs, dy) for layer in (conv_relu_pool, plain))
    jax.tree.map(close, found, expected)


def test_gradients_are_those_of_finite_differences() -> None:
    x, kernel, bias, dy = arrays((2, 9, 8, 16, 16), seed=3)

    def loss(*inputs: Any) -> jax.Array:
        return jnp.vdot(conv_relu_pool(*inputs), dy)

    gradients = jax.grad(loss, (0, 1, 2))(x, kernel, bias)
    exact = [np.asarray(a, np.float64) for a in (x, kernel, bias)]
    rng = np.random.default_rng(1)
    directions = [rng.standard_normal(a.shape) for a in exact]
    for place, direction in enumerate(directions):
        step = 1e-4  # So small that no pooled place changes its winner.
        ends = []
        for sign in (1, -1):
            moved = list(exact)
            moved[place] = exact[place] + sign * step * direction
            ends.append(float(loss(*(jnp.asarray(a, jnp.float32) for a in moved))))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float(np.vdot(gradients[place], direction)) == pytest.approx(slope, rel=2e-2)


def test_of_equal_places_the_first_takes_the_gradient() -> None:
    x, kernel, bias, dy = arrays((1, 6, 6, 3, 16))
    inputs = [np.ones_like(x), kernel, bias]
    found, expected = (backwards(layer, inputs, dy) for layer in (conv_relu_pool, plain))
    jax.tree.map(close, found, expected)


def test_a_nan_is_not_hidden() -> None:
    x, kernel, bias, _ = arrays((1, 6, 6, 3, 16))
    kernel[0, 0, 0, 5] = np.nan
    y = conv_relu_pool(x, kernel, bias)
    assert np.isnan(y[..., 5]).all()
    assert np.isfinite(np.delete(y, 5, axis=-1)).all()


def test_the_rounding_does_not_depend_on_what_else_the_machine_does() -> None:
    *inputs, dy = arrays((20, 31, 33, 3, 32))
    gradient = jax.jit(lambda dy: jax.vjp(conv_relu_pool, *inputs)[1](dy))
    first = jax.device_get(gradient(jnp.asarray(dy)))
    for _ in range(20):
        for one, again in zip(first, gradient(jnp.asarray(dy)), strict=True):
            np.testing.assert_array_equal(one, again)


def test_parts_cover_every_picture_for_any_batch() -> None:
    for pictures in (1, 2, 15, 16, 17, 33):
        *inputs, dy = arrays((pictures, 4, 4, 3, 16), seed=pictures)
        found, expected = (backwards(layer, inputs, dy) for layer in (conv_relu_pool, plain))
        close(found[1][1], expected[1][1])


def test_only_float32_and_whole_vectors_of_channels_are_supported() -> None:
    lanes, _ = emitter.vector_registers()
    assert supports(jnp.float32, 2 * lanes)
    assert not supports(jnp.float32, 2 * lanes + 1)
    assert not supports(jnp.bfloat16, 2 * lanes)


def test_the_same_shape_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernel, bias, _ = arrays((1, 5, 7, 3, 16))
    conv_relu_pool(x, kernel, bias)
    monkeypatch.setattr(conv_pool_ir, "forward", lambda _: pytest.fail("emitted again"))
    conv_relu_pool(x + 1, kernel, bias)
