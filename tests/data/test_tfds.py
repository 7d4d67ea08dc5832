"""Promises of TensorFlow Datasets: the real classes, without the network."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.sources import list_folder, list_source
from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.data.tfds import export, export_builder
from catsdogs_jax.errors import UserError

tf()
import tensorflow_datasets as tfds  # noqa: E402  (after its devices are hidden)


def test_an_image_folder_is_exported_byte_for_byte(photos: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for split in ("train", "validation"):
        for label in ("cats", "dogs"):
            folder = source / split / label
            folder.mkdir(parents=True)
            for path in sorted((photos / split / label).iterdir())[:3]:
                shutil.copy(path, folder)
    exported = export_builder(tfds.folder_dataset.ImageFolder(str(source)), tmp_path / "out")
    listing = list_folder(exported)
    assert len(listing.examples) == 12
    assert {e.labels + (e.split,) for e in listing.examples} == {
        (label, split) for label in ("cats", "dogs") for split in ("train", "validation")
    }
    originals = {path.read_bytes() for path in source.rglob("*.jpg")}
    assert {(exported / e.file).read_bytes() for e in listing.examples} == originals


def test_a_named_data_set_is_listed_like_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The names of the splits come with the download, which mock_data leaves out.
    train = tfds.core.SplitInfo(name="train", shard_lengths=[6], num_bytes=1)
    monkeypatch.setattr(tfds.core.DatasetInfo, "splits", tfds.core.SplitDict([train]))
    with tfds.testing.mock_data(num_examples=6):
        listing = list_source(
            DataConfig(source="tfds", name="cats_vs_dogs", dir=str(tmp_path / "tfds"))
        )
    assert len(listing.examples) == 6
    assert {e.labels[0] for e in listing.examples} <= {"cat", "dog"}
    assert {e.split for e in listing.examples} == {"train"}
    assert np.all([(listing.root / e.file).stat().st_size > 0 for e in listing.examples])


def test_what_a_download_needs_is_installed(tmp_path: Path) -> None:
    # TFDS looks for the checksums by a package that it does not name as a dependency.
    builder = tfds.builder("cats_vs_dogs", data_dir=str(tmp_path))
    assert any("PetImages" in url or "kagglecatsanddogs" in url for url in builder.url_infos or ())


def test_an_unknown_name_points_to_the_catalogue() -> None:
    with pytest.raises(UserError, match=r"'cats_vs_dgos'.*catalog"):
        export("cats_vs_dgos")


def test_a_data_set_without_class_labels_is_refused() -> None:
    with (
        tfds.testing.mock_data(num_examples=1),
        pytest.raises(UserError, match="needs an image and a label"),
    ):
        export("coco/2017")
