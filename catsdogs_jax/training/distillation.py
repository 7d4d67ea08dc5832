"""What a trained model, the teacher, adds to the loss of another."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.state import Params, merge_model

Variables = tuple[Params, Params]
"""Parameters and statistics of a model."""


@dataclasses.dataclass(frozen=True)
class Distillation:
    """The static part of a teacher; its parameters are arguments of the step.

    The teacher sees the very pictures that the student sees, after augmentation, as in Beyer et
    al., 2022, https://arxiv.org/abs/2106.05237

    Attributes:
        graphdef: Structure of the teacher.
        preprocessing: The teacher's own size, normalisation and class names.
        order: For each class of the student, its index among the teacher's.
        weight: Share of the teacher in the loss; the labels have the rest.
        temperature: What both models' logits are divided by.
    """

    graphdef: Any
    preprocessing: Preprocessing
    order: tuple[int, ...]
    weight: float
    temperature: float

    def mixed(
        self, losses: jax.Array, logits: jax.Array, images: jax.Array, variables: Variables
    ) -> jax.Array:
        """Returns the losses [n] of labels and teacher together.

        Args:
            losses: Those of the labels [n].
            logits: The student's [n, outputs].
            images: Float pictures [n, size, size, 3], 0 to 255.
            variables: The teacher's.
        """
        taught = self.logits(images, variables)
        others = self.preprocessing.task.distillation_losses(logits, taught, self.temperature)
        return (1.0 - self.weight) * losses + self.weight * others

    def logits(self, images: jax.Array, variables: Variables) -> jax.Array:
        """Returns the teacher's logits [n, outputs], in the order of the student's classes."""
        side = self.preprocessing.seen_size
        if images.shape[1] != side:
            shape = (images.shape[0], side, side, images.shape[3])
            images = jax.image.resize(images, shape, "linear")
        model = merge_model(self.graphdef, *variables)
        logits = jax.lax.stop_gradient(model(self.preprocessing.normalize(images)))
        if self.preprocessing.task.kind == "binary":  # One logit, that of the second class.
            return logits if self.order == (0, 1) else -logits
        return logits[:, jnp.array(self.order)]
