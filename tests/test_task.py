"""Promises of the three kinds of labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from catsdogs_jax.task import Task

BINARY = Task("binary", ("cat", "dog"))
SPECIES = Task("multiclass", ("ant", "bee", "cow"))
SEVERAL = Task("multilabel", ("ant", "bee", "cow"))
RNG = np.random.default_rng(0)


def test_targets_are_dense_for_every_kind() -> None:
    np.testing.assert_array_equal(BINARY.targets([(0,), (1,)]), [[0], [1]])
    np.testing.assert_array_equal(SPECIES.targets([(2,), (0,)]), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(SEVERAL.targets([(0, 2), ()]), [[1, 0, 1], [0, 0, 0]])
    assert (BINARY.outputs, SPECIES.outputs, SEVERAL.outputs) == (1, 3, 3)


@pytest.mark.parametrize("task", [BINARY, SPECIES], ids=lambda t: t.kind)
def test_the_loss_is_the_log_loss_of_the_probabilities(task: Task) -> None:
    logits = RNG.normal(size=(50, task.outputs)).astype(np.float32)
    labels = RNG.integers(0, len(task.classes), 50)
    targets = task.targets([(int(label),) for label in labels])
    expected = log_loss(labels, task.probabilities(logits), labels=range(len(task.classes)))
    assert float(task.losses(jnp.array(logits), jnp.array(targets)).mean()) == pytest.approx(
        expected, rel=1e-5
    )


def test_the_multilabel_loss_is_the_mean_over_labels() -> None:
    losses = SEVERAL.losses(jnp.zeros((2, 3)), jnp.array([[1.0, 0, 1], [0, 0, 0]]))
    np.testing.assert_allclose(losses, np.log(2), rtol=1e-6)


KINDS = pytest.mark.parametrize("task", [BINARY, SPECIES, SEVERAL], ids=lambda t: t.kind)


def some(task: Task, n: int = 20) -> tuple[jax.Array, jax.Array]:
    """Returns random logits and targets."""
    labels = [(int(label),) for label in RNG.integers(0, len(task.classes), n)]
    logits = RNG.normal(size=(n, task.outputs), scale=3.0)
    return jnp.asarray(logits, jnp.float32), jnp.asarray(task.targets(labels))


@KINDS
def test_the_focal_loss_weighs_by_what_the_target_misses(task: Task) -> None:
    logits, targets = some(task)
    found = task.training_losses(logits, targets, "focal", 1.5)
    probabilities = task.probabilities(np.asarray(logits))
    if task.kind == "multilabel":
        p = np.where(targets > 0.5, probabilities, 1 - probabilities)
    else:
        p = np.take_along_axis(probabilities, task.true_classes(np.asarray(targets))[:, None], 1)
    np.testing.assert_allclose(found, (-((1 - p) ** 1.5) * np.log(p)).mean(axis=-1), rtol=1e-3)


@KINDS
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_focal_loss_without_focus_is_the_cross_entropy(task: Task, smoothing: float) -> None:
    logits, targets = some(task)
    smoothed = task.smooth(targets, smoothing)
    found = task.training_losses(logits, smoothed, "focal", 0.0)
    np.testing.assert_allclose(found, task.losses(logits, smoothed), rtol=1e-4, atol=1e-6)


@KINDS
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("size", [0.0, 200.0])
def test_the_gradient_of_the_focal_loss_is_finite(task: Task, gamma: float, size: float) -> None:
    _, targets = some(task, 4)
    for logits in (size * (2 * targets - 1), -size * (2 * targets - 1)):
        for smoothed in (targets, task.smooth(targets, 0.1)):
            gradient = jax.grad(
                lambda logits, y=smoothed: task.training_losses(logits, y, "focal", gamma).sum()
            )(logits)
            assert jnp.isfinite(gradient).all()


def test_the_sigmoid_loss_asks_each_class_on_its_own() -> None:
    logits, targets = some(SPECIES)
    found = SPECIES.training_losses(logits, targets, "sigmoid", 2.0)
    p = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    expected = -np.log(np.where(targets > 0.5, p, 1 - p)).sum(axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    for task in (BINARY, SEVERAL):  # Their cross-entropy is that of sigmoids.
        logits, targets = some(task)
        same = task.training_losses(logits, targets, "sigmoid", 2.0)
        np.testing.assert_array_equal(same, task.losses(logits, targets))


@KINDS
def test_the_distance_from_a_teacher_is_the_divergence_of_its_probabilities(task: Task) -> None:
    (student, _), (teacher, _), t = some(task), some(task), 3.0
    found = task.distillation_losses(student, teacher, t)
    p, q = (task.probabilities(np.asarray(logits) / t) for logits in (teacher, student))
    divergence = p * np.log(p / q)
    if task.kind == "multilabel":
        divergence = (divergence + (1 - p) * np.log((1 - p) / (1 - q))) / 3
    np.testing.assert_allclose(found, t**2 * divergence.sum(axis=-1), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(task.distillation_losses(teacher, teacher, t), 0.0, atol=1e-5)


@KINDS
def test_probabilities_of_extreme_logits_are_finite(task: Task) -> None:
    probabilities = task.probabilities(np.full((1, task.outputs), 1e4, np.float32))
    assert np.isfinite(probabilities).all()
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1


def test_smoothing_keeps_the_mass_of_a_softmax_target() -> None:
    smoothed = SPECIES.smooth(jnp.array([[0.0, 1, 0]]), 0.3)
    np.testing.assert_allclose(smoothed, [[0.1, 0.8, 0.1]], rtol=1e-6)
    np.testing.assert_allclose(BINARY.smooth(jnp.array([[1.0]]), 0.2), [[0.9]], rtol=1e-6)


def test_a_multilabel_picture_is_right_only_if_every_label_is() -> None:
    logits, targets = jnp.array([[1.0, -1, 1], [1, 1, 1]]), jnp.array([[1.0, 0, 1], [1, 0, 1]])
    np.testing.assert_array_equal(SEVERAL.correct(logits, targets), [1, 0])


def test_class_weights_of_mixed_targets_are_mixed() -> None:
    mixed = jnp.array([[0.25, 0.75, 0.0]])
    np.testing.assert_allclose(SPECIES.weights(mixed, (1.0, 2.0, 3.0)), [1.75], rtol=1e-6)
    np.testing.assert_allclose(BINARY.weights(jnp.array([[0.25]]), (0.5, 2.0)), [0.875], rtol=1e-6)
    half_unlabelled = jnp.array([[0.5, 0.0, 0.0]])  # A picture of an ant and one of nothing.
    np.testing.assert_allclose(SEVERAL.weights(half_unlabelled, (3.0, 1.0, 1.0)), [2.0], rtol=1e-6)


def test_class_weights_follow_the_true_class() -> None:
    weights = (0.5, 2.0)
    np.testing.assert_allclose(BINARY.weights(jnp.array([[0.0], [1]]), weights), weights)
    targets = jnp.array([[0.0, 0, 1], [1, 0, 0]])
    np.testing.assert_allclose(SPECIES.weights(targets, (1.0, 2, 3)), [3, 1])
    none = SEVERAL.weights(jnp.array([[0.0, 0, 0], [1, 0, 1]]), (1.0, 2, 3))
    np.testing.assert_allclose(none, [1, 2])


def test_predictions_are_spelled_with_class_names() -> None:
    assert BINARY.spell(np.array([0.2, 0.8])) == "dog"
    assert BINARY.spell(np.array([0.2, 0.8]), threshold=0.9) == "cat"
    assert SPECIES.spell(np.array([0.1, 0.7, 0.2])) == "bee"
    assert SEVERAL.spell(np.array([0.9, 0.1, 0.6])) == "ant|cow"
    assert SEVERAL.spell(np.array([0.1, 0.1, 0.1])) == ""


@pytest.mark.parametrize("task", [BINARY, SPECIES, SEVERAL], ids=lambda t: t.kind)
def test_true_classes_invert_targets(task: Task) -> None:
    labels = [(0,), (1,)]
    true = task.true_classes(task.targets(labels))
    expected = [[True, False, False], [False, True, False]] if task.kind == "multilabel" else [0, 1]
    np.testing.assert_array_equal(true, expected)
