"""Hosts that feed a pod, simulated: uv run --extra tpu python -m benchmarks.simulation."""

import importlib.metadata
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.harness import Row, arguments, single, write
from benchmarks.scaling import MODELS, config_of, curves, work_of
from catsdogs_jax.planning.decoder import measure_decoder
from catsdogs_jax.planning.scaling import V5E_PODS, Scaled
from catsdogs_jax.planning.simulation import Feeding, simulated_step

_CORES = 224
"""Virtual processors of a host of eight v5e chips (ct5lp-hightpu-8t)."""

_STALLS = {"spread": 0.1, "stall_every": 1000, "stall_seconds": 1.0}
_CASES = {
    "even": {"spread": 0.1},
    "uneven": {"spread": 0.5},
    "stalls": _STALLS,
    "stalls, 32 ahead": {**_STALLS, "ahead": 32},  # In place of the feed's four.
}


class Point(NamedTuple):
    """A model on so many hosts.

    Attributes:
        model: Its name.
        chips: Number of chips.
        hosts: Number of hosts.
        load: Pictures that a host has to decode, as a share of what it can.
        efficiency: Share of the step's own pace that is left, by case.
    """

    model: str
    chips: int
    hosts: int
    load: float
    efficiency: dict[str, float]


def points(model: str, scaled: list[Scaled], rate: float, steps: int) -> Iterator[Point]:
    """Yields a model at each number of whole hosts.

    Args:
        model: Its name.
        scaled: Its step at each number of chips, weak scaling.
        rate: Pictures a second that a core decodes.
        steps: Length of each simulation.
    """
    for one in scaled:
        hosts = one.chips // V5E_PODS.chips_of_host
        if not hosts:
            continue
        step = max(one.own, one.exchange)
        seconds = one.pictures * step / hosts / (rate * _CORES)
        left = {
            case: step / simulated_step(step, hosts, Feeding(seconds, **settings), steps)
            for case, settings in _CASES.items()
        }
        yield Point(model, one.chips, hosts, seconds / step, left)


def table(found: list[Point]) -> str:
    """Returns a Markdown table."""
    cases = " | ".join(_CASES)
    lines = [
        f"| model | chips | hosts | load | {cases} |",
        "|---|---|---|---|" + "---|" * len(_CASES),
    ]
    for point in found:
        shares = " | ".join(f"{share:.0%}" for share in point.efficiency.values())
        lines.append(
            f"| {point.model} | {point.chips:,} | {point.hosts:,} | {point.load:.0%} | {shares} |"
        )
    return "\n".join(lines)


def rows(found: list[Point]) -> list[Row]:
    """Returns the table as data."""
    return [
        single(f"{point.model}, {point.hosts:,} hosts, {case}", 100 * share, "%")
        for point in found
        for case, share in point.efficiency.items()
    ]


def main() -> None:
    """Compiles, measures the decoder, simulates, prints a table."""
    flags = arguments(__doc__ or "").parse_args()
    found = []
    versions = {name: importlib.metadata.version(name) for name in ("jax", "libtpu")}
    print(f"\n{', '.join(f'{k} {v}' for k, v in versions.items())}")
    for model in ["seed_cnn"] if flags.quick else MODELS:
        decoder = measure_decoder(config_of(model, 1))
        rate = decoder.pictures_per_second / decoder.cores
        print(f"{model}: a core here decodes {rate:,.0f} pictures a second", flush=True)
        weak, _ = curves(work_of(model))
        found += points(model, weak, rate, 200 if flags.quick else 2000)
    print(f"\n{table(found)}")
    write(rows(found), versions, flags)


if __name__ == "__main__":
    main()
