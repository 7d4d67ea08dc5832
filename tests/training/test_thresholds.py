"""Promises of thresholds: the greatest F1 in validation, one half where that is as good."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.training.thresholds import best_threshold, with_thresholds


def f1(probabilities: np.ndarray, present: np.ndarray, threshold: float) -> float:
    return float(f1_score(present, probabilities > threshold, zero_division=0))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(8))
def test_no_other_threshold_has_a_greater_f1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    present = rng.random(60) < 0.2
    probabilities = np.round(rng.beta(1, 4, 60) + 0.2 * present, 1).clip(0, 1)  # Many are equal.
    found = f1(probabilities, present, best_threshold(probabilities, present))
    every = np.concatenate([[0.0, 0.5], np.unique(probabilities) - 1e-9, np.unique(probabilities)])
    assert found == pytest.approx(max(f1(probabilities, present, t) for t in every))


@pytest.mark.parametrize(
    ("probabilities", "present", "expected"),
    [
        ((0.1, 0.3, 0.7, 0.9), (0, 0, 1, 1), 0.5),  # One half parts them as well as 0.31.
        ((0.1, 0.2, 0.4, 0.4), (0, 0, 1, 1), 0.3),  # Half way between 0.2 and 0.4.
        ((0.6, 0.7, 0.8, 0.9), (0, 0, 1, 1), 0.75),
        ((0.1, 0.2, 0.3, 0.4), (0, 0, 0, 0), 0.5),  # Nobody has the label.
        ((0.3, 0.3, 0.3), (1, 1, 1), 0.15),  # Everybody has it.
    ],
)
def test_it_lies_half_way_or_at_one_half(
    probabilities: tuple[float, ...], present: tuple[int, ...], expected: float
) -> None:
    found = best_threshold(np.array(probabilities), np.array(present, bool))
    assert found == pytest.approx(expected)


def test_only_multilabel_problems_have_thresholds_of_their_own() -> None:
    several = Preprocessing(8, "stretch", Task("multilabel", ("a", "b")))
    logits = np.array([[-3.0, 1.0], [-2.0, 2.0], [-4.0, 3.0]])
    targets = np.array([[0.0, 0], [1, 0], [0, 1]])
    chosen = with_thresholds(several, logits, targets).threshold
    assert isinstance(chosen, tuple)
    predicted = several.task.predicted(several.task.probabilities(logits), chosen)
    np.testing.assert_array_equal(predicted, targets)
    binary = Preprocessing(8, "stretch", Task("binary", ("a", "b")))
    assert with_thresholds(binary, logits[:, :1], targets[:, :1]) == binary
