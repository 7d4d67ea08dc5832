"""Promises of packing by Apache Beam: the same pack, and errors of its workers in one line.

Beam has an environment of its own (the group `beam`), as it wants older releases of what the
others use: CATSDOGS_REQUIRE_BEAM=1 says that this is it.
"""

import importlib.util
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import fsspec
import pytest

from catsdogs_jax import check
from catsdogs_jax.config import DataConfig
from catsdogs_jax.data import pack_beam
from catsdogs_jax.data.pack import PackOptions, pack
from catsdogs_jax.data.pack_beam import BeamCrew
from catsdogs_jax.data.places import cache_folder
from catsdogs_jax.data.records import list_records
from catsdogs_jax.data.shards import Job
from catsdogs_jax.data.sources import list_folder
from catsdogs_jax.errors import UserError

THERE = importlib.util.find_spec("apache_beam") is not None
WITH_BEAM = pytest.mark.skipif(
    not THERE and os.environ.get("CATSDOGS_REQUIRE_BEAM") != "1", reason="needs the group beam"
)
TWO_PROCESSES = "--direct_num_workers=2 --direct_running_mode=multi_processing"

pytestmark = pytest.mark.filterwarnings("ignore")  # Of Beam.


@WITH_BEAM
@pytest.mark.parametrize("options", ["", TWO_PROCESSES])
def test_a_pack_by_beam_is_that_of_one_machine(colours: Path, tmp_path: Path, options: str) -> None:
    (colours / "train/red/broken.png").write_bytes(b"no picture")
    listing = list_folder(colours)
    alone = pack(listing, tmp_path / "alone", PackOptions(shards=2, workers=1))
    check.main([str(colours), "--pack", str(tmp_path / "beam"), "--shards=2", "--beam", options])
    assert json.loads((tmp_path / "beam/records.json").read_text()) == alone
    assert alone["quarantined"]
    for path in (tmp_path / "alone").iterdir():
        assert (tmp_path / "beam" / path.name).read_bytes() == path.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} >= {"alone", "beam"}
    assert not list(tmp_path.glob(".*"))  # Neither a draft nor a scan is left.


@WITH_BEAM
def test_workers_without_a_shared_disk_read_and_write_a_bucket(
    colours: Path, tmp_path: Path
) -> None:
    (colours / "train/red/broken.png").write_bytes(b"no picture")
    bucket = (tmp_path / "bucket").as_uri()  # Two processes see it.
    pack(list_folder(colours), tmp_path / "alone", PackOptions(shards=2, workers=1))
    shutil.copytree(colours, tmp_path / "bucket/pets")
    packs = ["--pack", f"{bucket}/records", "--shards=2", "--beam", TWO_PROCESSES]
    check.main([f"{bucket}/pets", *packs])
    same_packs(tmp_path / "alone", tmp_path / "bucket/records")
    assert {path.name for path in (tmp_path / "bucket").iterdir()} == {"pets", "records"}


def same_packs(alone: Path, other: Path) -> None:
    """Two packs are the same, but for where the pictures of each were."""
    assert {path.name for path in other.iterdir()} == {path.name for path in alone.iterdir()}
    for path in alone.iterdir():
        found, expected = (other / path.name).read_bytes(), path.read_bytes()
        if path.name == "records.json":
            found, expected = (
                {**json.loads(text), "source": "", "plan": ""} for text in (found, expected)
            )
        assert found == expected


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands for Beam where it is not; holds the elements that a pipeline was given."""
    elements = []

    def run(crew: BeamCrew, given: Sequence[Any], work: Callable[[Any], object]) -> None:
        sent = pickle.dumps((given, work))
        elements.extend(given)
        given, work = pickle.loads(sent)
        for element in given:
            work(element)

    monkeypatch.setitem(sys.modules, "apache_beam", ModuleType("apache_beam"))
    monkeypatch.setattr(BeamCrew, "_run", run)
    return elements


def test_the_pipeline_does_not_grow_with_the_pictures(
    colours: Path, tmp_path: Path, in_this_process: list[Any]
) -> None:
    """Dataflow takes 20 MB, https://cloud.google.com/dataflow/docs/request-quotas."""
    listing = list_folder(colours)
    pack(listing, tmp_path / "alone", PackOptions(shards=1, workers=1))
    crew = BeamCrew([], tmp_path / "beam")
    pack(listing, tmp_path / "beam", PackOptions(shards=1), crew)
    names = {example.file for example in listing.examples}
    assert len(in_this_process) == 1 + 2  # A block of names, and a shard of each split.
    sent = pickle.dumps(in_this_process)
    assert not any(name.encode() in sent for name in names)
    same_packs(tmp_path / "alone", tmp_path / "beam")


def test_a_bucket_is_packed_into_another_and_no_picture_comes_here(
    colours: Path,
    tmp_path: Path,
    in_this_process: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (colours / "train/red/broken.png").write_bytes(b"no picture")
    pack(list_folder(colours), tmp_path / "alone", PackOptions(shards=2, workers=1))
    memory = fsspec.filesystem("memory")
    memory.put(str(colours), "memory://beam/pets", recursive=True)
    argv = ["memory://beam/pets", "--pack", "memory://beam/records", "--shards=2", "--beam", ""]

    written = pack_beam.write_shard
    done = []

    def fail_at_the_third(job: Job) -> dict[str, Any]:
        if len(done) == 2:
            raise UserError("a worker is gone")
        done.append(job.name)
        return written(job)

    monkeypatch.setattr(pack_beam, "write_shard", fail_at_the_third)
    with pytest.raises(UserError, match="a worker is gone"):
        check.main(argv)
    with pytest.raises(UserError, match=r"no records\.json at 'memory://beam/records'"):
        list_records(DataConfig(source="records", dir="memory://beam/records"))
    again = []
    monkeypatch.setattr(
        pack_beam, "write_shard", lambda job: again.append(job.name) or written(job)
    )
    check.main(argv)
    assert len(again) == 2  # The shards that were whole are kept.
    assert not set(again) & set(done)
    memory.get("memory://beam/records", str(tmp_path / "records"), recursive=True)
    same_packs(tmp_path / "alone", tmp_path / "records")
    check.main(argv)  # It is there already.
    assert {name.rpartition("/")[2] for name in memory.ls("/beam", detail=False)} == {
        "pets",
        "records",
    }
    assert not list((cache_folder() / "folders").glob("*"))  # Nothing was copied.


@WITH_BEAM
def test_a_picture_that_changes_meanwhile_is_told_in_one_line(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = BeamCrew([], tmp_path / "out")
    listing = list_folder(colours)
    found = list(crew.scan(colours, [example.file for example in listing.examples]))
    (colours / listing.examples[0].file).write_bytes(b"another")
    monkeypatch.setattr(crew, "scan", lambda *_: found)
    with pytest.raises(UserError, match=r"--beam: '.*' changed while it was packed \(its content"):
        pack(listing, tmp_path / "out", PackOptions(), crew)


@pytest.mark.skipif(THERE, reason="Beam is there")
def test_without_beam_its_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"--extra beam --extra records catsdogs .*'\.\[beam,records\]'"
    ):
        BeamCrew([], tmp_path / "out")
