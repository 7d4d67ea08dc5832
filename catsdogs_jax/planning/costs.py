"""Compiles the steps of a run, and reads what they need."""

import contextlib
import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import preprocessing_of
from catsdogs_jax.models.summary import multiply_adds
from catsdogs_jax.planning.chips import Chip
from catsdogs_jax.planning.collectives import Collective, read_collectives
from catsdogs_jax.planning.problem import Problem
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.trainer import CompiledStep, Trainer, build_trainer

_EFFORT, _QUICK = "jax_exec_time_optimization_effort", -1.0
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class StepCosts:
    """What one step costs one device.

    Attributes:
        flops: Operations.
        accessed: Bytes to and from its memory.
        temporary: Bytes of activations and scratch.
        collectives: What it exchanges with others.
    """

    flops: float
    accessed: float
    temporary: int
    collectives: Sequence[Collective]

    def seconds(self, chip: Chip) -> dict[str, float]:
        """Returns the least time that each limit of a chip allows, seconds."""
        inside = sum(each.sent for each in self.collectives if not each.between_slices)
        between = sum(each.sent for each in self.collectives if each.between_slices)
        limits = {
            "compute": self.flops / chip.flops,
            "memory": self.accessed / chip.bandwidth,
            "interconnect": inside / chip.interconnect,
        }
        if between and chip.network is not None:
            limits["network"] = between / chip.network
        return limits


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a run needs on each device.

    Attributes:
        kept: Bytes on a device by name: parameters, optimizer, average, statistics, batch.
        train: The training step; the evaluation step where there is none, as before a probe.
        evaluate: The evaluation step.
        checkpoint: Bytes of a checkpoint, all devices together.
    """

    kept: dict[str, int]
    train: StepCosts
    evaluate: StepCosts
    checkpoint: int

    @property
    def scratch(self) -> int:
        """Bytes of activations and scratch of the step that needs more of them."""
        return max(self.train.temporary, self.evaluate.temporary)

    @property
    def device_bytes(self) -> int:
        """Bytes that a device needs at once."""
        return sum(self.kept.values()) + self.scratch


class TooLarge(Exception):
    """The compiler refused a step.

    Attributes:
        needed: Bytes that it says the step needs.
        available: Bytes that it says there are.
    """

    def __init__(self, needed: float, available: float):
        super().__init__(f"{needed:.3g} of {available:.3g} bytes")
        self.needed, self.available = needed, available


def compile_costs(config: Config, problem: Problem, sharding: Sharding) -> Costs:
    """Compiles both steps of a run and returns their costs.

    Raises:
        TooLarge: They do not fit in the devices' memory.
        UserError: The config cannot be run on these devices.
    """
    plan = make_plan(config, problem.train)
    with quick_compilation():
        trainer = build_trainer(config, preprocessing_of(config, problem.task), sharding, plan, ())
        try:
            programs = trainer.programs if plan.steps else [trainer.evaluate]
            with ThreadPoolExecutor() as pool:  # The compiler uses one core for each.
                list(pool.map(lambda step: step.compiled, programs))
            return read_costs(trainer, trains=plan.steps > 0)
        except jax.errors.JaxRuntimeError as error:
            raise _too_large(error) from error


def read_costs(trainer: Trainer, *, trains: bool) -> Costs:
    """Returns the costs of a trainer's steps; of the evaluation step alone unless it `trains`."""
    state, devices = trainer.abstract_state(), trainer.sharding.device_count
    evaluate = _step_costs(trainer.evaluate, devices)
    train = evaluate
    if trains:
        train = _all_passes(trainer, _step_costs(trainer.train, devices, _passes(trainer)))
    kept = {
        "parameters": state.params,
        "optimizer": state.optimizer,
        "average": (state.average, state.average_statistics),
        "statistics": state.statistics,
        "batch": dict(trainer.abstract_batch),
    }
    whole = sum(_whole_bytes(leaf) for leaf in jax.tree.leaves(state))
    return Costs(
        kept={name: device_bytes(tree) for name, tree in kept.items() if jax.tree.leaves(tree)},
        train=train,
        evaluate=evaluate,
        checkpoint=whole,
    )


def device_bytes(tree: Any) -> int:
    """Returns what one device keeps of a tree of abstract arrays."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


@contextlib.contextmanager
def quick_compilation() -> Iterator[None]:
    """Lets the compiler spend little on speed: several times faster, with much the same memory.

    JAX 0.12 has no such option any more; there the compiler takes its time.
    """
    if _EFFORT not in jax.config.values:
        yield
        return
    before = jax.config.values[_EFFORT]
    jax.config.update(_EFFORT, _QUICK)
    try:
        yield
    finally:
        jax.config.update(_EFFORT, before)


def _whole_bytes(leaf: Any) -> int:
    return math.prod(leaf.shape) * leaf.dtype.itemsize


def _passes(trainer: Trainer) -> int:
    """Returns the passes of a loop that accumulates a step's gradient; 1: there is no loop."""
    recipe, batch = trainer.recipe, trainer.abstract_batch["image"].shape[0]
    return batch // recipe.microbatch if recipe.looped else 1


def _step_costs(step: CompiledStep, devices: int, passes: int = 1) -> StepCosts:
    cost, memory = step.compiled.cost_analysis() or {}, step.compiled.memory_analysis()
    return StepCosts(
        flops=cost.get("flops", 0.0),
        accessed=cost.get("bytes accessed", 0.0),
        temporary=memory.temp_size_in_bytes if memory is not None else 0,
        collectives=read_collectives(step.compiled.as_text() or "", devices, passes),
    )


def _all_passes(trainer: Trainer, once: StepCosts) -> StepCosts:
    """Returns the costs of a step whose gradient is accumulated in a loop.

    The compiler counts the body of a loop once. The operations of a further pass are counted by
    hand: three times the products of the forward pass, or four if it is computed again; bytes are
    taken to be in proportion.
    """
    recipe, further = trainer.recipe, _passes(trainer) - 1
    if not (further and once.flops):
        return once
    pictures = recipe.microbatch / trainer.sharding.device_count
    products = 4 if recipe.remat == "blocks" else 3
    work = 2 * products * multiply_adds(trainer.model, recipe.trained_size)
    flops = work * pictures * further
    accessed = once.accessed * (1 + flops / once.flops)
    return dataclasses.replace(once, flops=once.flops + flops, accessed=accessed)


def _too_large(error: Exception) -> Exception:
    """Returns what the compiler's message says: "... (93.54G) exceeds available HBM (15.75G)"."""
    text = str(error)
    sizes = [float(n) * _UNITS[unit] for n, unit in re.findall(r"\b([\d.]+)([KMGT])\b", text)]
    if "RESOURCE_EXHAUSTED" not in text or len(sizes) < 2:
        return error
    return TooLarge(needed=sizes[0], available=sizes[1])
