"""Promises of TensorFlow Datasets: the real classes, without the network."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.manifest import build_manifest
from catsdogs_jax.data.sources import list_folder, list_source
from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.data.tfds import export, export_builder
from catsdogs_jax.errors import UserError

tf()
import tensorflow_datasets as tfds  # noqa: E402  (after its devices are hidden)


class Gaps(tfds.core.GeneratorBasedBuilder):
    """Squares of two classes, of which the splits hold the labels that `held` says."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # There are no checksums of downloads beside this file.
    held: Mapping[str, Sequence[int]]

    def _info(self) -> Any:
        label = tfds.features.ClassLabel(names=["red", "blue"])
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(), "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {split: self._generate_examples(split) for split in self.held}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, label in enumerate(self.held[split]):
            rng = np.random.default_rng([len(split), number])
            image = rng.integers(0, 255, (20, 20, 3), np.uint8)
            yield f"{split}{number}", {"image": image, "label": label}


@pytest.fixture
def gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Returns a function that prepares `Gaps` with the labels of each split."""

    def prepare(**held: Sequence[int]) -> Any:
        monkeypatch.setattr(Gaps, "held", held, raising=False)
        builder = Gaps(data_dir=str(tmp_path / "tfds"))
        builder.download_and_prepare()
        return builder

    return prepare


SOUND = {"train": [0, 1] * 3, "validation": [0, 1]}


@pytest.mark.parametrize(
    ("test", "listed"), [([-1, -1], set()), ([1, -1], {"blue"})], ids=["unlabelled", "no red"]
)
def test_a_test_split_without_labels_or_without_a_class_is_exported_and_read(
    gaps: Callable[..., Any], tmp_path: Path, test: list[int], listed: set[str]
) -> None:
    exported = export_builder(gaps(**SOUND, test=test), tmp_path / "out")
    listing = list_folder(exported)
    assert {e.labels[0] for e in listing.examples if e.split == "test"} == listed
    manifest = build_manifest(listing, DataConfig(), seed=0)
    assert manifest.counts["train"] == 6
    assert manifest.counts["validation"] == 2


def test_an_export_of_an_earlier_version_loses_its_empty_folders(
    gaps: Callable[..., Any], tmp_path: Path
) -> None:
    builder = gaps(**SOUND, test=[-1])
    exported = export_builder(builder, tmp_path / "out")
    before = list_folder(exported)
    for label in ("red", "blue"):
        (exported / "test" / label).mkdir(parents=True)
    assert list_folder(export_builder(builder, tmp_path / "out")) == before


def test_a_data_set_without_any_label_is_refused_and_not_kept(
    gaps: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="'gaps' has no picture whose class is known"):
        export_builder(gaps(train=[-1], test=[-1]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


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
