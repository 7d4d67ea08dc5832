"""One decoder for train, evaluate and predict: file bytes to a square uint8 RGB picture.

JPEG, by far the most common, is decoded by libjpeg-turbo (simplejpeg), without Python's lock and no
larger than needed; everything else (PNG, WebP, GIF, BMP, TIFF, CMYK JPEG, 16-bit, palette, alpha)
by Pillow. EXIF orientation is applied to both.
"""

import dataclasses
import io
from typing import Literal, Protocol

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from catsdogs_jax.kernels.resize import resize as resized

MAX_PIXELS = 100_000_000
"""A picture whose header claims more is refused before its pixels are read (300 MB as RGB)."""

Resize = Literal["stretch", "crop", "pad"]
"""How a picture becomes square, see `DataConfig.resize`."""

_RATIOS = (1, 2, 4, 8)
_WIDTH_TAG, _HEIGHT_TAG, _ORIENTATION_TAG = 0x0100, 0x0101, 0x0112
_EXIF_AS_TEXT = (b"Raw profile type", b"XML:com.adobe.xmp")
_TURNS = {
    **{1: (1, 1), 2: (-1, 1), 3: (-1, -1), 4: (1, -1)},
    **{5: (1, 1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)},
}
"""Steps across and down that undo each EXIF orientation, after those from 5 on are transposed."""
_PLAIN_JPEG_MODES = ("RGB", "L")
_PLAIN_JPEG_COLOURS = ("YCbCr", "RGB", "Gray")  # The same, as simplejpeg names what is stored.
_JPEG = b"\xff\xd8\xff"
_APP1, _START_OF_SCAN = 0xE1, 0xDA
_WITHOUT_LENGTH = (0x00, 0x01, *range(0xD0, 0xDA), 0xFF)
"""What may follow 0xFF in a JPEG but begins no segment (ITU-T T.81, table B.1), or fills."""


