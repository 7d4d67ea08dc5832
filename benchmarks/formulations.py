"""Ways to compute one training step on this CPU: uv run python -m benchmarks.formulations.

The seed CNN's step with the kernels of this library and with XLA's own convolutions, the batch at
once or in passes of a few pictures whose gradients are summed. A run of 150x150 pictures chooses
among three of them by itself (`catsdogs_jax.training.formulation`).
"""

import functools
import statistics
from importlib.metadata import version

from benchmarks.harness import arguments, in_turn, report
from benchmarks.systems.ours import plain_trainer
from catsdogs_jax import runtime
from catsdogs_jax.training.fastest import Trial
from catsdogs_jax.training.formulation import Formulation

_BATCH, _SIDE = 32, 150
_WAYS = {
    "kernels": functools.partial(Formulation, "compiled"),
    "XLA": functools.partial(Formulation, "native"),
}
_PASSES = (32, 16, 8, 4, 2)


def main() -> None:
    """Times each way, in turn, and prints how much faster the fastest is than each."""
    flags = arguments(__doc__ or "", rounds=9).parse_args()
    runtime.start()
    passes = _PASSES[:1] if flags.quick else _PASSES
    trials = {
        f"{name}, {size} in a pass": Trial(plain_trainer(_SIDE, _BATCH, way=way(microbatch=size)))
        for name, way in _WAYS.items()
        for size in passes
    }
    speeds: dict[str, list[float]] = {name: [] for name in trials}
    for _ in range(1 if flags.quick else flags.rounds):
        for name, trial in trials.items():
            trial.seconds = float("inf")
            trial.step()
            speeds[name].append(_BATCH / trial.seconds)
    fastest = max(speeds, key=lambda name: statistics.median(speeds[name]))
    rows = in_turn(f"seed CNN, batch {_BATCH}", speeds, "images/s", fastest)
    report(rows, {name: version(name) for name in ("jax", "jaxlib", "llvmlite")}, flags)


if __name__ == "__main__":
    main()
