"""Sharpness, autocontrast, equalize, posterize, solarize: what policies do to tones."""

import jax
import jax.numpy as jnp


def sharpen(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Moves a picture away from (above 1) or towards (below 1) its smoothed self; 1: unchanged.

    Pillow's `ImageEnhance.Sharpness`: the border of one pixel is not smoothed.

    Args:
        image: Floats [height, width, 3], 0 to 255.
        factor: A scalar from 0.
    """
    summed = _of_three(_of_three(image, 0), 1)
    rows, columns = (_inside(length) for length in image.shape[:2])
    smooth = (summed + 4.0 * image) / 13.0
    smooth = jnp.where(rows[:, None, None] & columns[None, :, None], smooth, image)
    return jnp.clip(factor * image + (1.0 - factor) * smooth, 0.0, 255.0)


def autocontrast(image: jax.Array, wanted: jax.Array) -> jax.Array:
    """Stretches each channel to 0 to 255 where `wanted`, as Pillow's `ImageOps.autocontrast`."""
    low, high = image.min((0, 1), keepdims=True), image.max((0, 1), keepdims=True)
    stretched = (image - low) * (255.0 / jnp.maximum(high - low, 1e-3))
    return jnp.where(wanted & (high > low), stretched, image)


def equalize(image: jax.Array, wanted: jax.Array) -> jax.Array:
    """Flattens each channel's histogram where `wanted`, as Pillow's `ImageOps.equalize`.

    Fractions are rounded first; a picture that is not wanted keeps them.
    """
    levels = jnp.round(jnp.clip(image, 0.0, 255.0)).astype(jnp.int32)
    return jnp.where(wanted, jax.vmap(_equalized, 2, 2)(levels).astype(image.dtype), image)


def posterize(image: jax.Array, levels: jax.Array) -> jax.Array:
    """Rounds values down to multiples of `levels`; 1: unchanged, fractions and all.

    Pillow's `ImageOps.posterize(bits)` is `levels` = 2 ** (8 - bits).
    """
    return jnp.where(levels > 1, jnp.floor(image / levels) * levels, image)


def solarize(image: jax.Array, threshold: jax.Array) -> jax.Array:
    """Inverts the values from a threshold up, as Pillow's `ImageOps.solarize`; 256: unchanged."""
    return jnp.where(image >= threshold, 255.0 - image, image)


def _equalized(levels: jax.Array) -> jax.Array:
    # Gathers and scatters become loops on TPUs.
    return jax.lax.platform_dependent(levels, tpu=_by_comparing, default=_by_counting)


def _by_counting(levels: jax.Array) -> jax.Array:
    counts = jnp.zeros((256,), jnp.int32).at[levels.ravel()].add(1)
    return _flattening(counts)[levels]


def _by_comparing(levels: jax.Array) -> jax.Array:
    of_level = jax.nn.one_hot(levels, 256, dtype=bool)
    table = _flattening(of_level.sum((0, 1), dtype=jnp.int32))
    return jnp.where(of_level, jnp.broadcast_to(table, of_level.shape), 0).sum(-1)


def _flattening(counts: jax.Array) -> jax.Array:
    """Returns what a level becomes, [256], given how many pixels have it.

    Pillow's rule: the greatest level that occurs does not count, and where the rest is less than
    255 pixels nothing changes.
    """
    levels = jnp.arange(256)
    greatest = jnp.where(counts > 0, levels, -1).max()
    step = jnp.where(levels < greatest, counts, 0).sum() // 255
    below = jnp.cumsum(counts) - counts
    table = (below + step // 2) // jnp.maximum(step, 1)
    return jnp.where(step > 0, jnp.minimum(table, 255), levels)


def _of_three(image: jax.Array, axis: int) -> jax.Array:
    """Sums each value and its two neighbours along an axis.

    Not as a sum of slices: XLA's CPU backend would then resample the picture anew for each of them.
    """
    window = [1, 1, 1]
    window[axis] = 3
    return jax.lax.reduce_window(image, 0.0, jax.lax.add, window, (1, 1, 1), "SAME")


def _inside(length: int) -> jax.Array:
    places = jnp.arange(length)
    return (places > 0) & (places < length - 1)
