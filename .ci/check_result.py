"""Checks that a run folder holds what it promises."""

import argparse
import json
import sys
from pathlib import Path

_FILES = (
    "config.json",
    "manifest.json",
    "metrics.jsonl",
    "predictions.csv",
    "result.json",
    "plots/accuracy.png",
    "plots/loss.png",
    "plots/confusion_matrix.png",
    "plots/model.png",
)


def main() -> None:
    """Exits with the first broken promise."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--accuracy", type=float, required=True)
    parser.add_argument("--pictures", type=int, required=True)
    flags = parser.parse_args()
    missing = [name for name in _FILES if not (flags.run / name).is_file()]
    if missing:
        sys.exit(f"missing in {flags.run}: {missing}")
    split = json.loads((flags.run / "result.json").read_text())["splits"]["validation"]
    if split["n"] != flags.pictures or split["accuracy"] < flags.accuracy:
        sys.exit(f"accuracy {split['accuracy']} on {split['n']} pictures")
    print(f"accuracy {split['accuracy']:.4f} on {split['n']} pictures")


if __name__ == "__main__":
    main()
