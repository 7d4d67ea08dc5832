"""Flip, zoom and shear in one bilinear resampling."""

import functools

import jax
import jax.numpy as jnp


def random_affine(
    key: jax.Array, *, flip: bool, zoom: tuple[float, float], shear_degrees: float
) -> jax.Array:
    """Draws a 2x2 matrix that maps places in the result to places in the picture, both centred.

    As Keras's `ImageDataGenerator`: the zoom of each axis is drawn separately, and a factor above
    1 shows more of the picture; the shear angle is uniform within plus and minus its limit.
    Source: `keras.preprocessing.image.apply_affine_transform`, Keras 2.

    Args:
        key: Random key of one picture.
        flip: Whether to mirror left to right with probability one half.
        zoom: Range of the factors.
        shear_degrees: Greatest shear angle, degrees.

    Returns:
        float32 [2, 2], rows and columns in the order (y, x).
    """
    flip_key, zoom_key, shear_key = jax.random.split(key, 3)
    scale_y, scale_x = jax.random.uniform(zoom_key, (2,), minval=zoom[0], maxval=zoom[1])
    limit = jnp.deg2rad(shear_degrees)
    angle = jax.random.uniform(shear_key, (), minval=-limit, maxval=limit)
    mirror = jnp.where(flip & jax.random.bernoulli(flip_key), -1.0, 1.0)
    return jnp.array(
        [
            [scale_y, -jnp.sin(angle) * scale_x * mirror],
            [0.0, jnp.cos(angle) * scale_x * mirror],
        ]
    )


def resample(image: jax.Array, matrix: jax.Array) -> jax.Array:
    """Returns the picture seen through a centred linear map; outside, the nearest edge repeats.

    Args:
        image: Floats [height, width, channels].
        matrix: [2, 2], place in the result to place in the picture, both from the centre.

    Returns:
        float32 [height, width, channels], bilinear.
    """
    height, width, channels = image.shape
    centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
    out_y = jnp.arange(height, dtype=jnp.float32)[:, None] - centre_y
    out_x = jnp.arange(width, dtype=jnp.float32)[None, :] - centre_x
    y = jnp.clip(matrix[0, 0] * out_y + matrix[0, 1] * out_x + centre_y, 0, height - 1)
    x = jnp.clip(matrix[1, 0] * out_y + matrix[1, 1] * out_x + centre_x, 0, width - 1)
    top, left = jnp.floor(y).astype(jnp.int32), jnp.floor(x).astype(jnp.int32)
    bottom, right = jnp.minimum(top + 1, height - 1), jnp.minimum(left + 1, width - 1)
    down, across = (y - top)[..., None], (x - left)[..., None]
    pixels = image.astype(jnp.float32).reshape(height * width, channels)

    def at(row: jax.Array, column: jax.Array) -> jax.Array:
        return jnp.take(pixels, row * width + column, axis=0, mode="clip")

    upper = at(top, left) * (1 - across) + at(top, right) * across
    lower = at(bottom, left) * (1 - across) + at(bottom, right) * across
    return upper * (1 - down) + lower * down


def resample_by_products(image: jax.Array, matrix: jax.Array, *, sheared: bool) -> jax.Array:
    """Does what `resample` does by matrix products, which TPUs are fast at and gathers are not.

    A column of the result shows one column of the picture, as `random_affine` never tilts columns:
    so bilinear interpolation is one along the rows, then one along the columns.

    Args:
        image: Floats [height, width, channels].
        matrix: [2, 2] as for `resample`, the lower left number zero.
        sheared: Whether the upper right number may be other than zero; a product for each column
            is then needed in place of one for all.

    Returns:
        float32 [height, width, channels], bilinear.
    """
    height, width, _ = image.shape
    out_y = jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2
    out_x = jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2
    across = _tent(matrix[1, 1] * out_x + (width - 1) / 2, width)
    exact = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    rows = exact("pw,hwc->hpc", across, image.astype(jnp.float32))
    places = matrix[0, 0] * out_y + (height - 1) / 2
    if not sheared:
        return exact("oh,hpc->opc", _tent(places, height), rows)
    shifts = matrix[0, 1] * out_x
    down = _tent(places[None, :] + shifts[:, None], height)
    return exact("poh,hpc->opc", down, rows)


def zoomed(images: jax.Array, zoom: float) -> jax.Array:
    """Returns the pictures at one zoom: `resample` by zoom times the unit matrix.

    Args:
        images: Floats [batch, height, width, channels].
        zoom: Above 1 shows more than the picture, whose nearest edge repeats; below 1 less.

    Returns:
        Floats [batch, height, width, channels], bilinear.
    """
    if zoom == 1.0:
        return images
    scale = zoom * jnp.eye(2)
    return jax.vmap(lambda image: resample_by_products(image, scale, sheared=False))(images)


def _tent(places: jax.Array, length: int) -> jax.Array:
    """Returns the share [..., length] of each pixel of a line at some places [...] between them."""
    inside = jnp.clip(places, 0, length - 1)[..., None]
    pixels = jnp.arange(length, dtype=jnp.float32)
    return jnp.maximum(0.0, 1.0 - jnp.abs(inside - jnp.expand_dims(pixels, range(places.ndim))))
