"""Promises for whatever input there is, searched by hypothesis; the same cases in each run."""

import csv
import dataclasses
import io
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score

from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_from_dict, config_to_dict, differing_keys, read_config
from catsdogs_jax.data.columns import Lists
from catsdogs_jax.data.order import evaluation_indices, indices_at, training_indices
from catsdogs_jax.data.sources import list_table
from catsdogs_jax.data.split import hold_out
from catsdogs_jax.errors import UserError
from catsdogs_jax.escaping import csv_table
from catsdogs_jax.task import Task
from catsdogs_jax.training.evaluation import Evaluation
from catsdogs_jax.training.metrics import split_summary

settings.register_profile(
    "ours",
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("ours")

SMALL = {"train": {"steps": 3}}
LEAVES = [
    (group.name, field)
    for group in dataclasses.fields(Config)
    if group.name != "seed"
    for field in dataclasses.fields(typing.get_type_hints(Config)[group.name])
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**6),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.one_of(st.integers(-3, 300), st.floats(), st.text(max_size=3)), max_size=3),
)


def outcome(call: Callable[[], Any]) -> tuple[Any, str]:
    """Returns what a call returns, or none and the words of its error."""
    try:
        return call(), ""
    except UserError as error:
        return None, str(error)


@given(st.sampled_from(LEAVES), VALUES)
def test_any_value_of_any_key_is_taken_as_it_is_or_is_an_error_that_names_it(
    leaf: tuple[str, dataclasses.Field], value: Any
) -> None:
    group, field = leaf
    tree = {**SMALL, group: {**SMALL.get(group, {}), field.name: value}}
    config, error = outcome(lambda: config_from_dict(tree))
    if config is None:
        assert field.name in error
        assert "\n" not in error
        return
    found = getattr(getattr(config, group), field.name)
    expected = tuple(value) if isinstance(value, list) else value
    assert found == expected
    again = config_from_dict(config_to_dict(config))
    assert again == config
    assert not differing_keys(config_to_dict(config), config_to_dict(again))


@given(st.sampled_from(LEAVES), st.text(max_size=12))
def test_any_text_of_an_override_is_a_value_or_an_error(
    leaf: tuple[str, dataclasses.Field], text: str
) -> None:
    file = Path(__file__).parents[1] / "configs/quickstart.py"
    group, field = leaf
    config, error = outcome(lambda: read_config(file, {f"{group}.{field.name}": text}))
    assert config or field.name in error or group in error


@given(st.integers(1, 3000), st.integers(0, 2**31), st.integers(0, 50))
def test_each_epoch_holds_each_picture_once(count: int, seed: int, epoch: int) -> None:
    found = indices_at(np.arange(epoch * count, (epoch + 1) * count), count, seed)
    assert sorted(found.tolist()) == list(range(count))


@pytest.mark.heavy
@given(
    st.integers(1, 500),
    st.integers(1, 64),
    st.integers(0, 40),
    st.integers(1, 20),
    st.integers(0, 9),
)
def test_a_run_that_goes_on_sees_what_the_whole_run_would_have_seen(
    count: int, batch: int, first: int, steps: int, seed: int
) -> None:
    whole = list(training_indices(0, first + steps, batch, count, seed))
    rest = list(training_indices(first, first + steps, batch, count, seed))
    np.testing.assert_array_equal(whole[first:], rest)


@given(st.integers(1, 400), st.integers(1, 70))
def test_evaluation_counts_each_picture_once_and_pads_to_full_batches(
    count: int, batch: int
) -> None:
    plan = evaluation_indices(count, batch)
    assert all(len(indices) == len(mask) == batch for indices, mask in plan)
    seen = np.concatenate([indices[mask] for indices, mask in plan])
    assert seen.tolist() == list(range(count))


@dataclasses.dataclass(frozen=True)
class Item:
    labels: tuple[int, ...]
    content_hash: str


