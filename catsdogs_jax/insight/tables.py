"""Tables and curves of a page, from probabilities and true classes."""

from collections.abc import Sequence

import numpy as np

from catsdogs_jax.insight.mistakes import Slice
from catsdogs_jax.reporting.page import Line, Table
from catsdogs_jax.reporting.style import percent
from catsdogs_jax.task import Task
from catsdogs_jax.training.metrics import wilson_interval

_MOST_LINES = 5
_COSTS = ((1, 1), (2, 1), (5, 1), (10, 1), (1, 2), (1, 5), (1, 10))
_CONFIDENCES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def interval(right: int, n: int) -> str:
    """Returns the 95 % Wilson interval of a share in words."""
    low, high = wilson_interval(right, n)
    return f"{percent(low)} to {percent(high)}"


def members(true: np.ndarray, task: Task) -> np.ndarray:
    """Returns which classes each picture truly has, bool [n, classes]."""
    return true if task.kind == "multilabel" else np.eye(len(task.classes), dtype=bool)[true]


def curves(
    probabilities: np.ndarray, true: np.ndarray, task: Task
) -> tuple[list[Line], list[Line]]:
    """Returns ROC and precision-recall curves: of the second class, or of the five worst classes.

    Classes without pictures, or with every picture, have none.
    """
    from sklearn.metrics import (
        average_precision_score,
        precision_recall_curve,
        roc_auc_score,
        roc_curve,
    )

    truly = members(true, task)
    columns = [1] if task.kind == "binary" else range(len(task.classes))
    scored = []
    for k in columns:
        if truly[:, k].all() or not truly[:, k].any():
            continue
        area = roc_auc_score(truly[:, k], probabilities[:, k])
        mean = average_precision_score(truly[:, k], probabilities[:, k])
        scored.append((area, mean, k))
    roc, recalled = [], []
    for area, _, k in sorted(scored)[:_MOST_LINES]:
        x, y, _ = roc_curve(truly[:, k], probabilities[:, k])
        roc.append(Line(f"{task.classes[k]}: area {area:.3f}", x, y))
    for _, mean, k in sorted(scored, key=lambda s: s[1])[:_MOST_LINES]:
        precision, recall, _ = precision_recall_curve(truly[:, k], probabilities[:, k])
        recalled.append(Line(f"{task.classes[k]}: average precision {mean:.3f}", recall, precision))
    return roc, recalled


def class_table(predicted: np.ndarray, true: np.ndarray, task: Task) -> Table:
    """Returns support, precision, recall (with interval) and F1 of each class, the worst first."""
    truly, found = members(true, task), members(predicted, task)
    rows = []
    for k, name in enumerate(task.classes):
        both, support, claimed = (
            int(x.sum()) for x in (truly[:, k] & found[:, k], truly[:, k], found[:, k])
        )
        f1 = 2 * both / (support + claimed) if support + claimed else 0.0
        recall = percent(both / support) if support else "–"
        spread = interval(both, support) if support else "–"
        precision = percent(both / claimed) if claimed else "–"
        rows.append((f1, [name, f"{support:,}", precision, recall, spread, f"{f1:.3f}"]))
    header = ["class", "pictures", "precision", "recall", "recall, 95 % interval", "F1"]
    return Table(header, [row for _, row in sorted(rows, key=lambda row: row[0])])


def threshold_table(
    chosen: tuple[np.ndarray, np.ndarray],
    probabilities: np.ndarray,
    true: np.ndarray,
    task: Task,
    note: str,
) -> Table:
    """Returns what thresholds cost (binary), keep (multi-class) or reach (multi-label).

    Args:
        chosen: Probabilities and true classes of the split that thresholds are chosen on.
        probabilities: Of the split that is reported.
        true: Of the split that is reported.
        task: Kind of labels.
        note: Which splits these are.
    """
    if task.kind == "binary":
        return _costs(chosen, probabilities[:, 1], true == 1, task.classes, note)
    if task.kind == "multiclass":
        return _coverage(probabilities, true)
    return _label_thresholds(chosen, probabilities, true, task, note)


