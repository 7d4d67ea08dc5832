"""Measures systems in turn, each in a process of its own, and prints ratios.

A system is a worker process (`benchmarks.worker`) that gets ready, then does one round of work
whenever it is asked and waits idly in between. The rounds of all systems alternate, so that a
change in the machine's speed meets all of them. The ratio of medians is what is quoted, beside the
lowest and highest ratio of a round.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OURS = "catsdogs_jax"

QUICK_STEP = {"size": 48, "batch": 4, "steps": 1}
"""The shape of a step of the seed CNN that is soon compiled, for `--quick`."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        case: What was done.
        system: Who did it.
        value: Median over the rounds.
        unit: Of the value.
        ratio: How many times better ours is; none for ours.
        low: Smallest value of a round.
        high: Greatest value of a round.
        n: Number of rounds.
        ratio_low: Smallest ratio of a round; none: the rounds were not in turn.
        ratio_high: Greatest ratio of a round.
    """

    case: str
    system: str
    value: float
    unit: str
    ratio: float | None
    low: float
    high: float
    n: int
    ratio_low: float | None = None
    ratio_high: float | None = None


class Worker:
    """A process that does rounds of one system's work.

    Args:
        task: A function of the system's module in `benchmarks.systems`.
        system: Its name (`benchmarks.worker.MODULES`), and after a space a variant.
        options: Arguments of the function, JSON types.
    """

    def __init__(self, task: str, system: str, options: Mapping[str, Any]):
        self.system = system
        command = [sys.executable, "-m", "benchmarks.worker", task, system, json.dumps(options)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.about = self._answer()

    def round(self) -> dict[str, float]:
        """Does one round; returns `value` (of the unit that `about` names) and `peak_rss_mib`."""
        assert self._process.stdin is not None
        self._process.stdin.write("round\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"benchmark of {self.system} ended early, see above")


def arguments(description: str, rounds: int | None = None) -> argparse.ArgumentParser:
    """Returns the flags that every benchmark has; those of rounds and peers where it has rounds."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table as data")
    parser.add_argument("--quick", action="store_true", help="the least that shows that it works")
    parser.set_defaults(commit=commit())  # Before anything is measured, or changed meanwhile.
    if rounds is not None:
        parser.add_argument(
            "--rounds", type=int, default=rounds, help=f"rounds a system [{rounds}]"
        )
        parser.add_argument("--only", nargs="*", metavar="SYSTEM", help="these peers alone")
    return parser


def photographs() -> Path:
    """Returns the folder of the photographs, `CATSDOGS_PHOTOS`."""
    folder = Path(os.environ.get("CATSDOGS_PHOTOS", "../shared/data/catsdogs"))
    if not folder.is_dir():
        raise SystemExit(f"no photographs in {str(folder)!r}: set CATSDOGS_PHOTOS")
    return folder.absolute()


def compare(
    case: str,
    task: str,
    systems: Sequence[str],
    options: Mapping[str, Any],
    flags: argparse.Namespace,
    key: str = "value",
    unit: str | None = None,
    ours: str = "",
) -> tuple[list[Row], dict[str, str]]:
    """Runs the rounds of all systems in turn.

    Args:
        case: Name of the table's rows.
        task: The work, see `benchmarks.worker`.
        systems: Peers; ours is added in front.
        options: Arguments of the work.
        flags: Of `arguments`.
        key: Which figure of a round counts.
        unit: Its unit; none: the one that the worker names. Of "MiB" and "s" less is better.
        ours: Variant of ours.

    Returns:
        The rows, and the versions of everything that took part.
    """
    first = f"{OURS} {ours}".strip()
    wanted = [first, *(s for s in systems if flags.only is None or s in flags.only)]
    rounds = 1 if flags.quick else flags.rounds
    workers = [Worker(task, system, options) for system in wanted]
    values: dict[str, list[float]] = {system: [] for system in wanted}
    try:
        for _ in range(rounds):
            for worker in workers:
                values[worker.system].append(worker.round()[key])
    finally:
        for worker in workers:
            worker.close()
    named = unit or str(workers[0].about["unit"])
    versions = {k: v for worker in workers for k, v in worker.about["versions"].items()}
    return in_turn(case, values, named, first), versions


def in_turn(
    case: str, values: Mapping[str, Sequence[float]], unit: str, ours: str = OURS
) -> list[Row]:
    """Returns a row for each system whose rounds alternated with those of ours.

    Args:
        case: Name of the rows.
        values: Of each round, by system.
        unit: Of the values. Of "MiB" and "s" less is better.
        ours: The system that the others are compared with.
    """

    def better(mine: float, other: float) -> float:
        return other / mine if unit in ("MiB", "s") else mine / other

    rows = []
    for system, found in values.items():
        median, n = statistics.median(found), len(found)
        row = Row(case, system, median, unit, None, min(found), max(found), n)
        if system != ours:
            ratio = better(statistics.median(values[ours]), median)
            rounds = [better(*pair) for pair in zip(values[ours], found, strict=True)]
            row = dataclasses.replace(
                row, ratio=ratio, ratio_low=min(rounds), ratio_high=max(rounds)
            )
        rows.append(row)
    return rows


def single(case: str, value: float, unit: str) -> Row:
    """Returns the row of something of ours that is found once, and has no peer."""
    return Row(case, OURS, value, unit, None, value, value, 1)


def cpu_name() -> str:
    """Returns the model of the CPU and the number of its cores that this process may use."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    extension = next((e for e in ("avx512f", "avx2") if e in flags.split()), "")
    cores = len(os.sched_getaffinity(0))
    return f"{names[0] if names else platform.processor()}, {extension}, {cores} cores"


def commit() -> str:
    """Returns the short hash of what is checked out, a + behind it if files differ; empty: none.

    New files count, the history does not: to add to it is no change of what is measured.
    """
    here = Path(__file__).parent
    name = ["git", "rev-parse", "--short", "HEAD"]
    differs = ["git", "status", "--porcelain", "--", ":/", ":(exclude)history.jsonl"]
    try:
        found, changed = (
            subprocess.run(command, cwd=here, check=True, capture_output=True, text=True).stdout
            for command in (name, differs)
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.strip() + ("+" if changed else "")


def report(rows: Sequence[Row], versions: Mapping[str, str], flags: argparse.Namespace) -> None:
    """Prints the table, and writes it as data if asked to."""
    about = _with_python(versions)
    print(f"\n{cpu_name()}; {', '.join(f'{k} {v}' for k, v in sorted(about.items()))}\n")
    print("| case | system | median (lowest to highest of n) | ours is better by |")
    print("|---|---|---|---|")
    for row in rows:
        spread = f"{row.value:,.4g} {row.unit} ({row.low:,.4g} to {row.high:,.4g}, n = {row.n})"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f} x"
        if row.ratio_low is not None:
            ratio += f" ({row.ratio_low:.2f} to {row.ratio_high:.2f})"
        print(f"| {row.case} | {row.system} | {spread} | {ratio} |")
    write(rows, versions, flags)


def write(rows: Sequence[Row], versions: Mapping[str, str], flags: argparse.Namespace) -> None:
    """Writes the rows as data, if asked to."""
    if flags.json:
        tree = {
            "commit": flags.commit,
            "cpu": cpu_name(),
            "versions": _with_python(versions),
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        flags.json.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")


def _with_python(versions: Mapping[str, str]) -> dict[str, str]:
    return {"python": platform.python_version(), **versions}
