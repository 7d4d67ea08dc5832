"""Batch normalisation whose sums are fast on CPUs too.

XLA's CPU backend reduces one value after the other, but adds arrays at the speed of the vectors:
there the places of a picture are added by halves. The backward pass is written out: it needs two
sums, and of the forward pass the input and three values a channel.

Source: Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

Kept = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


class BatchNorm(nnx.BatchNorm):
    """In parameters and statistics the same as `nnx.BatchNorm`, and in float32 in its results.

    Whatever the type of the activations, what is computed from statistics and parameters is
    float32, and rounded once.

    Args:
        channels: Channels of the pictures.
        momentum: Share of the running statistics that a batch leaves as it is.
        epsilon: Added to the variance.
        scale_init: Of the scale [channels].
        dtype: Type of the result.
        rngs: Random keys of the initial parameters.
    """

    def __init__(
        self,
        channels: int,
        *,
        momentum: float,
        epsilon: float,
        scale_init: nnx.Initializer = nnx.initializers.ones,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            channels,
            momentum=momentum,
            epsilon=epsilon,
            scale_init=scale_init,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, x: jax.Array, *, training: bool
    ) -> jax.Array:
        """Normalises x [batch, h, w, channels].

        Args:
            x: Pictures; the batch may lie on several devices.
            training: Whether by the statistics of this batch, which then also move the running
                ones, or by the running statistics.
        """
        assert self.scale is not None
        assert self.bias is not None
        x, scale, bias = x.astype(self.dtype), self.scale[...], self.bias[...]
        if not training:
            inverse = lax.rsqrt(self.var[...] + self.epsilon)
            return _scaled(x, self.mean[...], inverse * scale, bias)
        y, mean, variance = normalize(x, scale, bias, self.epsilon)
        for running, found in ((self.mean, mean), (self.var, variance)):
            old = running[...]
            running[...] = self.momentum * old + (1 - self.momentum) * lax.stop_gradient(found)
        return y


def normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises each channel by its mean and variance over batch and places.

    Sums are made in float32 whatever the type of the pictures, and so are the gradients of scale
    and bias.

    Args:
        x: [batch, h, w, channels].
        scale: float32 [channels].
        bias: float32 [channels].
        epsilon: Added to the variance.

    Returns:
        The result, of x's shape and type, and mean and (biased) variance, float32 [channels]; no
        gradient flows through those two.
    """
    results: Any = _normalize(x, scale, bias, epsilon)
    return results


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _forward(x, scale, bias, epsilon)[0]


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], Kept]:
    count, values = x.size // x.shape[-1], x.astype(jnp.float32)
    mean = sum_of_places(values) / count
    variance = jnp.maximum(sum_of_places(values * values) / count - mean * mean, 0.0)
    inverse = lax.rsqrt(variance + epsilon)
    return (_scaled(x, mean, inverse * scale, bias), mean, variance), (x, mean, inverse, scale)


def _backward(
    epsilon: float, kept: Kept, gradients: tuple[jax.Array, jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    del epsilon
    x, mean, inverse, scale = kept
    count, gradient = x.size // x.shape[-1], gradients[0].astype(jnp.float32)
    centred = x.astype(jnp.float32) - _wide(mean)
    to_bias = sum_of_places(gradient)
    to_scale = sum_of_places(gradient * centred) * inverse
    along = gradient - _wide(to_bias / count) - centred * _wide(inverse * to_scale / count)
    return (along * _wide(inverse * scale)).astype(x.dtype), to_scale, to_bias


_normalize.defvjp(_forward, _backward)


def sum_of_places(x: jax.Array) -> jax.Array:
    """Returns the sum [channels] of x [batch, h, w, channels] over batch and places."""
    return lax.platform_dependent(x, cpu=_sum_by_halves, default=_sum)


def _sum(x: jax.Array) -> jax.Array:
    return x.sum((0, 1, 2))


def _sum_by_halves(x: jax.Array) -> jax.Array:
    """Adds the second half of the places to the first until one is left.

    The pictures stay apart until then: where they lie on several devices, each adds up its own.
    """
    x = x.reshape(x.shape[0], -1, x.shape[-1])
    odd = jnp.zeros((x.shape[0], x.shape[2]), x.dtype)
    while (half := x.shape[1] // 2) > 0:
        odd = odd + x[:, -1] if x.shape[1] % 2 else odd
        x = x[:, :half] + x[:, half : 2 * half]
    return (x[:, 0] + odd).sum(0)


def _scaled(x: jax.Array, mean: jax.Array, factor: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns (x - mean) * factor + bias, all but x float32 [channels], in x's type."""
    y = (x.astype(jnp.float32) - _wide(mean)) * _wide(factor) + _wide(bias)
    return y.astype(x.dtype)


def _wide(x: jax.Array) -> jax.Array:
    """Returns x [channels] as [1, 1, 1, channels]."""
    return x.reshape(1, 1, 1, -1)
