"""The lines of `metrics.jsonl`: {"step", "split", "epoch", "accuracy", "loss", ...}."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def read_rows(path: Path) -> Rows:
    """Reads `metrics.jsonl`; a last line that was cut off by a kill is left out."""
    if not path.exists():
        return []
    rows = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return rows


def rows_until(path: Path, step: int) -> Rows:
    """Reads the lines of `metrics.jsonl` up to a step, those that a run going on from it keeps."""
    return [row for row in read_rows(path) if row["step"] <= step]


def line(row: Mapping[str, Any]) -> str:
    """Returns a row as a line of text."""
    return json.dumps(row) + "\n"
