"""Promises of the statistics: those of scikit-learn, with an interval."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from catsdogs_jax.task import Task
from catsdogs_jax.training.evaluation import Evaluation
from catsdogs_jax.training.metrics import (
    split_summary,
)
from catsdogs_jax.training.reliability import reliability

RNG = np.random.default_rng(0)
BINARY = Task("binary", ("cat", "dog"))
SPECIES = Task("multiclass", ("ant", "bee", "cow"))
SEVERAL = Task("multilabel", ("ant", "bee", "cow"))


def summary(task: Task, logits: np.ndarray, labels: list[tuple[int, ...]]) -> dict:
    targets = task.targets(labels)
    correct = np.asarray(task.correct(logits, targets))  # type: ignore[arg-type]
    evaluation = Evaluation(logits, loss=0.5, accuracy=float(correct.mean()))
    return split_summary(evaluation, targets, task)


def test_a_binary_summary_agrees_with_itself_and_scikit_learn() -> None:
    logits = RNG.normal(size=(200, 1))
    labels = [(int(label),) for label in RNG.integers(0, 2, 200)]
    found = summary(BINARY, logits, labels)
    matrix = np.array(found["confusion_matrix"])
    assert matrix.sum() == found["n"] == 200
    assert np.trace(matrix) / 200 == pytest.approx(found["accuracy"])
    assert matrix[0].sum() == sum(label == (0,) for label in labels)
    true = [label[0] for label in labels]
    assert found["auroc"] == pytest.approx(roc_auc_score(true, logits[:, 0]))
    low, high = found["accuracy_ci95"]
    assert low < found["accuracy"] < high


def test_a_multiclass_summary_averages_one_against_the_rest() -> None:
    logits = RNG.normal(size=(90, 3))
    labels = [(i % 3,) for i in range(90)]
    found = summary(SPECIES, logits, labels)
    expected = roc_auc_score(
        [label[0] for label in labels], SPECIES.probabilities(logits), multi_class="ovr"
    )
    assert found["auroc"] == pytest.approx(expected)
    assert np.array(found["confusion_matrix"]).shape == (3, 3)


def test_a_multilabel_summary_has_a_matrix_for_each_label() -> None:
    labels = [(0,), (0, 2), (), (1,)]
    logits = 10 * SEVERAL.targets(labels) - 5
    found = summary(SEVERAL, logits, labels)
    assert found["accuracy"] == 1
    np.testing.assert_array_equal(found["confusion_matrix"][0], [[2, 0], [0, 2]])
    assert found["auroc"] == 1


def test_a_split_with_one_class_has_no_auroc() -> None:
    assert summary(BINARY, RNG.normal(size=(5, 1)), [(0,)] * 5)["auroc"] is None


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    probabilities = np.tile([0.2, 0.8], (10, 1))
    true = np.array([1] * 6 + [0] * 4)
    assert reliability(probabilities, true, BINARY).error == pytest.approx(0.2)
    true = np.array([1] * 8 + [0] * 2)
    assert reliability(probabilities, true, BINARY).error == pytest.approx(0)


@pytest.mark.parametrize("task", [BINARY, SPECIES, SEVERAL])
def test_accuracy_is_given_without_the_leaked_pictures_too(task: Task) -> None:
    classes = len(task.classes)
    logits = RNG.normal(size=(60, task.outputs)).astype(np.float32)
    labels = [(i % classes,) for i in range(60)]
    targets, leaked = task.targets(labels), np.arange(60) % 7 == 0
    right = np.asarray(task.correct(logits, targets))  # type: ignore[arg-type]
    evaluation = Evaluation(logits, loss=0.5, accuracy=float(right.mean()))
    found = split_summary(evaluation, targets, task, leaked=leaked)["without_leaks"]
    assert found["n"] == 51
    assert found["accuracy"] == pytest.approx(right[~leaked].mean())
    all_of_them = summary(task, logits, labels)["without_leaks"]
    assert all_of_them["accuracy"] == pytest.approx(evaluation.accuracy)
    none_left = split_summary(evaluation, targets, task, leaked=np.ones(60, bool))["without_leaks"]
    assert none_left == {"n": 0, "accuracy": None, "accuracy_ci95": None}
