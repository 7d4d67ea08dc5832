"""Promises of packs: what is trained from one is what is trained from the folder it was made of."""

import dataclasses
import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from catsdogs_jax import check
from catsdogs_jax.config import Config, DataConfig
from catsdogs_jax.data import pack as packing
from catsdogs_jax.data import shards
from catsdogs_jax.data.columns import Texts
from catsdogs_jax.data.contents import as_files, read_picture
from catsdogs_jax.data.dataset import Dataset, load_dataset
from catsdogs_jax.data.pack import PackOptions, pack
from catsdogs_jax.data.places import origin_of
from catsdogs_jax.data.records import Pack, list_records
from catsdogs_jax.data.shards import Squares
from catsdogs_jax.data.sources import list_folder, list_labelled, list_source, list_table
from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.errors import Interrupted, UserError
from catsdogs_jax.train import train_and_evaluate
from tests.processes import StopAfter

Tiny = Callable[..., Config]

ONE = PackOptions(workers=1)


@pytest.fixture
def records(colours: Path, tmp_path: Path) -> Path:
    """The coloured pictures, and one that is none, in two shards of each split."""
    (colours / "train/red/broken.png").write_bytes(b"no picture")
    pack(list_folder(colours), tmp_path / "records", dataclasses.replace(ONE, shards=2))
    return tmp_path / "records"


def data_of(tiny: Tiny, folder: Path, **options: object) -> Dataset:
    return load_dataset(tiny(data={"source": "records", "dir": str(folder), **options}))


def batches(dataset: Dataset) -> list[np.ndarray]:
    found = [
        dataset.splits["train"].training_batches(0, 7, 8, seed=3),
        dataset.splits["validation"].evaluation_batches(4),
    ]
    return [batch[key] for each in found for batch in each for key in ("image", "target")]


@pytest.mark.parametrize("container", ["array_record", "tfrecord"])
def test_a_pack_holds_the_folder(tiny: Tiny, colours: Path, tmp_path: Path, container: str) -> None:
    (colours / "train/red/broken.png").write_bytes(b"no picture")
    options = ["--pack-format", container, "--shards", "2", "--workers", "1"]
    check.main([str(colours), "--pack", str(tmp_path / "records"), *options])
    there = load_dataset(tiny(data={"cache_mb": 0, "disk_cache_mb": 0}))
    here = data_of(tiny, tmp_path / "records", cache_mb=0, disk_cache_mb=0)
    assert here.manifest.fingerprint == there.manifest.fingerprint
    assert here.manifest.pictures == there.manifest.pictures
    assert here.manifest.quarantined == there.manifest.quarantined != ()
    for found, expected in zip(batches(here), batches(there), strict=True):
        np.testing.assert_array_equal(found, expected)
    index = json.loads((tmp_path / "records/records.json").read_text())
    assert [shard["pictures"] for shard in index["shards"]] == [12, 12, 4, 5]
    assert index["splits"]["validation"] == {"pictures": 9, "classes": {"blue": 4, "red": 5}}
    assert index["quarantined"][0]["file"] == "train/red/broken.png"


@pytest.mark.heavy
def test_a_run_from_a_pack_is_the_run_from_the_folder_and_resumes_exactly(
    tiny: Tiny, records: Path, tmp_path: Path
) -> None:
    model = {"convolutions": "native"}  # Runs are compared to the bit.
    train_and_evaluate(tiny(model=model), tmp_path / "folder")  # Two epochs of 24 pictures.
    config = tiny(model=model, data={"source": "records", "dir": str(records)})
    with pytest.raises(Interrupted):
        train_and_evaluate(config, tmp_path / "packed", StopAfter(2))
    train_and_evaluate(config, tmp_path / "packed")
    for name in ("metrics.jsonl", "predictions.csv"):  # Losses, and the digest of all steps.
        found, expected = ((tmp_path / run / name).read_bytes() for run in ("packed", "folder"))
        assert found == expected
    assert b'"digest"' in (tmp_path / "packed/metrics.jsonl").read_bytes()


