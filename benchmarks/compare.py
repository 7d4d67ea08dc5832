"""Which commit changed a ratio: uv run --group bench python -m benchmarks.compare [FILE...].

Given files that benchmarks wrote with `--json`, adds their ratios to `benchmarks/history.jsonl`
under the commit that is checked out. Then prints how each ratio went, and names the commits where
it fell by more than a tenth. Ratios of one CPU are compared with each other only.
"""

import argparse
import json
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

HISTORY = Path(__file__).parent / "history.jsonl"
FALL = 0.9
"""A ratio below this share of the one before is named."""


def main() -> None:
    """Adds what is given, and prints the history."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="written by --json")
    parser.add_argument("--history", type=Path, default=HISTORY)
    flags = parser.parse_args()
    if flags.files:
        with flags.history.open("a", encoding="utf-8") as stream:
            for path in flags.files:
                stream.write(json.dumps(entry(json.loads(path.read_text()), commit())) + "\n")
    lines = flags.history.read_text().splitlines() if flags.history.exists() else []
    for line in story([json.loads(line) for line in lines]):
        print(line)


def entry(table: dict[str, Any], at: str) -> dict[str, Any]:
    """Returns one line of the history for what a benchmark wrote."""
    rows = [row for row in table["rows"] if row["ratio"] is not None]
    ratios = {f"{row['case']} / {row['system']}": round(row["ratio"], 3) for row in rows}
    return {"commit": at, "cpu": table["cpu"], "versions": table["versions"], "ratios": ratios}


def story(history: list[dict[str, Any]]) -> list[str]:
    """Returns a line for each ratio and CPU: its values by commit, and where it fell."""
    courses: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
    for line in history:
        for name, ratio in line["ratios"].items():
            courses[line["cpu"], name].append((line["commit"], ratio))
    lines = []
    for (cpu, name), course in sorted(courses.items()):
        lines.append(f"{name} ({cpu}): " + ", ".join(f"{at} {ratio:g}" for at, ratio in course))
        for (_, before), (at, after) in zip(course, course[1:], strict=False):
            if after < FALL * before:
                lines.append(f"  fell from {before:g} to {after:g} with {at}")
    return lines


def commit() -> str:
    """Returns the short hash of what is checked out, with a + if files differ from it."""
    here = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(
        command, cwd=here, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
