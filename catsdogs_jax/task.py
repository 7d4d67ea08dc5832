"""The kind of labels, and the mathematics that follows from it.

Binary, multi-class and multi-label problems share one code path: targets are always a dense
[pictures, outputs] float array, and a `Task` says how logits become losses and probabilities.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

Kind = Literal["binary", "multiclass", "multilabel"]
LossName = Literal["cross_entropy", "sigmoid", "focal"]

_LEAST_MISS = 1e-7
"""Where a probability rounds to 1, a power of what it misses has no finite gradient."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A classification problem.

    Attributes:
        kind: "binary" (two classes, one logit), "multiclass" (one of K classes, softmax) or
            "multilabel" (any subset of K classes, sigmoids).
        classes: Class names; the index of a name is its label.
    """

    kind: Kind
    classes: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """Number of logits of the model."""
        return 1 if self.kind == "binary" else len(self.classes)

    def targets(self, labels: Sequence[Sequence[int]]) -> np.ndarray:
        """Returns float32 targets [n, outputs] for the label indices of n pictures."""
        counts = np.fromiter(map(len, labels), np.int64, len(labels))
        found = itertools.chain.from_iterable(labels)
        return self.targets_of(np.fromiter(found, np.int64, counts.sum()), counts)

    def targets_of(self, labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Returns the same for the labels of all pictures one after another, and their numbers."""
        dense = np.zeros((len(counts), len(self.classes)), np.float32)
        dense[np.repeat(np.arange(len(counts)), counts), labels] = 1.0
        return dense[:, 1:] if self.kind == "binary" else dense

    def smooth(self, targets: jax.Array, amount: float) -> jax.Array:
        """Moves `amount` of each target's mass evenly over all classes.

        Source: Szegedy et al., 2016, https://arxiv.org/abs/1512.00567
        """
        spread = 1.0 / len(self.classes) if self.kind == "multiclass" else 0.5
        return targets * (1.0 - amount) + amount * spread

    def weights(self, targets: jax.Array, class_weights: Sequence[float]) -> jax.Array:
        """Returns the weight [n] of each picture, the mean of the weights of its classes.

        Args:
            targets: Unsmoothed targets [n, outputs], mixed or not.
            class_weights: One weight a class; empty: all 1.
        """
        if not class_weights:
            return jnp.ones(targets.shape[0])
        weights = jnp.asarray(class_weights)
        if self.kind == "binary":
            return targets[:, 0] * weights[1] + (1.0 - targets[:, 0]) * weights[0]
        counts = targets.sum(axis=-1)
        return targets @ weights / jnp.maximum(counts, 1.0) + jnp.maximum(0.0, 1.0 - counts)

    def losses(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        """Returns the cross-entropy [n], in nats, of each picture; a mean over labels if many."""
        logits = logits.astype(jnp.float32)
        if self.kind == "multiclass":
            return optax.losses.softmax_cross_entropy(logits, targets)
        return optax.losses.sigmoid_binary_cross_entropy(logits, targets).mean(axis=-1)

    def training_losses(
        self, logits: jax.Array, targets: jax.Array, loss: LossName, gamma: float
    ) -> jax.Array:
        """Returns the loss [n] to minimise, in nats, of each picture.

        cross_entropy: as `losses`. sigmoid: of each class on its own; in multi-class problems the
        sum over classes, so that its gradient is as large as the softmax's (Wightman et al., 2021,
        https://arxiv.org/abs/2110.00476). focal: cross-entropy times (1 - p)^gamma, where p is the
        probability of the target (Lin et al., 2017, https://arxiv.org/abs/1708.02002), for
        multi-class problems that of the softmax, as in Keras's `CategoricalFocalCrossentropy`.

        Args:
            logits: [n, outputs].
            targets: [n, outputs], 0 to 1; they may be smoothed or mixed.
            loss: Which.
            gamma: Exponent of focal; at 0 it is the cross-entropy.
        """
        logits = logits.astype(jnp.float32)
        if loss == "focal" and self.kind == "multiclass":
            log_probabilities = jax.nn.log_softmax(logits)
            missed = jnp.clip(1.0 - jnp.exp(log_probabilities), _LEAST_MISS, 1.0)
            return -(targets * missed**gamma * log_probabilities).sum(axis=-1)
        if loss == "focal":
            return optax.losses.sigmoid_focal_loss(logits, targets, gamma=gamma).mean(axis=-1)
        if loss == "sigmoid" and self.kind == "multiclass":
            return optax.losses.sigmoid_binary_cross_entropy(logits, targets).sum(axis=-1)
        return self.losses(logits, targets)

    def distillation_losses(
        self, logits: jax.Array, taught: jax.Array, temperature: float
    ) -> jax.Array:
        """Returns how far [n], in nats, the probabilities are from a teacher's.

        The Kullback-Leibler divergence at a temperature, times its square, so that the gradient
        does not shrink with it; of each label on its own, and their mean, if many may be right.
        Source: Hinton et al., 2015, https://arxiv.org/abs/1503.02531

        Args:
            logits: [n, outputs].
            taught: The teacher's logits [n, outputs].
            temperature: What both are divided by.
        """

        def log_probabilities(values: jax.Array) -> jax.Array:
            scaled = values.astype(jnp.float32) / temperature
            if self.kind == "multiclass":
                return jax.nn.log_softmax(scaled)[:, None]
            return jnp.stack([jax.nn.log_sigmoid(scaled), jax.nn.log_sigmoid(-scaled)], axis=-1)

        divergence = optax.losses.kl_divergence_with_log_targets(
            log_probabilities(logits), log_probabilities(taught)
        )
        return temperature**2 * divergence.mean(axis=-1)

    def correct(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        """Returns 1.0 for each picture [n] whose labels are all predicted, else 0.0.

        Of mixed targets (MixUp, CutMix), the labels are those with the greater share.
        """
        if self.kind == "multiclass":
            hits = jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1)
        else:
            hits = ((logits > 0) == (targets > 0.5)).all(axis=-1)
        return hits.astype(jnp.float32)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Returns float64 probabilities [n, classes] for logits [n, outputs]."""
        logits = np.asarray(logits, np.float64)
        if self.kind == "multiclass":
            exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
            return exponents / exponents.sum(axis=-1, keepdims=True)
        positive = 0.5 * (1.0 + np.tanh(0.5 * logits))  # a sigmoid that cannot overflow
        if self.kind == "binary":
            return np.concatenate([1.0 - positive, positive], axis=-1)
        return positive

    def predicted(
        self, probabilities: np.ndarray, threshold: float | Sequence[float] = 0.5
    ) -> np.ndarray:
        """Returns what is predicted from probabilities [n, classes].

        Args:
            probabilities: As `probabilities` makes them.
            threshold: For binary (of the second class) and multi-label problems (one for all
                labels, or one each).

        Returns:
            int [n] class indices, or bool [n, classes] for multi-label problems.
        """
        if self.kind == "multiclass":
            return probabilities.argmax(axis=-1)
        if self.kind == "binary":
            return (probabilities[:, 1] > threshold).astype(np.int64)
        return probabilities > np.broadcast_to(threshold, probabilities.shape)

    def true_classes(self, targets: np.ndarray) -> np.ndarray:
        """Returns the labels of targets [n, outputs] in the form of `predicted`."""
        if self.kind == "multiclass":
            return targets.argmax(axis=-1)
        if self.kind == "binary":
            return (targets[:, 0] > 0.5).astype(np.int64)
        return targets > 0.5

    def spell(self, probabilities: np.ndarray, threshold: float | Sequence[float] = 0.5) -> str:
        """Returns the predicted class name for probabilities [classes]; several joined by "|"."""
        predicted = self.predicted(probabilities[None], threshold)[0]
        indices = np.flatnonzero(predicted) if self.kind == "multilabel" else [predicted]
        return "|".join(self.classes[index] for index in indices)
