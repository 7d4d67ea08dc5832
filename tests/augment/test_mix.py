"""Promises of MixUp and CutMix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from catsdogs_jax.augment import mix
from catsdogs_jax.augment.mix import beta, cutmix_weights
from catsdogs_jax.config import AugmentConfig

COUNT = 64
IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (COUNT, 20, 20, 3)), jnp.float32)
TARGETS = jnp.eye(COUNT)
KEYS = jax.random.split(jax.random.key(0), COUNT)
PARTNER = np.arange(COUNT) - 1


def mixed(**values: float) -> tuple[np.ndarray, np.ndarray]:
    config = AugmentConfig(**values)  # type: ignore[arg-type]
    images, targets = jax.jit(mix, static_argnums=0)(config, KEYS, IMAGES, TARGETS)
    return np.asarray(images), np.asarray(targets)


def own_shares(targets: np.ndarray) -> np.ndarray:
    return targets[np.arange(COUNT), np.arange(COUNT)]


def test_nothing_asked_for_gives_back_what_it_was_given() -> None:
    images, targets = mix(AugmentConfig(cutmix_share=0.9), KEYS, IMAGES, TARGETS)
    assert images is IMAGES
    assert targets is TARGETS


def test_mixup_blends_pictures_and_targets_by_the_same_share() -> None:
    images, targets = mixed(mixup=1.0)
    share = own_shares(targets)
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(targets[np.arange(COUNT), PARTNER], 1 - share, atol=1e-6)
    weight = share[:, None, None, None]
    expected = weight * IMAGES + (1 - weight) * np.asarray(IMAGES)[PARTNER]
    np.testing.assert_allclose(images, expected, atol=1e-3)
    assert len(set(share.tolist())) == COUNT


def test_cutmix_pastes_a_rectangle_whose_area_is_the_share_of_the_partner() -> None:
    images, targets = mixed(cutmix=1.0)
    own = (images == np.asarray(IMAGES)).all(-1)
    partner = (images == np.asarray(IMAGES)[PARTNER]).all(-1)
    assert (own | partner).all()
    np.testing.assert_allclose(own.mean((1, 2)), own_shares(targets), atol=0.01)
    for pasted in ~own:
        rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
        assert pasted.sum() == len(rows) * len(columns)


def test_a_cutmix_centre_may_lie_at_the_border() -> None:
    stays = jax.jit(jax.vmap(lambda key: cutmix_weights(key, 1.0, 20)[0]))(KEYS)
    pasted = 1 - np.asarray(stays)
    assert pasted[:, 0, 0].any()
    assert pasted[:, -1, -1].any()


def test_both_take_turns_by_their_share_and_probability() -> None:
    keys, count = jax.random.split(jax.random.key(1), 1000), 1000
    images = jnp.asarray(np.random.default_rng(1).random((count, 8, 8, 3)), jnp.float32)
    config = AugmentConfig(mixup=1.0, cutmix=1.0, mix_probability=0.8, cutmix_share=0.25)
    labels = jnp.arange(count)[:, None] % 2.0
    found, targets = jax.jit(mix, static_argnums=0)(config, keys, images, labels)
    same = np.asarray(found == images).mean((1, 2, 3))
    target = np.asarray(targets)[:, 0]
    assert np.mean((target == 0) | (target == 1)) == pytest.approx(0.2, abs=0.06)
    blended = same == 0  # MixUp leaves no pixel as it was.
    assert np.mean(blended) == pytest.approx(0.8 * 0.75, abs=0.06)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: beta(key, alpha)))(keys), np.float64)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).statistic < 0.03