@pytest.mark.parametrize("seed", [0, 5])
def test_what_the_source_does_not_split_is_held_out_as_from_the_folder(
    tiny: Tiny, colours: Path, tmp_path: Path, seed: int
) -> None:
    index = pack(list_folder(colours / "train"), tmp_path / "records", ONE)
    assert set(index["splits"]) == {"all"}
    there = load_dataset(tiny(seed=seed, data={"dir": str(colours / "train")}))
    here = load_dataset(
        tiny(seed=seed, data={"source": "records", "dir": str(tmp_path / "records")})
    )
    assert here.manifest.pictures == there.manifest.pictures


def test_tables_with_several_labels_and_marks_work_as_before(
    tiny: Tiny, colours: Path, tmp_path: Path
) -> None:
    rows = [f"red/{i}.png,{'red|warm' if i % 2 else ''},train" for i in range(12)]
    rows += [f"blue/{i}.png,blue|warm,{'validation' if i < 6 else 'train'}" for i in range(12)]
    rows.append("red/0.png".replace("0", "3") + "x,red,validation")  # Missing: quarantined.
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file,label,split", *rows]))
    listing = list_table(table, colours / "train")
    pack(listing, tmp_path / "records", ONE)
    found = list_records(DataConfig(source="records", dir=str(tmp_path / "records")))
    assert found.multilabel
    assert set(found.examples) == {e for e in listing.examples if e.file != "red/3.pngx"}
    (tmp_path / "exclude.csv").write_text("file\nred/5.png\n")
    config = tiny(
        data={"exclude": str(tmp_path / "exclude.csv"), "classes": ("blue", "warm", "red")}
    )
    data = dataclasses.replace(config.data, source="records", dir=str(tmp_path / "records"))
    with pytest.raises(UserError, match="no readable picture in the validation split"):
        load_dataset(dataclasses.replace(config, data=data))


def test_squares_are_the_pixels_that_the_folder_gives(
    tiny: Tiny, colours: Path, tmp_path: Path
) -> None:
    options = dataclasses.replace(ONE, squares=Squares(16, "crop"))
    pack(list_folder(colours), tmp_path / "records", options)
    here = data_of(tiny, tmp_path / "records", resize="crop")
    there = load_dataset(tiny(data={"resize": "crop"}))
    for found, expected in zip(batches(here), batches(there), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(UserError, match=r"squares of 16 pixels, but data.image_size is 17"):
        data_of(tiny, tmp_path / "records", resize="crop", image_size=17)
    with pytest.raises(UserError, match="--config.data.resize=crop"):
        data_of(tiny, tmp_path / "records")


def test_records_are_examples_that_tensorflow_reads(colours: Path, tmp_path: Path) -> None:
    options = dataclasses.replace(ONE, container="tfrecord")
    pack(list_folder(colours), tmp_path / "records", options)
    names = [str(path) for path in sorted((tmp_path / "records").glob("validation-*.tfrecord"))]
    examples = [
        tf().train.Example.FromString(record.numpy()).features.feature
        for record in tf().data.TFRecordDataset(names)
    ]
    assert len(examples) == 9
    for example in examples:
        file = example["file"].bytes_list.value[0].decode()
        assert example["image"].bytes_list.value[0] == (colours / file).read_bytes()
        (name,) = example["label_name"].bytes_list.value
        assert ("blue", "red")[example["label"].int64_list.value[0]] == name.decode()
        assert name.decode() in file


def test_several_processes_write_what_one_writes(
    colours: Path, records: Path, tmp_path: Path
) -> None:
    options = dataclasses.replace(ONE, shards=2, workers=2)
    index = pack(list_folder(colours), tmp_path / "again", options)
    assert index == json.loads((records / "records.json").read_text())
    for path in records.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


KILLED = """
import os, sys
from pathlib import Path
from typing import Any
from catsdogs_jax.data import pack, shards
from catsdogs_jax.data.sources import list_folder

def write(job, count=[0]):
    count[0] += 1
    if count[0] == 3:
        shards._settle = lambda *_: os.kill(os.getpid(), 9)
    return shards.write_shard(job)

pack.write_shard = write
options = pack.PackOptions(shards=2, workers=1)
pack.pack(list_folder(Path(sys.argv[1])), Path(sys.argv[2]), options)
"""


def test_a_killed_pack_is_none_and_goes_on(
    colours: Path, records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(colours), str(out)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not out.exists()
    with pytest.raises(UserError, match="is not finished: give its command again"):
        list_source(DataConfig(source="records", dir=str(out)))
    wrote, real = [], shards._write_records
    monkeypatch.setattr(
        shards, "_write_records", lambda job, path: wrote.append(job.name) or real(job, path)
    )
    pack(list_folder(colours), out, dataclasses.replace(ONE, shards=2))
    assert wrote == [f"validation-0000{n}-of-00002.array_record" for n in range(2)]
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {
        p.name: p.read_bytes() for p in records.iterdir()
    }
    assert not (tmp_path / ".killed.packing").exists()
    # A pack that is there is not made again; one that would be another is refused.
    assert pack(list_folder(colours), out, dataclasses.replace(ONE, shards=2))["pictures"] == 33
    with pytest.raises(UserError, match="holds something else"):
        pack(list_folder(colours), out, ONE)


def test_shards_of_a_folder_that_has_changed_are_not_gone_on_with(
    colours: Path, tmp_path: Path, paint: Callable[..., Path]
) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(colours), str(tmp_path / "out")], check=False)
    paint("colours/train/red/0.png", (0, 200, 0), seed=1)
    pack(list_folder(colours), tmp_path / "out", dataclasses.replace(ONE, shards=2))
    listing = list_records(DataConfig(source="records", dir=str(tmp_path / "out")))
    assert listing.facts is not None
    for file, facts in zip(listing.examples.column("file"), listing.facts, strict=True):
        data = (colours / file).read_bytes()
        assert read_picture(listing.root, file, facts.content_hash) == data


