"""Promises of the check for pictures that stand in two splits."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.data.leaks import MAX_DISTANCE, find_leaks, kind, leaked_files
from catsdogs_jax.data.pictures import Picture, Pictures
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


def picture(number: int, split: str, content: int, perceptual: int) -> Picture:
    hashes = f"{content:016x}".ljust(64, "0"), f"{perceptual:016x}"
    return Picture(f"{number}.jpg", (0,), split, 8, 8, 1, True, *hashes)


def alike(one: Picture, other: Picture) -> bool:
    bits = int(one.perceptual_hash, 16) ^ int(other.perceptual_hash, 16)
    return one.content_hash == other.content_hash or bits.bit_count() <= MAX_DISTANCE


def families(count: int, seed: int) -> list[Picture]:
    """Pictures of a few families, whose hashes differ by a few bits, some of them equal files."""
    rng, made = np.random.default_rng(seed), []
    bases = rng.integers(0, 2**63, 6).tolist()
    for number in range(count):
        flips = rng.integers(0, 64, rng.integers(0, 4)).tolist()
        perceptual = bases[number % 6] ^ sum({1 << flip for flip in flips})
        content = int(rng.integers(0, count // 2))
        made.append(
            picture(number, str(rng.choice(["train", "validation", "test"])), content, perceptual)
        )
    return made


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_each_picture_that_has_its_like_elsewhere_stands_in_a_pair(seed: int, within: bool) -> None:
    made = families(60, seed)
    found = list(find_leaks(Pictures.of(made), within=within))
    assert all(alike(*pair) for pair in found)
    assert within or all(one.split != other.split for one, other in found)
    told = {(one.file, other.split) for one, other in found}
    told |= {(other.file, one.split) for one, other in found}
    all_pairs = [(a, b) for a in made for b in made if a is not b and alike(a, b)]
    assert len(found) < len(all_pairs) / 2
    for one, other in all_pairs:
        if one.split != other.split:
            assert (one.file, other.split) in told
            twins = {b.split for a, b in all_pairs if a is one and a.content_hash == b.content_hash}
            if other.split in twins:
                splits = {one.split, other.split}
                own = [p for p in found if one in p and {p[0].split, p[1].split} == splits]
                assert "exact copy" in map(kind, own)
        elif within and made.index(one) > made.index(other):
            assert (one.file, one.split) in told


def test_frames_of_a_fixed_camera_are_no_millions_of_pairs() -> None:
    splits = ["train", "validation"] * 5_000
    made = Pictures.of(picture(k, split, k, 2**63 | k % 7) for k, split in enumerate(splits))
    leaks = find_leaks(made)
    assert len(leaks) == 10_000 - 1
    assert len(leaked_files(leaks, "validation")) == 5_000
    assert len(find_leaks(made, within=True)) < 20_000


def test_no_picture_is_alike_none() -> None:
    assert len(find_leaks(Pictures.of([]))) == 0
