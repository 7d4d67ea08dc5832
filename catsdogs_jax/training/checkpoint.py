"""Saves and restores the state of a run. The only module that imports Orbax."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from catsdogs_jax.config import CheckpointConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.state import Params, TrainState

_ITEMS = ("variables", "progress", "preprocessing")


class Checkpoints:
    """The checkpoints of a run folder: the latest, and the best by a validation metric.

    A checkpoint has three parts, so that a reader takes only what it needs: `variables`
    (parameters, their average, statistics), `progress` (step, optimizer, sums) and
    `preprocessing` (how a picture becomes an input).

    Args:
        folder: Where the checkpoints lie.
        config: When and how many to keep, and by which metric.
        read_only: Whether nothing will be saved.
    """

    def __init__(self, folder: Path, config: CheckpointConfig, *, read_only: bool = False):
        sign = 1.0 if config.metric == "accuracy" else -1.0

        def score(metrics: Mapping[str, float]) -> float:
            return sign * metrics[config.metric]

        best = checkpoint_managers.BestN(
            get_metric_fn=score, n=config.keep_best, keep_checkpoints_without_metrics=False
        )
        latest = checkpoint_managers.LatestN(config.keep_latest)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy([latest, best]),
            best_fn=score,
            read_only=read_only,
            enable_async_checkpointing=config.asynchronous,
            cleanup_tmp_directories=not read_only,
        )
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options, item_names=_ITEMS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.wait_until_finished()
        self._manager.close()

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint; none if there is none."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """Step of the best evaluated checkpoint, the newest if none was evaluated."""
        best = self._manager.best_step()
        return best if best is not None else self.latest_step

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
        """
        args = ocp.args.Composite(
            variables=ocp.args.StandardSave(_variables(state)),
            progress=ocp.args.StandardSave(_progress(state)),
            preprocessing=ocp.args.JsonSave(preprocessing.to_dict()),
        )
        if step in self._manager.all_steps():
            return  # Saved by the run that this one goes on from.
        self._manager.save(step, args=args, metrics=dict(metrics) if metrics else None, force=True)

    def wait(self) -> None:
        """Waits until everything is on disk; raises what a background write raised."""
        self._manager.wait_until_finished()

    def restore(self, step: int, like: TrainState) -> TrainState:
        """Returns the state of a step, on the devices.

        Args:
            step: A step that was saved.
            like: Abstract state with the shardings of this run, which may be of other devices
                than those of the run that saved.
        """
        args = ocp.args.Composite(
            variables=ocp.args.StandardRestore(_variables(like)),
            progress=ocp.args.StandardRestore(_progress(like)),
        )
        restored = self._manager.restore(step, args=args)
        variables, progress = restored["variables"], restored["progress"]
        return dataclasses.replace(
            like,
            params=variables["params"],
            statistics=variables["statistics"],
            average=variables.get("average"),
            step=progress["step"],
            optimizer=progress["optimizer"],
            sums=progress["sums"],
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
            like["average"] = params
        args = ocp.args.Composite(variables=ocp.args.StandardRestore(like))
        variables = self._manager.restore(step, args=args)["variables"]
        return variables["average" if average else "params"], variables["statistics"]

    def preprocessing(self, step: int) -> Preprocessing:
        """Returns the preprocessing that was saved with a step."""
        args = ocp.args.Composite(preprocessing=ocp.args.JsonRestore())
        return Preprocessing.from_dict(self._manager.restore(step, args=args)["preprocessing"])

    def require_best_step(self) -> int:
        """Returns `best_step`.

        Raises:
            UserError: There is no checkpoint yet.
        """
        step = self.best_step
        if step is None:
            raise UserError(
                f"no checkpoint in {str(self._manager.directory)!r}: train first, with "
                "python -m catsdogs_jax.train --config CONFIG --workdir RUN"
            )
        return step


def _variables(state: TrainState) -> dict[str, Any]:
    variables = {"params": state.params, "statistics": state.statistics}
    return variables if state.average is None else {**variables, "average": state.average}


def _progress(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "optimizer": state.optimizer, "sums": state.sums}
