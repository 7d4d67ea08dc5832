"""Saves and restores the state of a run. The only module that imports Orbax."""

import contextlib
import dataclasses
import errno
import itertools
import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from catsdogs_jax import hosts
from catsdogs_jax.config import CheckpointConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.integrity import MARK, why_broken, write_manifest
from catsdogs_jax.training.sharding import everywhere
from catsdogs_jax.training.state import Params, TrainState

_AVERAGED = "average_statistics"


class Checkpoints:
    """The checkpoints of a run folder: the latest, and the best by a validation metric.

    A checkpoint has three parts, so that a reader takes only what it needs: `variables`
    (parameters, their average, statistics), `progress` (step, optimizer, sums) and
    `preprocessing` (how a picture becomes an input). Its manifest says the size and hash of each
    file. A checkpoint that is not what was written is never used: a run that goes on moves it to
    `broken_checkpoints/` beside the folder, says so, and takes the newest that is whole.

    Args:
        folder: Where the checkpoints lie.
        config: When and how many to keep, and by which metric.
        read_only: Whether nothing will be saved or moved.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, *, read_only: bool = False):
        self._folder, self._config = folder.absolute(), config
        self._saving: int | None = None
        if not read_only:
            with hosts.together():
                if hosts.is_first():
                    _set_broken_aside(self._folder)
        best = checkpoint_managers.BestN(
            get_metric_fn=self._score, n=config.keep_best, keep_checkpoints_without_metrics=False
        )
        latest = checkpoint_managers.LatestN(config.keep_latest)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy([latest, best]),
            best_fn=self._score,
            read_only=read_only,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._write_manifest),
            cleanup_tmp_directories=not read_only,
        )
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=options,
            item_handlers={
                "variables": ocp.StandardCheckpointHandler(),
                "progress": ocp.StandardCheckpointHandler(),
                "preprocessing": ocp.JsonCheckpointHandler(),
            },
        )
        self._identity = None if read_only else _identity(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # While an error ends the run, a further one of the same cause is to hide nothing.
        expected = (Exception,) if kind else ()
        with contextlib.suppress(*expected):
            self.wait()
        with contextlib.suppress(*expected):
            self._manager.close()

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint; none if there is none."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """Step of the best evaluated checkpoint, the newest if none was evaluated."""
        return next(iter(self._best_first()), None)

    def save(
        self,
        state: TrainState,
        step: int,
        preprocessing: Preprocessing,
        metrics: Mapping[str, float] | None,
    ) -> None:
        """Begins to save; the write goes on in the background.

        Args:
            state: What to save; copied before this returns.
            step: Its step, as a Python int so that nothing waits for the device.
            preprocessing: Travels with the weights.
            metrics: Of the validation split at this step; none if it was not evaluated.

        Raises:
            UserError: This save cannot begin, or an earlier one failed.
        """
        args = ocp.args.Composite(
            variables=ocp.args.StandardSave(_variables(state)),
            progress=ocp.args.StandardSave(_progress(state)),
            preprocessing=ocp.args.JsonSave(preprocessing.to_dict()),
        )
        if step in self._manager.all_steps():
            return  # Saved by the run that this one goes on from.
        self.wait()
        if _identity(self._folder) != self._identity:
            raise UserError(
                f"the folder {str(self._folder)!r} was removed while the run went on, and step "
                f"{step} cannot be saved: start the run anew, or put the folder back"
            )
        self._saving = step
        with self._explained():
            self._manager.save(
                step,
                args=args,
                metrics=dict(metrics) if metrics else None,
                custom_metadata=MARK,
                force=True,
            )
        if not self._config.asynchronous:
            self.wait()

    def replace(
        self,
        state: TrainState,
        step: int,
        preprocessing: Preprocessing,
        metrics: Mapping[str, float],
    ) -> None:
        """Saves again a step that was saved before it was evaluated; arguments as of `save`.

        If the process is killed in between, an earlier checkpoint trains the step again.
        """
        self.wait()
        self._manager.delete(step)
        self.save(state, step, preprocessing, metrics)

    def check(self) -> None:
        """Raises what a background write has raised so far, without waiting for it."""
        # Orbax's `check_for_errors` would take the error away from its own thread, which would
        # then remove older checkpoints as if this one were whole.
        if self._saving is not None and not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Waits until everything is on disk.

        Raises:
            UserError: A background write failed.
        """
        with self._explained():
            self._manager.wait_until_finished()
            self._saving = None

    def prove(self, step: int, state: TrainState) -> None:
        """Waits for a save, reads it back from the disk, and compares it with the state.

        Raises:
            UserError: What is on the disk is not the state, to the bit.
        """
        self.wait()
        reason = why_broken(self._folder / str(step), from_disk=True)
        if not reason:
            like = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding),
                state,
            )
            same = jax.tree.map(_same_bits, self.restore(step, like), state)
            reason = "" if all(jax.tree.leaves(same)) else "it does not hold the state of the run"
        if reason:
            raise UserError(
                f"the checkpoint of step {step} in {str(self._folder)!r} was written but reads "
                f"back differently ({reason}): check the disk; the same command trains it again"
            )

    def restore(self, step: int, like: TrainState) -> TrainState:
        """Returns the state of a step, on the devices.

        Args:
            step: A step that was saved.
            like: Abstract state with the shardings of this run, which may be of other devices
                than those of the run that saved.

        Raises:
            UserError: The state has another structure.
        """
        args = ocp.args.Composite(
            variables=ocp.args.StandardRestore(self._saved(step, _variables(like))),
            progress=ocp.args.StandardRestore(_progress(like)),
        )
        try:
            restored = self._manager.restore(step, args=args)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"the checkpoint of step {step} in {str(self._folder)!r} does not fit this run "
                f"({str(error).splitlines()[0]}): go on with the version of catsdogs-jax that "
                "wrote it, or give another --workdir to begin anew"
            ) from error
        variables, progress = restored["variables"], restored["progress"]
        averaged = variables.get(_AVERAGED, like.average_statistics)
        if averaged and _AVERAGED not in variables:  # A copy: steps use their buffers up.
            averaged = jax.tree.map(jnp.copy, variables["statistics"])
        return dataclasses.replace(
            like,
            params=variables["params"],
            statistics=variables["statistics"],
            average=variables.get("average"),
            average_statistics=averaged,
            step=progress["step"],
            optimizer=progress["optimizer"],
            sums=progress["sums"],
            failed=everywhere(np.False_, like.failed.sharding),
        )

    def restore_variables(
        self, step: int, params: Params, statistics: Params, *, average: bool
    ) -> tuple[Params, Params]:
        """Returns the parameters to predict with, and the statistics, of a step.

        Args:
            step: A step that was saved.
            params: Abstract parameters, with the shardings wanted.
            statistics: Abstract statistics, likewise.
            average: Whether the run kept a moving average of its parameters.
        """
        like = {"params": params, "statistics": statistics}
        if average:
            like |= {"average": params, _AVERAGED: statistics}
        args = ocp.args.Composite(variables=ocp.args.StandardRestore(self._saved(step, like)))
        variables = self._manager.restore(step, args=args)["variables"]
        if not average:
            return variables["params"], variables["statistics"]
        return variables["average"], variables.get(_AVERAGED, variables["statistics"])

    def _saved(self, step: int, variables: dict[str, Any]) -> dict[str, Any]:
        """Returns those of the variables that a checkpoint has.

        Early runs kept no average of the statistics, and models without statistics have none.
        """
        if _AVERAGED in variables and _AVERAGED not in self._manager.item_metadata(step).variables:
            return {name: tree for name, tree in variables.items() if name != _AVERAGED}
        return variables

    def preprocessing(self, step: int) -> Preprocessing:
        """Returns the preprocessing that was saved with a step."""
        args = ocp.args.Composite(preprocessing=ocp.args.JsonRestore())
        return Preprocessing.from_dict(self._manager.restore(step, args=args)["preprocessing"])

    def require_best_step(self) -> int:
        """Returns the step of the best checkpoint that is whole.

        Raises:
            UserError: There is no checkpoint yet, or none is whole.
        """
        broken = []
        for step in self._best_first():
            reason = why_broken(self._folder / str(step))
            if not reason:
                return step
            broken.append(f"step {step}: {reason}")
            print(
                f"warning: the checkpoint of step {step} is broken ({reason}); it would have been "
                "chosen, and the next best is used instead",
                file=sys.stderr,
            )
        if broken:
            raise UserError(f"every checkpoint in {str(self._folder)!r} is broken: {broken[0]}")
        raise UserError(
            f"no checkpoint in {str(self._folder)!r}: train first, with "
            "python -m catsdogs_jax.train --config CONFIG --workdir RUN"
        )

    def _score(self, metrics: Mapping[str, float]) -> float:
        sign = 1.0 if self._config.metric == "accuracy" else -1.0
        return sign * metrics[self._config.metric]

    def _best_first(self) -> list[int]:
        """Returns the evaluated steps, the best (of equals the latest) first, then the others."""

        def quality(step: int) -> tuple[float, int]:
            metrics = self._manager.metrics(step)
            return (self._score(metrics) if metrics else -math.inf, step)

        return sorted(self._manager.all_steps(), key=quality, reverse=True)

    def _write_manifest(self) -> None:
        """Runs in Orbax's thread when all files are written, before the final name is given."""
        if hosts.is_first():
            for folder in self._folder.glob(f"{self._saving}.*tmp*"):
                write_manifest(folder)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # Of Orbax, TensorStore or the system.
            step, self._saving = self._saving, None
            if hosts.cut_off(error):
                raise
            kept = newest_whole(self._folder)
            raise UserError(
                f"the checkpoint of step {step} cannot be saved in {str(self._folder)!r}: "
                f"{_cause(error)}. Mend that, and the same command goes on from "
                + (f"step {kept}, whose checkpoint is whole" if kept else "the start")
            ) from error


