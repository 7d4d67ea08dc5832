"""Promises of columns: what was put in comes out, in a hundred bytes a picture."""

import random
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from catsdogs_jax.data.columns import Choices, Hashes, Lists, Texts
from catsdogs_jax.data.listing import Example, Examples
from catsdogs_jax.data.pictures import Picture, Pictures

NAMES = ["", "a", "ü/ß.jpg", "\udcff is no Unicode", "𝄞", "a" * 300]


def pictures(count: int) -> Iterator[Picture]:
    """Yields pictures of 0 to 2 labels whose names have 21 characters."""
    for k in range(count):
        content, perceptual = f"{k * 7**20:064x}"[-64:], f"{k * 3**20:016x}"[-16:]
        labels, split = tuple(range(k % 3)), ("train", "validation", "test")[k % 3]
        yield Picture(
            f"train/red/{k:07d}.png", labels, split, k, 2 * k, 1 + k % 8, k % 2 == 0, content,
            perceptual,
        )  # fmt: skip


def test_what_is_put_into_columns_comes_out_whole_or_in_part() -> None:
    places = np.array([5, 0, 3, 3])
    for column, values in (
        (Texts(NAMES), NAMES),
        (Lists([(3, 1), (), (2,), (0, 0, 0), (7,), ()]), [(3, 1), (), (2,), (0, 0, 0), (7,), ()]),
    ):
        assert list(column) == values
        assert column[-1] == values[-1]
        assert list(column.taken(places)) == [values[k] for k in places]
        with pytest.raises(IndexError):
            column[len(values)]
    assert list(Texts(NAMES).taken(places[:0])) == []


def test_many_are_gathered_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catsdogs_jax.data.columns._BLOCK", 7)
    texts = [f"{k}" * (k % 5) for k in range(100)]
    places = np.random.default_rng(0).permutation(100)
    assert list(Texts(texts).taken(places)) == [texts[k] for k in places]


def test_a_value_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        Choices(("train", "test")).append("tset")
    with pytest.raises(ValueError, match="'abc' has not 16 digits"):
        Hashes(16).append("abc")


def test_a_table_gives_back_its_rows_and_views_share_its_columns() -> None:
    rows = list(pictures(50))
    table = Pictures.of(rows)
    assert table == rows
    assert rows == list(table)
    chosen = np.array([9, 4, 4, 30])
    view = table[chosen]
    assert view == [rows[k] for k in chosen]
    assert view[1:3] == [rows[4], rows[4]]
    assert view[np.array([False, True, False, True])] == [rows[4], rows[30]]
    assert view.cell("file", 3) == rows[30].file
    assert list(view.column("labels")) == [rows[k].labels for k in chosen]
    assert table.of_split("test") == [row for row in rows if row.split == "test"]
    assert table != rows[:-1]
    assert table != rows[::-1]
    moved = table.placed([3] * 50)
    assert {row.split for row in moved} == {"test"}
    assert table == rows


def test_examples_are_ordered_by_file_as_texts_are() -> None:
    files = [f"{name}{k}" for k, name in enumerate(NAMES)] + ["a-b/c", "a/c", "a.jpg"]
    random.Random(0).shuffle(files)
    table = Examples.of(Example(file, ("x", file), None) for file in files)
    ordered = table[table.order()]
    assert [example.file for example in ordered] == sorted(files)
    assert all(example.labels == ("x", example.file) for example in ordered)
    assert not table.single


def test_a_picture_takes_a_hundred_bytes_and_its_name() -> None:
    count = 20_000
    Pictures.of(pictures(10))
    tracemalloc.start()
    table = Pictures.of(pictures(count))
    kept, _ = tracemalloc.get_traced_memory()
    view = table.of_split("train")
    more = tracemalloc.get_traced_memory()[0] - kept
    tracemalloc.stop()
    assert kept < (100 + 21) * count
    assert more < 10 * len(view)
