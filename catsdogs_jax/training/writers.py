"""CLU metric writers and periodic actions of a run.

Importing CLU imports TensorFlow, so this module is imported only once TensorFlow is prepared.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clu import metric_writers, periodic_actions

from catsdogs_jax.config import RecordsConfig
from catsdogs_jax.training.forgiving import tensorboard
from catsdogs_jax.training.rows import Rows, line, rows_until


class JsonlWriter(metric_writers.LoggingWriter):
    """Appends scalars to `metrics.jsonl`: one object a line for each step and split.

    Only what a repeated run would write again goes in: no times and no speeds, so that a resumed
    run leaves the same file as one that was never stopped.

    Args:
        path: The file.
        resume_after: Lines of later steps are dropped: this run will write them again.
    """

    def __init__(self, path: Path, resume_after: int):
        super().__init__()
        self.rows: Rows = rows_until(path, resume_after)
        draft = path.with_suffix(".draft")
        draft.write_text("".join(map(line, self.rows)), encoding="utf-8")
        os.replace(draft, path)
        self._stream = path.open("a", encoding="utf-8")

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes "split/metric" scalars and words as one line a split; other names are left out."""
        by_split: dict[str, dict[str, Any]] = {}
        for name, value in scalars.items():
            split, slash, metric = name.partition("/")
            if slash:
                by_split.setdefault(split, {})[metric] = (
                    value if isinstance(value, str) else float(value)
                )
        for split, metrics in by_split.items():
            row = {"step": step, "split": split, **metrics}
            self.rows.append(row)
            self._stream.write(line(row))
        self.flush()

    def flush(self) -> None:
        """Makes sure that the lines are on disk before a checkpoint of their step."""
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Closes the file."""
        self.flush()
        self._stream.close()


def shown_in(
    events: Path, folder: Path, records: RecordsConfig, *, resumes: bool
) -> metric_writers.MetricWriter:
    """Returns a writer of TensorBoard events, and to trackers, that does not hold up the loop.

    Args:
        events: Folder of TensorBoard's events.
        folder: The run folder.
        records: The trackers.
        resumes: Whether the run goes on, and with it those of the trackers.
    """
    writers: list[metric_writers.MetricWriter] = [tensorboard(events)]
    if records.trackers:
        from catsdogs_jax.training.trackers import tracker

        writers += [tracker(n, folder, records.project, resumes) for n in records.trackers]
    return metric_writers.MultiWriter([metric_writers.AsyncWriter(each) for each in writers])


def periodic_hooks(
    writer: metric_writers.MetricWriter, folder: Path, steps: int, profile_steps: int
) -> list[Callable[[int], Any]]:
    """Returns functions of the step: steps a second to TensorBoard, and a profile if wanted."""
    report = periodic_actions.ReportProgress(num_train_steps=steps, writer=writer)
    if not profile_steps:
        return [report]
    profile = periodic_actions.Profile(
        logdir=str(folder),
        num_profile_steps=profile_steps,
        profile_duration_ms=None,  # The steps asked for, however short.
        first_profile=2,
        every_secs=None,  # Once.
    )
    return [report, profile]
