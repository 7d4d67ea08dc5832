"""A digest of what a training step is made of: which picture at which place, under which key."""

import numpy as np

from catsdogs_jax.data.order import mixed
from catsdogs_jax.data.pictures import Pictures

_BITS = (1 << 64) - 1
_ODD = np.uint64(0x9E3779B97F4A7C15)
"""Keeps zero, which `mixed` maps to itself, from the numbers that are small."""


def content_numbers(pictures: Pictures) -> np.ndarray:
    """Returns the first 64 bits of the hash of each picture's file, uint64 [n]."""
    first = np.ascontiguousarray(pictures.column("content_hash").values[:, :8])
    return first.view(">u8")[:, 0].astype(np.uint64)


def step_digest(contents: np.ndarray, seed: int, step: int, places: np.ndarray) -> int:
    """Returns a 64-bit digest of pictures at their places of a step.

    Digests of parts add up, modulo 2^64, to that of the whole, so it does not matter which process
    or device takes which places. The key that varies a picture is a function of seed, step and
    place alone (`training.step.picture_keys`), so equal digests mean equal keys as well.

    Args:
        contents: uint64 [n], of the pictures at these places, see `content_numbers`.
        seed: Seed of the run.
        step: Number of the step, from 1.
        places: Place of each in the global batch, int [n].
    """
    words = mixed(_ODD + np.array([seed & _BITS], np.uint64))
    words = mixed(_ODD + (words ^ np.uint64(step)))
    words = mixed(_ODD + (words ^ places.astype(np.uint64))) ^ contents
    return int(np.add.reduce(mixed(words), dtype=np.uint64))