class Measured(Protocol):
    """What decoding needs to know of a file: a `Header`, or a picture of a manifest."""

    @property
    def width(self) -> int:
        """Pixels, upright."""
        ...

    @property
    def height(self) -> int:
        """Pixels, upright."""
        ...

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1 to 8."""
        ...

    @property
    def plain_jpeg(self) -> bool:
        """Whether libjpeg-turbo reads it."""
        ...


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
        plain_jpeg: Whether libjpeg-turbo reads it.
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
    header = _plain_jpeg(data) or _described(data)
    _check_size(header.width, header.height)
    return header


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadPicture(f"{width}x{height} is over the limit of {MAX_PIXELS:,} pixels")


def _plain_jpeg(data: bytes) -> Header | None:
    """Reads the header of a JPEG that names no orientation and is alone in its file, as most are.

    Pillow takes several times as long, and holds Python's lock meanwhile.
    """
    if not data.startswith(_JPEG) or _names_more(data):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:  # Pillow says what is wrong.
        return None
    if colours not in _PLAIN_JPEG_COLOURS:
        return None
    return Header("JPEG", int(width), int(height), orientation=1, plain_jpeg=True)


def _names_more(data: bytes) -> bool:
    """Whether segments of a JPEG tell of EXIF, XMP, other pictures (MPF), or are out of order."""
    place = 2
    while data[place : place + 1] == b"\xff" and place + 1 < len(data):
        kind = data[place + 1]
        if kind == _START_OF_SCAN:
            return False
        if kind == _APP1 or kind in _WITHOUT_LENGTH or data.startswith(b"MPF\0", place + 4):
            return True
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return True


def _described(data: bytes) -> Header:
    try:
        with _opened(data) as image:
            width, height = image.size
            if tags := getattr(image, "tag_v2", None):  # Of a TIFF, Pillow has turned the size.
                width, height = tags[_WIDTH_TAG], tags[_HEIGHT_TAG]
            _check_size(width, height)
            orientation = _exif(image, data).get(_ORIENTATION_TAG, 1)
            form, mode = image.format or "", image.mode
    except BadPicture:
        raise
    except Exception as error:  # Pillow's plugins raise many types on broken files.
        raise BadPicture(f"unreadable header: {error}") from error
    if orientation not in range(1, 9):
        orientation = 1
    if orientation >= 5:
        width, height = height, width
    plain = form in ("JPEG", "MPO") and mode in _PLAIN_JPEG_MODES
    return Header(form, width, height, orientation, plain)


def _opened(data: bytes) -> Image.Image:
    """Reads what the start of a file says, no pixel.

    Raises:
        BadPicture: It is no picture, or a program that would draw one: Pillow would give it to
            Ghostscript.
    """
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise BadPicture(f"not a picture: the file begins with {data[:12]!r}") from error
    if image.format == "EPS":
        raise BadPicture("EPS is a program, which is not run: save the picture as PNG")
    return image


def _exif(image: Image.Image, data: bytes) -> Image.Exif:
    """Returns the EXIF fields of a picture; of a PNG, without a look at its pixels if it can be.

    Pillow decodes a PNG that has no EXIF before its pixels, as it may stand behind them.
    """
    if image.format == "PNG" and not _tells_late(data):
        return Image.Image.getexif(image)
    return image.getexif()


def _tells_late(data: bytes) -> bool:
    """Whether a PNG has EXIF or XMP behind its pixels."""
    place, behind = 8, False
    while kind := data[place + 4 : place + 8]:
        behind = behind or kind == b"IDAT"
        if behind and (kind == b"eXIf" or data.startswith(_EXIF_AS_TEXT, place + 8)):
            return True
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    return False


def decode(data: bytes, header: Measured, ratio: int = 1) -> np.ndarray:
    """Decodes every byte of a file.

    Args:
        data: The file.
        header: What `read_header` said of it.
        ratio: 1, 2, 4 or 8: sides to divide by, rounded up; only JPEG files are made smaller.

    Returns:
        The upright picture, uint8 [height, width, 3].

    Raises:
        BadPicture: The pixels cannot be decoded, or the file ends too early.
    """
    if not header.plain_jpeg:
        return _decode_pillow(data)
    try:
        return _upright(_decode_jpeg(data, header, ratio), header.orientation)
    except ValueError as error:
        raise BadPicture(f"broken JPEG: {error}") from error


def jpeg_ratio(width: int, height: int, size: int, resize: Resize) -> int:
    """Returns by how much a JPEG can be shrunk while it is decoded, still no smaller than needed.

    JPEG keeps frequencies, so that a half, quarter or eighth of a picture costs less than the
    whole: the inverse transform takes fewer of them. What is left to do is interpolation by a
    factor between 1 and 2. The result differs from that of the whole picture by about one of 255
    levels on average (tests/data/test_decode.py holds the bounds).

    Args:
        width: Pixels of the file's picture.
        height: Pixels of the file's picture.
        size: Side of the square, pixels.
        resize: How the picture will be made square.

    Returns:
        1, 2, 4 or 8.
    """
    least = (max if resize == "pad" else min)(width, height)
    return max(ratio for ratio in _RATIOS if ratio == 1 or least >= ratio * size)


def decode_square(data: bytes, header: Measured, size: int, resize: Resize) -> np.ndarray:
    """Decodes a file to what a model sees: uint8 [size, size, 3].

    Raises:
        BadPicture: The pixels cannot be decoded, or the file ends too early.
    """
    if not header.plain_jpeg:
        return to_square(decode(data, header), size, resize)
    ratio = jpeg_ratio(header.width, header.height, size, resize)
    across, down = _TURNS[header.orientation]
    whole, mirrored = (header.height, header.width), (down < 0, across < 0)
    return to_square(decode(data, header, ratio), size, resize, whole, mirrored)


def to_square(
    image: np.ndarray,
    size: int,
    resize: Resize,
    whole: tuple[int, int] | None = None,
    mirrored: tuple[bool, bool] = (False, False),
) -> np.ndarray:
    """Makes a picture square: bilinear, with antialiasing.

    Args:
        image: uint8 [height, width, 3].
        size: Side of the result, pixels.
        resize: See `DataConfig.resize`.
        whole: Height and width of the picture before it was decoded at a smaller size, which
            rounds up; none: those of `image`.
        mirrored: Whether rows, and columns, were turned round since: what was rounded up is then
            at their begin, not at their end.

    Returns:
        uint8 [size, size, 3].
    """
    rows, columns = image.shape[:2]
    height, width = whole or (rows, columns)
    # A picture of 447 pixels, halved, is 224 wide, but shows 223.5 pixels of the new size.
    shrunk = max(round(height / rows), round(width / columns), 1)
    first_row, first_column = (
        side - full / shrunk if turned else 0.0
        for side, full, turned in zip((rows, columns), (height, width), mirrored, strict=True)
    )
    everything = (first_row, first_column, height / shrunk, width / shrunk)
    if resize == "stretch":
        return resized(image, size, size, everything)
    if resize == "crop":
        side = min(height, width)
        box = ((height - side) // 2, (width - side) // 2, side, side)
        top, left, tall, wide = (value / shrunk for value in box)
        return resized(image, size, size, (first_row + top, first_column + left, tall, wide))
    tall, wide = (max(1, round(size * side / max(height, width))) for side in (height, width))
    square = np.zeros((size, size, 3), np.uint8)
    top, left = (size - tall) // 2, (size - wide) // 2
    square[top : top + tall, left : left + wide] = resized(image, tall, wide, everything)
    return square


def _decode_jpeg(data: bytes, header: Measured, ratio: int) -> np.ndarray:
    if ratio == 1:
        return simplejpeg.decode_jpeg(data)
    sides = -(-header.height // ratio), -(-header.width // ratio)
    height, width = sides if header.orientation < 5 else sides[::-1]
    return simplejpeg.decode_jpeg(data, min_height=height, min_width=width, min_factor=ratio)


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes EXIF orientation 1 to 8 of [height, width, 3]."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    across, down = _TURNS[orientation]
    return image[::down, ::across]


def _decode_pillow(data: bytes) -> np.ndarray:
    try:
        with _opened(data) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I") or upright.mode == "F":
                upright = _eight_bit(upright)
            return np.array(upright.convert("RGB"))
    except BadPicture:
        raise
    except Exception as error:  # Pillow's plugins raise many types on broken files.
        raise BadPicture(f"{type(error).__name__}: {error}") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey to 8 bits; Pillow itself would clip everything above 255 to white."""
    values = np.asarray(image, np.float64)
    full = 65535.0 if values.max(initial=0) > 255 else 255.0
    return Image.fromarray(np.round(values * (255.0 / full)).clip(0, 255).astype(np.uint8))
