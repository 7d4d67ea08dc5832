"""Promises of the pipeline: full training batches, masked evaluation, the same with any cache."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from catsdogs_jax.config import Config, DataConfig
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.data.manifest import Manifest, build_manifest
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.sources import list_folder
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing


@pytest.fixture
def manifest(colours: Path) -> Manifest:
    return build_manifest(list_folder(colours), DataConfig(), 0)


def pictures(manifest: Manifest, *, cached: bool = True) -> PictureSet:
    preprocessing = Preprocessing(16, "stretch", manifest.task)
    made = PictureSet(manifest.split("train"), manifest.root, preprocessing)
    return made.in_memory() if cached else made


def test_training_batches_hold_the_pictures_they_name(manifest: Manifest) -> None:
    made = pictures(manifest)
    assert made.cache is not None
    for batch in made.training_batches(0, 5, 7, seed=0):
        assert batch["image"].shape == (7, 16, 16, 3)
        assert batch["image"].dtype == np.uint8
        assert batch["mask"].all()
        np.testing.assert_array_equal(batch["image"], made.cache[batch["index"]])
        blue_is_brighter = batch["image"][..., 2].mean((1, 2)) > batch["image"][..., 0].mean((1, 2))
        np.testing.assert_array_equal(batch["target"][:, 0] == 0, blue_is_brighter)


def test_pictures_are_the_same_from_memory_and_from_disk(manifest: Manifest) -> None:
    cached, read = pictures(manifest), pictures(manifest, cached=False)
    assert read.cache is None
    for name in ("training_batches", "evaluation_batches"):
        arguments = (3, 9, 5, 1) if name == "training_batches" else (5,)
        both = zip(getattr(cached, name)(*arguments), getattr(read, name)(*arguments), strict=True)
        for one, other in both:
            for key in one:
                np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("batch", [1, 5, 24, 25])
def test_evaluation_pads_and_masks_the_last_batch(manifest: Manifest, batch: int) -> None:
    batches = list(pictures(manifest).evaluation_batches(batch))
    assert {len(b["image"]) for b in batches} == {batch}
    counted = np.concatenate([b["index"][b["mask"]] for b in batches])
    np.testing.assert_array_equal(counted, np.arange(24))


def test_a_picture_that_disappears_stops_the_run_with_its_name(manifest: Manifest) -> None:
    made = pictures(manifest, cached=False)
    (manifest.root / made.pictures[3].file).unlink()
    with pytest.raises(UserError, match=f"{made.pictures[3].file}[^\n]*put it back"):
        list(made.evaluation_batches(8))


def test_a_picture_that_changes_stops_the_run_with_its_name(manifest: Manifest) -> None:
    made = pictures(manifest, cached=False)
    changed, other = (manifest.root / made.pictures[place].file for place in (3, 4))
    status = changed.stat()
    changed.write_bytes(other.read_bytes())
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(UserError, match=f"{made.pictures[3].file}[^\n]*content has changed"):
        list(made.evaluation_batches(8))


def test_class_counts_are_counted(manifest: Manifest) -> None:
    np.testing.assert_array_equal(pictures(manifest).class_counts(), [12, 12])


def test_only_what_is_trained_on_is_decoded_with_a_margin(tiny: Callable[..., Config]) -> None:
    plain, wider = load_dataset(tiny()), load_dataset(tiny(augment={"margin": 1.5}))
    assert plain.training is plain.splits["train"]
    assert wider.training.cache is not None
    assert wider.training.cache.shape == (24, 24, 24, 3)
    for name, made in plain.splits.items():
        again, cache = wider.splits[name].in_memory().cache, made.cache
        assert cache is not None
        assert again is not None
        np.testing.assert_array_equal(cache, again)
