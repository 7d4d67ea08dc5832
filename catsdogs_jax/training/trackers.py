"""Experiment trackers as CLU metric writers: MLflow and Weights & Biases.

Importing CLU imports TensorFlow, so this module is imported only once TensorFlow is prepared.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from clu import metric_writers

from catsdogs_jax.training.forgiving import Forgiving

_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""A server that is gone may hold up the end of a run for about a minute, not for ten."""


class MlflowWriter(metric_writers.LoggingWriter):
    """Writes to the MLflow server or database that `MLFLOW_TRACKING_URI` names.

    Args:
        folder: The run folder, whose name the tracker's run gets.
        project: The experiment.
        known: The id of the run to go on with; empty: a new one.
    """

    def __init__(self, folder: Path, project: str, known: str):
        super().__init__()
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        import mlflow  # pyright: ignore[reportMissingImports]

        self._client = mlflow.MlflowClient()
        if known:
            self.run_id = known
            self._client.update_run(known, status="RUNNING")
            return
        found = self._client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else self._client.create_experiment(project)
        run = self._client.create_run(experiment, run_name=folder.name)
        self.run_id: str = run.info.run_id

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Logs the values as metrics of a step."""
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in scalars.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Logs the first of each [n, height, width, 3] as an artifact."""
        for name, values in images.items():
            self._client.log_image(self.run_id, np.asarray(values[0]), f"{name}_{step}.png")

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Logs the config as parameters."""
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        params = [Param(name, str(value)) for name, value in hparams.items()]
        self._client.log_batch(self.run_id, params=params)

    def flush(self) -> None:
        """Does nothing: every call is sent at once."""

    def close(self) -> None:
        """Marks the run as finished."""
        self._client.set_terminated(self.run_id)


class WandbWriter(metric_writers.LoggingWriter):
    """Writes to Weights & Biases; `WANDB_MODE=offline` keeps everything in the run folder.

    Args:
        folder: The run folder, whose name the tracker's run gets.
        project: The project.
        known: The id of the run to go on with; empty: a new one.
    """

    def __init__(self, folder: Path, project: str, known: str):
        super().__init__()
        import wandb  # pyright: ignore[reportMissingImports]

        options = {"id": known, "resume": "allow"} if known else {}
        self._wandb = wandb
        # The terminal stays ours: wandb would wrap it.
        settings = wandb.Settings(console="off", silent=True)
        self._run: Any = wandb.init(
            project=project, name=folder.name, dir=str(folder), settings=settings, **options
        )
        self.run_id = str(self._run.id)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Logs the values of a step."""
        self._run.log({name: float(value) for name, value in scalars.items()}, step=step)

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        """Logs the first of each [n, height, width, 3]; the step may be before the last one."""
        caption = f"step {step}"  # As wandb takes none before its last.
        self._run.log(
            {n: self._wandb.Image(np.asarray(of[0]), caption=caption) for n, of in images.items()}
        )

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes the config of the run."""
        self._run.config.update(dict(hparams), allow_val_change=True)

    def flush(self) -> None:
        """Does nothing: a thread of its own sends everything."""

    def close(self) -> None:
        """Waits until everything is sent."""
        self._run.finish()


_WRITERS: Mapping[str, Callable[..., Any]] = {"mlflow": MlflowWriter, "wandb": WandbWriter}


def tracker(name: str, folder: Path, project: str, resumes: bool) -> Forgiving:
    """Returns the writer to a tracker, which may fail.

    Args:
        name: "mlflow" or "wandb".
        folder: The run folder; `NAME_run.txt` in it keeps the id of the tracker's run.
        project: The project or experiment.
        resumes: Whether the run goes on, and with it the tracker's.
    """
    kept = folder / f"{name}_run.txt"

    def begin() -> Any:
        known = kept.read_text(encoding="utf-8").strip() if kept.is_file() else ""
        writer = _WRITERS[name](folder, project, known if resumes else "")
        kept.write_text(f"{writer.run_id}\n", encoding="utf-8")
        return writer

    # Whatever a server, a disk or a package may raise.
    return Forgiving(name, begin, "no more is sent", (Exception,))
