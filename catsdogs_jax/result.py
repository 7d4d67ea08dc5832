"""The end of a run: measure the best checkpoint, draw, and write down what was reached."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catsdogs_jax import hosts
from catsdogs_jax.classifier import Classifier
from catsdogs_jax.config.reader import config_to_dict
from catsdogs_jax.data.leaks import leaked_files, listed
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.escaping import csv_table
from catsdogs_jax.headline import choice, class_lines, split_line
from catsdogs_jax.models.summary import summarize
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.run_folder import RunFolder, write_json, write_text
from catsdogs_jax.statistics import wilson_interval
from catsdogs_jax.training.evaluation import Evaluation, evaluate
from catsdogs_jax.training.loop import Loop
from catsdogs_jax.training.metrics import split_summary
from catsdogs_jax.training.state import Params

CHOOSING_SPLIT = "validation"
"""The split whose metric chooses the checkpoint; no other is looked at before the end."""

LAST_EVALUATIONS = 20

SAMPLES = (3, 6)
"""Rows and columns of pictures in plots/samples.png."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run reached.

    Attributes:
        folder: The run folder.
        values: What `result.json` holds.
    """

    folder: RunFolder
    values: Mapping[str, Any]

    def farewell(self) -> str:
        """Returns the last lines of a run: what was reached, written, and what to do next."""
        path, history = self.folder.path, self.values["history"]
        paged = self.folder.report.exists()  # Several processes leave it to a command.
        page = f"{path}/report.html"
        look = page if paged else f"python -m catsdogs_jax.report --workdir {path}"
        lines = [""]
        for name, split in self.values["splits"].items():
            lines.append(split_line(name, split))
            lines += class_lines(split)
        low, high = history["mean_accuracy_of_last_ci95"]
        lines += [
            f"step {self.values['step']}, {choice(self.values)}",
            f"mean of the last {history['last_evaluations']} evaluations: "
            f"{history['mean_accuracy_of_last']:.1%} of {history['n']} validation pictures right "
            f"(95 % interval {low:.1%} to {high:.1%})",
            "",
            f"wrote {path}/: result.json, predictions.csv, metrics.jsonl, manifest.json, "
            f"plots/*.png, {'report.html, suspects.csv, ' * paged}checkpoints/",
            f"look at it:             {look}, or tensorboard --logdir {path}",
            f"predict new pictures:   python -m catsdogs_jax.predict --workdir {path} PICTURE...",
            "train on your own:      python -m catsdogs_jax.train --config configs/finetune.py "
            "--config.data.dir=FOLDER --workdir runs/mine",
            "                        (FOLDER holds one folder of pictures per class)",
        ]
        return "\n".join(lines)


def conclude(folder: RunFolder, loop: Loop, splits: Sequence[str], seconds: float) -> Result:
    """Evaluates the best checkpoint on held-out splits, and writes and draws the result.

    Args:
        folder: The run folder.
        loop: The loop that has ended.
        splits: Names of the splits, "validation" among them.
        seconds: Duration of this call of the program.
    """
    step = loop.checkpoints.require_best_step()
    trainer, dataset = loop.trainer, loop.dataset
    variables, evaluations = _evaluations(loop, step, splits)
    preprocessing = loop.checkpoints.preprocessing(step)  # With the thresholds of these weights.
    if not hosts.is_first():
        hosts.wait_for_all("the first process wrote the result")
        return read_result(folder)
    rows, ended = loop.records.rows, loop.ended_early()
    values = {
        "config": config_to_dict(loop.config),
        "step": step,
        "chosen_by": loop.config.checkpoint.metric,
        "chosen_on": CHOOSING_SPLIT,
        "device": trainer.sharding.mesh.devices.flat[0].device_kind,
        "device_count": trainer.sharding.device_count,
        "train_images_per_second": loop.stopwatch.images_per_second,
        "train_data_wait": loop.stopwatch.data_wait,
        "seconds": seconds,
        "splits": {
            name: split_summary(
                evaluation,
                dataset.splits[name].targets,
                preprocessing.task,
                preprocessing.threshold,
                dataset.splits[name].among(leaked_files(dataset.leaks, name)),
            )
            for name, evaluation in evaluations.items()
        },
        "history": history(rows, len(dataset.splits[CHOOSING_SPLIT])),
        "stopped_early": None if ended is None else dataclasses.asdict(ended),
        "quarantined": len(dataset.manifest.quarantined),
        "excluded": len(dataset.manifest.excluded),
        "leaks": len(dataset.leaks),
        "leak_pairs": listed(dataset.leaks),
        "fingerprint": dataset.manifest.fingerprint,
    }
    write_predictions(folder.predictions, evaluations, dataset.splits, preprocessing)
    draw(folder, loop, rows, values)
    show_samples(folder, loop, evaluations[CHOOSING_SPLIT], preprocessing)
    values["goodput"] = loop.goodput.summary()
    write_json(folder.result, values)  # Last: whoever sees it finds the rest complete.
    hosts.wait_for_all("the first process wrote the result")
    if not hosts.several():  # The page, a view of the rest, can be written again at any time.
        report(folder, loop, variables, evaluations, values)
    return Result(folder, values)


def _evaluations(
    loop: Loop, step: int, splits: Sequence[str]
) -> tuple[tuple[Params, Params], dict[str, Evaluation]]:
    """Returns the variables of a checkpoint, and what they say of each split."""
    trainer = loop.trainer
    state = loop.checkpoints.restore(step, trainer.abstract_state())
    variables = (state.evaluated_params, state.evaluated_statistics)
    return variables, {
        name: evaluate(
            trainer.evaluate,
            *variables,
            loop.dataset.splits[name],
            trainer.eval_batch,
            trainer.sharding,
        )
        for name in splits
    }


def read_result(folder: RunFolder) -> Result:
    """Returns the result that another process wrote."""
    return Result(folder, json.loads(folder.result.read_text(encoding="utf-8")))


def report(
    folder: RunFolder,
    loop: Loop,
    variables: tuple[Params, Params],
    evaluations: Mapping[str, Evaluation],
    values: Mapping[str, Any],
) -> None:
    """Writes the page of the run, from what the run has in its hands."""
    from catsdogs_jax.insight.gather import write_report
    from catsdogs_jax.insight.source import Source

    trainer, dataset = loop.trainer, loop.dataset
    classifier = Classifier(
        loop.config,
        loop.checkpoints.preprocessing(values["step"]),
        values["step"],
        trainer.sharding,
        trainer.evaluate,
        trainer.eval_batch,
        *variables,
        trainer.recipe.graphdef,
    )
    manifest, sets, leaks = dataset.manifest, dataset.splits, dataset.leaks
    rows = loop.records.rows
    write_report(Source(folder, classifier, manifest, sets, evaluations, leaks, values, rows))


def history(rows: Sequence[Mapping[str, Any]], n: int) -> dict[str, Any]:
    """Returns the best and the late validation accuracy over the whole run.

    The evaluations share their pictures, so a mean of them has the interval of one evaluation.

    Args:
        rows: Lines of `metrics.jsonl`.
        n: Number of validation pictures.
    """
    accuracies = [row["accuracy"] for row in rows if row["split"] == CHOOSING_SPLIT]
    last = accuracies[-LAST_EVALUATIONS:]
    mean = float(np.mean(last))
    return {
        "n": n,
        "evaluations": len(accuracies),
        "best_accuracy": max(accuracies),
        "best_accuracy_ci95": wilson_interval(round(max(accuracies) * n), n),
        "last_evaluations": len(last),
        "mean_accuracy_of_last": mean,
        "mean_accuracy_of_last_ci95": wilson_interval(round(mean * n), n),
    }


def draw(
    folder: RunFolder, loop: Loop, rows: Sequence[Mapping[str, Any]], values: Mapping[str, Any]
) -> None:
    """Draws the curves, what the validation split says of the classes, and the flowchart."""
    # Matplotlib is imported when the training is over, not while it waits to begin.
    from catsdogs_jax.reporting.curves import draw_curves
    from catsdogs_jax.reporting.flowchart import Layer, draw_flowchart

    low, high = values["history"]["best_accuracy_ci95"]
    sample = (
        f"Validation: n = {values['history']['n']:,} pictures; 95 % interval of the best "
        f"{low:.1%} to {high:.1%}"
    )
    draw_curves(rows, folder.plots, best_step=values["step"], sample=sample)
    draw_classes(
        values["splits"]["validation"],
        folder.plots / "confusion_matrix.png",
        folder.plots / "per_class.png",
        title="Validation pictures",
    )
    size = loop.dataset.preprocessing.seen_size
    layers = [
        Layer(part.name, part.description, part.output_shape, part.parameters)
        for part in summarize(loop.trainer.model, size)
    ]
    draw_flowchart(
        layers,
        folder.plots / "model.png",
        title=loop.config.model.name,
        input_shape=(size, size, 3),
    )


def show_samples(
    folder: RunFolder, loop: Loop, evaluation: Evaluation, preprocessing: Preprocessing
) -> None:
    """Draws some validation pictures with what is said of them; trackers get that and the matrix.

    The pictures are evenly spaced, the last rows of folders as well as the first.
    """
    from PIL import Image

    from catsdogs_jax.reporting.sheet import Cell, draw_sheet

    pictures, task = loop.dataset.splits[CHOOSING_SPLIT], preprocessing.task
    columns, rows = min(SAMPLES[1], len(pictures)), []
    places = np.linspace(0, len(pictures) - 1, min(SAMPLES[0], len(pictures) // columns) * columns)
    probabilities = task.probabilities(evaluation.logits)
    for line in places.astype(int).reshape(-1, columns):
        cells = []
        for place in line:
            true = "|".join(task.classes[label] for label in pictures.pictures[place].labels)
            said = task.spell(probabilities[place], preprocessing.threshold)
            mark = "right" if said == true else f"is {true or 'none'}"
            cells.append(Cell(pictures.read_or_recall(place), (said or "none", mark)))
        rows.append(cells)
    drawn = folder.plots / "samples.png"
    draw_sheet(rows, [""] * columns, drawn, title="Validation pictures", note="")
    images = {}
    for path in (drawn, folder.plots / "confusion_matrix.png"):
        with Image.open(path) as image:
            images[path.stem] = np.asarray(image.convert("RGB"))
    loop.records.show(loop.checkpoints.require_best_step(), images)


def draw_classes(split: Mapping[str, Any], confusion: Path, per_class: Path, *, title: str) -> None:
    """Draws the confusion matrix of a split and, unless it is binary, the bars of its classes.

    Args:
        split: Its entry of `result.json`.
        confusion: The PNG of the matrix.
        per_class: The PNG of the bars.
        title: Above both.
    """
    from catsdogs_jax.reporting.confusion import draw_confusion_matrix
    from catsdogs_jax.reporting.per_class import draw_per_class, measures_of

    matrix = np.array(split["confusion_matrix"])
    draw_confusion_matrix(matrix, split["classes"], confusion, title=title)
    if "per_class" in split:
        draw_per_class(measures_of(split["per_class"]), per_class, title=title)


def write_predictions(
    path: Path,
    evaluations: Mapping[str, Evaluation],
    splits: Mapping[str, PictureSet],
    preprocessing: Preprocessing,
) -> None:
    """Writes file, true and predicted label, probability of each class, and split."""
    task, threshold = preprocessing.task, preprocessing.threshold
    rows: list[Sequence[object]] = [["file", "true", "predicted", *task.classes, "split"]]
    for name, evaluation in evaluations.items():
        pictures = splits[name]
        probabilities = task.probabilities(evaluation.logits)
        for picture, row in zip(pictures.pictures, probabilities, strict=True):
            true = "|".join(task.classes[label] for label in picture.labels)
            found = task.spell(row, threshold)
            rows.append([picture.file, true, found, *(f"{p:.6f}" for p in row), name])
    write_text(path, csv_table(rows))
