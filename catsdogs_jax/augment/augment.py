"""The augmentation of a training batch."""

import functools

import jax
import jax.numpy as jnp

from catsdogs_jax.augment.affine import (
    Map,
    after,
    random_affine,
    random_rotation,
    random_translation,
    resample,
    resample_by_products,
)
from catsdogs_jax.augment.color import random_colors, recolor, stacked
from catsdogs_jax.augment.crop import random_crop
from catsdogs_jax.augment.erase import random_erase
from catsdogs_jax.augment.keys import Draw, key_of
from catsdogs_jax.augment.policy import Adjustments, apply_tones, rand_augment, trivial_augment
from catsdogs_jax.config import AugmentConfig

_STRENGTHS = {"trivial": 1.0, "randaugment": 0.3}
"""The magnitudes of the papers: any in the whole range; 9 of 30."""


def augment(config: AugmentConfig, keys: jax.Array, images: jax.Array) -> jax.Array:
    """Varies each picture by its own key, so that it does not depend on its neighbours.

    What is asked for is known while tracing: what is not leaves no trace in the compiled step.

    Args:
        config: What to vary, and how much.
        keys: Random keys [batch].
        images: uint8 [batch, decoded, decoded, 3], larger than the result by `config.margin`.

    Returns:
        float32 [batch, size, size, 3], still 0 to 255; size is `config.size`, or without one that
        of the pictures but for the margin.
    """
    images = images.astype(jnp.float32)
    if not (_moves(config) or config.flip or _recolors(config) or config.erase):
        return images
    return jax.vmap(functools.partial(_varied, config))(keys, images)


def _varied(config: AugmentConfig, key: jax.Array, image: jax.Array) -> jax.Array:
    drawn = _policy(config, key)
    if _moves(config):
        image = _moved(config, key, image, drawn)
    elif config.flip:
        image = jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)
    if drawn is not None:
        image = apply_tones(image, drawn)
    if _recolors(config):
        image = _recolored(config, key, image, drawn)
    if config.erase:
        erase_key, area = key_of(key, Draw.ERASE), config.erase_area
        image = random_erase(
            erase_key, image, probability=config.erase, area=area, fill=config.erase_fill
        )
    return image


def _policy(config: AugmentConfig, key: jax.Array) -> Adjustments | None:
    if config.policy == "none":
        return None
    key, strength = key_of(key, Draw.POLICY), config.policy_strength
    strength = _STRENGTHS[config.policy] if strength is None else strength
    if config.policy == "trivial":
        return trivial_augment(key, strength)
    return rand_augment(key, strength, config.policy_operations)


def _moved(
    config: AugmentConfig, key: jax.Array, image: jax.Array, drawn: Adjustments | None
) -> jax.Array:
    """Resamples a picture once: cropped, turned, shifted, sheared, zoomed, mirrored, by policy."""
    place = Map(random_affine(key, flip=config.flip, zoom=config.zoom, shear_degrees=config.shear))
    if config.translate:
        place = after(random_translation(key_of(key, Draw.TRANSLATE), config.translate), place)
    if config.rotate:
        place = after(random_rotation(key_of(key, Draw.ROTATE), config.rotate), place)
    if _crops(config):
        found = random_crop(key_of(key, Draw.CROP), area=config.crop, ratio=config.crop_ratio)
        place = after(found, place)
    if drawn is not None:
        place = after(place, drawn.map)
    size = config.size or round(image.shape[0] / config.margin)
    by_products = functools.partial(
        resample_by_products,
        sheared=config.shear != 0.0,
        turned=config.rotate != 0.0 or drawn is not None,
        size=size,
    )
    by_pixels = functools.partial(resample, size=size)
    return jax.lax.platform_dependent(image, *place, tpu=by_products, default=by_pixels)


def _recolored(
    config: AugmentConfig, key: jax.Array, image: jax.Array, drawn: Adjustments | None
) -> jax.Array:
    colors = random_colors(
        key_of(key, Draw.COLOR),
        brightness=config.brightness,
        contrast=config.contrast,
        saturation=config.saturation,
        hue=config.hue,
    )
    return recolor(image, colors if drawn is None else stacked(drawn.colors, colors))


def _crops(config: AugmentConfig) -> bool:
    return config.crop != (1.0, 1.0)


def _moves(config: AugmentConfig) -> bool:
    """Whether pictures are resampled; a flip alone is not."""
    zooms = config.zoom != (1.0, 1.0) or config.margin > 1.0 or config.size
    others = config.shear or config.rotate or config.translate or config.policy != "none"
    return bool(zooms or _crops(config) or others)


def _recolors(config: AugmentConfig) -> bool:
    jitters = config.brightness or config.contrast or config.saturation or config.hue
    return bool(jitters or config.policy != "none")