def _costs(
    chosen: tuple[np.ndarray, np.ndarray],
    scores: np.ndarray,
    positive: np.ndarray,
    classes: Sequence[str],
    note: str,
) -> Table:
    rows = []
    for missed, alarm in _COSTS:
        at = _cheapest(chosen[0][:, 1], chosen[1] == 1, missed, alarm)
        found = scores > at
        misses, alarms = int((positive & ~found).sum()), int((~positive & found).sum())
        usual = (
            missed * (positive & (scores <= 0.5)).sum() + alarm * (~positive & (scores > 0.5)).sum()
        )
        rows.append(
            [
                f"{missed} : {alarm}",
                f"{at:.3f}",
                f"{misses:,}",
                f"{alarms:,}",
                percent(1 - (misses + alarms) / len(scores)),
                f"{(missed * misses + alarm * alarms) / len(scores):.3f}",
                f"{usual / len(scores):.3f}",
            ]
        )
    no, yes = classes
    header = [
        f"cost of missed : false “{yes}”",
        "threshold",
        "missed",
        "false",
        "accuracy",
        "cost a picture",
        "at 0.5",
    ]
    words = f"“{yes}” is predicted above the threshold, “{no}” below. {note}"
    return Table(header, rows, words)


def _cheapest(scores: np.ndarray, positive: np.ndarray, missed: float, alarm: float) -> float:
    """Returns the threshold of least cost, in the middle of the gap between two scores."""
    order = np.argsort(scores)
    ranked, truly = scores[order], positive[order]
    # Cost with the k lowest scores below the threshold.
    passed = (~truly).sum() - np.r_[0, (~truly).cumsum()]
    costs = missed * np.r_[0, truly.cumsum()] + alarm * passed
    edges = np.r_[0.0, (ranked[1:] + ranked[:-1]) / 2, 1.0]
    possible = np.r_[True, ranked[1:] > ranked[:-1], True]
    return float(edges[np.where(possible, costs, np.inf).argmin()])


def _coverage(probabilities: np.ndarray, true: np.ndarray) -> Table:
    confidence, right = probabilities.max(axis=-1), probabilities.argmax(axis=-1) == true
    rows = []
    for least in _CONFIDENCES:
        kept = confidence >= least
        n, good = int(kept.sum()), int(right[kept].sum())
        if n:
            row = [f"{least:g}", f"{n:,}", percent(n / len(true)), percent(good / n)]
            rows.append([*row, interval(good, n)])
    header = ["least confidence", "pictures kept", "share kept", "accuracy", "95 % interval"]
    return Table(header, rows, "Pictures below the confidence are left for a person to decide.")


def _label_thresholds(
    chosen: tuple[np.ndarray, np.ndarray],
    probabilities: np.ndarray,
    true: np.ndarray,
    task: Task,
    note: str,
) -> Table:
    rows = []
    for k, name in enumerate(task.classes):
        grid = np.unique(np.r_[0.5, np.quantile(chosen[0][:, k], np.linspace(0, 1, 101))])
        best = max(
            grid, key=lambda at: (_f1(chosen[0][:, k] > at, chosen[1][:, k]), -abs(at - 0.5))
        )
        found, usual = probabilities[:, k] > best, probabilities[:, k] > 0.5
        truly = true[:, k]
        row = [name, f"{best:.3f}", f"{_f1(found, truly):.3f}", f"{_f1(usual, truly):.3f}"]
        rows.append(row)
    return Table(["label", "threshold of best F1", "F1", "F1 at 0.5"], rows, note)


def _f1(found: np.ndarray, truly: np.ndarray) -> float:
    total = found.sum() + truly.sum()
    return float(2 * (found & truly).sum() / total) if total else 0.0


def slice_table(parts: Sequence[Slice], form: str) -> Table:
    """Returns the accuracy of each slice.

    Args:
        parts: From the least values to the greatest.
        form: How a value is written, for `str.format`.
    """
    rows = []
    for part in parts:
        reach = f"{form.format(part.low)} to {form.format(part.high)}"
        share = percent(part.right / part.n)
        rows.append([reach, f"{part.n:,}", share, interval(part.right, part.n)])
    return Table(["range", "pictures", "accuracy", "95 % interval"], rows)
