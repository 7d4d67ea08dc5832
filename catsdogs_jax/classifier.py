"""A trained model that is ready to classify pictures."""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np

from catsdogs_jax.config import Config
from catsdogs_jax.data.pipeline import Batch, PictureSet
from catsdogs_jax.data.remote import is_url
from catsdogs_jax.errors import UserError
from catsdogs_jax.prediction.engine import answer
from catsdogs_jax.preprocessing import Preprocessing, Views
from catsdogs_jax.training.evaluation import Evaluation, evaluate
from catsdogs_jax.training.formulation import kernel_count
from catsdogs_jax.training.restore import restore_best
from catsdogs_jax.training.sharding import Sharding, make_sharding
from catsdogs_jax.training.state import Params
from catsdogs_jax.training.step import EvalRecipe
from catsdogs_jax.training.trainer import CompiledStep, compile_evaluation, evaluation_batch

File: TypeAlias = str | os.PathLike[str]
"""A name of a picture file."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the model says of one file.

    Attributes:
        file: As it was given: a path, or a URL as text.
        predicted: Class name, several joined by "|"; empty if the file cannot be used.
        probabilities: float64 [classes]; none if the file cannot be used.
        error: Why the file cannot be used; empty if it can.
    """

    file: str | Path
    predicted: str
    probabilities: np.ndarray | None
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Classifier:
    """The best checkpoint of a run.

    Attributes:
        config: The run.
        preprocessing: How a picture becomes an input, as saved with the weights.
        step: The step of the checkpoint.
        sharding: The devices.
        evaluation: The compiled evaluation step.
        batch: Pictures in its batch.
        params: Parameters of the model.
        statistics: Its other variables.
        graphdef: Its structure, for `training.state.merge_model`.
    """

    config: Config
    preprocessing: Preprocessing
    step: int
    sharding: Sharding
    evaluation: CompiledStep
    batch: int
    params: Params
    statistics: Params
    graphdef: Any

    def evaluate(self, pictures: PictureSet) -> Evaluation:
        """Measures the model on labelled pictures."""
        return evaluate(
            self.evaluation, self.params, self.statistics, pictures, self.batch, self.sharding
        )

    def predict(self, files: File | Iterable[File]) -> list[Prediction]:
        """Classifies picture files; one that cannot be used gets its reason, and stops nothing.

        Args:
            files: Paths, in any number and order, or one alone.

        Returns:
            One prediction a file, in the order given.

        Raises:
            UserError: One is no name of a file, but a picture, say.
        """
        return list(self.stream(list(_names(files))))  # All are looked at before any is opened.

    def stream(self, files: File | Iterable[File]) -> Iterator[Prediction]:
        """Yields what `predict` returns, with a few batches in memory however many files come.

        Args:
            files: Paths, and URLs (gs://, s3://) as text; or one alone.

        Raises:
            UserError: One is no name of a file; it ends the iteration.
        """
        to = self.preprocessing
        found = answer(self._logits, _names(files), self.batch, to, self.sharding)
        for block, (logits,) in found:
            rows = to.task.probabilities(logits)
            for name, reason, row in zip(block.names, block.reasons, rows, strict=True):
                file = name if is_url(name) else Path(name)
                yield Prediction(file, "", None, reason) if reason else self._prediction(file, row)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Returns float64 probabilities [n, classes] of decoded pictures, uint8 [n, s, s, 3]."""
        outputs = self.preprocessing.task.outputs
        logits = [np.zeros((0, outputs), np.float32)]
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            padded = np.zeros((self.batch, *images.shape[1:]), np.uint8)
            padded[: len(part)] = part
            fed = {
                "image": padded,
                "target": np.zeros((self.batch, outputs), np.float32),
                "mask": np.arange(self.batch) < len(part),
                "index": np.zeros(self.batch, np.int32),
            }
            found = self._logits(jax.device_put(fed, self.sharding.batch))[0]
            logits.append(np.asarray(found)[: len(part)])
        return self.preprocessing.task.probabilities(np.concatenate(logits))

    def _logits(self, batch: Batch) -> tuple[jax.Array]:
        return self.evaluation(self.params, self.statistics, batch)[:1]

    def _prediction(self, file: str | Path, probabilities: np.ndarray) -> Prediction:
        found = self.preprocessing.task.spell(probabilities, self.preprocessing.threshold)
        return Prediction(file, found, probabilities)


def load(
    workdir: str | Path,
    devices: int | None = None,
    *,
    views: Views = "run",
    batch: int | None = None,
) -> Classifier:
    """Loads the best checkpoint of a run.

    Args:
        workdir: The run folder.
        devices: Number of devices to use; none: all, whatever the run was trained on.
        views: Test-time augmentation, see `Preprocessing.with_views`.
        batch: Pictures in a batch; none: as many as the run evaluates at once.

    Raises:
        UserError: The folder holds no run, or no checkpoint.
    """
    sharding = make_sharding(devices)
    run = restore_best(Path(workdir), sharding)
    preprocessing = run.preprocessing.with_views(views)
    batch = batch or evaluation_batch(run.config, sharding)
    passes = run.formulation.evaluation_pass(
        batch, run.preprocessing.seen_size, sharding, kernel_count(run.params)
    )
    recipe = EvalRecipe(run.graphdef, preprocessing, passes)
    variables = run.params, run.statistics
    compiled = compile_evaluation(recipe, *variables, batch, sharding)
    return Classifier(
        run.config,
        preprocessing,
        run.step,
        sharding,
        compiled,
        batch,
        *variables,
        run.graphdef,
    )


def _names(files: File | Iterable[File]) -> Iterator[str]:
    """Yields names as text: one alone is a file, not the letters of its name.

    Raises:
        UserError: Something is no name.
    """
    if isinstance(files, (str, bytes, os.PathLike)) or not isinstance(files, Iterable):
        files = [files]
    for file in files:
        name = os.fspath(file) if isinstance(file, (str, os.PathLike)) else None
        if not isinstance(name, str):
            raise UserError(
                f"a {type(file).__name__} is no name of a picture file: give str or Path, one or "
                "several, or decoded pictures as an array to `probabilities`"
            )
        yield name
