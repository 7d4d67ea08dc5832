"""Small JPEG pictures: as the model sees them, and with a heat map over them."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

_SIDE = 168
_QUALITY = 78
_OPACITY = 0.6

# Dark violet over red to pale yellow: lightness only rises, so that it also reads in grey.
_STOPS = np.array([[30, 10, 60], [140, 30, 110], [230, 80, 50], [252, 170, 40], [252, 250, 170]])


def thumbnail(image: np.ndarray, aspect: float = 1.0, side: int = _SIDE) -> bytes:
    """Returns a JPEG of uint8 [h, w, 3], its longer side `side` pixels.

    Args:
        image: The square that the model sees.
        aspect: Width divided by height that it is shown with: a stretched picture's own.
        side: Longer side of the JPEG, pixels.
    """
    stream = io.BytesIO()
    _shaped(Image.fromarray(image), aspect, side).save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Returns uint8 [h, w, 3]: the picture in grey under the colours of a map [r, c], 0 to 1."""
    height, width = image.shape[:2]
    spread = Image.fromarray((heat * 255).astype(np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    level = np.asarray(spread, np.float32) / 255
    places = np.linspace(0, 1, len(_STOPS))
    colours = np.stack([np.interp(level, places, _STOPS[:, c]) for c in range(3)], axis=-1)
    grey = np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1)
    share = (_OPACITY * np.sqrt(level))[..., None]
    return (grey * (1 - share) + colours * share).clip(0, 255).astype(np.uint8)


def _shaped(image: Image.Image, aspect: float, side: int) -> Image.Image:
    aspect = min(max(aspect, 0.25), 4.0)
    size = (side, round(side / aspect)) if aspect >= 1 else (round(side * aspect), side)
    return image.resize(size, Image.Resampling.LANCZOS)


def save_beside(
    images: Sequence[np.ndarray], aspect: float, path: Path, *, side: int, gap: int
) -> None:
    """Writes pictures of one shape from left to right into a PNG, and its folder if there is none.

    Args:
        images: Each uint8 [h, w, 3].
        aspect: Width divided by height that each is shown with.
        path: The PNG to write.
        side: Longer side of each, pixels.
        gap: Pixels between two.
    """
    shown = [_shaped(Image.fromarray(image), aspect, side) for image in images]
    width, height = shown[0].size
    whole = Image.new("RGB", (len(shown) * (width + gap) - gap, height), "white")
    for number, image in enumerate(shown):
        whole.paste(image, (number * (width + gap), 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save(path)
