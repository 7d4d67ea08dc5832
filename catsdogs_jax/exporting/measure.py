"""Measures what a bundle gives against what the run gives."""

import csv
import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from catsdogs_jax.classifier import Classifier
from catsdogs_jax.data.contents import as_files
from catsdogs_jax.data.manifest_file import read_manifest
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.errors import UserError
from catsdogs_jax.escaping import csv_cell
from catsdogs_jax.exporting.runtimes import Run
from catsdogs_jax.insight.calibration import fit_temperature
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.task import Task
from catsdogs_jax.training.reliability import reliability

TOLERANCE = 1e-4
"""Largest difference of a probability."""

ACCURACY_TOLERANCE = 0.005
"""Largest loss of accuracy by int8; where that is less than one picture, one picture."""

_BATCH = 32
_SECONDS = 1.5
_CALLS = 20


@dataclasses.dataclass(frozen=True)
class Reference:
    """What the run says of the pictures that its bundle is measured on.

    Attributes:
        pictures: The pictures.
        images: uint8 [n, size, size, 3].
        calibrated: float64 [n, classes], at the temperature.
        uncalibrated: float64 [n, classes], by the run's evaluation.
    """

    pictures: PictureSet
    images: np.ndarray
    calibrated: np.ndarray
    uncalibrated: np.ndarray

    @property
    def task(self) -> Task:
        """Kind of labels and class names."""
        return self.pictures.preprocessing.task

    def accuracy(self, uncalibrated: np.ndarray) -> float:
        """Returns the share of pictures that are right by the run's thresholds."""
        found = self.task.predicted(uncalibrated, self.pictures.preprocessing.threshold)
        right = found == self.task.true_classes(self.pictures.targets)
        return float(right.reshape(len(right), -1).all(axis=1).mean())

    def difference(self, calibrated: np.ndarray, uncalibrated: np.ndarray) -> float:
        """Returns the largest difference of any probability."""
        return max(
            float(np.abs(calibrated - self.calibrated).max()),
            float(np.abs(uncalibrated - self.uncalibrated).max()),
        )


def spread(pictures: PictureSet, most: int) -> PictureSet:
    """Returns at most so many pictures of a set, evenly over its order."""
    return PictureSet(pictures.pictures.evenly(most), pictures.root, pictures.preprocessing)


def split_of(workdir: Path, classifier: Classifier, split: str) -> PictureSet:
    """Returns the pictures of a split of a run, read from their files.

    Raises:
        UserError: The run has no such pictures, or their folder is gone.
    """
    manifest = read_manifest(RunFolder(workdir).manifest)
    if not manifest.root.is_dir():
        raise UserError(
            f"the pictures of the run are gone ({str(manifest.root)!r}): an export is measured on "
            "them, put them back"
        )
    return PictureSet(manifest.split(split), manifest.root, classifier.preprocessing)


def calibrate(logits: np.ndarray, pictures: PictureSet) -> dict[str, Any]:
    """Fits the temperature on validation pictures; returns it with what it was fitted on.

    Where every picture is right, there is nothing to fit by: the least cross-entropy would be that
    of no doubt at all.

    Args:
        logits: Of the pictures, [n, outputs].
        pictures: The validation split.
    """
    task, targets = pictures.preprocessing.task, pictures.targets
    probabilities, true = task.probabilities(logits), task.true_classes(targets)
    perfect = bool((task.predicted(probabilities) == true).all())
    temperature = 1.0 if perfect else fit_temperature(logits, targets, task)
    scaled = task.probabilities(logits / temperature)
    return {
        "temperature": temperature,
        "n": len(logits),
        "why_none": "no picture is wrong, so none tells how sure to be" if perfect else None,
        "ece_before": reliability(probabilities, true, task).error,
        "ece_after": reliability(scaled, true, task).error,
    }


def training_difference(workdir: Path, reference: Reference) -> float | None:
    """Returns how far `predictions.csv`, which training wrote, is from the run's evaluation.

    None where the run is not finished. The file holds six decimals.
    """
    path = RunFolder(workdir).predictions
    if not path.is_file():
        return None
    classes = len(reference.task.classes)
    with path.open(encoding="utf-8", newline="") as stream:
        rows = {
            row[0]: [float(p) for p in row[3 : 3 + classes]] for row in list(csv.reader(stream))[1:]
        }
    written = [rows[csv_cell(picture.file)] for picture in reference.pictures.pictures]
    return float(np.abs(np.array(written) - reference.uncalibrated).max())


def predict_difference(classifier: Classifier, reference: Reference) -> float:
    """Returns how far `predict` on the files is from the run's evaluation."""
    listed = [(picture.file, picture.content_hash) for picture in reference.pictures.pictures]
    with as_files(reference.pictures.root, listed) as files:
        found = [prediction.probabilities for prediction in classifier.predict(files)]
    return float(np.abs(np.array(found, np.float64) - reference.uncalibrated).max())


def measure(run: Run, reference: Reference, *, quantised: bool) -> dict[str, Any]:
    """Returns differences, accuracies and times of one format."""
    images = reference.images
    parts = [run(images[k : k + _BATCH]) for k in range(0, len(images), _BATCH)]
    calibrated, uncalibrated = (
        np.concatenate([part[k] for part in parts]).astype(np.float64) for k in (0, 1)
    )
    difference = reference.difference(calibrated, uncalibrated)
    accuracies = [reference.accuracy(p) for p in (reference.uncalibrated, uncalibrated)]
    lost = accuracies[0] - accuracies[1]
    allowed = max(ACCURACY_TOLERANCE, 1 / len(images))
    return {
        "difference": difference,
        "accuracy": accuracies[1],
        "accuracy_lost": lost,
        "passed": bool(lost <= allowed + 1e-12 if quantised else difference <= TOLERANCE),
        "milliseconds_per_picture": {
            str(batch): latency(run, images, batch) for batch in (1, _BATCH)
        },
    }


def latency(run: Run, images: np.ndarray, batch: int) -> dict[str, Any]:
    """Returns the median time of a picture in a batch, milliseconds, and of how many calls."""
    pictures = np.resize(images, (batch, *images.shape[1:]))
    run(pictures)
    times: list[float] = []
    while len(times) < _CALLS and (len(times) < 3 or sum(times) < _SECONDS):
        start = time.perf_counter()
        run(pictures)
        times.append(time.perf_counter() - start)
    return {"median": 1000 * statistics.median(times) / batch, "calls": len(times)}
