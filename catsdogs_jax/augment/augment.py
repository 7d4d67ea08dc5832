"""The augmentation of a training batch."""

import functools

import jax
import jax.numpy as jnp

from catsdogs_jax.augment.affine import random_affine, resample, resample_by_products
from catsdogs_jax.config import AugmentConfig


def augment(config: AugmentConfig, keys: jax.Array, images: jax.Array) -> jax.Array:
    """Varies each picture by its own key, so that it does not depend on its neighbours.

    Args:
        config: What to vary, and how much.
        keys: Random keys [batch].
        images: uint8 [batch, size, size, 3].

    Returns:
        float32 [batch, size, size, 3], still 0 to 255.
    """
    images = images.astype(jnp.float32)
    low, high = config.zoom
    if low == high == 1.0 and config.shear == 0.0:
        return jax.vmap(_flip)(keys, images) if config.flip else images

    def one(key: jax.Array, image: jax.Array) -> jax.Array:
        matrix = random_affine(key, flip=config.flip, zoom=config.zoom, shear_degrees=config.shear)
        by_products = functools.partial(resample_by_products, sheared=config.shear != 0.0)
        return jax.lax.platform_dependent(image, matrix, tpu=by_products, default=resample)

    return jax.vmap(one)(keys, images)


def _flip(key: jax.Array, image: jax.Array) -> jax.Array:
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)
