"""Promises of shards that others wrote: read where they are, by the real classes of TFDS."""

import csv
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from catsdogs_jax import evaluate
from catsdogs_jax.config import Config, DataConfig
from catsdogs_jax.data import scan
from catsdogs_jax.data.containers import CONTAINERS, Container, open_writer
from catsdogs_jax.data.contents import as_files, read_picture
from catsdogs_jax.data.dataset import Dataset, load_dataset
from catsdogs_jax.data.foreign import Shard, Shards, index_once
from catsdogs_jax.data.manifest import scan_listing
from catsdogs_jax.data.pack import PackOptions, pack
from catsdogs_jax.data.places import origin_of
from catsdogs_jax.data.sources import list_labelled, list_source
from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.data.tfds import export_builder, index_builder
from catsdogs_jax.errors import Interrupted, UserError
from catsdogs_jax.train import train_and_evaluate
from tests.processes import StopAfter

tf()
import tensorflow_datasets as tfds  # noqa: E402  (after its devices are hidden)

Tiny = Callable[..., Config]


class ColouredSquares(tfds.core.GeneratorBasedBuilder):
    """A folder of pictures as a data set; "unknown" is a class whose pictures have no label."""

    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # There are no checksums of downloads beside this file.
    folder: Path

    def _info(self) -> Any:
        label = tfds.features.ClassLabel(names=["red", "deep blue"])
        features = {
            "image": tfds.features.Image(),
            "label": label,
            "note": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        folders = sorted(path for path in self.folder.iterdir() if path.is_dir())
        return {path.name: self._generate_examples(path) for path in folders}

    def _generate_examples(self, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        numbers = {"red": 0, "blue": 1, "unknown": -1}
        for path in sorted(folder.rglob("*.png")):
            facts = {"label": numbers[path.parent.name], "note": str(path)}
            yield str(path), {"image": str(path), **facts}


@pytest.fixture
def prepare(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Any, DataConfig]]:
    """Returns a function that prepares the coloured pictures; the cache is empty."""
    monkeypatch.setenv("CATSDOGS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ColouredSquares, "folder", colours, raising=False)

    def prepare(container: str) -> tuple[Any, DataConfig]:
        builder = ColouredSquares(data_dir=str(tmp_path / "tfds"))
        options = tfds.download.DownloadConfig(num_shards=3)
        builder.download_and_prepare(file_format=container, download_config=options)
        folder = str(tmp_path / "tfds")
        return builder, DataConfig(source="tfds", stream=True, name="coloured_squares", dir=folder)

    return prepare


def of(config: DataConfig) -> dict[str, object]:
    """The keys that name a data set, for `tiny`."""
    return {key: getattr(config, key) for key in ("source", "stream", "name", "dir")}


def batches(dataset: Dataset) -> list[np.ndarray]:
    found = [
        dataset.training.training_batches(2, 7, 8, seed=3),  # As a run that goes on at step 2.
        dataset.splits["validation"].evaluation_batches(4),
    ]
    return [batch[key] for each in found for batch in each for key in ("image", "target")]


def written_out(builder: Any, folder: Path, splits: tuple[str, ...]) -> Path:
    """Writes the pictures, as TFDS itself reads them, into a folder with a table."""
    skip, rows = {"image": tfds.decode.SkipDecoding()}, ["file,label,split"]
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    for split in splits:
        examples = (
            builder.as_data_source(split, decoders=skip)
            if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD
            else builder.as_dataset(
                split=split, decoders=skip, read_config=in_order
            ).as_numpy_iterator()
        )
        (folder / split).mkdir(parents=True)
        for number, example in enumerate(examples):
            (folder / f"{split}/{number:07d}").write_bytes(example["image"])
            label = ("red", "deep_blue")[example["label"]]
            rows.append(f"{split}/{number:07d},{label},{split}")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder / "table.csv"


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_pictures_are_those_that_tfds_reads_and_none_is_copied(
    tiny: Tiny, prepare: Callable[[str], Any], colours: Path, tmp_path: Path, container: str
) -> None:
    (colours / "train/red/broken.png").write_bytes(b"no picture")
    # The same picture in two splits.
    (colours / "validation/red/9.png").write_bytes((colours / "train/red/3.png").read_bytes())
    builder, config = prepare(container)
    assert {len(info.filenames) for info in builder.info.splits.values()} == {3}
    never = {"cache_mb": 0, "disk_cache_mb": 0}
    here = load_dataset(tiny(data={**of(config), **never}))
    table = written_out(builder, tmp_path / "written", ("train", "validation"))
    there = load_dataset(tiny(data={"source": "table", "table": str(table), "dir": "", **never}))
    assert here.manifest.pictures == there.manifest.pictures
    assert here.manifest.fingerprint == there.manifest.fingerprint
    assert here.manifest.quarantined == there.manifest.quarantined
    assert len(here.manifest.quarantined) == 1
    assert list(here.leaks) == list(there.leaks)
    assert len(here.leaks) == 1
    for found, expected in zip(batches(here), batches(there), strict=True):
        np.testing.assert_array_equal(found, expected)
    pictures = {path.read_bytes() for path in colours.rglob("*.png")}
    kept = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept
    assert not any(picture in file for picture in pictures for file in kept)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_picture_is_found_wherever_it_stands_in_its_record(
    tmp_path: Path, container: Container, colours: Path
) -> None:
    train = tf().train

    def part(name: str, **value: Any) -> bytes:
        features = train.Features(feature={name: train.Feature(**value)})
        return train.Example(features=features).SerializeToString()

    content = (colours / "train/red/3.png").read_bytes()
    image = part("image", bytes_list=train.BytesList(value=[content]))
    label = part("label", int64_list=train.Int64List(value=[1]))
    note = part("note", bytes_list=train.BytesList(value=[b"after it"]))
    writer = open_writer(container, tmp_path / "shard", compress=True)
    for parts in ([image, label, note], [label, image, note], [note, label, image]):
        writer.write(b"".join(parts))  # Parts of a message that follow each other are one message.
    writer.close()
    shards = [Shard("train", "shard", 3)]
    index = index_once(Shards("parts", str(tmp_path), container, ["red", "blue"], shards))
    listing = list_labelled(index)
    assert [example.labels for example in listing.examples] == [("blue",)] * 3
    for file in listing.examples.column("file"):
        assert read_picture(index, file, hashlib.sha256(content).hexdigest()) == content


@pytest.mark.heavy
def test_a_run_resumes_exactly_and_is_evaluated_and_told_by_names(
    tiny: Tiny, prepare: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, data = prepare("array_record")
    config = tiny(data=of(data), model={"convolutions": "native"})  # To the bit.
    train_and_evaluate(config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train_and_evaluate(config, tmp_path / "stopped", StopAfter(2))
    train_and_evaluate(config, tmp_path / "stopped")
    for name in ("metrics.jsonl", "predictions.csv"):
        found, expected = ((tmp_path / run / name).read_bytes() for run in ("stopped", "whole"))
        assert found == expected
    assert f"from {tmp_path / 'tfds/coloured_squares/1.0.0'}" in capsys.readouterr().out
    with (tmp_path / "whole/predictions.csv").open() as lines:
        files = [row["file"] for row in csv.DictReader(lines)]
    assert f"validation/{len(files) - 1:07d}" == max(files)
    prepared = Path(data.dir) / "coloured_squares/1.0.0"
    words = ["--workdir", str(tmp_path / "whole"), "--data", str(prepared)]
    evaluate.main([*words, "--out", str(tmp_path / "evaluated")])
    with (tmp_path / "evaluated/predictions.csv").open() as lines:
        again = {row["file"]: row for row in csv.DictReader(lines)}
    with (tmp_path / "whole/predictions.csv").open() as lines:
        assert all(row.items() <= again[row["file"]].items() for row in csv.DictReader(lines))


def test_pictures_are_indexed_and_scanned_once_until_the_shards_change(
    prepare: Callable[[str], Any],
    colours: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[bytes] = []
    facts = scan._facts
    monkeypatch.setattr(scan, "_facts", lambda data: seen.append(data) or facts(data))
    builder, config = prepare("tfrecord")
    first = scan_listing(list_source(config))
    assert sorted(seen) == sorted(path.read_bytes() for path in colours.rglob("*.png"))
    assert "indexing  33 pictures of coloured_squares" in capsys.readouterr().out
    assert scan_listing(list_source(config)).facts == first.facts
    assert len(seen) == 33
    assert not capsys.readouterr().out
    shard = builder.info.splits["train"].filepaths[0]
    shard.write_bytes(shard.read_bytes())
    assert scan_listing(list_source(config)).facts == first.facts
    assert len(seen) == 66


def test_pictures_without_a_label_are_left_out_and_named(
    prepare: Callable[[str], Any], paint: Callable[..., Path], tmp_path: Path
) -> None:
    for number in range(4):
        paint(f"colours/test/unknown/{number}.png", (9, 9, 9), seed=number)
    builder, config = prepare("tfrecord")
    listing = list_source(config)
    assert listing.quarantined == tuple((f"test/{n:07d}", "has no label") for n in range(4))
    assert {example.split for example in listing.examples} == {"train", "validation"}
    assert {example.labels for example in listing.examples} == {("red",), ("deep_blue",)}
    exported = export_builder(builder, tmp_path / "exported")  # Has no way to name them.
    assert {path.name for path in exported.iterdir() if path.is_dir()} == {"train", "validation"}
    assert {example.split for example in list_labelled(exported).examples} == {
        "train",
        "validation",
    }


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def blot(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:-100] = bytes(len(data) - 200)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("container", "spoil", "told"),
    [
        ("array_record", Path.unlink, "No such file"),
        ("array_record", cut, "holds 0 of 8 records"),
        ("array_record", blot, "holds 0 of 8 records"),
        ("tfrecord", cut, "cannot be read"),
        ("tfrecord", blot, "cannot be read"),
    ],
)
def test_a_broken_shard_is_named_with_the_mend(
    prepare: Callable[[str], Any], container: str, spoil: Callable[[Path], None], told: str
) -> None:
    builder, config = prepare(container)
    shard = Path(builder.info.splits["train"].filepaths[1])
    spoil(shard)
    with pytest.raises(UserError, match=f"{shard.name}.*{told}.*prepare the data set again") as met:
        list_source(config)
    assert "\n" not in str(met.value)


def test_a_shard_that_lacks_records_is_named(prepare: Callable[[str], Any]) -> None:
    builder, _ = prepare("tfrecord")
    info = builder.info.splits["train"]
    shards = Shards(
        "coloured_squares",
        str(builder.data_dir),
        "tfrecord",
        ["red", "blue"],
        [Shard("train", info.filenames[0], info.shard_lengths[0] + 1)],
    )
    with pytest.raises(UserError, match=r"holds 8 of 9 records: prepare the data set again"):
        index_once(shards)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_picture_that_changes_while_a_run_is_on_is_not_trained_on(
    tiny: Tiny, prepare: Callable[[str], Any], container: str
) -> None:
    builder, config = prepare(container)
    data = load_dataset(tiny(data={**of(config), "cache_mb": 0, "disk_cache_mb": 0}))
    picture = data.manifest.split("train")[0]
    shard = Path(builder.info.splits["train"].filepaths[0])
    with as_files(data.manifest.root, [(picture.file, picture.content_hash)]) as (copy,):
        content = copy.read_bytes()
    with shard.open("r+b") as stream:
        stream.seek(shard.read_bytes().index(content) + 50)
        stream.write(bytes(20))
    # ArrayRecord has checksums of its own; those of TFRecord are not read for a picture.
    why = "cannot be read" if container == "array_record" else "is not what it was when it was scan"
    mend = "prepare the data set again, and start the run anew"
    with pytest.raises(UserError, match=f"{shard.name}' {why}.*: {mend}"):
        batches(data)


def test_what_is_not_read_in_place_is_told_with_the_mend(
    prepare: Callable[[str], Any], tmp_path: Path
) -> None:
    builder, _ = prepare("array_record")
    with pytest.raises(UserError, match=r"prepared as array_record.*--config.data.stream=true"):
        export_builder(builder, tmp_path / "out")
    prepared = Path(builder.data_dir)
    with pytest.raises(UserError, match=r"squares/1.0.0' is a pack: pack the folder"):
        pack(list_labelled(prepared), tmp_path / "packed", PackOptions(workers=1))
    (prepared / "features.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot read .*1\.0\.0'.*: prepare the data set again"):
        list_labelled(prepared)
    builder.info.set_file_format("riegeli", override=True)
    with pytest.raises(UserError, match=r"prepared as riegeli, .*reads array_record and tfrecord"):
        index_builder(builder)


@pytest.fixture
def bucket() -> Iterator[Any]:
    """A store, into which `put` copies what TFDS has prepared."""
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/foreign", recursive=True)


def put(store: Any, config: DataConfig) -> DataConfig:
    if store.exists("/foreign"):
        store.rm("/foreign", recursive=True)
    store.put(config.dir, "/foreign/tfds", recursive=True)
    return dataclasses.replace(config, dir="memory://foreign/tfds/")


def test_shards_in_a_bucket_are_read_where_they_are(
    tiny: Tiny,
    prepare: Callable[[str], Any],
    bucket: Any,
    colours: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, config = prepare("tfrecord")
    never = {"cache_mb": 0, "disk_cache_mb": 0}
    here = load_dataset(tiny(data={**of(config), **never}))
    there = load_dataset(tiny(data={**of(put(bucket, config)), **never}))
    assert there.manifest.pictures == here.manifest.pictures
    assert there.manifest.fingerprint == here.manifest.fingerprint
    for found, expected in zip(batches(there), batches(here), strict=True):
        np.testing.assert_array_equal(found, expected)
    url = "memory://foreign/tfds/coloured_squares/1.0.0"
    assert f"indexing  33 pictures of coloured_squares in {url}" in capsys.readouterr().out
    pictures = {path.read_bytes() for path in colours.rglob("*.png")}
    kept = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not any(picture in file for picture in pictures for file in kept)
    shard = "coloured_squares-train.tfrecord-00000-of-00003"
    bucket.rm(f"/foreign/tfds/coloured_squares/1.0.0/{shard}")
    with pytest.raises(UserError, match=f"shard '{url}/{shard}' cannot be read"):
        batches(there)
    with pytest.raises(UserError, match=f"shard '{url}/{shard}' is missing: prepare"):
        list_source(dataclasses.replace(config, dir="memory://foreign/tfds"))


def test_of_several_versions_in_a_bucket_the_newest_or_the_named_one_is_read(
    prepare: Callable[[str], Any], bucket: Any
) -> None:
    _, config = prepare("tfrecord")
    far = put(bucket, config)
    folder = "/foreign/tfds/coloured_squares"
    for version in ("0.9.0", "0.10.0"):
        bucket.copy(f"{folder}/1.0.0", f"{folder}/{version}", recursive=True)
    assert origin_of(list_source(far).root).endswith("/1.0.0")
    bucket.rm(f"{folder}/1.0.0", recursive=True)
    assert origin_of(list_source(far).root).endswith("/0.10.0")
    named = dataclasses.replace(far, name="coloured_squares:0.9.0")
    assert origin_of(list_source(named).root).endswith("/0.9.0")


def test_what_a_bucket_does_not_give_is_told_with_the_mend(
    prepare: Callable[[str], Any], bucket: Any
) -> None:
    far = put(bucket, prepare("array_record")[1])
    with pytest.raises(UserError, match=r"prepared as array_record, but from a bucket .*tfrecord"):
        list_source(far)
    for name in ("squares", "coloured_squares:2.0.0"):
        with pytest.raises(UserError, match=f"no data set '{name}' is prepared in 'memory://"):
            list_source(dataclasses.replace(far, name=name))
