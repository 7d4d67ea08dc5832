"""MixUp and CutMix: pictures of a batch and their targets, mixed with their neighbours'."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from catsdogs_jax.augment.erase import rectangle
from catsdogs_jax.augment.keys import Draw, key_of
from catsdogs_jax.config import AugmentConfig

_QUANTILES = 1025


def mix(
    config: AugmentConfig, keys: jax.Array, images: jax.Array, targets: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mixes each picture with the one before it in the batch, the first with the last.

    What is mixed how is drawn for each picture by its own key. The partner is the neighbour in the
    global batch, whose order is random already: it does not depend on the number of devices, and
    each device needs one picture of another.

    Args:
        config: What to mix, and how much.
        keys: Random keys [batch].
        images: Floats [batch, size, size, 3].
        targets: Floats [batch, outputs].

    Returns:
        Pictures and targets of the same shapes; those given if nothing is to be mixed.
    """
    if not (config.mixup or config.cutmix):
        return images, targets
    size = images.shape[1]

    def weights_of(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _weights(config, key_of(key, Draw.MIX), size)

    weights, shares = jax.vmap(weights_of)(keys)
    return _blended(images, weights[..., None]), _blended(targets, shares[:, None])


def mixup_weights(key: jax.Array, alpha: float) -> tuple[jax.Array, jax.Array]:
    """Draws what share of a picture stays, the same at every pixel.

    Source: Zhang et al., 2018, https://arxiv.org/abs/1710.09412

    Args:
        key: Random key of one picture.
        alpha: Both parameters of the Beta distribution: small is seldom in the middle, 1 is even.

    Returns:
        The weight of the picture's own pixels [1, 1], and of its own target, a scalar.
    """
    share = beta(key, alpha)
    return share[None, None], share


def cutmix_weights(key: jax.Array, alpha: float, size: int) -> tuple[jax.Array, jax.Array]:
    """Draws a rectangle in which the partner is shown.

    As in the paper, its centre is anywhere in the picture; what reaches beyond is cut off, and the
    share of the target is that of the pixels which stay.
    Source: Yun et al., 2019, https://arxiv.org/abs/1905.04899

    Args:
        key: Random key of one picture.
        alpha: As for `mixup_weights`, of the share that stays.
        size: Side of the picture.

    Returns:
        The weight of the picture's own pixels [size, size], 0 or 1, and of its own target.
    """
    share_key, place_key = jax.random.split(key)
    half = 0.5 * size * jnp.sqrt(1.0 - beta(share_key, alpha))
    centre = size * jax.random.uniform(place_key, (2,))
    corner = jnp.clip(jnp.round(centre - half), 0, size)
    end = jnp.clip(jnp.round(centre + half), 0, size)
    stays = 1.0 - rectangle(size, corner, end).astype(jnp.float32)
    return stays, 1.0 - (end - corner).prod() / size**2


def beta(key: jax.Array, alpha: float) -> jax.Array:
    """Draws a scalar from Beta(alpha, alpha), by its quantiles.

    `jax.random.beta` repeats until all pictures of the batch are content, in a loop in which
    devices would have to ask each other. A table of quantiles, made while tracing, needs no loop.
    """
    from scipy.special import betaincinv

    table = betaincinv(alpha, alpha, np.linspace(0.0, 1.0, _QUANTILES)).astype(np.float32)
    place = jax.random.uniform(key) * (_QUANTILES - 1)
    # A sum over the table instead of a look-up: TPUs run look-ups as loops.
    near = jnp.maximum(0.0, 1.0 - jnp.abs(place - jnp.arange(_QUANTILES, dtype=jnp.float32)))
    return (near * table).sum()


def _weights(config: AugmentConfig, key: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Returns the weights of a picture's own pixels and target, by the way that is drawn for it."""
    mixed_key, way_key, mixup_key, cutmix_key = jax.random.split(key, 4)
    ways: list[Callable[[], tuple[jax.Array, jax.Array]]] = []
    if config.mixup:
        ways.append(lambda: mixup_weights(mixup_key, config.mixup))
    if config.cutmix:
        ways.append(lambda: cutmix_weights(cutmix_key, config.cutmix, size))
    weights, share = ways[-1]()
    if len(ways) == 2:
        cut = jax.random.bernoulli(way_key, config.cutmix_share)
        even, even_share = ways[0]()
        weights, share = jnp.where(cut, weights, even), jnp.where(cut, share, even_share)
    mixed = jax.random.bernoulli(mixed_key, config.mix_probability)
    return jnp.where(mixed, weights, 1.0), jnp.where(mixed, share, 1.0)


def _blended(values: jax.Array, weights: jax.Array) -> jax.Array:
    return weights * values + (1.0 - weights) * jnp.roll(values, 1, axis=0)
