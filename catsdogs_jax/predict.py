"""Classifies pictures: python -m catsdogs_jax.predict --workdir RUN FILE_OR_DIR..."""

import sys
from collections.abc import Sequence
from pathlib import Path

from catsdogs_jax import cli, runtime
from catsdogs_jax.classifier import Prediction, load
from catsdogs_jax.data.sources import find_files
from catsdogs_jax.errors import UserError
from catsdogs_jax.escaping import csv_table
from catsdogs_jax.run_folder import write_text


def main(argv: Sequence[str]) -> None:
    """Parses flags, predicts, prints or writes a CSV."""
    parser = cli.parser(
        "predict",
        "Classify picture files and folders of them.",
        "python -m catsdogs_jax.predict --workdir runs/mine photo.jpg holiday/ --out found.csv",
    )
    parser.add_argument("--workdir", required=True, metavar="RUN", help="the run folder")
    parser.add_argument("--out", metavar="CSV", help="where the table goes [standard output]")
    parser.add_argument("pictures", nargs="+", metavar="FILE_OR_DIR", help="what to classify")
    cli.add_require(parser)
    flags = parser.parse_args(argv)
    files = find_files(flags.pictures)
    runtime.start(flags.require)
    classifier = load(flags.workdir)
    predictions = classifier.predict(files)
    table = as_csv(predictions, classifier.preprocessing.task.classes)
    if flags.out:
        write_text(Path(flags.out), table)
    else:
        sys.stdout.write(table)
    broken = [prediction for prediction in predictions if prediction.error]
    if len(broken) == len(predictions):
        raise UserError(f"none of the {len(broken)} files is a picture, see the column error")


def as_csv(predictions: Sequence[Prediction], classes: Sequence[str]) -> str:
    """Returns a table of file, predicted class, probability of each class, and error."""
    rows: list[Sequence[object]] = [["file", "predicted", *classes, "error"]]
    for prediction in predictions:
        numbers = [""] * len(classes)
        if prediction.probabilities is not None:
            numbers = [f"{p:.6f}" for p in prediction.probabilities]
        rows.append([str(prediction.file), prediction.predicted, *numbers, prediction.error])
    return csv_table(rows)


if __name__ == "__main__":
    cli.run(main)
