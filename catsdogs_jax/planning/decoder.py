"""How fast this host decodes pictures, measured on a few drawn in memory."""

import dataclasses
import io
import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from catsdogs_jax.config import Config
from catsdogs_jax.cores import cores
from catsdogs_jax.data.decode import decode_square, read_header
from catsdogs_jax.data.drawn import draw

_SIDES = (447, 374)
"""The median picture of the Asirra cats and dogs, width and height."""

_PICTURES = 16
_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Decoder:
    """What the decoder of this host does with pictures of a usual size.

    Attributes:
        pictures_per_second: Over all cores.
        picture_bytes: Mean size of a file.
        cores: Number of cores.
    """

    pictures_per_second: float
    picture_bytes: float
    cores: int


def measure_decoder(config: Config) -> Decoder:
    """Decodes JPEGs from memory on all cores for half a second."""
    files = [_jpeg(seed) for seed in range(_PICTURES)]
    headers = [read_header(data) for data in files]
    count, resize = cores(), config.data.resize
    size = round(config.data.image_size * config.augment.margin)
    end = time.monotonic() + _SECONDS

    def work(first: int) -> int:
        for done, place in enumerate(itertools.count(first)):
            if time.monotonic() > end:
                return done
            at = place % _PICTURES
            decode_square(files[at], headers[at], size, resize)
        return 0

    start = time.monotonic()
    with ThreadPoolExecutor(count) as threads:
        done = sum(threads.map(work, range(count)))
    rate = done / (time.monotonic() - start)
    return Decoder(rate, float(np.mean([len(data) for data in files])), count)


def _jpeg(seed: int) -> bytes:
    stream = io.BytesIO()
    picture = draw("cats", np.random.default_rng(seed))
    picture.resize(_SIDES, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()
