"""Promises of the index of scans: unchanged files are not read again, changed ones always are."""

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from catsdogs_jax.data import scan, scan_index
from catsdogs_jax.data.scan_index import index_path, scan_folder

FILES = [f"train/red/{i}.png" for i in range(12)]


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files of these tests count as settled at once."""
    monkeypatch.setattr(scan_index, "_SETTLED_NS", 0)
    monkeypatch.setenv("CATSDOGS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    names: list[str] = []
    real = scan.read_file

    def read(path: Path) -> bytes:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(scan, "read_file", read)
    return names


def test_a_second_scan_reads_only_what_is_new_or_changed(colours: Path, reads: list[str]) -> None:
    first = list(scan_folder(colours, FILES))
    assert len(reads) == 12
    reads.clear()
    assert list(scan_folder(colours, FILES)) == first
    assert not reads
    # One of the same size and time of content, one that is gone, one that is new.
    changed, gone = colours / FILES[3], colours / FILES[5]
    before, data = changed.stat(), bytearray(changed.read_bytes())
    changed.write_bytes((colours / "train/blue/0.png").read_bytes()[: len(data)].ljust(len(data)))
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    gone.unlink()
    second = list(scan_folder(colours, [*FILES, "train/blue/7.png"]))
    assert sorted(reads) == ["3.png", "5.png", "7.png"]
    assert isinstance(second[5], str)
    assert [a == b for a, b in zip(first, second, strict=False)].count(False) == 2


def test_what_cannot_be_used_is_read_again_each_time(colours: Path, reads: list[str]) -> None:
    (colours / FILES[0]).write_bytes(b"no picture")
    assert list(scan_folder(colours, FILES)) == list(scan_folder(colours, FILES))
    assert reads.count("0.png") == 2


def test_a_file_that_has_just_changed_is_not_trusted(
    colours: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_index, "_SETTLED_NS", 3600 * 10**9)
    for _ in range(2):
        list(scan_folder(colours, FILES))
    assert len(reads) == 24


KILLED = """
import os, sys
from pathlib import Path
from catsdogs_jax.data import scan_index
scan_index._BLOCK, scan_index._SETTLED_NS = 5, 0
results = scan_index.scan_folder(Path(sys.argv[1]), sys.argv[2:])
for _ in range(6):
    next(results)
os.kill(os.getpid(), 9)
"""


def test_a_killed_scan_leaves_its_whole_blocks(colours: Path, reads: list[str]) -> None:
    command = [sys.executable, "-c", KILLED, str(colours), *FILES]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    list(scan_folder(colours, FILES))
    assert sorted(reads) == ["10.png", "11.png"]


def test_two_scans_at_once_both_end_well(
    colours: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_index, "_BLOCK", 2)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: list(scan_folder(colours, FILES)), range(4)))
    assert found == [found[0]] * 4
    reads.clear()
    assert list(scan_folder(colours, FILES)) == found[0]
    assert not reads


@pytest.mark.parametrize("state", ["broken", "locked", "unwritable"])
def test_without_an_index_every_file_is_read(
    colours: Path, reads: list[str], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = list(scan_folder(colours, FILES))
    path, holder = index_path(colours), None
    if state == "broken":
        path.write_bytes(b"not a database" * 100)
    elif state == "locked":
        monkeypatch.setattr(scan_index, "_WAIT_SECONDS", 0.0)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
    else:
        monkeypatch.setenv("CATSDOGS_CACHE", "/proc/nowhere")
    reads.clear()
    assert list(scan_folder(colours, FILES)) == first
    assert len(reads) == 12
    if holder is not None:
        holder.close()
    if state == "broken":  # It was removed, and is made anew.
        list(scan_folder(colours, FILES))
        list(scan_folder(colours, FILES))
        assert len(reads) == 24
