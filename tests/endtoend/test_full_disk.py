"""Promises of a run whose disk fills up: a real one, a small tmpfs in a mount namespace."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
set -e
mount -t tmpfs -o size="$SIZE" none "$DISK"
if "$@"; then echo full: 0; else echo full: $?; fi
mount -o remount,size=64m "$DISK"
"$@"
cp "$DISK/run/metrics.jsonl" "$DISK/run/predictions.csv" "$OUT"
"""
"""The command on a disk that is too small for its run, and again when there is room."""


def can_mount() -> bool:
    """Whether this machine lets a process mount a disk that no other sees."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none"]
    return subprocess.run([*command, "/mnt"], capture_output=True, check=False).returncode == 0


def train(colours: Path, workdir: Path) -> list[str]:
    values = {"data.image_size": 16, "data.batch_size": 8, "model.widths": (4,), "model.hidden": 8}
    values |= {"data.source": "folder", "data.dir": colours, "mesh.devices": 1}
    values |= {"train.epochs": 3, "eval.every_epochs": 1}
    flags = [f"--config.{key}={value}" for key, value in values.items()]
    command = [sys.executable, "-m", "catsdogs_jax.train", "--config", "configs/quickstart.py"]
    return [*command, f"--workdir={workdir}", *flags]


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def whole(colours: Path, tmp_path: Path) -> Path:
    """A run that had room."""
    subprocess.run(train(colours, tmp_path / "whole"), check=True, capture_output=True)
    return tmp_path / "whole"


@pytest.mark.long
@pytest.mark.skipif(not can_mount(), reason="may not mount a tmpfs here")
def test_it_ends_with_one_line_and_goes_on_to_the_same_bits_when_there_is_room(
    colours: Path, tmp_path: Path, whole: Path
) -> None:
    disk, out = tmp_path / "disk", tmp_path / "out"
    disk.mkdir()
    out.mkdir()
    names = {"DISK": str(disk), "OUT": str(out), "SIZE": str(bytes_below(whole) * 6 // 10)}
    within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"]
    done = subprocess.run(
        [*within, *train(colours, disk / "run")],
        env=os.environ | names,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "full: 2" in done.stdout.splitlines(), done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for name in ("metrics.jsonl", "predictions.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
