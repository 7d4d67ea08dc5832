"""The largest batch that fits, and what makes a run fit that does not."""

import dataclasses
import time
from collections.abc import Callable, Iterator

from catsdogs_jax.config import Config
from catsdogs_jax.errors import UserError
from catsdogs_jax.planning.costs import Costs, TooLarge

Compile = Callable[[Config], Costs]

_RESOLUTION = 16
"""The search ends when the batch is known to one part in this many."""


@dataclasses.dataclass(frozen=True)
class Largest:
    """What a search for the largest batch found.

    Attributes:
        fits: The largest batch that was compiled and fits; 0: none.
        refused: The smallest that was compiled and does not fit; none: none was.
    """

    fits: int
    refused: int | None


def with_batch(config: Config, batch: int) -> Config:
    """Returns the config with another batch; evaluation keeps its own."""
    evaluation = config.eval.batch_size or config.data.batch_size
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, batch_size=batch),
        eval=dataclasses.replace(config.eval, batch_size=evaluation),
    )


def fits(costs: Costs, room: float) -> bool:
    """Whether a device with this much memory can take both steps."""
    return costs.device_bytes <= room


def largest_batch(
    config: Config,
    first: Costs | None,
    room: float,
    unit: int,
    compile_at: Compile,
    until: float,
) -> Largest:
    """Bisects on compiled memory.

    Args:
        config: The run; its batch is where the search begins.
        first: Its costs; none: the compiler refused it.
        room: Bytes of a device's memory.
        unit: The batch is a multiple of this.
        compile_at: Returns the costs of a config, or raises `TooLarge`.
        until: Value of `time.monotonic` after which no further batch is compiled.
    """
    count = config.data.batch_size // unit
    low, high = (count, None) if first is not None and fits(first, room) else (0, count)
    grown = first.train.temporary + first.kept["batch"] if first is not None else 0
    free = room - first.device_bytes + grown if first is not None else 0
    guess = int(count * free / max(grown, 1)) if first is not None else count // 2
    while time.monotonic() < until and (high is None or high - low > max(1, low // _RESOLUTION)):
        # A guess from the memory of the first batch, then doubling or halving of the interval.
        between = 2 * low if high is None else (low + high) // 2
        inside = low < guess and (high is None or guess < high)
        tried, guess = (guess if inside else between), 0
        if _fits(with_batch(config, tried * unit), room, compile_at):
            low = tried
        else:
            high = tried
    return Largest(low * unit, None if high is None else high * unit)


def mends(config: Config, devices: int) -> Iterator[tuple[str, Config]]:
    """Yields changes that need less memory, as flags, those that cost least first.

    Args:
        config: The run.
        devices: How many can share a state: those of a slice.
    """
    if config.model.dtype == "float32":
        model = dataclasses.replace(config.model, dtype="bfloat16")
        yield "--config.model.dtype=bfloat16", dataclasses.replace(config, model=model)
    if config.mesh.fsdp < devices:
        mesh = dataclasses.replace(config.mesh, fsdp=devices)
        yield f"--config.mesh.fsdp={devices}", dataclasses.replace(config, mesh=mesh)
    if config.train.remat == "none":
        train = dataclasses.replace(config.train, remat="products")
        yield "--config.train.remat=products", dataclasses.replace(config, train=train)
    if config.train.remat != "blocks":
        train = dataclasses.replace(config.train, remat="blocks")
        yield "--config.train.remat=blocks", dataclasses.replace(config, train=train)
        if config.model.dtype == "float32":
            model = dataclasses.replace(config.model, dtype="bfloat16")
            both = dataclasses.replace(config, train=train, model=model)
            yield "--config.train.remat=blocks --config.model.dtype=bfloat16", both


def what_makes_it_fit(
    config: Config, room: float, devices: int, compile_at: Compile, until: float
) -> list[tuple[str, bool]]:
    """Returns each change that was compiled in time, and whether the run fits with it."""
    tried = []
    for flag, changed in mends(config, devices):
        if time.monotonic() > until:
            break
        try:
            tried.append((flag, _fits(changed, room, compile_at)))
        except UserError:
            continue  # The model has no such form.
    return tried


def _fits(config: Config, room: float, compile_at: Compile) -> bool:
    try:
        return fits(compile_at(config), room)
    except TooLarge:
        return False
