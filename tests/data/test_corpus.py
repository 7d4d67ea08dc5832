"""Promises about pictures as they are: decoded as Pillow does, or left out with a reason."""

import dataclasses
import io
import os
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from catsdogs_jax.data import scan
from catsdogs_jax.data.decode import MAX_PIXELS, Header, decode, decode_square, read_header
from catsdogs_jax.data.scan import MAX_BYTES, Scanned, scan_file, scan_files

Case = tuple[str, bytes]

MEAN_TOLERANCE, WORST_TOLERANCE = 0.5, 8
"""Of 255: both decode JPEG with libjpeg-turbo, but not always in the same version of it."""


@pytest.fixture(autouse=True)
def _warnings_are_ignored_as_in_a_run() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def drawn(width: int = 37, height: int = 29) -> Image.Image:
    """A picture with slopes, an edge and some noise."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x > y) * 200], axis=-1)
    noise = np.random.default_rng(0).integers(-20, 20, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def ycck(image: Image.Image) -> bytes:
    """A JPEG of four components that its Adobe marker calls YCCK, as Photoshop writes them."""
    planes = (*image.convert("YCbCr").split(), Image.new("L", image.size, 230))
    data = bytearray(encoded(Image.merge("CMYK", planes), "JPEG"))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def bases() -> dict[str, bytes]:
    """One whole file of each kind, all of which decode."""
    image = drawn()
    grey16 = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    turned = [image, ImageOps.mirror(image), ImageOps.flip(image)]
    return {
        "jpeg": encoded(image, "JPEG", quality=90),
        "jpeg 4:2:0": encoded(image, "JPEG", quality=60, subsampling=2),
        "progressive": encoded(image, "JPEG", progressive=True),
        "grey jpeg": encoded(image.convert("L"), "JPEG"),
        "cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "ycck": ycck(image),
        "png": encoded(image, "PNG"),
        "alpha": encoded(image.convert("RGBA"), "PNG"),
        "palette": encoded(image.convert("P"), "PNG"),
        "16 bit": encoded(grey16, "PNG"),
        "one bit": encoded(image.convert("1"), "PNG"),
        "webp": encoded(image, "WEBP"),
        "gif": encoded(image, "GIF"),
        "animated": encoded(image, "GIF", save_all=True, append_images=turned),
        "bmp": encoded(image, "BMP"),
        "tiff": encoded(image, "TIFF"),
        "1x1": encoded(drawn(1, 1), "PNG"),
        "1x10000": encoded(drawn(1, 10000), "PNG"),
        "10000x1": encoded(drawn(10000, 1), "JPEG"),
    }


def turned(form: str) -> Iterator[Case]:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"{form}, orientation {orientation}", encoded(drawn(), form, exif=exif)


def mutated(name: str, data: bytes) -> Iterator[Case]:
    """Yields a file cut off, with flipped bits in header and body, zeroed, and lengthened."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    for n in random.integers(0, len(data), 25):
        yield f"{name} cut at {n}", data[:n]
    places = [*random.integers(0, min(64, len(data)), 30), *random.integers(0, len(data), 40)]
    for place in places:
        broken = bytearray(data)
        broken[place] ^= 1 << random.integers(8)
        yield f"{name} flipped at {place}", bytes(broken)
    for start in random.integers(0, len(data), 15):
        zeros = bytes(min(16, len(data) - start))
        yield f"{name} zeroed at {start}", data[:start] + zeros + data[start + len(zeros) :]
    yield f"{name} with a tail", data + b"<html>"
    yield f"{name} behind other bytes", b"\0\0" + data


def corpus() -> Iterator[Case]:
    whole = bases()
    yield from whole.items()
    for form in ("JPEG", "PNG", "WEBP"):
        yield from turned(form)
    for name, data in whole.items():
        yield from mutated(name, data)
    for name, text in {"html": "<html><body>404</body></html>", "text": "not a picture"}.items():
        yield name, text.encode()
    yield "empty", b""
    yield "zeros", bytes(5000)


