"""A hash that is alike for alike pictures: pHash, all of whose linear steps are one product.

pHash takes the lowest frequencies of the brightness, resized to 32x32 pixels. Brightness, resizing
and cosine transform are linear, so that 8 rows of weights for each side of a picture are all of
them, and the picture is gone through once. What the scan adds to decoding is a fraction of it then
(`python -m benchmarks.growth`); `imagehash`, which rounds after each step, gives the same but for
a bit or two (`tests/data/test_perceptual.py`).

Source: Zauner, 2010, Implementation and Benchmarking of Perceptual Image Hash Functions;
https://github.com/JohannesBuchner/imagehash
"""

import functools

import numpy as np

_SIDE, _LOWEST = 32, 8
_LOBES = 3
_LUMA = np.array([299, 587, 114]) / 1000  # ITU-R 601, as Pillow's mode L.
_LONGEST = 4096
"""Pixels of a side; of longer ones every second, third and so on is looked at."""
_PIXELS_AT_ONCE = 25_000
"""More would take memory, and OpenBLAS would use threads of its own beside those of the scan."""
_DECIMALS = 3
"""Of the frequencies, up to a million: what is zero but for rounding counts as zero."""


def perceptual_hash(image: np.ndarray) -> str:
    """Returns the pHash of a picture, 16 hexadecimal digits.

    Args:
        image: uint8 [height, width, 3].
    """
    apart = [-(-side // _LONGEST) for side in image.shape[:2]]
    image = image[:: apart[0], :: apart[1]]
    height, width = image.shape[:2]
    down, rows = _weights(height), max(1, _PIXELS_AT_ONCE // width)
    lowest = np.zeros((_LOWEST, _LOWEST))
    for top in range(0, height, rows):
        brightness = image[top : top + rows] @ _LUMA
        lowest += down[:, top : top + rows] @ brightness @ _weights(width).T
    frequencies = lowest.round(_DECIMALS).ravel()
    below, above = np.sort(frequencies)[31:33]
    middle = (below + above) / 2
    return np.packbits(frequencies > middle).tobytes().hex()


@functools.lru_cache(maxsize=256)
def _weights(size: int) -> np.ndarray:
    """Returns what takes a line of pixels to its lowest frequencies, [8, size]."""
    scale = size / _SIDE
    stretch = max(scale, 1.0)
    centers = (np.arange(_SIDE) + 0.5) * scale
    away = (np.arange(size) + 0.5 - centers[:, None]) / stretch
    lanczos = np.where(np.abs(away) < _LOBES, np.sinc(away) * np.sinc(away / _LOBES), 0.0)
    resizing = lanczos / lanczos.sum(axis=1, keepdims=True)
    places = (2 * np.arange(_SIDE) + 1) / (2 * _SIDE)
    cosines = 2 * np.cos(np.pi * np.arange(_LOWEST)[:, None] * places)
    return cosines @ resizing
