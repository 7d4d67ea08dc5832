"""python -m tests.faults --count 200 --seed 0: injects faults, prints what survived."""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.faults.harness import Harness, Missed, Outcome
from tests.faults.kinds import KINDS
from tests.faults.pairs import PAIR_KINDS

_TRIES = 20


def inject(folder: Path, count: int, seed: int, kinds: Sequence[str]) -> list[Outcome]:
    """Injects faults, the kinds in turn, and prints those that lost something."""
    harness = Harness(folder, seed)
    outcomes = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        lost = _until_it_meets_something({**KINDS, **PAIR_KINDS}[kind], harness)
        outcomes.append(Outcome(kind, lost))
        if lost:
            print(f"fault {number} of seed {seed}, {kind}: {lost}", flush=True)
    return outcomes


def _until_it_meets_something(fault: Callable[[Harness], str], harness: Harness) -> str:
    for _ in range(_TRIES):
        with contextlib.suppress(Missed):
            return fault(harness)
    return f"the fault met nothing in {_TRIES} runs"


def table(outcomes: Sequence[Outcome]) -> str:
    """Returns faults injected, survived and lost by kind, as Markdown."""
    injected = Counter(outcome.kind for outcome in outcomes)
    lost = Counter(outcome.kind for outcome in outcomes if outcome.lost)
    lines = ["| fault | injected | survived | lost |", "|---|---|---|---|"]
    for kind, n in injected.items():
        lines.append(f"| {kind} | {n} | {n - lost[kind]} | {lost[kind]} |")
    total = sum(lost.values())
    lines.append(f"| **all** | {len(outcomes)} | {len(outcomes) - total} | {total} |")
    return "\n".join(lines)


def _in_turn() -> list[str]:
    """Returns kinds so that each second one is a kill, the most of what can go wrong."""
    kills = [kind for kind in KINDS if kind.startswith("killed")]
    others = [kind for kind in KINDS if kind not in kills]
    turns = zip(others * len(kills), kills * len(others), strict=True)
    return [kind for turn in turns for kind in turn]


def main() -> None:
    """Parses flags, injects, prints; exit code 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="faults to inject [200]")
    parser.add_argument("--seed", type=int, default=0, help="which moments, files and bits [0]")
    parser.add_argument("--processes", type=int, choices=(1, 2), default=1, help="of a run [1]")
    flags = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CATSDOGS_CACHE"] = f"{folder}/cache"
        kinds = _in_turn() if flags.processes == 1 else list(PAIR_KINDS)
        outcomes = inject(Path(folder), flags.count, flags.seed, kinds)
    print(table(outcomes))
    print(f"\nseed {flags.seed}, {time.monotonic() - start:.0f} s, {os.cpu_count()} cores")
    sys.exit(any(outcome.lost for outcome in outcomes))


if __name__ == "__main__":
    main()
