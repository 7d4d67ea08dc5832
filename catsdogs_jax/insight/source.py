"""What a page about a run is made from: a trained model, its pictures, and what was measured."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catsdogs_jax.classifier import Classifier, load
from catsdogs_jax.data.dataset import picture_sets
from catsdogs_jax.data.leaks import find_leaks
from catsdogs_jax.data.manifest import Manifest
from catsdogs_jax.data.manifest_file import read_manifest
from catsdogs_jax.data.pictures import Picture
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.errors import UserError
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.task import Task
from catsdogs_jax.training.evaluation import Evaluation


@dataclasses.dataclass(frozen=True)
class Source:
    """A finished run.

    Attributes:
        folder: The run folder.
        classifier: Its best checkpoint.
        manifest: Its pictures.
        sets: Pictures of each split.
        evaluations: What the model says of each held-out split.
        leaks: Pairs of alike pictures in different splits.
        values: What `result.json` holds.
        rows: Lines of `metrics.jsonl`.
    """

    folder: RunFolder
    classifier: Classifier
    manifest: Manifest
    sets: Mapping[str, PictureSet]
    evaluations: Mapping[str, Evaluation]
    leaks: Sequence[tuple[Picture, Picture]]
    values: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]

    @property
    def task(self) -> Task:
        """Kind of labels and class names."""
        return self.classifier.preprocessing.task

    @property
    def split(self) -> str:
        """The split that the page is about: "test" where there is one, else "validation"."""
        return "test" if "test" in self.evaluations else "validation"

    @property
    def chosen_on(self) -> str:
        """The split that chose the checkpoint."""
        return self.values.get("chosen_on", "validation")

    def probabilities(self, split: str) -> np.ndarray:
        """Returns probabilities [n, classes] of the pictures of a split."""
        return self.task.probabilities(self.evaluations[split].logits)

    def true(self, split: str) -> np.ndarray:
        """Returns the labels of a split, see `Task.true_classes`."""
        return self.task.true_classes(self.sets[split].targets)

    def spell(self, picture: Picture) -> str:
        """Returns the labels of a picture in words."""
        return "|".join(self.task.classes[label] for label in picture.labels) or "none"

    def aspect(self, picture: Picture) -> float:
        """Returns width divided by height that the square of a picture is to be shown with."""
        stretched = self.classifier.preprocessing.resize == "stretch"
        return picture.width / picture.height if stretched else 1.0


def read_run(workdir: str | Path) -> Source:
    """Loads a finished run and measures its held-out splits again.

    Raises:
        UserError: The folder holds no finished run, or its pictures are gone.
    """
    folder = RunFolder(Path(workdir))
    folder.read_config()
    if not folder.result.is_file():
        raise UserError(
            f"the run in {str(workdir)!r} is not finished (no result.json): train it to its end"
        )
    classifier = load(workdir)
    manifest = read_manifest(folder.manifest)
    values = json.loads(folder.result.read_text(encoding="utf-8"))
    sets = picture_sets(manifest, classifier.preprocessing)
    held_out = [name for name in values["splits"] if name in sets]
    return Source(
        folder,
        classifier,
        manifest,
        sets,
        {name: classifier.evaluate(sets[name]) for name in held_out},
        find_leaks(manifest.pictures),
        values,
        [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()],
    )
