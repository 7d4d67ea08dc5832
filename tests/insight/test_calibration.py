"""Promises of calibration, thresholds, label errors and slices."""

import numpy as np
import pytest

from catsdogs_jax.insight import calibration, tables
from catsdogs_jax.insight.mistakes import (
    nearest_neighbours,
    picture_losses,
    sharpness,
    slices,
    suspected_labels,
)
from catsdogs_jax.task import Task
from catsdogs_jax.training.reliability import reliability

BINARY = Task("binary", ("cat", "dog"))
MANY = Task("multiclass", ("a", "b", "c"))
LABELS = Task("multilabel", ("a", "b", "c"))


def sample(task: Task, n: int, sure: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits `sure` times too large, and targets drawn from the true probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (n, task.outputs))
    if task.kind == "multiclass":
        draws = [rng.choice(task.outputs, p=p) for p in task.probabilities(logits)]
        targets = np.eye(task.outputs)[draws]
    else:
        targets = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    return sure * logits, targets


@pytest.mark.parametrize("task", [BINARY, MANY, LABELS], ids=lambda task: task.kind)
@pytest.mark.parametrize("sure", [0.5, 3.0])
def test_the_temperature_undoes_a_scale(task: Task, sure: float) -> None:
    logits, targets = sample(task, 6000, sure)
    assert calibration.fit_temperature(logits, targets, task) == pytest.approx(sure, rel=0.1)
    true = task.true_classes(targets)
    scaled = calibration.held_out_scaling(logits, targets, task)
    before, after = (reliability(task.probabilities(each), true, task) for each in (logits, scaled))
    assert after.error < before.error / 3
    assert before.count.sum() == true.size


def test_a_held_out_temperature_does_not_see_its_own_pictures() -> None:
    logits, targets = sample(BINARY, 50, 1.0)
    scaled = calibration.held_out_scaling(logits, targets, BINARY)
    flipped = targets.copy()
    flipped[0] = 1 - flipped[0]
    assert calibration.held_out_scaling(logits, flipped, BINARY)[0] == scaled[0]
    assert (calibration.held_out_scaling(logits, flipped, BINARY) != scaled).any()


def test_flipped_labels_are_suspected_and_good_ones_are_not() -> None:
    true = np.arange(90) % 3
    probabilities = np.full((90, 3), 0.05)
    probabilities[np.arange(90), true] = 0.9
    given = true.copy()
    given[7], given[40] = 0, 2
    found = suspected_labels(probabilities, given, MANY)
    assert {(s.index, s.label, s.suggested) for s in found} == {(7, 0, 1), (40, 2, 1)}
    assert found[0].margin == pytest.approx(0.85)


def test_a_missing_label_of_several_is_suspected() -> None:
    true = np.random.default_rng(0).random((60, 3)) < 0.4
    probabilities = np.where(true, 0.9, 0.1)
    given = true.copy()
    row, label = np.argwhere(true)[5]
    given[row, label] = False
    found = suspected_labels(probabilities, given, LABELS)
    assert [(s.index, s.label) for s in found] == [(row, label)]


def test_the_threshold_of_a_cost_is_the_cheapest_of_all() -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.random(200), 2)  # Ties: pictures of one score stay on one side.
    positive = rng.random(200) < scores
    chosen = np.stack([1 - scores, scores], 1), positive.astype(int)
    table = tables.threshold_table(chosen, *chosen, BINARY, "")
    for row in table.rows:
        missed, alarm = (float(part) for part in row[0].split(" : "))
        costs = [
            (missed * (positive & (scores <= t)).sum() + alarm * (~positive & (scores > t)).sum())
            for t in np.linspace(0, 1, 1001)
        ]
        assert float(row[5]) == pytest.approx(min(costs) / 200, abs=1e-3)


def test_recall_and_precision_of_a_class_are_counted() -> None:
    predicted, true = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 0, 0, 1])
    rows = {row[0]: row for row in tables.class_table(predicted, true, BINARY).rows}
    assert rows["dog"][1:4] == ["3", "66.7\xa0%", "66.7\xa0%"]
    assert rows["cat"][1:4] == ["2", "50.0\xa0%", "50.0\xa0%"]


def test_slices_keep_equal_values_together_and_none_is_tiny() -> None:
    values = np.r_[np.zeros(50), np.arange(1.0, 51)]
    right = np.arange(100) % 2 == 0
    parts = slices(values, right)
    assert sum(part.n for part in parts) == 100
    assert sum(part.right for part in parts) == 50
    assert all(a.high < b.low for a, b in zip(parts, parts[1:], strict=False))
    assert len(slices(np.arange(6.0), np.ones(6, bool))) == 1


def test_blur_makes_sharpness_small_and_losses_follow_the_given_label() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
    blurred = np.full((32, 32, 3), 128, np.uint8)
    assert sharpness([sharp, blurred])[0] > 100 * sharpness([sharp, blurred])[1]
    losses = picture_losses(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]), BINARY)
    np.testing.assert_allclose(losses, -np.log([0.9, 0.1]))


def test_neighbours_are_the_nearest_by_angle() -> None:
    known = np.array([[1.0, 0.0], [0.0, 5.0], [1.0, 1.0]])
    found = nearest_neighbours(np.array([[0.1, 9.0], [3.0, 0.1]]), known, 2)
    assert found.tolist() == [[1, 2], [0, 2]]
