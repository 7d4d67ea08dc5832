"""A plan for TPUs that are not there."""

import dataclasses
import functools
import math
import time

from catsdogs_jax.config import Config
from catsdogs_jax.planning import report
from catsdogs_jax.planning.chips import Chip, chip_of
from catsdogs_jax.planning.costs import Costs, TooLarge, compile_costs
from catsdogs_jax.planning.decoder import measure_decoder
from catsdogs_jax.planning.duration import Duration, duration_of, features_seconds
from catsdogs_jax.planning.largest import fits, largest_batch, what_makes_it_fit
from catsdogs_jax.planning.problem import Problem
from catsdogs_jax.training.plan import Plan, make_plan
from catsdogs_jax.training.sharding import Sharding
from catsdogs_jax.training.topology import absent_tpus


def plan_for_tpus(
    config: Config,
    problem: Problem,
    topology: str,
    price: float | None,
    seconds: float,
    slices: int = 1,
) -> list[str]:
    """Compiles the steps of a run for TPUs and returns the lines of its plan.

    Args:
        config: The run.
        problem: The size of its data.
        topology: Kind and shape, for example "v5e:2x4".
        price: Of one chip for one hour; none: no cost is given.
        seconds: No further variant is compiled after this long.
        slices: Number of such slices, joined by the data centre's network.

    Raises:
        UserError: The topology is unknown, there is no TPU compiler, or the config cannot be run.
    """
    until, chip = time.monotonic() + seconds, chip_of(topology)
    sharding = absent_tpus(topology, config.mesh, slices)
    devices = sharding.device_count
    config, rounded = _whole_batch(config, devices)
    where = topology if slices == 1 else f"{slices} slices of {topology}"
    lines = [*report.head(config, problem, f"{devices} x {chip.name} ({where})"), *rounded]
    meshed = functools.lru_cache(maxsize=None)(lambda mesh: absent_tpus(topology, mesh, slices))

    def compile_at(changed: Config) -> Costs:
        return compile_costs(changed, problem, meshed(changed.mesh))

    try:
        costs = compile_at(config)
    except TooLarge as refusal:
        costs = None
        lines += report.refused(refusal)
    if costs is not None:
        lines += report.memory(costs, chip.memory)
    if costs is None or not fits(costs, chip.memory):
        changes = what_makes_it_fit(config, chip.memory, devices // slices, compile_at, until)
        lines += report.changes(changes)
    plan = make_plan(config, problem.train)
    if plan.steps:
        # Shared out evenly, to the devices and to the passes of an accumulated gradient.
        unit = math.lcm(devices, config.train.microbatch or 1)
        found = largest_batch(config, costs, chip.memory, unit, compile_at, until)
        lines += report.largest(found, config.data.batch_size)
    if costs is not None:
        lines += _rates(config, problem, plan, sharding, chip, costs, price)
    return lines


def _whole_batch(config: Config, devices: int) -> tuple[Config, list[str]]:
    batch = config.data.batch_size
    whole = -(-batch // devices) * devices
    if whole == batch:
        return config, []
    data = dataclasses.replace(config.data, batch_size=whole)
    words = f"batch         {batch} does not divide by {devices} devices: planned with {whole}"
    return dataclasses.replace(config, data=data), [words]


def _rates(
    config: Config,
    problem: Problem,
    plan: Plan,
    sharding: Sharding,
    chip: Chip,
    costs: Costs,
    price: float | None,
) -> list[str]:
    hosts = len({device.process_index for device in sharding.mesh.devices.flat})
    evaluation = max(costs.evaluate.seconds(chip).values())
    step = max(costs.train.seconds(chip).values())
    if not plan.steps:
        step = features_seconds(config, evaluation)
    decoder = measure_decoder(config)
    spent: Duration = duration_of(config, problem, plan, step, evaluation, decoder, hosts)
    return [
        *(report.step("training step", costs.train, chip) if plan.steps else report.probe()),
        *report.step("evaluation", costs.evaluate, chip),
        *report.collectives(costs.train, chip),
        *report.pictures(spent, decoder, hosts),
        *report.length(spent, config, sharding.device_count, price, "at the roofline"),
        *report.checkpoint(costs),
    ]
