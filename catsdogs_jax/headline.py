"""What was reached, in a few lines for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

_MOST_CLASSES = 12
_SHOWN_OF_MORE = 5


def split_line(name: str, split: Mapping[str, Any]) -> str:
    """Returns what was reached on a split in words, with n and interval.

    Args:
        name: Name of the split.
        split: Its entry of `result.json`.
    """
    low, high = split["accuracy_ci95"]
    share = f"{split['accuracy']:.1%} of {split['n']} pictures"
    interval = f"(95 % interval {low:.1%} to {high:.1%}){_without_leaks(split)}"
    if "mean_average_precision" in split:
        means = f"mAP {_number(split['mean_average_precision'])}, macro F1 {_macro(split)}"
        return f"{name}: {means}, every label right in {share} {interval}"
    line = f"{name}: {share} right {interval}"
    if "top_k" in split:
        k, accuracy = split["top_k"]["k"], split["top_k"]["accuracy"]
        line += f", top-{k} {accuracy:.1%}, macro F1 {_macro(split)}"
    return line


def choice(values: Mapping[str, Any]) -> str:
    """Returns which split chose the checkpoint, and what that does to the numbers, in words.

    Args:
        values: `chosen_by`, `chosen_on` and `splits` of a `result.json`.
    """
    metric, split = values["chosen_by"], values["chosen_on"]
    held = [name for name in values["splits"] if name not in ("train", split)]
    words = f"chosen by {split} {metric}: optimistic on {split}"
    if held:
        return f"{words}; {' and '.join(held)} chose nothing"
    return f"{words}, and no test split says by how much"


def class_lines(split: Mapping[str, Any]) -> list[str]:
    """Returns a table of the classes, the 5 of least F1 if they are many; none for two classes."""
    rows: Sequence[Mapping[str, Any]] = split.get("per_class", ())
    if not rows:
        return []
    lines = []
    if len(rows) > _MOST_CLASSES:
        lines.append(f"the {_SHOWN_OF_MORE} of least F1 among {len(rows)} classes:")
        rows = sorted(rows, key=lambda row: 2.0 if row["f1"] is None else row["f1"])
        rows = rows[:_SHOWN_OF_MORE]
    columns = {"precision": "precision", "recall": "recall", "f1": "F1"}
    if "average_precision" in rows[0]:
        columns |= {"average_precision": "AP", "threshold": "threshold"}
    width = max(len("class"), *(len(row["class"]) for row in rows))
    heads = "".join(f"{head:>11}" for head in columns.values())
    lines.append(f"  {'class':<{width}}{heads}{'n':>9}")
    for row in rows:
        numbers = "".join(f"{_number(row[key]):>11}" for key in columns)
        lines.append(f"  {row['class']:<{width}}{numbers}{row['support']:>9,}")
    return lines


def _without_leaks(split: Mapping[str, Any]) -> str:
    rest = split.get("without_leaks", split)
    leaked = split["n"] - rest["n"]
    if not leaked:
        return ""
    share = f"{rest['accuracy']:.1%} " if rest["n"] else ""
    return f", {share}without the {leaked} that training has seen"


def _macro(split: Mapping[str, Any]) -> str:
    return _number(split["macro_f1"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
