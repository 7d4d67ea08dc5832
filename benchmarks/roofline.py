"""What a TPU allows, read from its compiler: uv run --extra tpu python -m benchmarks.roofline."""

import contextlib
import importlib.metadata
from typing import Any

from benchmarks.harness import Row, arguments, single, write
from catsdogs_jax.config.reader import read_config
from catsdogs_jax.planning.costs import quick_compilation
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.topology import absent_tpus
from catsdogs_jax.training.trainer import build_trainer

_BATCH_OF_A_DEVICE = 128
_PEAKS = {"v5e": (197e12, 819e9), "v6e": (918e12, 1640e9), "v4": (275e12, 1228e9)}
"""bfloat16 operations and bytes of memory a second, https://cloud.google.com/tpu/docs/v5e and the
pages beside it."""


_SIDES = {"seed_cnn": 150, "resnet18": 128, "efficientnet_lite0": 224}
"""Models, and the pictures that they are given."""


def roofline(model: str, topology: str) -> dict[str, Any]:
    """Compiles a training step in bfloat16, otherwise as configs/seed_cnn.py; reads its costs."""
    sharding, side = absent_tpus(topology), _SIDES[model]
    overrides = {
        "data.dir": "unused",
        "data.image_size": str(side),
        "model.name": model,
        "data.batch_size": str(_BATCH_OF_A_DEVICE * sharding.device_count),
        "model.dtype": "bfloat16",
    }
    if model != "seed_cnn":  # It has stages of its own, and no dense layer before the head.
        overrides |= {"model.widths": "()", "model.hidden": "None"}
    config = read_config("configs/seed_cnn.py", overrides)
    preprocessing = Preprocessing(config.data.image_size, "stretch", Task("binary", ("a", "b")))
    plan = make_plan(config, 10 * config.data.batch_size)
    step = build_trainer(config, preprocessing, sharding, plan, ()).train.compiled
    cost, memory = step.cost_analysis() or {}, step.memory_analysis()
    assert memory is not None
    operations, accessed = cost["flops"], cost["bytes accessed"]
    rate, bandwidth = _PEAKS[topology.split(":")[0]]
    seconds = max(operations / rate, accessed / bandwidth)
    return {
        "case": f"{model}, {topology}, {_BATCH_OF_A_DEVICE} pictures of {side}x{side} a device",
        "operations_a_picture": operations / _BATCH_OF_A_DEVICE,
        "bytes_a_picture": accessed / _BATCH_OF_A_DEVICE,
        "intensity": operations / accessed,
        "balance": rate / bandwidth,
        "images_per_second": sharding.device_count * _BATCH_OF_A_DEVICE / seconds,
        "device_bytes": memory.argument_size_in_bytes + memory.temp_size_in_bytes,
    }


def main() -> None:
    """Prints a table."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--topology", nargs="*", default=["v5e:2x4"], metavar="KIND:SHAPE")
    parser.add_argument("--model", nargs="*", choices=_SIDES, metavar="NAME")
    flags = parser.parse_args()
    models = flags.model or (["seed_cnn"] if flags.quick else list(_SIDES))
    # A compiler in haste makes other code: the bytes of --quick are not those of the table.
    with quick_compilation() if flags.quick else contextlib.nullcontext():
        found = [roofline(model, topology) for topology in flags.topology for model in models]
    versions = {name: importlib.metadata.version(name) for name in ("jax", "libtpu")}
    print(f"\n{', '.join(f'{k} {v}' for k, v in versions.items())}\n")
    print(
        "| step | operations a picture | bytes a picture | operations a byte (the chip's balance) "
        "| images/s allowed | memory of a device |"
    )
    print("|---|---|---|---|---|---|")
    for step in found:
        print(
            f"| {step['case']} | {step['operations_a_picture'] / 1e9:.2f} G "
            f"| {step['bytes_a_picture'] / 1e6:.1f} MB "
            f"| {step['intensity']:.1f} ({step['balance']:.0f}) "
            f"| {step['images_per_second']:,.0f} | {step['device_bytes'] / 2**20:,.0f} MiB |"
        )
    write([row for step in found for row in rows(step)], versions, flags)


def rows(step: dict[str, Any]) -> list[Row]:
    """Returns the figures of a step as data."""
    case = step["case"]
    return [
        single(f"{case}, operations", step["operations_a_picture"] / 1e9, "G a picture"),
        single(f"{case}, bytes", step["bytes_a_picture"] / 1e6, "MB a picture"),
        single(f"{case}, intensity", step["intensity"], "operations a byte"),
        single(f"{case}, the chip's balance", step["balance"], "operations a byte"),
        single(f"{case}, allowed", step["images_per_second"], "images/s"),
        single(f"{case}, memory of a device", step["device_bytes"] / 2**20, "MiB"),
    ]


if __name__ == "__main__":
    main()
