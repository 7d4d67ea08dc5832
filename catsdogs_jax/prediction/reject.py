"""When a model is not to answer: its confidence is low, or the picture is like none it knows."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from catsdogs_jax.task import Task


@dataclasses.dataclass(frozen=True)
class Rejection:
    """The reject option.

    Source of the rule on confidence: Chow, 1970, https://doi.org/10.1109/TIT.1970.1054406; of
    networks, Hendrycks and Gimpel, 2017, https://arxiv.org/abs/1610.02136.

    Attributes:
        below: Answers of less confidence are rejected; none: of any.
        far: Pictures at a greater distance are rejected; none: at any. See `neighbours`.
        word: What stands in place of the answer.
    """

    below: float | None = None
    far: float | None = None
    word: str = "neither"

    def reasons(self, confidence: float, distance: float | None) -> str:
        """Returns "unsure", "far", both, or nothing if the answer stands."""
        found = []
        if self.below is not None and confidence < self.below:
            found.append("unsure")
        if self.far is not None and distance is not None and distance > self.far:
            found.append("far")
        return "|".join(found)


def confidences(
    probabilities: np.ndarray, task: Task, threshold: float | Sequence[float]
) -> np.ndarray:
    """Returns the probability [n] of what is predicted; of several labels, of the least sure.

    Args:
        probabilities: [n, classes].
        task: The kind of labels.
        threshold: See `Task.predicted`.
    """
    predicted = task.predicted(probabilities, threshold)
    if task.kind == "multilabel":
        return np.where(predicted, probabilities, 1.0 - probabilities).min(axis=1)
    return np.take_along_axis(probabilities, predicted[:, None], axis=1)[:, 0]


def named(
    probabilities: np.ndarray, task: Task, threshold: float | Sequence[float]
) -> tuple[str, ...]:
    """Returns the names of the classes that are predicted from probabilities [classes]."""
    found = task.predicted(probabilities[None], threshold)[0]
    indices = np.flatnonzero(found) if task.kind == "multilabel" else [found]
    return tuple(task.classes[index] for index in indices)
