"""Where metrics go: `metrics.jsonl`, TensorBoard and the terminal."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.training.progress import Progress
from catsdogs_jax.training.rows import Rows


class Records:
    """The records of a run.

    Args:
        folder: The run folder; TensorBoard's events go below `tensorboard/`.
        metrics: Path of `metrics.jsonl`.
        resume_after: Lines of later steps are dropped: this run will write them again.
        progress: The terminal.
    """

    def __init__(self, folder: Path, metrics: Path, resume_after: int, progress: Progress):
        tf()  # CLU imports TensorFlow; its devices must be hidden before that.
        from catsdogs_jax.training import writers

        self._writers = writers
        self.folder = folder
        self.progress = progress
        self._jsonl = writers.JsonlWriter(metrics, resume_after)
        self._events = folder / "tensorboard"
        self._tensorboard = writers.tensorboard_writer(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tensorboard.close()
        self._jsonl.close()
        self.progress.close()

    @property
    def rows(self) -> Rows:
        """All lines of `metrics.jsonl` so far."""
        return self._jsonl.rows

    def write(
        self,
        step: int,
        metrics: Mapping[str, Mapping[str, float]],
        speed: Mapping[str, float],
    ) -> None:
        """Writes the metrics of each split after a step, and the speed since the last record.

        Args:
            step: Finished steps.
            metrics: For each split: epoch, accuracy (0 to 1), loss (nats) and others.
            speed: images_per_second and data_wait (share of the time), not in `metrics.jsonl`.
        """
        named = {f"{split}/{k}": v for split, values in metrics.items() for k, v in values.items()}
        self._jsonl.write_scalars(step, named)
        self._tensorboard.write_scalars(step, {**named, **speed})
        self.progress.record(step, metrics, speed)

    def hooks(self, steps: int, profile_steps: int) -> list[Callable[[int], Any]]:
        """Returns functions to call after every step with its number."""
        return self._writers.periodic_hooks(self._tensorboard, self._events, steps, profile_steps)
