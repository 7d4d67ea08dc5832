"""The lines of a plan."""

from collections.abc import Sequence

from catsdogs_jax.config import Config
from catsdogs_jax.planning.chips import Chip
from catsdogs_jax.planning.collectives import summarized
from catsdogs_jax.planning.costs import Costs, StepCosts, TooLarge
from catsdogs_jax.planning.decoder import Decoder
from catsdogs_jax.planning.duration import Duration
from catsdogs_jax.planning.largest import Largest
from catsdogs_jax.planning.problem import Problem


def head(config: Config, problem: Problem, where: str) -> list[str]:
    """Returns what is planned."""
    task = problem.task
    model, batch, taught = config.model, config.data.batch_size, bool(config.train.teacher)
    return [
        f"devices       {where}",
        f"pictures      {problem.train:,} to train, {problem.validation:,} to validate, "
        f"{len(task.classes):,} classes ({task.kind}), {problem.source}",
        f"run           {model.name} in {model.dtype}, {batch} pictures of "
        f"{config.trained_size}x{config.trained_size} a step, "
        f"{_sharded(config)}, remat {config.train.remat}",
        *(["not counted   the teacher: its parameters, and its pass of each batch"] * taught),
    ]


def memory(costs: Costs, room: float) -> list[str]:
    """Returns whether a run fits, and what takes the memory of a device."""
    needed = costs.device_bytes
    verdict = "fits" if needed <= room else "DOES NOT FIT"
    parts = {**costs.kept, "activations and scratch": costs.scratch}
    words = ", ".join(f"{name} {amount(size)}" for name, size in parts.items())
    return [
        f"memory        {verdict}: {amount(needed)} of {amount(room)} of a device "
        f"({needed / room:.1%})",
        f"              {words}",
    ]


def refused(refusal: TooLarge) -> list[str]:
    """Returns the compiler's word on a step that is too large."""
    return [
        f"memory        DOES NOT FIT: the compiler asks for {amount(refusal.needed)} of "
        f"{amount(refusal.available)} of a device"
    ]


def changes(tried: Sequence[tuple[str, bool]]) -> list[str]:
    """Returns which changes make a run fit."""
    return [
        f"              {'fits with' if fitting else 'not yet with'} {flag}"
        for flag, fitting in tried
    ]


def largest(found: Largest, batch: int) -> list[str]:
    """Returns the largest batch that fits."""
    if not found.fits:
        return [f"largest batch none was found that fits; {found.refused} does not"]
    beyond = f"{found.refused:,} does not" if found.refused else "no larger was tried"
    advice = f": --config.data.batch_size={found.fits}" if found.fits < batch else ""
    return [f"largest batch {found.fits:,} pictures compiled and fit; {beyond}{advice}"]


def step(name: str, costs: StepCosts, chip: Chip) -> list[str]:
    """Returns the least time of a step, and what binds it."""
    times = costs.seconds(chip)
    binds = max(times, key=lambda limit: times[limit])
    words = ", ".join(f"{limit} {1e3 * seconds:.3g} ms" for limit, seconds in times.items())
    return [
        f"{name:<13} {costs.flops / 1e9:,.4g} GFLOP and {amount(costs.accessed)} a device; "
        f"at least {1e3 * times[binds]:.3g} ms, bound by {binds} ({words})"
    ]


def probe() -> list[str]:
    """Returns what stands in place of the training step where none is taken."""
    return ["training step none: a probe is fitted to one pass over the training pictures"]


def collectives(costs: StepCosts, chip: Chip | None = None) -> list[str]:
    """Returns what the devices exchange in a step, and what a TPU's times leave out of it."""
    found = summarized(costs.collectives)
    words = ", ".join(f"{count} {kind} of {amount(size)}" for kind, count, size in found)
    lines = [f"exchanges     {words or 'none'}"]
    between = any(each.between_slices for each in costs.collectives)
    if chip is not None and chip.network is None and between:
        lines.append(
            f"              no network bandwidth of {chip.name} is published: what goes between "
            "slices is not in the times"
        )
    return lines


def pictures(spent: Duration, decoder: Decoder, hosts: int) -> list[str]:
    """Returns the input that the devices could take, and what this host decodes."""
    wanted = spent.wanted / hosts
    need = f"{wanted:,.0f} pictures/s ({amount(wanted * decoder.picture_bytes)}/s of JPEG)"
    if spent.kept:
        verdict = "decoded once and kept, so the decoder is no limit"
    elif spent.waits:
        share = decoder.pictures_per_second / wanted
        verdict = f"the devices WAIT for pictures {1 - share:.0%} of the time"
    else:
        verdict = "fast enough"
    return [
        f"input         {need} a host on {hosts} host(s); this host decodes "
        f"{decoder.pictures_per_second:,.0f}/s on {decoder.cores} cores: {verdict}"
    ]


def length(spent: Duration, config: Config, chips: int, price: float | None, how: str) -> list[str]:
    """Returns steps, minutes and cost of a run."""
    total = spent.total
    cost = ""
    if price is not None:
        cost = f", cost {price * chips * total / 3600:,.2f} ({chips} x {price:g} an hour)"
    epochs = config.train.epochs if spent.steps else None
    longest = "" if epochs is None else f" ({epochs:g} epochs)"
    return [
        f"length        {spent.steps:,} steps{longest}, {minutes(total)} {how}{cost}",
        f"              training {minutes(spent.training)}, evaluation "
        f"{minutes(spent.evaluation)}, decoding beforehand {minutes(spent.decoding)}; start, "
        "compilation and checkpoints not counted",
    ]


def checkpoint(costs: Costs) -> list[str]:
    """Returns the size of a checkpoint."""
    return [f"checkpoint    {amount(costs.checkpoint)}"]


def amount(size: float) -> str:
    """Returns bytes in words: "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:,.2f} GiB"


def minutes(seconds: float) -> str:
    """Returns a duration in words."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:,.1f} min" if seconds < 2 * 3600 else f"{seconds / 3600:,.1f} h"


def _sharded(config: Config) -> str:
    group = config.mesh.fsdp
    return "a copy of the state on each device" if group == 1 else f"the state over {group} devices"