def test_only_one_process_packs_into_a_folder(colours: Path, tmp_path: Path) -> None:
    (tmp_path / ".out.packing").mkdir()
    with (tmp_path / ".out.packing/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process packs"):
            pack(list_folder(colours), tmp_path / "out", ONE)


def shard_of(records: Path) -> Path:
    return records / "train-00001-of-00002.array_record"


def cut(records: Path) -> None:
    os.truncate(shard_of(records), 1000)


def remove(records: Path) -> None:
    shard_of(records).unlink()


def blot(records: Path) -> None:
    data = bytearray(shard_of(records).read_bytes())
    data[100:-100] = bytes(len(data) - 200)
    shard_of(records).write_bytes(data)


def forget(records: Path) -> None:
    (records / "train-00001-of-00002.array_record.pictures.jsonl.gz").write_bytes(b"")


@pytest.mark.parametrize("spoil", [cut, remove, blot, forget])
def test_a_broken_shard_is_named_with_the_mend(
    tiny: Tiny, records: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(records)
    with pytest.raises(UserError, match=r"train-00001-of-00002.*pack again") as error:
        data_of(tiny, records)
    assert "\n" not in str(error.value)


def test_a_changed_record_is_not_trained_on(records: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(records, other)
    listing = list_records(DataConfig(source="records", dir=str(other)))
    with pytest.raises(UserError, match=r"in shard .*is not what it was when it was packed"):
        read_picture(other, listing.examples[0].file, "0" * 64)


def test_a_picture_that_changes_while_it_is_packed_stops_it(colours: Path, tmp_path: Path) -> None:
    class Late(packing.LocalCrew):
        def write(self, jobs: Any) -> list[dict[str, Any]]:
            (colours / "train/red/3.png").write_bytes(b"other")
            return super().write(jobs)

    with pytest.raises(UserError, match=r"3\.png' changed while it was packed"):
        pack(list_folder(colours), tmp_path / "out", ONE, Late())
    assert not (tmp_path / "out").exists()


def test_a_pack_in_a_store_is_copied_once(
    tiny: Tiny, records: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CATSDOGS_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    store.put(str(records), "/bucket/pictures", recursive=True)
    there, here = data_of(tiny, records), data_of(tiny, "memory://bucket/pictures")  # type: ignore[arg-type]
    assert here.manifest.pictures == there.manifest.pictures
    assert origin_of(here.manifest.root) == "memory://bucket/pictures"
    for found, expected in zip(batches(here), batches(there), strict=True):
        np.testing.assert_array_equal(found, expected)
    shard = "/bucket/pictures/train-00000-of-00002.array_record"
    store.pipe(shard, b"broken")
    data_of(tiny, "memory://bucket/pictures")  # type: ignore[arg-type]
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(UserError, match=r"train-00000-of-00002.array_record is broken"):
        data_of(tiny, "memory://bucket/pictures")  # type: ignore[arg-type]
    store.rm("/bucket", recursive=True)
    with pytest.raises(UserError, match=r"no records.json at 'memory://bucket/pictures'"):
        data_of(tiny, "memory://bucket/pictures")  # type: ignore[arg-type]


def test_a_pack_in_a_store_is_streamed_record_by_record(
    tiny: Tiny, colours: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CATSDOGS_CACHE", str(tmp_path / "cache"))
    pack(list_folder(colours), tmp_path / "records", PackOptions("tfrecord", 2, workers=1))
    store = fsspec.filesystem("memory")
    store.put(str(tmp_path / "records"), "/bucket/streamed", recursive=True)
    source = {"cache_mb": 0, "disk_cache_mb": 0, "stream": True}
    here = data_of(tiny, "memory://bucket/streamed", **source)  # type: ignore[arg-type]
    there = data_of(tiny, tmp_path / "records")
    assert here.manifest.pictures == there.manifest.pictures
    for found, expected in zip(batches(here), batches(there), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not list((tmp_path / "cache").rglob("*.tfrecord"))

    shard = "/bucket/streamed/train-00000-of-00002.tfrecord"
    store.pipe(shard, bytes(len(store.cat(shard))))
    with pytest.raises(UserError, match=r"in shard 'memory://bucket/streamed/train-.* is not what"):
        batches(here)
    store.rm(shard)
    with pytest.raises(UserError, match=r"shard 'memory://.*00000-of-00002.tfrecord' cannot be"):
        batches(here)


def test_only_tfrecord_is_streamed(tiny: Tiny, records: Path) -> None:
    fsspec.filesystem("memory").put(str(records), "/bucket/arrays", recursive=True)
    with pytest.raises(UserError, match=r"has array_record: pack with --pack-format tfrecord"):
        data_of(tiny, "memory://bucket/arrays", stream=True)  # type: ignore[arg-type]


def test_other_commands_take_a_pack_for_a_folder(records: Path, colours: Path) -> None:
    assert len(list_labelled(records).examples) == 33
    with pytest.raises(UserError, match="data.source=records"):
        list_folder(records)
    listing = list_labelled(records)
    assert listing.facts is not None
    file = listing.examples[-1].file
    with as_files(records, [(file, listing.facts[-1].content_hash)]) as (copy,):
        assert copy.read_bytes() == (colours / file).read_bytes()
        Image.open(copy).verify()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pack-bytes", "decoded"], "--pack-size"),
        (["--pack-size", "150"], "--pack-bytes decoded"),
        (["--shards", "0"], "at least 1"),
    ],
)
def test_flags_that_do_not_fit_are_told_in_one_line(
    colours: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        check.main([str(colours), "--pack", str(tmp_path / "out"), *words])


def test_a_pack_inside_its_pictures_is_refused(colours: Path) -> None:
    with pytest.raises(UserError, match="beside it"):
        check.main([str(colours), "--pack", str(colours / "records")])


def test_a_full_disk_is_told_in_one_line(colours: Path, tmp_path: Path) -> None:
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
        "import sys; from catsdogs_jax import check, cli; cli.run(check.main)"
    )
    words = [str(colours), "--pack", str(tmp_path / "out"), "--workers", "1"]
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "make room, and give the same command again" in ended.stderr
    assert not (tmp_path / "out").exists()


def test_too_many_open_files_are_no_fault_of_a_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    pack = Pack.__new__(Pack)
    pack._files, pack._places = Texts(["a.jpg"]), np.zeros((1, 4), np.int64)
    monkeypatch.setattr(pack, "_reader", full, raising=False)
    with pytest.raises(OSError, match="Too many open files"):
        pack.read("a.jpg")
