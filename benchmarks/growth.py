"""How time and memory grow with the number of pictures: python -m benchmarks.growth.

Each size is measured in a process of its own on as many small pictures, which are made for it and
all differ. Beside that, the scan of the photographs against decoding them alone.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import simplejpeg

from benchmarks.harness import OURS, Row, arguments, cpu_name, in_turn, photographs, report
from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.dataset import picture_sets
from catsdogs_jax.data.decode import decode, jpeg_ratio, read_header
from catsdogs_jax.data.digest import content_numbers
from catsdogs_jax.data.leaks import settle_leaks
from catsdogs_jax.data.manifest import build_manifest
from catsdogs_jax.data.manifest_file import spell_manifest
from catsdogs_jax.data.scan import read_file, scan_files
from catsdogs_jax.data.scan_index import index_path
from catsdogs_jax.data.sources import list_folder
from catsdogs_jax.preprocessing import Preprocessing

_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_QUICK_SIZES = (200, 2_000)
_CLASSES, _SIDE, _BATCH, _STEPS, _PAINTERS = 4, 16, 32, 200, 2
_STAGES = ("list", "scan, all new", "scan, all known", "leaks", "manifest.json", "batches")


def main() -> None:
    """Makes the pictures, measures each size, and prints a table."""
    parser = arguments(__doc__ or "", rounds=5)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=_SIZES, help="of the sets [1,000 to 1,000,000]"
    )
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.measure:
        print(json.dumps(_measured(flags.measure)))
        return
    sizes = _QUICK_SIZES if flags.quick else flags.sizes
    found = {size: _in_a_process(size) for size in sizes}
    _print(found)
    rows = _against_decoding(1 if flags.quick else flags.rounds)
    for small, large in itertools.pairwise(sizes):
        for stage in _STAGES:
            value, before = found[large][stage], found[small][stage]
            case = f"{large:,} pictures, {stage}"
            rows.append(Row(case, f"{OURS} at {small:,}", value, "us a picture", before / value,
                            value, value, 1))  # fmt: skip
    report(rows, {}, flags)


def _in_a_process(size: int) -> dict[str, float]:
    folder = Path(tempfile.mkdtemp(prefix=f"growth-{size}-"))
    try:
        _paint(folder, size)
        command = [sys.executable, "-m", "benchmarks.growth", "--measure", str(folder)]
        return json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
    finally:
        index_path(folder).unlink(missing_ok=True)
        shutil.rmtree(folder)


def _paint(folder: Path, size: int) -> None:
    for number in range(_CLASSES):
        (folder / f"class-{number}").mkdir(parents=True)
    parts = [(folder, range(first, size, _PAINTERS)) for first in range(_PAINTERS)]
    with ProcessPoolExecutor(_PAINTERS) as pool:
        list(pool.map(_paint_some, parts))


def _paint_some(part: tuple[Path, range]) -> None:
    folder, numbers = part
    rng = np.random.default_rng(numbers.start)
    for number in numbers:
        colors = rng.integers(0, 255, (_SIDE, _SIDE, 3), np.uint8)
        data = simplejpeg.encode_jpeg(colors, quality=50, colorsubsampling="420")
        path = f"{folder}/class-{number % _CLASSES}/picture-{number:08d}.jpg"
        with open(path, "wb", buffering=0) as file:
            file.write(data)


def _measured(folder: Path) -> dict[str, float]:
    """Returns microseconds a picture of each stage, and bytes a picture at the highest."""
    with tempfile.TemporaryDirectory() as few:  # What is loaded and set up once does not count.
        _paint(Path(few), 100)
        for _ in _stages(Path(few)):
            pass
        index_path(Path(few)).unlink(missing_ok=True)
    Path("/proc/self/clear_refs").write_text("5")  # Forgets the highest size so far.
    before, found, pictures = _highest_bytes(), {}, 0
    for stage, seconds, count in _stages(folder):
        found[stage] = 1e6 * seconds / count
        print(f"{count:,} pictures, {stage}: {seconds:,.1f} s", file=sys.stderr, flush=True)
        pictures = max(pictures, count)
    return {**found, "bytes": (_highest_bytes() - before) / pictures}


def _stages(folder: Path) -> Iterator[tuple[str, float, int]]:
    """Yields the name of a stage, its seconds, and how many pictures went through it."""
    since = time.perf_counter()

    def lap() -> float:
        nonlocal since
        now = time.perf_counter()
        passed, since = now - since, now
        return passed

    config = DataConfig(dir=str(folder))
    listing = list_folder(folder)
    count = len(listing.examples)
    yield "list", lap(), count
    build_manifest(listing, config, seed=0)
    yield "scan, all new", lap(), count
    manifest = build_manifest(listing, config, seed=0)
    yield "scan, all known", lap(), count
    manifest, _ = settle_leaks(manifest, "report")
    yield "leaks", lap(), count
    sum(map(len, spell_manifest(manifest)))
    yield "manifest.json", lap(), count
    sets = picture_sets(manifest, Preprocessing(_SIDE, "stretch", manifest.task))
    content_numbers(sets["train"].pictures)
    lap()
    for _ in sets["train"].training_batches(0, _STEPS, _BATCH, seed=0):
        pass
    yield "batches", lap(), _STEPS * _BATCH


def _highest_bytes() -> int:
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    )
    return int(line.split()[1]) * 1024


def _print(found: dict[int, dict[str, float]]) -> None:
    print(f"\n{cpu_name()}; microseconds a picture (bytes of memory a picture, at the highest)\n")
    print("| pictures | " + " | ".join(_STAGES) + " | bytes |")
    print("|---" * (len(_STAGES) + 2) + "|")
    for size, values in found.items():
        cells = [f"{values[stage]:,.1f}" for stage in _STAGES]
        print(f"| {size:,} | " + " | ".join([*cells, f"{values['bytes']:,.0f}"]) + " |")


def _against_decoding(rounds: int) -> list[Row]:
    """Times the scan of the photographs and their decoding alone, in turn, on all cores."""
    paths = sorted(photographs().rglob("*.jpg"))
    spent: dict[str, list[float]] = {OURS: [], "decoding alone": []}
    for _ in range(rounds):
        for system, work in ((OURS, scan_files), ("decoding alone", _decoded)):
            since = time.perf_counter()
            for _ in work(paths):
                pass
            spent[system].append(len(paths) / (time.perf_counter() - since))
    return in_turn("scan of the photographs", spent, "images/s")


def _decoded(paths: list[Path]) -> Iterator[None]:
    def one(path: Path) -> None:
        data = read_file(path)
        header = read_header(data)
        decode(data, header, jpeg_ratio(header.width, header.height, 64, "crop"))

    with ThreadPoolExecutor() as pool:
        yield from pool.map(one, paths)


if __name__ == "__main__":
    main()
