"""Gathers everything that the page of a run shows."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from catsdogs_jax.data.places import origin_of
from catsdogs_jax.escaping import NAME_BYTES
from catsdogs_jax.insight import calibration, tables
from catsdogs_jax.insight.galleries import galleries, leak_photos, suspects
from catsdogs_jax.insight.mistakes import Suspect, brightness, sharpness, slices
from catsdogs_jax.insight.source import Source
from catsdogs_jax.models.summary import summarize
from catsdogs_jax.reporting.flowchart import Layer
from catsdogs_jax.reporting.page import Bins, Content, Headline, Table, write_page
from catsdogs_jax.reporting.style import percent
from catsdogs_jax.run_folder import write_text
from catsdogs_jax.training.reliability import BINS, reliability
from catsdogs_jax.training.state import merge_model

_MOST_SLICED = 4000
_MOST_LISTED = 200


def write_report(source: Source) -> Path:
    """Writes `report.html` and `suspects.csv` of a run; returns the path of the page."""
    _write_suspects(source)
    return write_page(gather(source), source.folder.report)


def gather(source: Source) -> Content:
    """Measures and collects what the page of a run shows."""
    split, task, values = source.split, source.task, source.values
    probabilities, true = source.probabilities(split), source.true(split)
    predicted = task.predicted(probabilities, source.classifier.preprocessing.threshold)
    roc, precision_recall = tables.curves(probabilities, true, task)
    bins, words = _calibration(source)
    chosen = source.probabilities("validation"), source.true("validation")
    model = merge_model(
        source.classifier.graphdef, source.classifier.params, source.classifier.statistics
    )
    size = source.classifier.preprocessing.seen_size
    layers = [
        Layer(part.name, part.description, part.output_shape, part.parameters)
        for part in summarize(model, size)
    ]
    where = PurePath(origin_of(source.manifest.root)).name
    return Content(
        title=f"{values['config']['model']['name']} on {where}",
        facts=_facts(source),
        headlines=_headlines(source),
        rows=source.rows,
        best_step=values["step"],
        split=split,
        confusion=np.array(values["splits"][split]["confusion_matrix"]),
        classes=task.classes,
        roc=roc,
        precision_recall=precision_recall,
        reliability=bins,
        calibration=words,
        per_class=tables.class_table(predicted, true, task),
        thresholds=tables.threshold_table(
            chosen, probabilities, true, task, _threshold_note(split)
        ),
        galleries=galleries(source),
        slices=_slices(source, _right(predicted, true)),
        leaks=leak_photos(source),
        leak_note=_leak_note(source),
        quarantined=_quarantine(source),
        speed=_speed(values, sum(layer.parameters for layer in layers)),
        layers=layers,
        input_shape=(size, size, 3),
        config=values["config"],
    )


def _right(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    same = predicted == true
    return same if same.ndim == 1 else same.all(axis=1)


def _facts(source: Source) -> list[tuple[str, str]]:
    counts = ", ".join(f"{len(pictures):,} {name}" for name, pictures in source.sets.items())
    classes = source.task.classes
    listed = ", ".join(classes[:8]) + (f" and {len(classes) - 8} more" if len(classes) > 8 else "")
    return [
        ("pictures", counts),
        ("classes", f"{len(classes)} ({source.task.kind}): {listed}"),
        ("data", origin_of(source.manifest.root)),
        ("fingerprint", str(source.values["fingerprint"])),
    ]


def _headlines(source: Source) -> list[Headline]:
    values, chosen = source.values, source.chosen_on
    found = []
    for name in sorted(source.evaluations, key=lambda name: name != source.split):
        split = values["splits"][name]
        low, high = split["accuracy_ci95"]
        detail = f"n = {split['n']:,}, 95 % interval {percent(low)} to {percent(high)}"
        note = f"checkpoint of step {values['step']:,}, "
        note += f"chosen by {chosen} {values['chosen_by']}"
        note += ": optimistic here" if name == chosen else ": these pictures chose nothing"
        found.append(Headline(name, percent(split["accuracy"]), detail, note))
    return found


def _calibration(source: Source) -> tuple[list[Bins], str]:
    """Returns reliability before and after temperature scaling, and how it was fitted."""
    split, task = source.split, source.task
    logits, true = source.evaluations[split].logits, source.true(split)
    fitted = source.evaluations["validation"].logits, source.sets["validation"].targets
    temperature = calibration.fit_temperature(*fitted, task)
    if split == "validation":
        scaled = calibration.held_out_scaling(*fitted, task)
        how = "each fifth scaled by what was fitted on the other four"
    else:
        scaled, how = logits / temperature, "fitted on validation, applied to test"
    both = [
        (name, reliability(task.probabilities(each), true, task))
        for name, each in (("as trained", logits), ("scaled", scaled))
    ]
    bins = [
        Bins(f"{name}: ECE {each.error:.3f}", each.confidence, each.accuracy, each.count)
        for name, each in both
    ]
    words = (
        f"Dividing the logits by {temperature:.2f} (temperature scaling, {how}) takes the expected "
        f"calibration error ({BINS} bins) of the {split} pictures from "
        f"{both[0][1].error:.3f} to {both[1][1].error:.3f}. "
    )
    sure = "surer than it should be" if temperature > 1 else "less sure than it could be"
    return bins, f"{words}The model is {sure}. The areas are one class against the rest."


def _threshold_note(split: str) -> str:
    if split == "validation":
        return "Thresholds were chosen on these same pictures: expect a little less on others."
    return "Thresholds were chosen on validation pictures and are measured on test pictures."


def _slices(source: Source, right: np.ndarray) -> list[tuple[str, Table]]:
    pictures = source.sets[source.split]
    count = min(len(pictures), _MOST_SLICED)
    indices = np.linspace(0, len(pictures) - 1, count).astype(int)
    images = (pictures.read_or_recall(i) for i in indices)
    looks = [(brightness([image])[0], sharpness([image])[0]) for image in images]
    shown = [pictures.pictures[i] for i in indices]
    kinds = [
        ("Size, megapixels", [p.width * p.height / 1e6 for p in shown], "{:.3g}"),
        ("Brightness, 0 to 255", [look[0] for look in looks], "{:.0f}"),
        ("Sharpness (variance of Laplacian)", [look[1] for look in looks], "{:.0f}"),
        ("Aspect, width / height", [p.width / p.height for p in shown], "{:.2f}"),
    ]
    return [
        (title, tables.slice_table(slices(np.array(values), right[indices]), form))
        for title, values, form in kinds
    ]


def _leak_note(source: Source) -> str:
    count = len(source.leaks)
    if not count:
        return "No picture of one split is alike one of another (perceptual hashes, 3 of 64 bits)."
    shown = f"The first {min(count, 6)} are shown." if count > 6 else ""
    verb = "pair is" if count == 1 else "pairs are"
    return f"{count:,} {verb} alike across splits (perceptual hashes, 3 of 64 bits). {shown}"


def _quarantine(source: Source) -> Table:
    bad = source.manifest.quarantined
    if not bad:
        return Table((), (), "Every file could be read.")
    more = (
        f"and {len(bad) - _MOST_LISTED:,} more, see manifest.json"
        if len(bad) > _MOST_LISTED
        else ""
    )
    return Table(("file", "reason"), bad[:_MOST_LISTED], more)


def _speed(values: dict[str, Any] | Any, parameters: int) -> Sequence[tuple[str, str]]:
    lines = [
        ("parameters", f"{parameters:,}"),
        ("device", f"{values['device_count']} × {values['device']}"),
    ]
    if values.get("train_images_per_second"):
        lines.append(("training", f"{values['train_images_per_second']:,.0f} images a second"))
    if values.get("train_data_wait") is not None:
        lines.append(("waiting for data", f"{values['train_data_wait']:.1%} of the time"))
    lines.append(("duration of the last call", f"{values['seconds']:,.0f} s"))
    return lines


def _write_suspects(source: Source) -> None:
    """Writes file and better label of each doubtful picture; a reader may keep those that hold.

    A picture has one row, with all labels that are to change and the margin of the most doubtful:
    rows that change one label each would undo each other.
    """
    doubtful: dict[tuple[str, int], list[Suspect]] = {}
    for split, suspect in suspects(source):
        doubtful.setdefault((split, suspect.index), []).append(suspect)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "label", "given", "margin", "split"])
    classes = source.task.classes
    for (split, index), found in doubtful.items():
        picture = source.sets[split].pictures[index]
        better = {suspect.suggested for suspect in found}
        if source.task.kind == "multilabel":
            better ^= set(picture.labels)
        label = "|".join(classes[k] for k in sorted(better))
        given = "|".join(classes[k] for k in picture.labels)
        writer.writerow([picture.file, label, given, f"{found[0].margin:.4f}", split])
    write_text(source.folder.suspects, text.getvalue(), errors=NAME_BYTES)
