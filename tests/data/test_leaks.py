"""Promises of the check for pictures that stand in two splits."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.data.leaks import kind, leaked_files
from catsdogs_jax.errors import UserError

Tiny = Callable[..., Config]


@pytest.fixture
def leaky(colours: Path) -> Path:
    """The coloured pictures with one exact and one near copy of training pictures held out."""
    from PIL import Image

    shutil.copy(colours / "train/red/3.png", colours / "validation/red/copy.png")
    with Image.open(colours / "train/blue/2.png") as image:
        image.resize((40, 48)).save(colours / "validation/blue/near.png")
    return colours


def test_leaks_are_reported_as_exact_or_near(leaky: Path, tiny: Tiny) -> None:
    dataset = load_dataset(tiny())
    found = {(a.file, b.file): kind((a, b)) for a, b in dataset.leaks}
    assert found == {
        ("train/red/3.png", "validation/red/copy.png"): "exact copy",
        ("train/blue/2.png", "validation/blue/near.png"): "near copy",
    }
    held_out = {"validation/red/copy.png", "validation/blue/near.png"}
    assert leaked_files(dataset.leaks, "validation") == held_out
    assert leaked_files(dataset.leaks, "train") == set()
    validation = dataset.splits["validation"]
    marked = validation.among(held_out)
    assert {p.file for p, m in zip(validation.pictures, marked, strict=True) if m} == held_out


def test_excluding_leaves_out_the_training_copy_and_names_it(leaky: Path, tiny: Tiny) -> None:
    report, exclude = load_dataset(tiny()), load_dataset(tiny(data={"leaks": "exclude"}))
    assert len(exclude.splits["train"]) == len(report.splits["train"]) - 2
    assert len(exclude.splits["validation"]) == len(report.splits["validation"])
    assert not exclude.leaks
    assert exclude.manifest.excluded == (
        ("train/blue/2.png", "near copy of 'validation/blue/near.png' of the validation split"),
        ("train/red/3.png", "exact copy of 'validation/red/copy.png' of the validation split"),
    )
    assert exclude.manifest.fingerprint != report.manifest.fingerprint


def test_an_error_is_raised_where_it_is_asked_for(leaky: Path, tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"2 pairs .*\(train\).*\(validation\).*leaks=exclude"):
        load_dataset(tiny(data={"leaks": "error"}))


def test_without_a_leak_every_policy_reads_the_same_pictures(colours: Path, tiny: Tiny) -> None:
    prints = {
        load_dataset(tiny(data={"leaks": policy})).manifest.fingerprint
        for policy in ("report", "exclude", "error")
    }
    assert len(prints) == 1


def test_a_class_that_excluding_empties_is_named(colours: Path, tiny: Tiny) -> None:
    shutil.rmtree(colours / "train/red")
    shutil.copytree(colours / "validation/red", colours / "train/red")
    with pytest.raises(UserError, match="class 'red' has no readable picture in the train split"):
        load_dataset(tiny(data={"leaks": "exclude"}))
