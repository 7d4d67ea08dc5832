"""Promises of the kept neighbours: they come back as they were, or are looked for again."""

import errno
from pathlib import Path

import numpy as np
import pytest

from catsdogs_jax.prediction.neighbours import Neighbours


@pytest.fixture
def kept() -> Neighbours:
    train = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    return Neighbours(train, np.arange(5, dtype=np.float32), 7)


def test_they_come_back_for_their_step_alone(kept: Neighbours, tmp_path: Path) -> None:
    path = tmp_path / "embeddings.npz"
    assert Neighbours.read(path, 7) is None
    kept.save(path)
    found = Neighbours.read(path, 7)
    assert found is not None
    np.testing.assert_array_equal(found.train, kept.train)
    np.testing.assert_array_equal(found.held_out, kept.held_out)
    assert Neighbours.read(path, 8) is None
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_cut_anywhere_or_damaged_is_as_good_as_none(
    kept: Neighbours, tmp_path: Path
) -> None:
    path = tmp_path / "embeddings.npz"
    kept.save(path)
    whole = path.read_bytes()
    for length in (0, 1, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert Neighbours.read(path, 7) is None, length
    for place, byte in enumerate(whole):
        path.write_bytes(whole[:place] + bytes([byte ^ 1]) + whole[place + 1 :])
        found = Neighbours.read(path, 7)  # Some bytes mean nothing: dates of the archive.
        assert found is None or np.array_equal(found.train, kept.train), place


def test_a_full_disk_leaves_no_part_behind(
    kept: Neighbours, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        kept.save(tmp_path / "embeddings.npz")
    assert not list(tmp_path.iterdir())
