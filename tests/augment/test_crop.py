"""Promises of the random resized crop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from catsdogs_jax.augment.affine import resample
from catsdogs_jax.augment.crop import crop, random_crop

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(np.float32)


@pytest.mark.parametrize("box", [(0, 0, 48, 48), (3, 5, 35, 29), (10.5, 0, 48, 30.25)])
def test_a_crop_is_pillows_resize_of_a_box(box: tuple[float, float, float, float]) -> None:
    left, upper, right, lower = box
    expected = [
        np.asarray(Image.fromarray(IMAGE[..., c]).resize((48, 48), Image.Resampling.BILINEAR, box))
        for c in range(3)
    ]
    place = crop(jnp.array([lower - upper, right - left]) / 48, jnp.array([upper, left]) / 48)
    found = resample(jnp.asarray(IMAGE), *place)
    np.testing.assert_allclose(found, np.stack(expected, axis=-1), atol=0.01)


def test_crops_lie_inside_and_fill_their_ranges() -> None:
    keys = jax.random.split(jax.random.key(0), 2000)
    draw = jax.jit(jax.vmap(lambda key: random_crop(key, area=(0.25, 1.0), ratio=(0.5, 2.0))))
    matrices, offsets = draw(keys)
    assert offsets is not None
    sides = np.asarray(jnp.diagonal(matrices, axis1=1, axis2=2))
    low, high = offsets + 0.5 - sides / 2, offsets + 0.5 + sides / 2
    assert low.min() >= -1e-6
    assert high.max() <= 1 + 1e-6
    area, ratio = sides.prod(axis=1), sides[:, 1] / sides[:, 0]
    assert 0.25 <= area.min() < 0.26
    assert 0.99 < area.max() <= 1 + 1e-6
    assert area.mean() == pytest.approx(0.625, abs=0.02)
    assert 0.5 <= ratio.min() < 0.53
    assert 1.9 < ratio.max() <= 2 + 1e-5
    small = area < 0.4
    assert low[small].min() < 0.02
    assert high[small].max() > 0.98
