"""Promises of the resizing: what Pillow does, for every size."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from catsdogs_jax.kernels.resize import resize

PICTURE = np.random.default_rng(0).integers(0, 256, (97, 131, 3)).astype(np.uint8)


def pillow(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    shown = Image.fromarray(image)
    return np.asarray(shown.resize((columns, rows), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (50, 131), (97, 131), (150, 99), (300, 400)])
def test_it_is_pillows_bilinear_filter_rounded_once(size: tuple[int, int]) -> None:
    difference = resize(PICTURE, *size).astype(int) - pillow(PICTURE, *size)
    assert np.abs(difference).max() <= 1
    assert np.abs(difference).mean() < 0.2


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 6), (1, 50), (50, 1)])
def test_pictures_narrower_than_a_vector_are_resized_too(shape: tuple[int, int]) -> None:
    image = PICTURE[: shape[0], : shape[1]]
    for size in [(1, 1), (7, 9), (2, 3)]:
        assert np.abs(resize(image, *size).astype(int) - pillow(image, *size)).max() <= 1


def test_a_box_of_whole_pixels_is_a_crop() -> None:
    cropped = resize(PICTURE[10:70, 20:101], 30, 40)
    np.testing.assert_array_equal(resize(PICTURE, 30, 40, (10, 20, 60, 81)), cropped)


def test_a_box_may_end_within_a_pixel() -> None:
    ramp = np.broadcast_to(np.arange(0, 200, 2)[None, :, None], (50, 100, 3)).astype(np.uint8)
    found = resize(ramp, 5, 10, (0, 0, 50, 79.5))
    centres = (np.arange(10) + 0.5) * 7.95 - 0.5
    np.testing.assert_allclose(found[2, 1:-1, 0], 2 * centres[1:-1], atol=0.6)


def test_brightest_and_darkest_stay_so() -> None:
    for value in (0, 255):
        assert (resize(np.full((41, 53, 3), value, np.uint8), 17, 90) == value).all()


def test_a_turned_view_gives_the_turned_result() -> None:
    turned = resize(PICTURE[::-1, ::-1], 40, 30)
    assert np.abs(turned.astype(int) - resize(PICTURE, 40, 30)[::-1, ::-1]).max() <= 1


def test_threads_do_not_disturb_each_other() -> None:
    expected = [resize(PICTURE[k:], 60, 60) for k in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda k: resize(PICTURE[k:], 60, 60), list(range(40)) * 5))
    for k, result in enumerate(found):
        np.testing.assert_array_equal(result, expected[k % 40])
