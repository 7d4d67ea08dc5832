"""How far confidences can be trusted: reliability, and temperature scaling."""

import dataclasses

import numpy as np

from catsdogs_jax.task import Task

BINS = 15
_FOLDS = 5
_LOWEST, _HIGHEST = 0.05, 20.0


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


def fit_temperature(logits: np.ndarray, targets: np.ndarray, task: Task) -> float:
    """Returns the number, 0.05 to 20, by which logits are divided for the least cross-entropy.

    Args:
        logits: [n, outputs].
        targets: [n, outputs].
        task: Kind of labels.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        scaled = logits.astype(np.float64) / np.exp(log_temperature)
        if task.kind == "multiclass":
            top = scaled.max(axis=-1, keepdims=True)
            total = top[:, 0] + np.log(np.exp(scaled - top).sum(axis=-1))
            return float((total - (scaled * targets).sum(axis=-1)).mean())
        return float((np.logaddexp(0, scaled) - scaled * targets).mean())

    found = minimize_scalar(loss, bounds=(np.log(_LOWEST), np.log(_HIGHEST)), method="bounded")
    return float(np.exp(found.x))


def held_out_scaling(logits: np.ndarray, targets: np.ndarray, task: Task) -> np.ndarray:
    """Returns logits, each divided by a temperature fitted on the other four fifths.

    The error of what the temperature was fitted on would be optimistic; this one is not.
    """
    scaled = np.array(logits, np.float64)
    fold = np.random.default_rng(0).permutation(len(logits)) % min(_FOLDS, len(logits))
    for k in np.unique(fold):
        inside = fold == k
        if inside.all():
            continue
        scaled[inside] /= fit_temperature(logits[~inside], targets[~inside], task)
    return scaled.astype(logits.dtype)
