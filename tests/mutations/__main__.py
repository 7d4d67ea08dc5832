"""python -m tests.mutations [FILE ...]: changes files in small ways, tells what no test noticed."""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tests.mutations.guards import EQUIVALENT, GUARDS
from tests.mutations.mutants import Mutant, mutants_of
from tests.mutations.runner import Runner, Verdict

Counts = Counter[str]


def sample(files: Sequence[str], folder: Path, count: int | None, seed: int) -> list[Mutant]:
    """Returns all mutants of some files that are not named as equivalent, or some by chance.

    Raises:
        AssertionError: A change is named as equivalent and is none of the mutants.
    """
    mutants = []
    for file in files:
        found, named = mutants_of(file, (folder / file).read_text()), EQUIVALENT.get(file, {})
        if lost := set(named) - {mutant.changed for mutant in found}:
            raise AssertionError(f"no changes to {file} any more: {sorted(lost)}")
        mutants += [mutant for mutant in found if mutant.changed not in named]
    if count is None or count >= len(mutants):
        return mutants
    chosen = random.Random(seed).sample(range(len(mutants)), count)
    return [mutants[place] for place in sorted(chosen)]


def examine(mutants: Sequence[Mutant], runners: Sequence[Runner]) -> dict[str, Counts]:
    """Runs the tests of each mutant, prints those that survive, and returns verdicts by file."""
    files = sorted({mutant.file for mutant in mutants})
    limits = {file: runners[0].prove(file, GUARDS[file]) for file in files}
    free: SimpleQueue[Runner] = SimpleQueue()
    for runner in runners:
        free.put(runner)

    def judge(mutant: Mutant) -> Verdict:
        runner = free.get()
        try:
            file = mutant.file
            return runner.verdict(file, mutant.source, GUARDS[file], limits[file])
        finally:
            free.put(runner)

    found: dict[str, Counts] = {}
    with ThreadPoolExecutor(len(runners)) as workers:
        for mutant, verdict in zip(mutants, workers.map(judge, mutants), strict=True):
            found.setdefault(mutant.file, Counter())[verdict] += 1
            if verdict == "survived":
                print(f"survived: {mutant.file}:{mutant.line}\n{mutant.diff}\n", flush=True)
    return found


def table(found: dict[str, Counts]) -> str:
    """Returns verdicts by file, as Markdown."""
    words = ("killed", "timed out", "survived")
    lines = [
        "| file | tests | mutants | killed | timed out | survived |",
        "|---|---|---|---|---|---|",
    ]
    for file, counts in found.items():
        tests = ", ".join(f"`{test.removeprefix('tests/')}`" for test in GUARDS[file])
        cells = [f"`{file}`", tests, counts.total(), *(counts[word] for word in words)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    total = sum(found.values(), Counter())
    lines.append(f"| **all** | | {total.total()} | {' | '.join(str(total[w]) for w in words)} |")
    return "\n".join(lines)


def main() -> None:
    """Parses flags, mutates, prints; exit code 1 if anything survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"[{' '.join(GUARDS)}]")
    parser.add_argument("--count", type=int, help="mutants to take by chance [all]")
    parser.add_argument("--seed", type=int, default=0, help="which of them [0]")
    parser.add_argument("--workers", type=int, default=2, help="mutants at a time [2]")
    flags = parser.parse_args()
    if unknown := set(flags.files) - set(GUARDS):
        parser.error(f"tests/mutations/guards.py names no tests of {', '.join(sorted(unknown))}")
    os.environ["JAX_PLATFORMS"] = "cpu"
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        runners = [Runner(Path(folder, str(worker))) for worker in range(flags.workers)]
        mutants = sample(flags.files or list(GUARDS), runners[0].folder, flags.count, flags.seed)
        found = examine(mutants, runners)
    print(table(found))
    named = sum(len(EQUIVALENT.get(file, {})) for file in flags.files or GUARDS)
    print(f"\n{named} equivalent changes left out, {time.monotonic() - start:.0f} s")
    sys.exit(any(counts["survived"] for counts in found.values()))


if __name__ == "__main__":
    main()
