"""Promises of a scan by several processes: each opens its part, all know the whole."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catsdogs_jax import hosts
from catsdogs_jax.data import scan_shares
from catsdogs_jax.data.listing import Example, Examples, Listing
from catsdogs_jax.data.scan_index import scan_folder
from catsdogs_jax.data.scan_shares import check_same_listing, scan_in_shares
from catsdogs_jax.errors import UserError

FILES = [f"{number}.jpg" for number in range(7)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven pictures of which one cannot be read."""
    colors = np.random.default_rng(0).integers(0, 255, (7, 9, 8, 3), np.uint8)
    for file, pixels in zip(FILES, colors, strict=True):
        Image.fromarray(pixels).save(tmp_path / file)
    (tmp_path / FILES[4]).write_bytes(b"no picture")
    return tmp_path


def test_each_opens_its_part_and_learns_what_the_others_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = list(scan_in_shares(folder, FILES))
    opened: list[str] = []

    def watched(files: Iterable[str]) -> Iterator[str]:
        for file in files:
            opened.append(file)
            yield file

    def counted(root: Path, files: Iterable[str]) -> list[object]:
        return list(scan_folder(root, watched(files)))

    monkeypatch.setattr(scan_shares, "scan_folder", counted)
    monkeypatch.setattr(hosts, "count", lambda: 3)
    monkeypatch.setattr(hosts, "told_by_all", lambda word: [word] * 3)
    said: list[bytes] = []
    for process in range(3):  # Each is asked what it would tell.
        monkeypatch.setattr(hosts, "number", lambda process=process: process)
        monkeypatch.setattr(hosts, "gathered", lambda mine: said.append(mine) or [mine] * 3)
        scan_in_shares(folder, FILES)
    assert sorted(opened) == FILES
    monkeypatch.setattr(hosts, "gathered", lambda mine: said)
    assert list(scan_in_shares(folder, FILES)) == alone
    assert isinstance(alone[4], str)


def test_what_fails_one_ends_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "count", lambda: 3)
    monkeypatch.setattr(hosts, "number", lambda: 0)
    monkeypatch.setattr(hosts, "told_by_all", lambda word: [word, "", "cannot read 'gs://a/b'"])
    with pytest.raises(UserError, match="process 2: cannot read 'gs://a/b'"):
        scan_in_shares(folder, FILES)


@pytest.mark.parametrize(
    ("examples", "told"),
    [
        ([("a.jpg", "cat")], r"process 1 1 and has no 'b\.jpg'"),
        ([("a.jpg", "cat"), ("b.jpg", "dog"), ("c.jpg", "dog")], r"process 1 3 and has 'c\.jpg'"),
        ([("a.jpg", "cat"), ("b.jpg", "cat")], r"process 1 2 and labels 'b\.jpg' otherwise"),
    ],
)
def test_a_listing_that_differs_is_told_by_a_file(
    examples: list[tuple[str, str]], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "count", lambda: 2)

    def listing(rows: list[tuple[str, str]]) -> Listing:
        return Listing(Path(), Examples.of(Example(file, (label,), None) for file, label in rows))

    def said(rows: list[tuple[str, str]]) -> bytes:
        heard: list[bytes] = []
        monkeypatch.setattr(hosts, "told_by_all", lambda word: [word, "another"])
        monkeypatch.setattr(hosts, "gathered", lambda mine: heard.append(mine) or [mine])
        check_same_listing(listing(rows))
        return heard[0]

    ours = [("a.jpg", "cat"), ("b.jpg", "dog")]
    both = [said(ours), said(examples)]
    monkeypatch.setattr(hosts, "gathered", lambda mine: both)
    with pytest.raises(UserError, match=f"process 0 lists 2, {told}"):
        check_same_listing(listing(ours))
    monkeypatch.setattr(hosts, "told_by_all", lambda word: [word, word])
    check_same_listing(listing(ours))
