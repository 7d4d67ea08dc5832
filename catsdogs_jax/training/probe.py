"""A linear probe: logistic regression on features, its strength chosen inside the training split.

Sources: Kornblith et al., 2019, https://arxiv.org/abs/1805.08974; as the start of fine-tuning,
Kumar et al., 2022, https://arxiv.org/abs/2202.10054. The regression is scikit-learn's.
"""

import dataclasses
import io
from collections.abc import Sequence
from typing import Self

import jax.numpy as jnp
import numpy as np

from catsdogs_jax.task import Task

STRENGTHS = tuple(float(10.0**power) for power in np.arange(-5, 0.1, 0.5))
"""Inverse strengths of the L2 penalty that are tried, scikit-learn's `C`."""

_UNTRIED = 0.01
"""The strength where a class has too few pictures to try any."""

_ITERATIONS = 200

_SMALLEST_SPREAD = 0.01
"""Of a feature, as a share of the mean: one that hardly varies is not blown up."""


@dataclasses.dataclass(frozen=True)
class Head:
    """A dense layer that was fitted.

    Attributes:
        kernel: float32 [width, outputs].
        bias: float32 [outputs].
        strength: The inverse strength of the penalty that was chosen.
        folds: Folds of the cross-validation; 0 if there was none.
    """

    kernel: np.ndarray
    bias: np.ndarray
    strength: float
    folds: int

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Returns [..., outputs] for features [..., width]."""
        return features @ self.kernel + self.bias

    def to_bytes(self) -> bytes:
        """Spells it, to the bit, for other processes."""
        stream = io.BytesIO()
        np.savez(stream, **dataclasses.asdict(self))
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, spelled: bytes) -> Self:
        """Reads what `to_bytes` has spelled."""
        with np.load(io.BytesIO(spelled), allow_pickle=False) as found:
            strength, folds = float(found["strength"]), int(found["folds"])
            return cls(found["kernel"], found["bias"], strength, folds)


def fit_head(
    features: np.ndarray, targets: np.ndarray, task: Task, folds: int, *, balanced: bool, seed: int
) -> Head:
    """Fits a head to the features of the training pictures.

    The strength with the lowest mean cross-entropy over pictures that were left out is taken. All
    views of a picture are in the same fold.

    Args:
        features: float32 [n, views, width].
        targets: float32 [n, outputs].
        task: Kind of labels.
        folds: Most folds of the cross-validation; fewer if a class has fewer pictures.
        balanced: Whether each class counts the same, however many pictures it has.
        seed: Of the folds.
    """
    mean, std = features.mean(axis=(0, 1)), features.std(axis=(0, 1))
    std = np.maximum(std, _SMALLEST_SPREAD * std.mean() + 1e-12)
    scaled = (features - mean) / std
    splits = _folds(targets, task, folds, seed)
    strength = _UNTRIED
    if splits:
        losses = [
            _left_out_losses(scaled, targets, task, train, test, balanced) for train, test in splits
        ]
        strength = STRENGTHS[int(np.argmin(np.mean(losses, axis=0)))]
    kernel, bias = _fit(scaled, targets, task, strength, balanced)
    kernel = kernel / std[:, None]
    bias = bias - mean @ kernel
    return Head(kernel.astype(np.float32), bias.astype(np.float32), strength, len(splits))


def _folds(
    targets: np.ndarray, task: Task, folds: int, seed: int
) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    """Returns (train, test) indices of each fold; none if a class has a single picture."""
    from sklearn.model_selection import KFold, StratifiedKFold

    if task.kind == "multilabel":
        count = min(folds, len(targets))
        return list(KFold(count, shuffle=True, random_state=seed).split(targets))
    classes = task.true_classes(targets)
    count = min(folds, int(np.bincount(classes, minlength=len(task.classes)).min()))
    if count < 2:
        return []
    return list(StratifiedKFold(count, shuffle=True, random_state=seed).split(targets, classes))


def _left_out_losses(
    features: np.ndarray,
    targets: np.ndarray,
    task: Task,
    train: np.ndarray,
    test: np.ndarray,
    balanced: bool,
) -> list[float]:
    """Returns the mean cross-entropy on the pictures `test` for each strength."""
    losses = []
    for strength in STRENGTHS:
        kernel, bias = _fit(features[train], targets[train], task, strength, balanced)
        logits = jnp.asarray((features[test] @ kernel + bias).mean(axis=1))
        losses.append(float(task.losses(logits, jnp.asarray(targets[test])).mean()))
    return losses


def _fit(
    features: np.ndarray, targets: np.ndarray, task: Task, strength: float, balanced: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns kernel [width, outputs] and bias [outputs]."""
    n, views, width = features.shape
    rows = features.reshape(n * views, width)
    if task.kind == "multiclass":
        labels = np.repeat(task.true_classes(targets), views)
        kernel, bias = _regression(rows, labels, len(task.classes), strength, balanced)
        if len(task.classes) > 2:
            return kernel, bias
        return kernel * [[0.0, 1.0]], bias * [0.0, 1.0]  # One logit as two, the first at zero.
    columns = [
        _regression(rows, np.repeat(column > 0.5, views), 1, strength, balanced)
        for column in targets.T
    ]
    kernels, biases = zip(*columns, strict=True)
    return np.concatenate(kernels, axis=1), np.concatenate(biases)


def _regression(
    rows: np.ndarray, labels: np.ndarray, outputs: int, strength: float, balanced: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns kernel and bias of one logistic regression; of a constant label, its log-odds."""
    from sklearn.linear_model import LogisticRegression

    if outputs == 1 and labels.all() == labels.any():
        share = (labels.sum() + 0.5) / (len(labels) + 1)
        return np.zeros((rows.shape[1], 1)), np.log([share / (1 - share)])
    weight = "balanced" if balanced else None
    fitted = LogisticRegression(C=strength, class_weight=weight, max_iter=_ITERATIONS, tol=1e-3)
    fitted.fit(rows, labels)
    return np.asarray(fitted.coef_).T, np.asarray(fitted.intercept_)
