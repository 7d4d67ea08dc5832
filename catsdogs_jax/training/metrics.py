"""Statistics of predictions, on the host, from well-kept libraries.

scikit-learn's modules are imported where they are used: at the end of a run, not while it waits to
begin.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from catsdogs_jax.statistics import wilson_interval
from catsdogs_jax.task import Task
from catsdogs_jax.training.class_metrics import (
    binary_metrics,
    multiclass_metrics,
    multilabel_metrics,
)
from catsdogs_jax.training.evaluation import Evaluation
from catsdogs_jax.training.reliability import reliability


def split_summary(
    evaluation: Evaluation,
    targets: np.ndarray,
    task: Task,
    threshold: float | Sequence[float] = 0.5,
    leaked: np.ndarray | None = None,
) -> dict[str, Any]:
    """Returns the entry of `result.json` for one split.

    Args:
        evaluation: What the model said.
        targets: float32 [n, outputs].
        task: Kind of labels and class names.
        threshold: Of multi-label problems, one for all labels or one each.
        leaked: bool [n], the pictures that training has seen under another name; none: no picture.

    Returns:
        n, accuracy, accuracy_ci95 (Wilson), loss (nats), auroc (none where a class is absent), ece,
        confusion_matrix (rows are true; [classes, 2, 2] for multi-label problems), classes, and
        those of `class_metrics` for the kind of labels. The accuracy of multi-label problems is
        the share of pictures of which every label is right, by the threshold. Under
        `without_leaks`: n, accuracy and accuracy_ci95 of the pictures that were not leaked.
    """
    probabilities = task.probabilities(evaluation.logits)
    predicted, true = task.predicted(probabilities, threshold), task.true_classes(targets)
    accuracy = evaluation.accuracy
    if task.kind == "multilabel":
        thresholds = np.broadcast_to(threshold, len(task.classes)).tolist()
        more = multilabel_metrics(true, predicted, probabilities, task, thresholds)
        accuracy = more["exact_match"]
    elif task.kind == "multiclass":
        more = multiclass_metrics(true, predicted, probabilities, task)
    else:
        more = binary_metrics(true, predicted, task)
    return {
        "n": evaluation.n,
        "accuracy": accuracy,
        "accuracy_ci95": wilson_interval(round(accuracy * evaluation.n), evaluation.n),
        "loss": evaluation.loss,
        "auroc": area_under_roc(true, probabilities, task),
        "ece": reliability(probabilities, true, task).error,
        "confusion_matrix": confusions(true, predicted, task).tolist(),
        "classes": list(task.classes),
        "without_leaks": _without(predicted == true, leaked),
        **more,
    }


def _without(right: np.ndarray, leaked: np.ndarray | None) -> dict[str, Any]:
    """Returns the accuracy over the pictures that were not leaked, for right [n] or [n, labels]."""
    right = np.all(right.reshape(len(right), -1), axis=1)
    right = right if leaked is None else right[~leaked]
    if not len(right):
        return {"n": 0, "accuracy": None, "accuracy_ci95": None}
    count = int(right.sum())
    interval = wilson_interval(count, len(right))
    return {"n": len(right), "accuracy": count / len(right), "accuracy_ci95": interval}


def area_under_roc(true: np.ndarray, probabilities: np.ndarray, task: Task) -> float | None:
    """Returns the area under the ROC curve, a mean over classes (one against the rest) if many."""
    from sklearn.metrics import roc_auc_score

    members = true if task.kind == "multilabel" else np.eye(len(task.classes))[true]
    columns = [1] if task.kind == "binary" else range(len(task.classes))
    areas = []
    for column in columns:
        if len(np.unique(members[:, column])) < 2:
            return None
        areas.append(roc_auc_score(members[:, column], probabilities[:, column]))
    return float(np.mean(areas))


def confusions(true: np.ndarray, predicted: np.ndarray, task: Task) -> np.ndarray:
    """Returns counts [classes, classes], rows true; [classes, 2, 2] for multi-label problems."""
    from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix

    if task.kind == "multilabel":
        return multilabel_confusion_matrix(true, predicted)
    return confusion_matrix(true, predicted, labels=range(len(task.classes)))
