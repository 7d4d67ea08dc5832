"""How far confidences can be trusted."""

import dataclasses

import numpy as np

from catsdogs_jax.task import Task

BINS = 15


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Confidence beside accuracy, in bins of confidence.

    Attributes:
        confidence: Mean confidence [bins]; nan where a bin is empty.
        accuracy: Share that is right [bins]; nan where a bin is empty.
        count: Predictions in each bin.
        error: Expected calibration error.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray
    error: float


def reliability(probabilities: np.ndarray, true: np.ndarray, task: Task) -> Reliability:
    """Compares confidence with accuracy; for several labels each label is a prediction.

    Source: Guo et al., 2017, https://arxiv.org/abs/1706.04599

    Args:
        probabilities: [n, classes].
        true: As `Task.true_classes` gives it.
        task: Kind of labels.
    """
    if task.kind == "multilabel":
        confidence = np.maximum(probabilities, 1 - probabilities).ravel()
        right = ((probabilities > 0.5) == true).ravel()
    else:
        confidence = probabilities.max(axis=-1)
        right = probabilities.argmax(axis=-1) == true
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, weights=values, minlength=BINS) for values in (confidence, right)]
    nothing = np.full(BINS, np.nan)
    means = [np.divide(s, count, out=nothing.copy(), where=count > 0) for s in sums]
    error = float(np.abs(sums[1] - sums[0]).sum() / len(confidence))
    return Reliability(means[0], means[1], count, error)