def pillow(data: bytes) -> np.ndarray | None:
    """What Pillow makes of a file; none if nothing, or if it is not one that shows its depth."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image)
            deep = upright.mode.startswith("I") or upright.mode == "F"
            return None if deep else np.asarray(upright.convert("RGB"))
    except Exception:  # Of many types.
        return None


def test_each_of_2000_odd_files_is_decoded_as_pillow_does_or_left_out_with_a_reason(
    tmp_path: Path,
) -> None:
    cases = list(corpus())
    assert len(cases) >= 2000
    for number, (_, data) in enumerate(cases):
        (tmp_path / f"{number}.jpg").write_bytes(data)  # Whatever it is: the content decides.
    results = list(scan_files(tmp_path / f"{number}.jpg" for number in range(len(cases))))
    outcomes: Counter[str] = Counter()
    for (name, data), found in zip(cases, results, strict=True):
        if isinstance(found, str):
            outcomes["left out"] += 1
            assert found, name
            continue
        outcomes["decoded"] += 1
        image = decode(data, read_header(data))
        assert image.shape == (found.height, found.width, 3), name
        assert decode_square(data, found, 16, "crop").shape == (16, 16, 3), name
        expected = pillow(data)
        if expected is not None:
            difference = np.abs(image.astype(int) - expected)
            assert difference.mean() <= MEAN_TOLERANCE, name
            assert difference.max() <= WORST_TOLERANCE, name
    assert min(outcomes.values()) > 500, outcomes


def test_every_whole_file_is_decoded() -> None:
    for name, data in [*bases().items(), *turned("JPEG"), *turned("PNG"), *turned("WEBP")]:
        header = read_header(data)
        image = decode(data, header)
        assert image.shape == (header.height, header.width, 3), name
        for resize in ("stretch", "crop", "pad"):
            assert decode_square(data, header, 16, resize).shape == (16, 16, 3), name


def told_by_pillow(data: bytes) -> Header | None:
    """The header by Pillow alone; none where it sees no picture."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            plain = image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L")
            turn = image.getexif().get(0x0112, 1)
            turn = turn if turn in range(1, 9) else 1
            width, height = image.size[::-1] if turn >= 5 else image.size
            return Header("", width, height, turn, plain)
    except Exception:  # Of many types.
        return None


def oriented_by_xmp() -> bytes:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    return encoded(drawn(), "JPEG", xmp=xmp)


def test_the_quick_reading_of_a_header_says_what_pillow_does() -> None:
    several = encoded(drawn(), "MPO", save_all=True, append_images=[drawn(8, 8)])
    filled = b"\xff\xd8\xff" + encoded(drawn(), "JPEG")[2:]
    cases = [*corpus(), ("xmp", oriented_by_xmp()), ("mpo", several), ("filled", filled)]
    seen = 0
    for name, data in cases:
        expected = told_by_pillow(data)
        if expected is not None and expected.width * expected.height <= MAX_PIXELS:
            assert dataclasses.replace(read_header(data), format="") == expected, name
            seen += 1
    assert seen > 1000
    assert read_header(oriented_by_xmp()).orientation == 6


def bomb_png() -> bytes:
    """A few bytes that claim 60,000 x 60,000 pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + encoded(drawn(), "PNG")[33:]


def bomb_jpeg() -> bytes:
    data = bytearray(encoded(drawn(), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", 60000, 60000)
    return bytes(data)


@pytest.mark.parametrize("bomb", [bomb_png, bomb_jpeg])
def test_a_bomb_is_refused_by_its_header(
    bomb: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "decode", lambda *_: pytest.fail("pixels were read"))
    (tmp_path / "bomb.jpg").write_bytes(bomb())  # type: ignore[operator]
    found = scan_file(tmp_path / "bomb.jpg")
    assert isinstance(found, str)
    assert "pixels" in found


def test_a_film_is_refused_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = tmp_path / "film.mp4"
    film.touch()
    os.truncate(film, MAX_BYTES + 1)  # Holes: it takes no place.
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    assert scan_file(film) == "1,073,741,825 bytes are over the limit of 1,073,741,824"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "No such file"),
        ("broken link", "No such file"),
        ("looping link", "symbolic links"),
        ("folder", "not a regular file"),
        ("pipe", "not a regular file"),
        ("device", "not a regular file"),
    ],
)
def test_what_is_no_file_is_left_out_and_nothing_hangs(
    tmp_path: Path, kind: str, reason: str
) -> None:
    path = tmp_path / "a.jpg"
    if kind == "broken link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "looping link":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    found = scan_file(path)
    assert isinstance(found, str)
    assert reason in found


def test_an_unreadable_file_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(bases()["jpeg"])

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert scan_file(tmp_path / "a.jpg") == "cannot be read: Permission denied"


@pytest.mark.parametrize(
    "name", [b"a b.jpg", b"new\nline.jpg", b"'quo\"ted'.jpg", b"\xff\xfe.jpg", b"=1+1.jpg"]
)
def test_odd_names_are_read(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(bases()["jpeg"])
    assert isinstance(scan_file(path), Scanned)


def test_a_name_that_no_file_can_have_is_left_out(tmp_path: Path) -> None:
    reason = scan_file(tmp_path / "a\0.jpg")
    assert isinstance(reason, str)
    assert reason.startswith("cannot be read: ")  # What follows are Python's words, by version.
    assert "embedded null" in reason
