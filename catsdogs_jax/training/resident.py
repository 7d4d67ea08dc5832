"""Training pictures that lie on the devices: indices are sent, and several steps are one call.

A small network takes a step in less time than the host needs to cut a batch, send it and start the
step. An accelerator that holds all decoded pictures gathers them itself, and takes the next steps
without asking. On a CPU nothing is saved, and XLA runs convolutions inside a loop much slower.
Source: `steps_per_execution` of Keras; `iterations_per_loop` of TPUEstimator.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from catsdogs_jax import hosts
from catsdogs_jax.config import Config
from catsdogs_jax.data.pipeline import Batch, PictureSet
from catsdogs_jax.errors import UserError
from catsdogs_jax.training.plan import Plan
from catsdogs_jax.training.sharding import everywhere
from catsdogs_jax.training.step import train_steps
from catsdogs_jax.training.trainer import CompiledStep, Stage, Trainer

_STEPS_PER_CALL = 8
_ROWS, _LANES = 32, 128
_SHARE = 0.25
"""Of a device's free memory that pictures may take where the config does not ask for it."""


def with_resident_pictures(
    trainer: Trainer,
    config: Config,
    pictures: PictureSet,
    plan: Plan,
    recorded: int | None = None,
) -> Trainer:
    """Returns a trainer whose pictures lie on the devices, if that is asked for or saves time.

    Args:
        trainer: The trainer.
        config: The run; of `train.steps_per_call` more than 1 asks for it, 1 forbids it.
        pictures: The training pictures.
        plan: Length of the run.
        recorded: Steps per call that the run began with; none: it begins now. They are kept, so
            that a resumed run ends with the same bits.

    Raises:
        UserError: It is asked for, but the decoded pictures are not in memory.
    """
    asked = config.train.steps_per_call
    kept = pictures.cache is not None and not isinstance(pictures.cache, np.memmap)
    if asked not in (None, 1) and not kept:
        raise UserError(
            f"train.steps_per_call={asked} needs the decoded training pictures in memory, "
            f"{pictures.decoded_bytes / 2**20:,.0f} MiB: raise --config.data.cache_mb, or lower "
            "--config.data.image_size"
        )
    if asked is None and (not kept or trainer.sharding.platform == "cpu"):
        asked = 1
    steps = asked or recorded or (_STEPS_PER_CALL if _fit(trainer, pictures) else 1)
    # A profile counts steps that are calls, and a probe takes none.
    if steps == 1 or config.train.profile_steps or not plan.steps:
        return trainer
    assert pictures.cache is not None
    tiles = everywhere(tiled(pictures.cache), trainer.sharding.replicated)
    residents = {
        size: dataclasses.replace(one, resident=Resident(one, tiles, steps))
        for size, one in trainer.by_size.items()
    }
    stages = [
        Stage(stage.until, residents[stage.trainer.recipe.trained_size])
        for stage in trainer.earlier
    ]
    return dataclasses.replace(residents[trainer.recipe.trained_size], earlier=tuple(stages))


class Resident:
    """Steps of pictures that lie on the devices.

    Attributes:
        steps: Steps in a call, where nothing has to happen after one of them before its last.

    Args:
        trainer: What one step is.
        tiles: All training pictures on every device, see `tiled`.
        steps: Steps in a call.
    """

    def __init__(self, trainer: Trainer, tiles: jax.Array, steps: int):
        self.steps = steps
        self._several = compile_steps(trainer, tiles, self.steps)
        self._one = compile_steps(trainer, tiles, 1)

    @property
    def compiled(self) -> tuple[CompiledStep, ...]:
        """The programs that a run needs."""
        return self._several, self._one

    def __call__(self, state: Any, batches: Batch) -> Any:
        """Takes as many steps as there are batches, 1 or `steps`; see `train_steps`."""
        return (self._one if len(batches["mask"]) == 1 else self._several)(state, batches)

    def calls(self, plan: Plan, first_step: int, stages: Sequence[Stage] = ()) -> Iterator[int]:
        """Yields the number of steps in each call from a step on.

        A call ends where a stage does. Calls of several begin at multiples of `steps` alone, so
        that a run that goes on makes the calls that it would have made, and with them the same
        rounding.
        """
        step, ends = first_step, {stage.until for stage in stages}
        while step < plan.steps:
            last = step + self.steps
            whole = step % self.steps == 0 and last <= plan.steps
            between = range(step + 1, last)
            if whole and ends.isdisjoint(between) and not any(map(plan.saves_after, between)):
                size = self.steps
            else:
                size = 1
            yield size
            step += size


def stacked(batches: Iterable[Batch], sizes: Iterable[int]) -> Iterator[Batch]:
    """Yields as many batches as each size says as one, each array with a leading axis [size]."""
    remaining = iter(batches)
    for size in sizes:
        block = list(itertools.islice(remaining, size))
        yield {name: np.stack([batch[name] for batch in block]) for name in block[0]}


def tiled(images: np.ndarray) -> np.ndarray:
    """Returns pictures uint8 [n, size, size, 3] as whole tiles of a TPU, uint8 [n, rows, 128].

    A TPU keeps bytes in tiles of 32 x 128. As [n, size, size, 3] it would lay the pictures side by
    side in them, and every call would begin with a copy of all pictures in another layout; as
    tiles of its own, each picture is one piece of memory (`tests/training/test_topology.py`).
    """
    size = images[0].size
    tiles = np.zeros((len(images), tile_rows(size), _LANES), np.uint8)
    tiles.reshape(len(images), -1)[:, :size] = images.reshape(len(images), -1)
    return tiles


def tile_rows(size: int) -> int:
    """Returns the rows of the tiles that hold a picture of so many bytes."""
    return -(-size // (_ROWS * _LANES)) * _ROWS


def compile_steps(trainer: Trainer, tiles: Any, steps: int) -> CompiledStep:
    """Returns a call of some steps; what becomes of it is compiled when it is first asked for.

    Args:
        trainer: What one step is.
        tiles: All training pictures on every device, or their shape, see `tiled`.
        steps: Steps in the call.
    """
    state = trainer.abstract_state()
    fed = {
        name: jax.ShapeDtypeStruct(
            (steps, *leaf.shape), leaf.dtype, sharding=trainer.sharding.batches
        )
        for name, leaf in trainer.abstract_batch.items()
        if name != "image"
    }
    return CompiledStep(
        "training",
        train_steps,
        trainer.recipe,
        state,
        fed,
        always=(tiles, *trainer.train.always),
        donate_argnums=1,
        out_shardings=(trainer.sharding.shardings(state), trainer.sharding.replicated),
    )


def _fit(trainer: Trainer, pictures: PictureSet) -> bool:
    """Whether all devices of all processes have room enough for the pictures."""
    rows = tile_rows(pictures.preprocessing.image_size**2 * 3)
    size = len(pictures) * rows * _LANES
    stats = [device.memory_stats() or {} for device in trainer.sharding.mesh.local_devices]
    free = min(one.get("bytes_limit", 0) - one.get("bytes_in_use", 0) for one in stats)
    # Each has to take the same steps, whatever its own devices hold.
    return set(hosts.told_by_all(str(size <= _SHARE * free))) == {"True"}
