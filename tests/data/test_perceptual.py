"""Promises of the perceptual hash: imagehash's but for rounding, and alike for alike pictures."""

import tracemalloc
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from catsdogs_jax.data.decode import decode, read_header
from catsdogs_jax.data.perceptual import perceptual_hash


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_it_is_that_of_imagehash_but_for_rounding(photos: Path) -> None:
    distances = []
    for path in sorted(photos.glob("validation/*/*.jpg"))[::4]:
        data = path.read_bytes()
        image = decode(data, read_header(data), 4)
        reference = str(imagehash.phash(Image.fromarray(image)))
        distances.append(distance(perceptual_hash(image), reference))
    assert len(distances) == 150
    assert np.mean(np.array(distances) == 0) > 0.85
    assert max(distances) <= 4


def test_large_pictures_are_alike_their_small_copies_and_take_little_memory(photos: Path) -> None:
    path = sorted(photos.glob("validation/*/*.jpg"))[0]
    small = Image.open(path).convert("RGB")
    large = np.asarray(small.resize((9_000, 6_000), Image.Resampling.BICUBIC))
    expected = perceptual_hash(np.asarray(small))
    tracemalloc.start()
    assert distance(perceptual_hash(large), expected) <= 3
    perceptual_hash(np.zeros((1, 2_000_000, 3), np.uint8))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 6_000_000 + 10 * 2**20


@pytest.mark.parametrize("shape", [(1, 1), (1, 10_000), (24, 20), (300, 2), (640, 480)])
@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_picture_of_one_colour_has_brightness_alone(shape: tuple[int, int], value: int) -> None:
    image = np.full((*shape, 3), value, np.uint8)
    assert perceptual_hash(image) == ("8" if value else "0") + 15 * "0"


def test_smaller_darker_and_compressed_pictures_are_alike_and_others_are_not(photos: Path) -> None:
    paths = sorted(photos.glob("validation/*/*.jpg"))[:40]
    pictures = [Image.open(path).convert("RGB") for path in paths]
    hashes = [perceptual_hash(np.asarray(picture)) for picture in pictures]
    for picture, known in zip(pictures, hashes, strict=True):
        half = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
        darker = (np.asarray(picture) * 0.8).astype(np.uint8)
        assert distance(perceptual_hash(np.asarray(half)), known) <= 3
        assert distance(perceptual_hash(darker), known) <= 3
    others = [distance(a, b) for k, a in enumerate(hashes) for b in hashes[:k]]
    assert min(others) > 3
    assert np.mean(others) == pytest.approx(32, abs=3)
