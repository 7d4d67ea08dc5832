"""How the same mathematics is put to a device: the fastest way is measured, not assumed.

A formulation changes the speed of a step and the rounding of its last bits. So the choice is kept:
in the run folder, that a run which goes on repeats it, and for the machine, that the next run does
not measure again.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
from typing import Any, Literal

import jax

from catsdogs_jax.config import Config
from catsdogs_jax.cores import cores
from catsdogs_jax.data.places import cache_folder
from catsdogs_jax.errors import UserError
from catsdogs_jax.kernels.emitter import host
from catsdogs_jax.training.sharding import Sharding

STEPS_PER_CALL = "steps_per_call"
"""The key of `formulation.json` for how many steps a call has (`resident.py`); absent: one."""

_PIXELS_OF_A_PASS = 10_000
"""Half a picture of 150x150: with many more, the activations outgrow a core's own cache."""

_PIXELS_OF_A_KERNEL_PASS = 450_000
"""Twenty pictures of 150x150. The kernels keep no activations but the pooled ones, and with many
more pictures those outgrow the last cache: worth a trial beside the whole batch at once."""

_STEP_VERSION = 4
"""Raise it with a change of the step that may make another formulation the fastest."""

_MOST_PASSES = 32
_MOST_UNROLLED = 400
"""Unrolled passes of a step at most, and layers in all of them: compiling takes that long."""


@dataclasses.dataclass(frozen=True)
class Formulation:
    """A way to compute a step.

    Attributes:
        convolutions: XLA's own ("native"), or the kernels compiled for this CPU ("compiled").
        microbatch: Pictures in one gradient pass.
    """

    convolutions: Literal["native", "compiled"]
    microbatch: int

    def __str__(self) -> str:
        kernels = "kernels for this CPU" if self.convolutions == "compiled" else "XLA's own"
        return f"convolutions: {kernels}; {self.microbatch} pictures in a pass"

    def evaluation_pass(self, batch: int, image_size: int, sharding: Sharding, layers: int) -> int:
        """Returns the pictures in one pass of an evaluation batch."""
        if self.convolutions == "compiled":
            return batch
        return pass_size(batch, image_size, sharding, layers)

    def apply(self, config: Config) -> Config:
        """Returns the config with this choice in place of "auto"."""
        model = dataclasses.replace(config.model, convolutions=self.convolutions)
        train = dataclasses.replace(config.train, microbatch=self.microbatch)
        return dataclasses.replace(config, model=model, train=train)


def candidates(
    config: Config, sharding: Sharding, *, kernels: bool, statistics: bool, layers: int
) -> list[Formulation]:
    """Returns the formulations worth a try, the likely fastest first.

    Args:
        config: The run; what it pins is not varied.
        sharding: The devices.
        kernels: Whether the model has layers that the compiled kernels can compute.
        statistics: Whether the model normalises by the statistics of a batch, which cannot be had
            in passes of a few pictures.
        layers: Kernels of the model, by which the time to compile a pass grows.

    Raises:
        UserError: What the config pins cannot be had.
    """
    batch, wanted = config.data.batch_size, config.train.microbatch
    if wanted is not None and batch % wanted:
        raise UserError(
            f"train.microbatch is {wanted}, which does not divide data.batch_size {batch}"
        )
    pinned = config.model.convolutions
    if pinned == "compiled" and not one_cpu(sharding):
        raise UserError(
            f"model.convolutions is 'compiled', which needs one CPU device, not "
            f"{sharding.device_count} x {sharding.platform}: leave it at auto, or set "
            "--config.mesh.devices=1"
        )
    if pinned == "compiled" and not kernels:
        raise UserError(
            f"model.convolutions is 'compiled', but the kernels fit no layer of {config.model.name}"
            f" in {config.model.dtype} (they need float32, and channels that fill the CPU's "
            "vectors): leave it at auto, or choose other model.widths, for example (16, 32)"
        )
    found = []
    if pinned == "compiled" or (pinned == "auto" and kernels and one_cpu(sharding)):
        few = divisor_of(batch, at_most=_PIXELS_OF_A_KERNEL_PASS / config.trained_size**2)
        sizes = [wanted] if wanted else sorted({few, batch})
        found += [Formulation("compiled", size) for size in sizes]
    if pinned != "compiled":
        passes = batch if statistics else pass_size(batch, config.trained_size, sharding, layers)
        found.append(Formulation("native", wanted or passes))
    return found


def divisor_of(batch: int, at_most: float) -> int:
    """Returns the greatest divisor of a batch that is not above `at_most`, at least 1."""
    return max(m for m in range(1, batch + 1) if batch % m == 0 and (m <= at_most or m == 1))


def one_cpu(sharding: Sharding) -> bool:
    """Whether the run has a single device and that is a CPU."""
    return sharding.platform == "cpu" and sharding.device_count == 1


def kernel_count(params: Any) -> int:
    """Returns the layers with a kernel among the parameters of a model."""
    return sum(leaf.ndim > 1 for leaf in jax.tree.leaves(params))


def pass_size(batch: int, image_size: int, sharding: Sharding, layers: int) -> int:
    """Returns the pictures in a pass: few on a CPU, where its cache sets the pace, else all."""
    if not one_cpu(sharding):
        return batch
    most = max(1, min(_MOST_PASSES, _MOST_UNROLLED // layers))
    wanted = max(_PIXELS_OF_A_PASS / image_size**2, batch / most)
    return next(m for m in range(1, batch + 1) if batch % m == 0 and (m >= wanted or m == batch))


class MachineMemory:
    """What was measured on this machine before, a small file for each kind of step."""

    def __init__(self, config: Config, outputs: int):
        versions = {
            name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "llvmlite")
        }
        step = {
            "machine": [*host(), cores()],
            "versions": {"step": _STEP_VERSION, **versions},
            "model": dataclasses.asdict(config.model),
            "augment": dataclasses.asdict(config.augment),
            "batch": [config.data.batch_size, config.data.image_size, outputs],
            "microbatch": config.train.microbatch,
        }
        digest = hashlib.sha256(json.dumps(step, sort_keys=True).encode()).hexdigest()
        self._path = cache_folder() / "formulations" / f"{digest[:32]}.json"

    def recall(self) -> Formulation | None:
        """Returns what was the fastest; none if it was not measured."""
        try:
            return from_dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

    def keep(self, fastest: Formulation) -> None:
        """Writes the fastest down; a cache that cannot be written costs a measurement, no more."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(dataclasses.asdict(fastest)), encoding="utf-8")
            draft.replace(self._path)
        except OSError:
            return


def from_dict(tree: dict[str, Any] | None) -> Formulation | None:
    """Reads what `dataclasses.asdict` made of a formulation; none from anything else."""
    fields = {name: value for name, value in (tree or {}).items() if name != STEPS_PER_CALL}
    try:
        return Formulation(**fields)
    except TypeError:
        return None
