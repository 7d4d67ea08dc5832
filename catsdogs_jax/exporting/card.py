"""The table of an export, and the model card that goes with a bundle."""

from collections.abc import Mapping, Sequence
from typing import Any

from catsdogs_jax.exporting.formats import FORMATS


def table(facts: Mapping[str, Any]) -> list[list[str]]:
    """Returns the rows of the table of an export, the first one its head."""
    rows = [
        ["what", "difference", "right", "MB", "ms a picture, 1 at a time", "32 at a time", "within"]
    ]
    for words, difference in facts["differences"].items():
        shown = "not measured" if difference is None else f"{difference:.1e}"
        rows.append([words, shown, f"{facts['accuracy']:.2%}", "", "", "", ""])
    for name, entry in facts["formats"].items():
        times = [
            f"{timed['median']:.2f} (n = {timed['calls']})"
            for timed in entry["milliseconds_per_picture"].values()
        ]
        rows.append(
            [
                name,
                f"{entry['difference']:.1e}",
                f"{entry['accuracy']:.2%}",
                f"{entry['bytes'] / 1e6:.2f}",
                *times,
                "yes" if entry["passed"] else "NO",
            ]
        )
    return rows


def as_text(rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in columns for a terminal."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def model_card(facts: Mapping[str, Any]) -> str:
    """Returns README.md of a bundle, in Markdown."""
    preprocessing, calibration = facts["preprocessing"], facts["calibration"]
    size, kind = preprocessing["image_size"], preprocessing["task"]["kind"]
    classes = ", ".join(_plain(name) for name in facts["classes"])
    files = [
        f"- `{name}`: {', '.join(f'`{file}`' for file in entry['files'])} ({FORMATS[name].words})"
        for name, entry in facts["formats"].items()
    ]
    return "\n".join(
        [
            f"# {_plain(facts['name'])}",
            "",
            f"A {facts['model']['name']} that was trained with catsdogs_jax "
            f"{facts['versions']['catsdogs_jax']} ({kind}); weights of step {facts['step']}.",
            "",
            f"- Classes, in this order: {classes}",
            f"- Licence: {_plain(facts['licence'])}",
            f"- Accuracy: {facts['accuracy']:.2%} of {facts['n']} validation pictures, which chose "
            "the checkpoint: expect a little less of new ones",
            _thresholds(facts),
            "",
            "## Files",
            "",
            *files,
            "",
            "`export.json` holds all facts; `golden/` holds pictures whose probabilities are "
            "known: `python -m catsdogs_jax.export --verify .` checks every format that is here.",
            "",
            "## Input and output",
            "",
            f"`images`: uint8 [n, {size}, {size}, 3], red, green, blue. The normalisation and the "
            "views of the evaluation are inside. A picture is made square by "
            f"{_RESIZED[preprocessing['resize']]}, bilinear with antialiasing; `resize.onnx`, "
            "`resize.stablehlo` and the signature `any_size` of the SavedModel do that for uint8 "
            "[n, height, width, 3]. LiteRT takes one picture at a time.",
            "",
            "`probabilities`: float32 [n, classes], calibrated: the logits are divided by the "
            f"temperature {calibration['temperature']:.4f}{_calibrated(calibration)}. "
            "`uncalibrated`: at temperature 1, what `catsdogs predict` gives.",
            "",
            f"## Measured on {facts['n']} validation pictures",
            "",
            *_markdown(table(facts)),
            "",
            "Difference: the largest of any probability from the run's own evaluation, at most "
            f"{facts['tolerance']:g}; int8 may lose {100 * facts['accuracy_tolerance']:g} points "
            f"of accuracy, or one picture. Times are medians on {facts['device']}.",
            "",
        ]
    )


_RESIZED = {
    "stretch": "stretching it",
    "crop": "cutting its centre out",
    "pad": "shrinking it into a black square",
}


def _thresholds(facts: Mapping[str, Any]) -> str:
    if not facts["thresholds"]:
        return "- Predicted is the class of the greatest probability"
    shown = ", ".join(f"{threshold:.4f}" for threshold in facts["thresholds"])
    what = "the second class" if len(facts["classes"]) != len(facts["thresholds"]) else "each label"
    return f"- Threshold of the calibrated probability of {what}: {shown}"


def _calibrated(calibration: Mapping[str, Any]) -> str:
    if calibration["why_none"]:
        return f" ({calibration['why_none']})"
    return (
        f", fitted on {calibration['n']} validation pictures (calibration error "
        f"{calibration['ece_before']:.4f} before, {calibration['ece_after']:.4f} after, on the "
        "same)"
    )


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def _plain(text: str) -> str:
    """Returns text that Markdown takes as it is."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-.!|" else c for c in text)
