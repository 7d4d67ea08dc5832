"""Grain, the JAX ecosystem's loader."""

from collections.abc import Callable
from typing import Any

import grain  # pyright: ignore[reportMissingImports]
import numpy as np
from PIL import Image

from benchmarks.systems.listing import files

Work = tuple[Callable[[], float], str, list[str]]


def read(variant: str, *, folder: str, size: int, batch: int) -> Work:
    """Shuffled files, decoded by Pillow in grain's threads."""

    def load(example: tuple) -> np.ndarray:
        with Image.open(example[0]) as image:
            small = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(small)

    source: Any = grain.MapDataset.source(files(folder)).shuffle(seed=0).map(load)
    dataset = source.to_iter_dataset().batch(batch, drop_remainder=True)

    def work() -> float:
        return float(sum(len(pictures) for pictures in dataset))

    work()
    return work, "images/s", ["grain", "pillow"]
