"""Thresholds of multi-label problems, chosen on the validation split and saved with the weights."""

import dataclasses

import numpy as np

from catsdogs_jax.preprocessing import Preprocessing

HALF = 0.5


def with_thresholds(
    preprocessing: Preprocessing, logits: np.ndarray, targets: np.ndarray
) -> Preprocessing:
    """Returns the preprocessing of a multi-label problem with the best threshold of each label.

    Args:
        preprocessing: Returned as it is for other problems.
        logits: Of the validation pictures, [n, outputs].
        targets: Of the same, [n, outputs].
    """
    task = preprocessing.task
    if task.kind != "multilabel":
        return preprocessing
    probabilities, present = task.probabilities(logits), task.true_classes(targets)
    columns = zip(probabilities.T, present.T, strict=True)
    return dataclasses.replace(
        preprocessing, threshold=tuple(best_threshold(*column) for column in columns)
    )


def best_threshold(probabilities: np.ndarray, present: np.ndarray) -> float:
    """Returns the threshold of the greatest F1 of one label.

    Of thresholds that are as good, the nearest to one half; half way between two probabilities
    that it parts, unless one half parts them too. A label that no picture has keeps one half.
    Source: Lipton et al., 2014, https://arxiv.org/abs/1402.1892

    Args:
        probabilities: float64 [n].
        present: bool [n].
    """
    if not present.any():
        return HALF
    order = np.argsort(-probabilities, kind="stable")
    falling = probabilities[order]
    hits, predicted = np.cumsum(present[order]), np.arange(1, len(order) + 1)
    f1 = 2 * hits / (predicted + present.sum())
    # A threshold t predicts the first k where falling[k] <= t < falling[k - 1].
    high, low = falling, np.append(falling[1:], 0.0)
    thresholds = np.where((low <= HALF) & (high > HALF), HALF, (low + high) / 2)
    f1 = np.where((low <= thresholds) & (thresholds < high), f1, -1.0)  # Equals are not parted.
    nearest = np.lexsort((np.abs(thresholds - HALF), -f1))
    return float(thresholds[nearest[0]])
