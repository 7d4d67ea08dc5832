"""Promises of packing by Apache Beam: the same pack, and errors of its workers in one line.

Beam has an environment of its own (the group `beam`), as it wants older releases of what the
others use: CATSDOGS_REQUIRE_BEAM=1 says that this is it.
"""

import importlib.util
import json
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from catsdogs_jax import check
from catsdogs_jax.data.pack import PackOptions, pack
from catsdogs_jax.data.pack_beam import BeamCrew
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


def test_the_pipeline_does_not_grow_with_the_pictures(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dataflow takes 20 MB, https://cloud.google.com/dataflow/docs/request-quotas."""
    monkeypatch.setitem(sys.modules, "apache_beam", ModuleType("apache_beam"))
    crew, elements = BeamCrew([], tmp_path), []

    def run(given: Sequence[Any], work: Callable[[Any], object]) -> None:
        elements.extend(given)
        for element in given:
            work(element)

    monkeypatch.setattr(crew, "_run", run)
    listing = list_folder(colours)
    pack(listing, tmp_path / "alone", PackOptions(shards=1, workers=1))
    pack(listing, tmp_path / "beam", PackOptions(shards=1), crew)
    names = {example.file for example in listing.examples}
    assert len(elements) == 1 + 2  # A block of names, and a shard of each split.
    sent = pickle.dumps(elements)
    assert not any(name.encode() in sent for name in names)
    for path in (tmp_path / "alone").iterdir():
        assert (tmp_path / "beam" / path.name).read_bytes() == path.read_bytes()


@WITH_BEAM
def test_a_picture_that_changes_meanwhile_is_told_in_one_line(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = BeamCrew([], tmp_path)
    listing = list_folder(colours)
    found = list(crew.scan(colours, [example.file for example in listing.examples]))
    (colours / listing.examples[0].file).write_bytes(b"another")
    monkeypatch.setattr(crew, "scan", lambda *_: found)
    with pytest.raises(UserError, match=r"--beam: '.*' changed while it was packed \(its content"):
        pack(listing, tmp_path / "out", PackOptions(), crew)


@pytest.mark.skipif(THERE, reason="Beam is there")
def test_without_beam_its_extra_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pip install 'catsdogs-jax\[beam,records\]'"):
        BeamCrew([], tmp_path)
