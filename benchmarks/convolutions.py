"""The layers of the seed CNN one by one: python -m benchmarks.convolutions.

Convolution, 2x2 max-pooling, bias and ReLU of 32 pictures, forward and with all gradients, by the
kernels of this library and by XLA, with and without YNNPACK.
"""

import importlib.metadata
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.harness import OURS, Row, arguments, in_turn, report
from catsdogs_jax import runtime
from catsdogs_jax.kernels.conv_pool import conv_relu_pool
from catsdogs_jax.training.compilation import compile_or_recall

LAYERS = [(150, 3, 32), (74, 32, 32), (36, 32, 64)]
"""Side, channels in and channels out."""

BATCH = 32
Layer = Callable[[Any, Any, Any], jax.Array]


def xla(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """The plain formulation."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=dimensions)
    window = (1, 2, 2, 1)
    return jax.nn.relu(lax.reduce_window(y, -jnp.inf, lax.max, window, window, "VALID") + bias)


def gradients(layer: Layer, last: int) -> Callable[..., Any]:
    """Returns the function that computes a layer and its gradients, of the picture if last is 3."""

    def run(x: jax.Array, kernel: jax.Array, bias: jax.Array, dy: jax.Array) -> Any:
        y, back = jax.vjp(layer, x, kernel, bias)
        return y, back(dy)[3 - last :]

    return run


def main() -> None:
    """Measures each layer; the gradient of the pictures themselves is not computed."""
    flags = arguments(__doc__ or "", rounds=9).parse_args()
    runtime.start()
    rows = []
    for side, inputs, outputs in LAYERS:
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.random((BATCH, side, side, inputs)), jnp.float32)
        kernel = jnp.asarray(rng.standard_normal((3, 3, inputs, outputs)) * 0.1, jnp.float32)
        bias, pooled = jnp.zeros(outputs), (side - 2) // 2
        dy = jnp.asarray(rng.standard_normal((BATCH, pooled, pooled, outputs)), jnp.float32)
        parts = 2 if inputs == 3 else 3
        name = f"{side}x{side}x{inputs} to {outputs}"
        forward = BATCH * (side - 2) ** 2 * 9 * inputs * outputs * 2 / 1e9
        rows += measure(f"{name}, forward", (x, kernel, bias), forward, None, flags)
        rows += measure(f"{name}, both", (x, kernel, bias, dy), forward * parts, parts, flags)
    versions = {"jax": jax.__version__, "jaxlib": importlib.metadata.version("jaxlib")}
    report(rows, versions, flags)


def measure(case: str, values: Any, gflop: float, parts: int | None, flags: Any) -> list[Row]:
    """Runs the three ways in turn; `parts` of the work with gradients, none: forward alone."""

    def lower(layer: Layer) -> Any:
        function = layer if parts is None else gradients(layer, parts)
        return jax.jit(function).lower(*values)

    ways = {
        OURS: compile_or_recall(lower(conv_relu_pool))[0],
        "XLA": lower(xla).compile(),
        "XLA without YNNPACK's convolutions": compile_or_recall(lower(xla))[0],
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(1 + (1 if flags.quick else flags.rounds)):
        for name, run in ways.items():
            start = time.perf_counter()
            jax.block_until_ready(run(*values))
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    speeds = {name: [gflop / s for s in found] for name, found in seconds.items()}
    return in_turn(case, speeds, "GFLOP/s")


if __name__ == "__main__":
    main()