def newest_whole(folder: Path) -> int | None:
    """Returns the newest step whose checkpoint is what was written; none if there is none."""
    return next((step for step in _steps(folder) if not why_broken(folder / str(step))), None)


def _set_broken_aside(folder: Path) -> None:
    """Moves broken checkpoints out of the way; older than the newest whole one: the obvious."""
    whole = False
    for step in _steps(folder):
        reason = why_broken(folder / str(step), quick=whole)
        whole = whole or not reason
        if reason:
            target = _free_name(folder.with_name(f"broken_{folder.name}") / str(step))
            target.parent.mkdir(exist_ok=True)
            os.replace(folder / str(step), target)
            print(
                f"warning: the checkpoint of step {step} is broken ({reason}): passed over, and "
                f"moved to {str(target)!r}",
                file=sys.stderr,
            )


def _steps(folder: Path) -> list[int]:
    """Returns the steps under their final names, newest first."""
    if not folder.is_dir():
        return []
    return sorted((int(p.name) for p in folder.iterdir() if p.name.isdigit()), reverse=True)


def _free_name(path: Path) -> Path:
    names = (path.with_name(f"{path.name}-{n}" if n else path.name) for n in itertools.count())
    return next(name for name in names if not name.exists())


def _identity(folder: Path) -> tuple[int, int] | None:
    """Returns what tells a folder from a later one of the same name."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _same_bits(first: jax.Array, second: jax.Array) -> bool:
    shards = zip(first.addressable_shards, second.addressable_shards, strict=True)
    return all(np.asarray(a.data).tobytes() == np.asarray(b.data).tobytes() for a, b in shards)


def _cause(error: BaseException) -> str:
    """Returns the words of an error that matter: the system's, without a stack of wrappers."""
    text = str(error).strip()
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES):
        if os.strerror(number) in text:
            return os.strerror(number)
    return f"{type(error).__name__}: {text.splitlines()[0][:300] if text else 'no reason given'}"


def _variables(state: TrainState) -> dict[str, Any]:
    variables = {"params": state.params, "statistics": state.statistics}
    if state.average is not None:
        variables["average"] = state.average
    if state.average_statistics:
        variables[_AVERAGED] = state.average_statistics
    return variables


def _progress(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "optimizer": state.optimizer, "sums": state.sums}