ITEMS = st.lists(
    st.builds(Item, st.sampled_from([(0,), (1,), (2,)]), st.integers(0, 60).map("{:064x}".format)),
    min_size=1,
    max_size=80,
)


@given(ITEMS, st.floats(0, 0.9), st.integers(0, 5), st.randoms(use_true_random=False))
def test_a_split_depends_on_contents_alone_and_divides_no_twins(
    items: list[Item], share: float, seed: int, random: Any
) -> None:
    def chosen(items: list[Item]) -> np.ndarray:
        labels = Lists(item.labels for item in items)
        contents = [item.content_hash for item in items]
        return hold_out(labels, contents, share, seed, "validation")

    held = dict(zip(map(id, items), chosen(items), strict=True))
    by_content: dict[str, set[bool]] = {}
    for item in items:
        by_content.setdefault(item.content_hash, set()).add(held[id(item)])
    assert all(len(sides) == 1 for sides in by_content.values())
    shuffled = list(items)
    random.shuffle(shuffled)
    again = chosen(shuffled)
    assert again.tolist() == [held[id(item)] for item in shuffled]
    if share == 0:
        assert not any(again)


@settings(max_examples=12)
@given(st.sampled_from(["binary", "multiclass"]), st.integers(2, 60), st.integers(0, 10**6))
def test_the_statistics_are_those_of_scikit_learn(kind: str, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    task = Task(kind, ("a", "b") if kind == "binary" else ("a", "b", "c"))  # type: ignore[arg-type]
    true = random.integers(0, len(task.classes), n)
    assume(len(np.unique(true)) == len(task.classes))
    logits = random.normal(size=(n, task.outputs)).astype(np.float32)
    targets = task.targets([(int(label),) for label in true])
    probabilities = task.probabilities(logits)
    predicted = probabilities.argmax(axis=-1)
    accuracy = accuracy_score(true, predicted)
    found = split_summary(Evaluation(logits, 0.5, float(accuracy)), targets, task)
    assert found["without_leaks"]["accuracy"] == pytest.approx(accuracy)
    np.testing.assert_array_equal(found["confusion_matrix"], confusion_matrix(true, predicted))
    scores = probabilities[:, 1] if kind == "binary" else probabilities
    area = roc_auc_score(true, scores, multi_class="ovr", average="macro")
    assert found["auroc"] == pytest.approx(area)
    low, high = found["accuracy_ci95"]
    assert 0 <= low <= accuracy <= high <= 1


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\0|"), min_size=1, max_size=12
).filter(lambda name: name.strip() == name)


@given(st.dictionaries(NAMES, st.tuples(NAMES, st.sampled_from(["train", "val", ""])), min_size=1))
def test_a_table_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, tuple[str, str]]
) -> None:
    table = tmp_path_factory.getbasetemp() / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "label", "split"])
        writer.writerows([file, label, split] for file, (label, split) in rows.items())
    listing = list_table(table, table.parent)
    found = {example.file: (example.labels, example.split) for example in listing.examples}
    splits = {"train": "train", "val": "validation", "": None}
    assert found == {file: ((label,), splits[split]) for file, (label, split) in rows.items()}


@given(st.binary(max_size=200))
def test_any_bytes_as_a_table_are_rows_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    for name in ("bytes.csv", "bytes.jsonl"):
        table = tmp_path_factory.getbasetemp() / name
        table.write_bytes(b"file,label\n" + data if name.endswith("csv") else data)
        listing, error = outcome(lambda table=table: list_table(table, None))
        assert listing.examples if listing else "\n" not in error


@given(st.lists(st.lists(st.text(max_size=10), min_size=1, max_size=4), min_size=1, max_size=5))
def test_no_name_makes_a_table_that_is_unsafe_or_unreadable(rows: list[list[str]]) -> None:
    table = csv_table(rows)
    table.encode()
    read = list(csv.reader(io.StringIO(table)))
    assert [len(row) for row in read] == [len(row) for row in rows]
    cells = [cell for row in read for cell in row]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
