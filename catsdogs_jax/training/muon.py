"""Muon: steps of kernels are matrices whose singular values are all about one.

Source: Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/. The rule is Optax's but for
how a matrix is orthogonalised: kernels of convolutions are tall, and Optax iterates on all of each,
which on a CPU takes as long as the rest of a small ResNet's step.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

_RMS = 0.2
"""Updates are as long as AdamW's, so that one learning rate and one weight decay serve both:
Liu et al., 2025, https://arxiv.org/abs/2502.16982"""

_QUINTIC, _ITERATIONS = (3.4445, -4.7750, 2.0315), 5
"""Jordan's a X + b X X'X + c X X'X X'X, which brings singular values to 0.7 to 1.2."""


class MomentumState(NamedTuple):
    """The state of the rule.

    Attributes:
        taken: Steps so far.
        momentum: Decaying sums of the gradients.
    """

    taken: jax.Array
    momentum: optax.Updates


def muon(
    beta: float = 0.95, eps: float = 1e-8, b1: float = 0.9, b2: float = 0.999
) -> optax.GradientTransformation:
    """Returns Muon for the kernels of hidden layers, Adam with Nesterov's momentum for the rest.

    Neither learning rate nor decay are in it, and nothing is negated.

    Args:
        beta: Decay of the sums of gradients.
        eps: Added to what is divided by.
        b1: Adam's decay of the first moment.
        b2: Of the second.
    """
    return optax.partition(
        {
            "muon": scale_by_orthogonal_momentum(beta, eps),
            "adam": optax.scale_by_adam(b1, b2, eps, nesterov=True),
        },
        lambda params: jax.tree_util.tree_map_with_path(
            lambda path, value: "muon" if summed_axes(path, value.shape) else "adam", params
        ),
    )


def summed_axes(path: Sequence[Any], shape: Sequence[int]) -> int | None:
    """Returns how many leading axes of a kernel are inputs of its matrix; none: it is Adam's.

    Muon takes the kernels of hidden layers: of dense ones [in, out], of convolutions
    [height * width * in, out], of attention [in, heads * features] and [heads * features, out].
    Adam takes the rest: biases, scales, embeddings, the head, and depthwise convolutions, each of
    whose channels is a filter of its own.
    """
    names = [str(getattr(key, "key", key)) for key in path]
    if names[-1] != "kernel" or "head" in names:
        return None
    if len(shape) == 3:  # `nnx.MultiHeadAttention`: heads and their features are two axes.
        return 2 if "out" in names else 1
    if len(shape) == 4 and shape[2] == 1:
        return None
    return len(shape) - 1 if len(shape) in (2, 4) else None


def scale_by_orthogonal_momentum(momentum: float, epsilon: float) -> optax.GradientTransformation:
    """Returns the rule of Muon's own kernels; the others are masked out."""

    def init(params: optax.Params) -> MomentumState:
        return MomentumState(jnp.zeros([], jnp.int32), optax.tree.zeros_like(params))

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        assert isinstance(state, MomentumState)
        count = state.taken + 1
        sums = optax.tree.update_moment(updates, state.momentum, momentum, 1)
        ahead = jax.tree.map(
            lambda total, now: momentum * total + (1 - momentum) * now,
            optax.tree.bias_correction(sums, momentum, count + 1),
            optax.tree.bias_correction(updates, momentum, count),
        )
        steps = jax.tree_util.tree_map_with_path(
            lambda path, value: _step(value, summed_axes(path, value.shape) or 1, epsilon), ahead
        )
        return steps, MomentumState(count, sums)

    return optax.GradientTransformation(init, update)


def _step(value: jax.Array, axes: int, epsilon: float) -> jax.Array:
    matrix = value.reshape(math.prod(value.shape[:axes]), -1)
    length = _RMS * max(matrix.shape) ** 0.5
    return length * orthogonalized(matrix, epsilon).reshape(value.shape)


def orthogonalized(matrix: jax.Array, epsilon: float = 1e-8) -> jax.Array:
    """Returns a matrix with the same singular vectors and singular values of 0.7 to 1.2.

    Each iteration multiplies the matrix by a polynomial of its Gram matrix, and these commute. So
    the small Gram matrix alone is iterated on, and the large one is met twice, not ten times.

    Args:
        matrix: Floats [rows, columns].
        epsilon: Added to its norm, by which it is divided.
    """
    if matrix.shape[0] < matrix.shape[1]:
        return orthogonalized(matrix.T, epsilon).T
    matrix = matrix / (jnp.linalg.norm(matrix) + epsilon)
    # Small singular values are lost in a Gram matrix of less than float32.
    with jax.default_matmul_precision("float32"):
        gram, factors = matrix.T @ matrix, []
        first, second, third = _QUINTIC
        for _ in range(_ITERATIONS):
            factor = second * gram + third * gram @ gram
            factor = factor + first * jnp.eye(len(gram), dtype=gram.dtype)
            factors.append(factor)
            gram = factor @ gram @ factor
        return matrix @ functools.reduce(jnp.matmul, factors)
