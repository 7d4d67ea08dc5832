"""Where metrics go: `metrics.jsonl`, TensorBoard and the terminal."""

import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np

from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_to_dict
from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.errors import UserError, extra
from catsdogs_jax.training.progress import Progress, Silence
from catsdogs_jax.training.rows import Rows, rows_until


class _Outputs:
    """CLU's writers: the file of metrics, TensorBoard, trackers, and what they do after a step."""

    def __init__(self, folder: Path, metrics: Path, resume_after: int, config: Config):
        tf()  # CLU imports TensorFlow; its devices must be hidden before that.
        from catsdogs_jax.training import writers

        events = folder / "tensorboard"
        self.jsonl = writers.JsonlWriter(metrics, resume_after)
        begins = resume_after < 0
        records = config.records
        self.tensorboard = writers.shown_in(events, folder, records, resumes=not begins)
        if begins:
            self.tensorboard.write_hparams(_flat(config_to_dict(config)))
        self.hooks = functools.partial(writers.periodic_hooks, self.tensorboard, events)

    def close(self) -> None:
        self.tensorboard.close()
        self.jsonl.close()


class NoRecords:
    """What a process that is not the first keeps of a run: the rows, on which all must agree.

    Args:
        folder: The run folder.
        metrics: Path of `metrics.jsonl`.
        resume_after: Step of the checkpoint that the run goes on from; none: it begins.
    """

    def __init__(self, folder: Path, metrics: Path, resume_after: int | None):
        self.folder, self.progress = folder, Silence()
        self.rows = rows_until(metrics, -1 if resume_after is None else resume_after)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(
        self, step: int, metrics: Mapping[str, Mapping[str, Any]], speed: Mapping[str, float]
    ) -> None:
        """Keeps the rows; leaves the files to the first process."""
        del speed
        self.rows += [{"step": step, "split": split, **row} for split, row in metrics.items()]

    def show(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Leaves it to the first process."""

    def hooks(self, steps: int, profile_steps: int) -> list[Callable[[int], Any]]:
        """Returns nothing to call after a step."""
        del steps, profile_steps
        return []


class Records:
    """The records of a run.

    They are opened by a thread that begins after the first step: importing CLU imports TensorFlow,
    which would double the time until then.

    Args:
        folder: The run folder; TensorBoard's events go below `tensorboard/`.
        metrics: Path of `metrics.jsonl`.
        resume_after: Step of the checkpoint that the run goes on from; lines of later steps are
            dropped, as they will be written again. None: the run begins.
        progress: The terminal.
        config: The run: its trackers, and its values as hyperparameters.

    Raises:
        UserError: The package of a tracker is missing.
    """

    def __init__(
        self,
        folder: Path,
        metrics: Path,
        resume_after: int | None,
        progress: Progress,
        config: Config,
    ):
        _check_packages(config.records.trackers)
        self.folder = folder
        self.progress = progress
        self._metrics = metrics
        self._resume_after = -1 if resume_after is None else resume_after
        self._open = functools.partial(_Outputs, folder, metrics, self._resume_after, config)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="records")
        self._opening: Future[_Outputs] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opening is not None:
            self._outputs.close()
        self._thread.shutdown()
        self.progress.close()

    def _begin(self) -> "Future[_Outputs]":
        if self._opening is None:
            self._opening = self._thread.submit(self._open)
        return self._opening

    @property
    def _outputs(self) -> _Outputs:
        return self._begin().result()

    @property
    def rows(self) -> Rows:
        """All lines of `metrics.jsonl` so far."""
        if self._opening is None:  # No step was taken, nothing is written.
            return rows_until(self._metrics, self._resume_after)
        return self._outputs.jsonl.rows

    def write(
        self,
        step: int,
        metrics: Mapping[str, Mapping[str, Any]],
        speed: Mapping[str, float],
    ) -> None:
        """Writes the metrics of each split after a step, and the speed since the last record.

        Args:
            step: Finished steps.
            metrics: For each split: epoch, accuracy (0 to 1), loss (nats) and others; words among
                them, such as a digest, go to `metrics.jsonl` alone.
            speed: images_per_second and data_wait (share of the time), not in `metrics.jsonl`.
        """
        named = {f"{split}/{k}": v for split, values in metrics.items() for k, v in values.items()}
        self._outputs.jsonl.write_scalars(step, named)
        numbers = {name: value for name, value in named.items() if not isinstance(value, str)}
        self._outputs.tensorboard.write_scalars(step, {**numbers, **speed})
        self.progress.record(step, metrics, speed)

    def show(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Shows pictures, uint8 [height, width, 3] each, where there are curves to look at."""
        if self._opening is not None:
            batches = {name: image[None] for name, image in images.items()}
            self._outputs.tensorboard.write_images(step, batches)

    def hooks(self, steps: int, profile_steps: int) -> list[Callable[[int], Any]]:
        """Returns functions to call after every step with its number."""
        if profile_steps:
            return self._outputs.hooks(steps, profile_steps)
        ready: list[Callable[[int], Any]] = []

        def after(step: int) -> None:
            if self._begin().done() and not ready:
                ready.extend(self._outputs.hooks(steps, profile_steps))
            for hook in ready:
                hook(step)

        return [after]


def _check_packages(trackers: Sequence[str]) -> None:
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"records.trackers names {name!r}, which is not installed: {extra(name)}"
            )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns "group.key" to a number, a bool or a text; lists and none as texts."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            plain = isinstance(value, (bool, int, float, str))
            found[f"{prefix}{key}"] = value if plain else str(value)
    return found
