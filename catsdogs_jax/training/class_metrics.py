"""What `result.json` says beyond accuracy, for each kind of labels, by scikit-learn.

A measure that is not defined is none, and a mean over classes leaves such classes out: recall, F1
and average precision of a class that no picture has, and the precision of one never predicted.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from catsdogs_jax.statistics import wilson_interval
from catsdogs_jax.task import Task

_MOST_OF_TOP = 5


def binary_metrics(true: np.ndarray, predicted: np.ndarray, task: Task) -> dict[str, Any]:
    """Returns precision, recall and F1 of the second class.

    Args:
        true: int [n].
        predicted: int [n].
        task: For the names of the classes.
    """
    positive = per_class(true, predicted, task)[1]
    return {
        "positive_class": task.classes[1],
        **{name: positive[name] for name in ("precision", "recall", "f1")},
    }


def multiclass_metrics(
    true: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, task: Task
) -> dict[str, Any]:
    """Returns top-k accuracy, macro F1 and a table of the classes.

    Args:
        true: int [n].
        predicted: int [n].
        probabilities: float64 [n, classes].
        task: For the names of the classes.
    """
    table = per_class(true, predicted, task)
    return {
        "top_k": top_k(true, probabilities),
        "macro_f1": mean_defined([row["f1"] for row in table]),
        "per_class": table,
    }


def multilabel_metrics(
    true: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    task: Task,
    thresholds: Sequence[float],
) -> dict[str, Any]:
    """Returns mean average precision, F1 over labels and over decisions, and a table of the labels.

    Args:
        true: bool [n, classes].
        predicted: bool [n, classes], by the thresholds.
        probabilities: float64 [n, classes].
        task: For the names of the labels.
        thresholds: One a label.
    """
    from sklearn.metrics import average_precision_score, f1_score

    table = per_class(true, predicted, task)
    for index, row in enumerate(table):
        precision = None
        if row["support"]:
            precision = float(average_precision_score(true[:, index], probabilities[:, index]))
        row |= {"average_precision": precision, "threshold": thresholds[index]}
    micro = f1_score(true, predicted, average="micro") if true.any() else None
    return {
        "mean_average_precision": mean_defined([row["average_precision"] for row in table]),
        "macro_f1": mean_defined([row["f1"] for row in table]),
        "micro_f1": None if micro is None else float(micro),
        "exact_match": float((true == predicted).all(axis=1).mean()),
        "exact_match_at_half": float((true == (probabilities > 0.5)).all(axis=1).mean()),
        "hamming_accuracy": float((true == predicted).mean()),
        "per_class": table,
    }


def per_class(true: np.ndarray, predicted: np.ndarray, task: Task) -> list[dict[str, Any]]:
    """Returns class, precision, recall, recall_ci95 (Wilson), f1 and support of each class.

    Args:
        true: int [n], or bool [n, classes] for multi-label problems.
        predicted: Likewise.
        task: For the names of the classes.
    """
    from sklearn.metrics import precision_recall_fscore_support

    labels = range(len(task.classes))
    undefined: Any = np.nan
    found: Any = precision_recall_fscore_support(
        true, predicted, labels=labels, zero_division=undefined
    )
    rows = []
    for name, precision, recall, f1, support in zip(task.classes, *found, strict=True):
        n, present = int(support), support > 0
        rows.append(
            {
                "class": name,
                "precision": None if np.isnan(precision) else float(precision),
                "recall": float(recall) if present else None,
                "recall_ci95": wilson_interval(round(recall * n), n) if present else None,
                "f1": float(f1) if present else None,
                "support": n,
            }
        )
    return rows


def top_k(true: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Returns k, and how often the true class is among the k most likely, with its interval.

    k is 5, or one less than the classes if they are fewer: among all of them it always is.
    """
    from sklearn.metrics import top_k_accuracy_score

    n, classes = probabilities.shape
    k = min(_MOST_OF_TOP, classes - 1)
    if classes == 2:  # scikit-learn takes two classes for a binary problem.
        right = int((probabilities.argmax(axis=1) == true).sum())
    else:
        labels = range(classes)
        right = int(top_k_accuracy_score(true, probabilities, k=k, normalize=False, labels=labels))
    return {"k": k, "accuracy": right / n, "accuracy_ci95": wilson_interval(right, n)}


def mean_defined(values: Sequence[float | None]) -> float | None:
    """Returns the mean of those that are not none; none if all are."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
