"""Where each place of the result comes from, as one affine map, and one bilinear resampling."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Map(NamedTuple):
    """Maps places in the result to places in the picture, both (y, x) from the centre.

    Attributes:
        matrix: float32 [2, 2].
        offset: float32 [2], in sides of the (square) picture; none: zero.
    """

    matrix: jax.Array
    offset: jax.Array | None = None


def after(outer: Map, inner: Map) -> Map:
    """Returns `inner` followed by `outer`: what `inner` shows of the picture that `outer` shows."""
    matrix = _product(outer.matrix, inner.matrix)
    if inner.offset is None:
        return Map(matrix, outer.offset)
    moved = _product(outer.matrix, inner.offset[:, None])[:, 0]
    return Map(matrix, moved if outer.offset is None else outer.offset + moved)


def random_rotation(key: jax.Array, degrees: float) -> Map:
    """Draws a turn by an angle uniform within plus and minus `degrees`."""
    limit = jnp.deg2rad(degrees)
    return rotation(jax.random.uniform(key, (), minval=-limit, maxval=limit))


def rotation(angle: jax.Array) -> Map:
    """Returns the map by which a picture is seen turned clockwise, by an angle in radians."""
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    return Map(jnp.array([[cosine, -sine], [sine, cosine]]))


def random_translation(key: jax.Array, share: float) -> Map:
    """Draws a shift along each axis, uniform within plus and minus a share of the side."""
    return Map(jnp.eye(2), jax.random.uniform(key, (2,), minval=-share, maxval=share))


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


def resample(
    image: jax.Array,
    matrix: jax.Array,
    offset: jax.Array | None = None,
    *,
    size: int | None = None,
) -> jax.Array:
    """Returns the picture seen through an affine map; outside, the nearest edge repeats.

    Args:
        image: Floats [height, width, channels].
        matrix: [2, 2], place in the result to place in the picture, both from the centre and, if
            they differ in size, in pixels of a result as large as the picture.
        offset: [2], added to the latter, in sides of the picture; none: zero.
        size: Side of the result; none: that of the picture.

    Returns:
        float32 [size, size, channels], bilinear.
    """
    height, width, channels = image.shape
    centre_y, centre_x = _centres(image, offset)
    out_y, out_x = _places(height, size)[:, None], _places(width, size)[None, :]
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


def resample_by_products(
    image: jax.Array,
    matrix: jax.Array,
    offset: jax.Array | None = None,
    *,
    sheared: bool,
    turned: bool = False,
    size: int | None = None,
) -> jax.Array:
    """Does what `resample` does by matrix products, which TPUs are fast at and gathers are not.

    While columns are not tilted, a column of the result shows one column of the picture: so
    bilinear interpolation is one along the rows, then one along the columns. The same numbers as
    `resample`'s.

    Where they are tilted, each row of the picture is resampled along itself by its own product, and
    then each column of that: two interpolations between two pixels each, as before, but the second
    is between places along the tilted column and not straight below each other. The result differs
    from `resample`'s by a level or so where the picture is rough, and outside of the picture the
    edge repeats along that slant.
    Source: Catmull and Smith, 1980, https://doi.org/10.1145/965105.807505

    Args:
        image: Floats [size, size, channels].
        matrix: [2, 2] as for `resample`.
        offset: [2] as for `resample`.
        sheared: Whether the upper right number of the matrix may be other than zero; a product for
            each column is then needed in place of one for all.
        turned: Whether the lower left number may be other than zero, which needs one for each row.
        size: Side of the result; none: that of the picture.

    Returns:
        float32 [size, size, channels].
    """
    height, width, _ = image.shape
    image = image.astype(jnp.float32)
    if turned:
        image, matrix, offset = _upright(image, matrix, offset)
    centre_y, centre_x = _centres(image, offset)
    out_y, out_x = _places(height, size), _places(width, size)
    exact = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    shifts = matrix[0, 1] * out_x
    if turned:
        # The row of the result in which column p meets row h of the picture, times its tilt.
        down_y = jnp.arange(height, dtype=jnp.float32)[:, None] - centre_y - shifts[None, :]
        tilt = matrix[1, 0] / matrix[0, 0] * down_y
        across = _tent(tilt + matrix[1, 1] * out_x[None, :] + centre_x, width)
        rows = exact("hpw,hwc->hpc", across, image)
    else:
        across = _tent(matrix[1, 1] * out_x + centre_x, width)
        rows = exact("pw,hwc->hpc", across, image)
    places = matrix[0, 0] * out_y + centre_y
    if not (sheared or turned):
        return exact("oh,hpc->opc", _tent(places, height), rows)
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


def _places(side: int, size: int | None) -> jax.Array:
    """Returns where the pixels of a result of some size are on a side, from its centre."""
    size = size or side
    return (jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2) * (side / size)


def _tent(places: jax.Array, length: int) -> jax.Array:
    """Returns the share [..., length] of each pixel of a line at some places [...] between them."""
    inside = jnp.clip(places, 0, length - 1)[..., None]
    pixels = jnp.arange(length, dtype=jnp.float32)
    return jnp.maximum(0.0, 1.0 - jnp.abs(inside - jnp.expand_dims(pixels, range(places.ndim))))


def _centres(image: jax.Array, offset: jax.Array | None) -> tuple[Any, Any]:
    """Returns the place in the picture, (y, x) from its corner, that the result's centre shows."""
    height, width, _ = image.shape
    if offset is None:
        return (height - 1) / 2, (width - 1) / 2
    return offset[0] * height + (height - 1) / 2, offset[1] * width + (width - 1) / 2


def _upright(
    image: jax.Array, matrix: jax.Array, offset: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Swaps the axes of the picture where a column of the result shows a row rather than a column.

    After that, columns are tilted by half a right angle at most if nothing but a turn tilts them;
    the first of two passes would else lose what it squeezes into few pixels.
    """
    swap = jnp.abs(matrix[1, 0]) > jnp.abs(matrix[0, 0])
    image = jnp.where(swap, image.swapaxes(0, 1), image)
    if offset is not None:
        offset = jnp.where(swap, offset[::-1], offset)
    return image, jnp.where(swap, matrix[::-1], matrix), offset


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    # A TPU's matrix unit would round the numbers to bfloat16.
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
