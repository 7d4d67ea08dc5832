"""Which commit changed a ratio: uv run --group bench python -m benchmarks.compare [FILE...].

Given files that benchmarks wrote with `--json`, adds their ratios to `benchmarks/history.jsonl`
under the commit that was measured; one with changes that are not committed is shown but not kept.
Prints how each ratio went, with its lowest and highest round, and names the commits where it fell
by more than a tenth. Ratios of one CPU are compared with each other only.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.harness import commit

HISTORY = Path(__file__).parent / "history.jsonl"
FALL = 0.9
"""A ratio below this share of the one before is named."""


def main() -> None:
    """Adds what is given, and prints the history."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="written by --json")
    parser.add_argument("--history", type=Path, default=HISTORY)
    flags = parser.parse_args()
    lines = flags.history.read_text().splitlines() if flags.history.exists() else []
    history, refused = [json.loads(line) for line in lines], []
    for path in flags.files:
        table = json.loads(path.read_text())
        history.append(entry(table, table["commit"] if "commit" in table else commit()))
        if why := refusal(history[-1]):
            refused.append(f"{path} is not kept: {why}")
            continue
        with flags.history.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(history[-1]) + "\n")
    for line in story(history):
        print(line)
    for line in refused:
        print(line, file=sys.stderr)


def entry(table: dict[str, Any], at: str) -> dict[str, Any]:
    """Returns one line of the history for what a benchmark wrote."""
    ratios, spreads = {}, {}
    for row in table["rows"]:
        name = f"{row['case']} / {row['system']}"
        if row["ratio"] is not None:
            ratios[name] = round(row["ratio"], 3)
        if row.get("ratio_low") is not None:
            spreads[name] = [round(row[end], 3) for end in ("ratio_low", "ratio_high")]
    kept = {"commit": at, "cpu": table["cpu"], "versions": table["versions"], "ratios": ratios}
    return {**kept, "spreads": spreads}


def refusal(line: dict[str, Any]) -> str:
    """Returns why a line does not belong in the history; empty: it does."""
    if not line["ratios"]:
        return "it has no ratios"
    if not line["commit"] or line["commit"].endswith("+"):
        at = line["commit"] or "no commit"
        return f"measured on {at}, with changes that are in no commit; commit first, measure again"
    return ""


def story(history: list[dict[str, Any]]) -> list[str]:
    """Returns a line for each ratio and CPU: its values by commit, and where it fell."""
    courses: dict[tuple[str, str], list[tuple[str, float, str]]] = defaultdict(list)
    for line in history:
        for name, ratio in line["ratios"].items():
            spread = line.get("spreads", {}).get(name)  # Older lines have none.
            words = f"{ratio:g} ({spread[0]:g} to {spread[1]:g})" if spread else f"{ratio:g}"
            courses[line["cpu"], name].append((line["commit"], ratio, words))
    lines = []
    for (cpu, name), course in sorted(courses.items()):
        lines.append(f"{name} ({cpu}): " + ", ".join(f"{at} {words}" for at, _, words in course))
        for (_, before, _), (at, after, _) in zip(course, course[1:], strict=False):
            if after < FALL * before:
                lines.append(f"  fell from {before:g} to {after:g} with {at}")
    return lines


if __name__ == "__main__":
    main()
