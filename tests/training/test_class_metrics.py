"""Promises of what is said of classes: scikit-learn's numbers, and none where there is none."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from catsdogs_jax.headline import class_lines, split_line
from catsdogs_jax.statistics import wilson_interval
from catsdogs_jax.task import Task
from catsdogs_jax.training.class_metrics import (
    binary_metrics,
    multiclass_metrics,
    multilabel_metrics,
    top_k,
)
from catsdogs_jax.training.evaluation import Evaluation
from catsdogs_jax.training.metrics import split_summary

RNG = np.random.default_rng(0)
BINARY = Task("binary", ("cat", "dog"))
EIGHT = Task("multiclass", tuple("abcdefgh"))
SEVERAL = Task("multilabel", ("ant", "bee", "cow"))
HALF = (0.5, 0.5, 0.5)


def test_binary_measures_are_of_the_second_class() -> None:
    true, predicted = np.array([1, 1, 1, 0, 0, 0, 0, 1]), np.array([1, 1, 0, 0, 1, 0, 0, 0])
    found = binary_metrics(true, predicted, BINARY)
    assert found == {
        "positive_class": "dog",
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 4),
        "f1": pytest.approx(2 * 2 / (3 + 4)),
    }


def test_multiclass_measures_are_those_of_scikit_learn() -> None:
    probabilities = EIGHT.probabilities(RNG.normal(size=(300, 8)))
    true = RNG.integers(0, 8, 300)
    predicted = probabilities.argmax(axis=1)
    found = multiclass_metrics(true, predicted, probabilities, EIGHT)
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(true, predicted, average="macro"))
    expected = metrics.top_k_accuracy_score(true, probabilities, k=5)
    assert found["top_k"]["k"] == 5
    assert found["top_k"]["accuracy"] == pytest.approx(expected)
    low, high = found["top_k"]["accuracy_ci95"]
    assert low < expected < high
    report: Any = metrics.classification_report(
        true, predicted, target_names=EIGHT.classes, output_dict=True
    )
    for row in found["per_class"]:
        expected = report[row["class"]]
        assert row["precision"] == pytest.approx(expected["precision"])
        assert row["recall"] == pytest.approx(expected["recall"])
        assert row["f1"] == pytest.approx(expected["f1-score"])
        assert row["support"] == expected["support"]
        right = round(row["recall"] * row["support"])
        assert row["recall_ci95"] == wilson_interval(right, row["support"])


@pytest.mark.parametrize(("classes", "k"), [(2, 1), (3, 2), (6, 5), (7, 5), (100, 5)])
def test_k_is_five_or_all_classes_but_one(classes: int, k: int) -> None:
    probabilities = RNG.dirichlet(np.ones(classes), 50)
    true = RNG.integers(0, classes, 50)
    found = top_k(true, probabilities)
    ranks = (probabilities > probabilities[np.arange(50), true][:, None]).sum(axis=1)
    assert found["k"] == k
    assert found["accuracy"] == pytest.approx((ranks < k).mean())


def test_a_class_without_pictures_has_no_figures_and_is_in_no_mean() -> None:
    true, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    task = Task("multiclass", ("a", "b", "c", "d"))
    probabilities = np.eye(4)[predicted]
    found = multiclass_metrics(true, predicted, probabilities, task)
    rows = {row["class"]: row for row in found["per_class"]}
    assert (rows["c"]["recall"], rows["c"]["f1"], rows["c"]["support"]) == (None, None, 0)
    assert rows["c"]["precision"] == 0  # It was predicted, and wrongly.
    assert rows["d"]["precision"] is None
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)


def test_multilabel_measures_are_those_of_scikit_learn() -> None:
    true = RNG.random((200, 3)) < (0.5, 0.3, 0.1)
    probabilities = np.clip(RNG.random((200, 3)) * 0.7 + 0.3 * true, 0, 1)
    thresholds = (0.4, 0.5, 0.6)
    predicted = SEVERAL.predicted(probabilities, thresholds)
    np.testing.assert_array_equal(predicted[:, 2], probabilities[:, 2] > 0.6)
    found = multilabel_metrics(true, predicted, probabilities, SEVERAL, thresholds)
    expected = {
        "mean_average_precision": metrics.average_precision_score(true, probabilities),
        "macro_f1": metrics.f1_score(true, predicted, average="macro"),
        "micro_f1": metrics.f1_score(true, predicted, average="micro"),
        "exact_match": metrics.accuracy_score(true, predicted),
        "exact_match_at_half": metrics.accuracy_score(true, probabilities > 0.5),
        "hamming_accuracy": 1 - metrics.hamming_loss(true, predicted),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    for index, row in enumerate(found["per_class"]):
        assert row["threshold"] == thresholds[index]
        assert row["f1"] == pytest.approx(metrics.f1_score(true[:, index], predicted[:, index]))
        assert row["average_precision"] == pytest.approx(
            metrics.average_precision_score(true[:, index], probabilities[:, index])
        )


def test_average_precision_by_hand() -> None:
    true = np.array([[1], [0], [1], [0]], bool)
    probabilities = np.array([[0.9], [0.8], [0.7], [0.1]])
    found = multilabel_metrics(
        true, probabilities > 0.5, probabilities, Task("multilabel", ("a",)), (0.5,)
    )
    # Recall rises by a half at precision 1 of 1, and by a half at precision 2 of 3.
    assert found["mean_average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_probability_of_a_half_is_no_label() -> None:
    half, true = np.full((2, 3), 0.5), np.array([[True, False, False], [False, False, False]])
    found = multilabel_metrics(true, SEVERAL.predicted(half, HALF), half, SEVERAL, HALF)
    assert found["exact_match_at_half"] == found["exact_match"] == 0.5


@pytest.mark.parametrize("present", [True, False])
def test_labels_that_no_picture_has_are_left_out_of_means_without_a_warning(present: bool) -> None:
    true = np.zeros((4, 3), bool)
    true[:2, 0] = present
    probabilities = np.array([[0.9, 0.1, 0.6], [0.8, 0.2, 0.1], [0.1, 0.1, 0.1], [0.2, 0.1, 0.1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = multilabel_metrics(true, probabilities > 0.5, probabilities, SEVERAL, HALF)
    expected = 1.0 if present else None
    assert found["mean_average_precision"] == expected
    assert found["macro_f1"] == expected
    assert (found["micro_f1"] is None) == (not present)
    assert found["per_class"][1]["average_precision"] is None
    assert found["hamming_accuracy"] == pytest.approx(11 / 12 if present else 9 / 12)


def summary(
    task: Task, logits: np.ndarray, labels: list[tuple[int, ...]], **options: object
) -> dict:
    evaluation = Evaluation(logits, loss=0.5, accuracy=0.25)
    return split_summary(evaluation, task.targets(labels), task, **options)  # type: ignore[arg-type]


def test_the_accuracy_of_several_labels_is_that_of_the_thresholds() -> None:
    logits = np.log([[0.4 / 0.6, 0.1, 0.1], [0.1, 0.1, 9.0], [0.1, 0.1, 1.5]])
    found = summary(SEVERAL, logits, [(0,), (2,), ()], threshold=(0.3, 0.5, 0.7))
    assert found["accuracy"] == found["exact_match"] == 1
    assert found["exact_match_at_half"] == pytest.approx(1 / 3)
    assert found["accuracy_ci95"] == wilson_interval(3, 3)
    np.testing.assert_array_equal(found["confusion_matrix"][0], [[2, 0], [0, 1]])


def test_the_headline_names_what_counts_for_each_kind() -> None:
    labels = [(i % 8,) for i in range(40)]
    line = split_line("test", summary(EIGHT, 9 * EIGHT.targets(labels), labels))
    assert line.startswith("test: 25.0% of 40 pictures right (95 % interval 14.")
    assert line.endswith("top-5 100.0%, macro F1 1.000")
    several: list[tuple[int, ...]] = [(0,), (1, 2), ()]
    line = split_line("test", summary(SEVERAL, 9 * SEVERAL.targets(several) - 4, several))
    assert line.startswith("test: mAP 1.000, macro F1 1.000, every label right in 100.0% of 3")
    nothing = split_line("test", summary(SEVERAL, np.full((2, 3), -3.0), [(), ()]))
    assert nothing.startswith("test: mAP -, macro F1 -, every label right in 100.0% of 2")
    binary = summary(BINARY, np.array([[1.0], [-1.0]]), [(1,), (0,)])
    assert "F1" not in split_line("test", binary)
    assert class_lines(binary) == []


def test_the_table_of_classes_is_whole_or_shows_the_worst() -> None:
    labels = [(i % 8,) for i in range(40)]
    lines = class_lines(summary(EIGHT, 9 * EIGHT.targets(labels), labels))
    assert lines[0].split() == ["class", "precision", "recall", "F1", "n"]
    assert [line.split()[0] for line in lines[1:]] == list("abcdefgh")
    assert lines[1].split()[1:] == ["1.000", "1.000", "1.000", "5"]
    many = Task("multiclass", tuple(f"c{i}" for i in range(30)))
    labels = [(i % 30,) for i in range(90)]
    logits = 9 * many.targets(labels)
    logits[29::30] = 9 * many.targets([(3,)] * 3)  # c29 is always taken for c3.
    lines = class_lines(summary(many, logits, labels))
    assert "5 of least F1 among 30 classes" in lines[0]
    assert [line.split()[0] for line in lines[2:]][:2] == ["c29", "c3"]
    assert len(lines) == 7
