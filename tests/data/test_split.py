"""Promises of the split: stratified, and decided by content alone."""

import dataclasses

import numpy as np

from catsdogs_jax.data.columns import Lists
from catsdogs_jax.data.split import hold_out


@dataclasses.dataclass(frozen=True)
class Item:
    labels: tuple[int, ...]
    content_hash: str


ITEMS = [Item((i % 2,), f"{i:x}") for i in range(100)] + [Item((2,), "only")]


def chosen(
    items: list[Item], share: float = 0.2, seed: int = 0, purpose: str = "validation"
) -> np.ndarray:
    labels = Lists(item.labels for item in items)
    return hold_out(labels, [item.content_hash for item in items], share, seed, purpose)


def held(items: list[Item], share: float = 0.2, seed: int = 0, purpose: str = "validation") -> set:
    out = chosen(items, share, seed, purpose)
    return {item.content_hash for item, held in zip(items, out, strict=True) if held}


def test_each_class_gives_its_share() -> None:
    out = chosen(ITEMS)
    counts = np.bincount([item.labels[0] for item, o in zip(ITEMS, out, strict=True) if o])
    np.testing.assert_array_equal(counts, [10, 10])


def test_the_order_of_listing_does_not_matter() -> None:
    assert held(ITEMS) == held(ITEMS[::-1])


def test_equal_files_fall_on_the_same_side() -> None:
    doubled = ITEMS + ITEMS
    out = chosen(doubled)
    assert (out[: len(ITEMS)] == out[len(ITEMS) :]).all()


def test_a_new_picture_moves_at_most_one_other() -> None:
    before, after = held(ITEMS), held([*ITEMS, Item((0,), "new")])
    assert len(before ^ (after - {"new"})) <= 1


def test_seed_and_purpose_choose_differently() -> None:
    assert held(ITEMS) != held(ITEMS, seed=1)
    assert held(ITEMS) != held(ITEMS, purpose="test")


def test_a_small_class_keeps_a_picture_on_both_sides() -> None:
    pair = [Item((0,), "a"), Item((0,), "b")]
    assert len(held(pair, share=0.01)) == 1
    assert len(held(pair, share=0.99)) == 1
    assert not held(pair, share=0.0)


def test_every_label_gives_about_its_share_where_each_picture_has_a_set_of_its_own() -> None:
    rng = np.random.default_rng(0)
    sets = {tuple(np.flatnonzero(rng.random(12) < 0.3).tolist()) for _ in range(400)}
    items = [Item(labels, f"{i:x}") for i, labels in enumerate(sorted(sets))]
    out = chosen(items)
    assert 0.19 < out.mean() < 0.21
    for label in range(12):
        has = np.array([label in item.labels for item in items])
        assert 0.1 < out[has].mean() < 0.3
