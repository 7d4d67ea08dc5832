"""Promises of the one decoder: as Pillow decodes, upright, and clear about what is broken."""

import io
from typing import get_args

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngImageFile

from catsdogs_jax.data import decode as decoding
from catsdogs_jax.data.decode import (
    BadPicture,
    Resize,
    decode,
    decode_square,
    jpeg_ratio,
    read_header,
    to_square,
)
from catsdogs_jax.data.drawn import draw

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
SMOOTH = np.asarray(Image.fromarray(PIXELS).resize((90, 60), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray, form: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return decode(data, read_header(data))


@pytest.mark.parametrize("form", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "1"])
def test_every_format_and_mode_decodes_as_pillow_does(form: str, mode: str) -> None:
    try:
        data = encoded(SMOOTH, form, mode)
    except (OSError, ValueError):
        pytest.skip(f"Pillow writes no {form} in mode {mode}")
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    difference = np.abs(decoded(data).astype(int) - expected).max()
    assert difference <= (2 if form == "JPEG" else 0)


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 2}, {"quality": 5}])
def test_every_kind_of_jpeg_is_within_two_levels_of_pillow(options: dict) -> None:
    data = encoded(SMOOTH, "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    assert np.abs(decoded(data).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_picture_is_turned_upright(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(SMOOTH, form, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    found = decoded(data)
    header = read_header(data)
    assert found.shape == expected.shape == (header.height, header.width, 3)
    assert (header.width > header.height) == (orientation < 5)
    assert np.abs(found.astype(int) - expected).max() <= 2
    for resize in get_args(Resize):
        square = decode_square(data, header, 20, resize).astype(int)
        assert np.abs(square - to_square(expected, 20, resize)).mean() <= 2


@pytest.mark.parametrize("late", [False, True])
def test_a_png_is_decoded_once_wherever_it_tells_how_to_turn_it(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(SMOOTH, "PNG", exif=exif)
    plain = encoded(SMOOTH, "PNG")
    if late:  # Between the pixels and the end.
        (start,) = (place - 4 for place in range(len(data)) if data.startswith(b"eXIf", place))
        chunk = data[start : start + 12 + int.from_bytes(data[start : start + 4], "big")]
        data = plain[:-12] + chunk + plain[-12:]
    header = read_header(data)
    assert (header.orientation, header.width, header.height) == (6, 60, 90)
    assert decoded(data).shape == (90, 60, 3)
    monkeypatch.setattr(PngImageFile, "load", None)
    assert read_header(plain).orientation == 1


def test_a_program_that_would_draw_a_picture_is_not_run() -> None:
    data = encoded(SMOOTH, "EPS")
    for read in (read_header, lambda data: decode(data, read_header(encoded(SMOOTH, "PNG")))):
        with pytest.raises(BadPicture, match="EPS is a program, which is not run"):
            read(data)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    values = np.array([[0, 256 * 128, 65535]], np.uint16)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    np.testing.assert_array_equal(decoded(stream.getvalue())[0, :, 0], [0, 128, 255])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "not a picture"),
        (b"\x00" * 100, "not a picture"),
        (encoded(SMOOTH, "JPEG")[:400], "broken JPEG|header"),
        (encoded(SMOOTH, "PNG")[:400], "truncated|OSError|SyntaxError"),
    ],
)
def test_a_broken_file_says_why(data: bytes, words: str) -> None:
    with pytest.raises(BadPicture, match=words):
        decoded(data)


def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 100)
    with pytest.raises(BadPicture, match="90x60 is over the limit of 100 pixels"):
        read_header(encoded(SMOOTH, "PNG"))


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_decoded_smaller_has_sides_rounded_up(ratio: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(SMOOTH[:59], "JPEG", exif=exif)
    header = read_header(data)
    sides = -(-header.height // ratio), -(-header.width // ratio)
    assert decode(data, header, ratio).shape == (*sides, 3)


@pytest.mark.parametrize("ratio", [2, 8])
def test_a_broken_jpeg_is_found_at_any_ratio(ratio: int) -> None:
    data = encoded(SMOOTH, "JPEG")
    with pytest.raises(BadPicture, match="broken JPEG"):
        decode(data[:-200], read_header(data), ratio)


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (30, 30), (1, 1), (1, 50)])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_every_picture_becomes_a_square(shape: tuple[int, int], resize: Resize) -> None:
    square = to_square(np.full((*shape, 3), 77, np.uint8), 30, resize)
    assert square.shape == (30, 30, 3)
    assert square.dtype == np.uint8
    covered = (square == 77).all(-1).mean()
    assert (square[14, 14] == 77).all()
    shown = max(1, round(30 * min(shape) / max(shape))) / 30 if resize == "pad" else 1
    assert covered == pytest.approx(shown)


def test_a_crop_takes_the_centre() -> None:
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200
    assert (to_square(image, 10, "crop") == 200).all()


@pytest.mark.parametrize(
    ("width", "height", "resize", "ratio"),
    [
        (300, 450, "stretch", 2),
        (299, 450, "stretch", 1),
        (299, 450, "pad", 2),
        (700, 600, "crop", 4),
        (9000, 9000, "crop", 8),
        (20, 10, "stretch", 1),
    ],
)
def test_no_side_is_decoded_smaller_than_its_result(
    width: int, height: int, resize: Resize, ratio: int
) -> None:
    assert jpeg_ratio(width, height, 150, resize) == ratio


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(301, 447), (447, 301), (999, 1001)])
def test_a_jpeg_decoded_smaller_differs_by_a_level_or_two(
    shape: tuple[int, int], resize: Resize
) -> None:
    animal = draw("cats", np.random.default_rng(0)).resize(
        (shape[1], shape[0]), Image.Resampling.BICUBIC
    )
    data = encoded(np.asarray(animal), "JPEG")
    header = read_header(data)
    ratio = jpeg_ratio(header.width, header.height, 150, resize)
    assert ratio > 1
    expected = to_square(decode(data, header), 150, resize).astype(int)
    found = decode_square(data, header, 150, resize)
    assert np.abs(found - expected).mean() < 1.5
    # Taking the rounded sides for the true ones would shift the far edge by half a pixel or more.
    assert np.abs(found - expected)[-40:, -40:].mean() < 2.5
