"""One decoder for train, evaluate and predict: file bytes to a square uint8 RGB picture.

JPEG, by far the most common, is decoded by TensorFlow's kernel, in parallel and without Python's
lock; everything else (PNG, WebP, GIF, BMP, TIFF, CMYK JPEG, 16-bit, palette, alpha) by Pillow.
EXIF orientation is applied to both.
"""

import dataclasses
import io
import re
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from catsdogs_jax.data.tensorflow import tf

MAX_PIXELS = 100_000_000
"""A picture whose header claims more is refused before its pixels are read (300 MB as RGB)."""

_ORIENTATION_TAG = 0x0112
_PLAIN_JPEG_MODES = ("RGB", "L")


class BadPicture(Exception):
    """The bytes are not a picture that can be decoded; the message says why."""


@dataclasses.dataclass(frozen=True)
class Header:
    """What the start of a file says, before any pixel is decoded.

    Attributes:
        format: Pillow's name of the format, for example "JPEG".
        width: Pixels, after EXIF orientation.
        height: Pixels, after EXIF orientation.
        orientation: EXIF orientation, 1 (upright) to 8.
        plain_jpeg: Whether TensorFlow's decoder is used.
    """

    format: str
    width: int
    height: int
    orientation: int
    plain_jpeg: bool


def read_header(data: bytes) -> Header:
    """Reads format, size and orientation.

    Raises:
        BadPicture: The bytes are empty, no known format, or claim too many pixels.
    """
    if not data:
        raise BadPicture("the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)
            width, height = image.size
            form, mode = image.format or "", image.mode
    except UnidentifiedImageError as error:
        raise BadPicture(f"not a picture: the file begins with {data[:12]!r}") from error
    except Exception as error:  # Pillow's plugins raise many types on broken files.
        raise BadPicture(f"unreadable header: {error}") from error
    if width * height > MAX_PIXELS:
        raise BadPicture(f"{width}x{height} is over the limit of {MAX_PIXELS:,} pixels")
    if orientation not in range(1, 9):
        orientation = 1
    if orientation >= 5:
        width, height = height, width
    plain = form in ("JPEG", "MPO") and mode in _PLAIN_JPEG_MODES
    return Header(form, width, height, orientation, plain)


def decode(data: bytes, header: Header) -> np.ndarray:
    """Returns the upright picture, uint8 [height, width, 3].

    Raises:
        BadPicture: The pixels cannot be decoded, or the file ends too early.
    """
    if not header.plain_jpeg:
        return _decode_pillow(data)
    try:
        return _upright(_decode_jpeg(data), header.orientation).numpy()
    except tf().errors.InvalidArgumentError as error:
        raise BadPicture(f"broken JPEG: {words(error)}") from error


def load_square(
    path: Any,
    plain_jpeg: Any,
    orientation: Any,
    size: int,
    resize: Literal["stretch", "crop", "pad"],
) -> Any:
    """Reads, decodes and resizes one file, as TensorFlow operations for a tf.data map.

    Args:
        path: Scalar string tensor.
        plain_jpeg: Scalar bool tensor, `Header.plain_jpeg`.
        orientation: Scalar int tensor, `Header.orientation`.
        size: Side of the result, pixels.
        resize: See `DataConfig.resize`.

    Returns:
        uint8 tensor [size, size, 3].
    """
    data = tf().io.read_file(path)
    image = tf().cond(
        plain_jpeg,
        lambda: _upright(_decode_jpeg(data), orientation),
        lambda: tf().ensure_shape(
            tf().numpy_function(_decode_pillow, [data], tf().uint8), [None, None, 3]
        ),
    )
    return to_square(image, size, resize)


def to_square(image: Any, size: int, resize: Literal["stretch", "crop", "pad"]) -> Any:
    """Resizes uint8 [height, width, 3] to uint8 [size, size, 3], bilinear with antialiasing."""
    if resize == "crop":
        image = _centre_square(image)
    shape = tf().constant([size, size])
    if resize == "pad":
        shape = _inner_shape(image, size)
    resized = tf().image.resize(image, shape, antialias=True)
    if resize == "pad":
        top, left = (size - shape[0]) // 2, (size - shape[1]) // 2
        resized = tf().image.pad_to_bounding_box(resized, top, left, size, size)
    rounded = tf().round(tf().clip_by_value(resized, 0.0, 255.0))
    return tf().ensure_shape(tf().cast(rounded, tf().uint8), [size, size, 3])


def _inner_shape(image: Any, size: int) -> Any:
    """Returns [height, width] of the picture scaled to fit the square, at least one pixel each."""
    shape = tf().shape(image)[:2]
    longer = tf().reduce_max(shape)
    scaled = tf().cast(shape, tf().float32) * (size / tf().cast(longer, tf().float32))
    return tf().maximum(tf().cast(tf().round(scaled), tf().int32), 1)


def _centre_square(image: Any) -> Any:
    shape = tf().shape(image)
    side = tf().minimum(shape[0], shape[1])
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def _decode_jpeg(data: Any) -> Any:
    return tf().io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def _upright(image: Any, orientation: Any) -> Any:
    """Undoes EXIF orientation 1 to 8 of a [height, width, 3] tensor."""

    def transposed() -> Any:
        return tf().transpose(image, [1, 0, 2])

    cases = [
        lambda: image,
        lambda: image[:, ::-1],
        lambda: image[::-1, ::-1],
        lambda: image[::-1],
        transposed,
        lambda: transposed()[:, ::-1],
        lambda: transposed()[::-1, ::-1],
        lambda: transposed()[::-1],
    ]
    return tf().ensure_shape(
        tf().switch_case(tf().convert_to_tensor(orientation) - 1, cases), [None, None, 3]
    )


def _decode_pillow(data: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I") or upright.mode == "F":
                upright = _eight_bit(upright)
            return np.array(upright.convert("RGB"))
    except Exception as error:  # Pillow's plugins raise many types on broken files.
        raise BadPicture(f"{type(error).__name__}: {error}") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey to 8 bits; Pillow itself would clip everything above 255 to white."""
    values = np.asarray(image, np.float64)
    full = 65535.0 if values.max(initial=0) > 255 else 255.0
    return Image.fromarray(np.round(values * (255.0 / full)).clip(0, 255).astype(np.uint8))


def words(error: Exception) -> str:
    """Returns the message of a TensorFlow error on one line, without the names of operations."""
    text = str(getattr(error, "message", error))
    return " ".join(re.sub(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*", "", text).split())
