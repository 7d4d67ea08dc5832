"""A trained model that is ready to classify pictures."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catsdogs_jax.config import Config
from catsdogs_jax.data.manifest import Picture
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.scan import Scanned, scan_files
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.evaluation import Evaluation, evaluate
from catsdogs_jax.training.formulation import kernel_count
from catsdogs_jax.training.restore import restore_best
from catsdogs_jax.training.sharding import Sharding, make_sharding
from catsdogs_jax.training.state import Params
from catsdogs_jax.training.step import EvalRecipe
from catsdogs_jax.training.trainer import CompiledStep, compile_evaluation, evaluation_batch


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the model says of one file.

    Attributes:
        file: As it was given.
        predicted: Class name, several joined by "|"; empty if the file cannot be used.
        probabilities: float64 [classes]; none if the file cannot be used.
        error: Why the file cannot be used; empty if it can.
    """

    file: Path
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
        params: Parameters of the model.
        statistics: Its other variables.
        graphdef: Its structure, for `training.state.merge_model`.
    """

    config: Config
    preprocessing: Preprocessing
    step: int
    sharding: Sharding
    _evaluate: CompiledStep
    _batch: int
    params: Params
    statistics: Params
    graphdef: Any

    def evaluate(self, pictures: PictureSet) -> Evaluation:
        """Measures the model on labelled pictures."""
        return evaluate(
            self._evaluate, self.params, self.statistics, pictures, self._batch, self.sharding
        )

    def predict(self, files: Sequence[str | Path]) -> list[Prediction]:
        """Classifies picture files; one that cannot be used gets its reason, and stops nothing.

        Args:
            files: Paths, in any number and order.

        Returns:
            One prediction a file, in the order given.
        """
        paths = [Path(file).absolute() for file in files]
        scanned = list(scan_files(paths))
        usable = [
            Picture(str(path), (), "", **dataclasses.asdict(facts))
            for path, facts in zip(paths, scanned, strict=True)
            if isinstance(facts, Scanned)
        ]
        rows = iter(())
        if usable:
            pictures = PictureSet.create(usable, Path("/"), self.preprocessing)
            rows = iter(self.preprocessing.task.probabilities(self.evaluate(pictures).logits))
        return [
            Prediction(Path(file), "", None, facts)
            if isinstance(facts, str)
            else self._prediction(Path(file), next(rows))
            for file, facts in zip(files, scanned, strict=True)
        ]

    def _prediction(self, file: Path, probabilities: np.ndarray) -> Prediction:
        found = self.preprocessing.task.spell(probabilities, self.preprocessing.threshold)
        return Prediction(file, found, probabilities)


def load(workdir: str | Path, devices: int | None = None) -> Classifier:
    """Loads the best checkpoint of a run.

    Args:
        workdir: The run folder.
        devices: Number of devices to use; none: all, whatever the run was trained on.

    Raises:
        UserError: The folder holds no run, or no checkpoint.
    """
    sharding = make_sharding(devices)
    run = restore_best(Path(workdir), sharding)
    batch = evaluation_batch(run.config, sharding)
    passes = run.formulation.evaluation_pass(
        batch, run.preprocessing.image_size, sharding, kernel_count(run.params)
    )
    recipe = EvalRecipe(run.graphdef, run.preprocessing, passes)
    variables = run.params, run.statistics
    compiled = compile_evaluation(recipe, *variables, batch, sharding)
    return Classifier(
        run.config,
        run.preprocessing,
        run.step,
        sharding,
        compiled,
        batch,
        *variables,
        run.graphdef,
    )
