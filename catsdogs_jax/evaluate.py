"""Measures a trained model: python -m catsdogs_jax.evaluate --workdir RUN --data DATA --out OUT."""

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path

from catsdogs_jax import cli, runtime
from catsdogs_jax.classifier import load
from catsdogs_jax.config.reader import config_to_dict
from catsdogs_jax.data.dataset import picture_sets
from catsdogs_jax.data.leaks import find_leaks, leaked_files, listed
from catsdogs_jax.data.manifest import evaluation_manifest
from catsdogs_jax.data.manifest_file import read_pictures
from catsdogs_jax.data.pictures import Pictures
from catsdogs_jax.data.sources import list_labelled
from catsdogs_jax.errors import UserError
from catsdogs_jax.headline import class_lines, split_line
from catsdogs_jax.result import CHOOSING_SPLIT, Result, draw_classes, write_predictions
from catsdogs_jax.run_folder import RunFolder, write_json
from catsdogs_jax.training.metrics import split_summary


def evaluate_folder(workdir: str | Path, data_dir: str | Path, out: str | Path) -> Result:
    """Measures the best checkpoint of a run on any folder of labelled pictures.

    Args:
        workdir: The run folder.
        data_dir: One folder per class, with or without train/, validation/, test/ above; or a
            table, see docs/data.md, which alone can give several labels.
        out: Where result.json, predictions.csv and the confusion matrices go.

    Returns:
        What result.json holds: the keys of a training run's, but for those about training.

    Raises:
        UserError: There is no run, no picture, a class that the model does not know, or a number of
            labels that it cannot give; or `out` is a run folder, whose results would be lost.
    """
    start = time.perf_counter()
    folder = _folder_of_its_own(out)
    classifier = load(workdir)
    preprocessing = classifier.preprocessing
    manifest = evaluation_manifest(list_labelled(data_dir), preprocessing.task)
    sets = picture_sets(manifest, preprocessing)
    evaluations = {name: classifier.evaluate(pictures) for name, pictures in sets.items()}
    run = RunFolder(Path(workdir))
    leaks = find_leaks(Pictures.of(itertools.chain(run.training_pictures(), manifest.pictures)))
    splits = {
        name: split_summary(
            evaluation,
            sets[name].targets,
            preprocessing.task,
            preprocessing.threshold,
            sets[name].among(leaked_files(leaks, name)),
        )
        for name, evaluation in evaluations.items()
    }
    values = {
        "config": config_to_dict(classifier.config),
        "step": classifier.step,
        "chosen_by": classifier.config.checkpoint.metric,
        "chosen_on": CHOOSING_SPLIT,
        "seen": seen_before(run, manifest.pictures),
        "device": classifier.sharding.mesh.devices.flat[0].device_kind,
        "device_count": classifier.sharding.device_count,
        "seconds": time.perf_counter() - start,
        "splits": splits,
        "quarantined": len(manifest.quarantined),
        "leaks": len(leaks),
        "leak_pairs": listed(leaks),
        "fingerprint": manifest.fingerprint,
    }
    write_predictions(folder.predictions, evaluations, sets, preprocessing)
    for name, split in splits.items():
        paths = (folder.plots / f"{kind}_{name}.png" for kind in ("confusion", "per_class"))
        draw_classes(split, *paths, title=f"{name} pictures")
    write_json(folder.result, values)
    return Result(folder, values)


def _folder_of_its_own(out: str | Path) -> RunFolder:
    folder = RunFolder(Path(out))
    if folder.config.exists():
        raise UserError(
            f"--out is {str(out)!r}, the folder of a run, whose result.json and predictions.csv "
            "would be overwritten: give a folder of its own"
        )
    return folder


def seen_before(run: RunFolder, pictures: Pictures) -> dict[str, int]:
    """Counts pictures whose bytes the run has trained on ("train") or been chosen by."""
    known: dict[str, set[str]] = {"train": set(), CHOOSING_SPLIT: set()}
    for picture in read_pictures(run.manifest):
        if picture.split in known:
            known[picture.split].add(picture.content_hash)
    return {
        split: sum(content in known[split] for content in pictures.column("content_hash"))
        for split in ("train", CHOOSING_SPLIT)
    }


def main(argv: Sequence[str]) -> None:
    """Parses flags, evaluates, prints one line a split."""
    flags = parser().parse_args(argv)
    runtime.start(flags.require)
    result = evaluate_folder(flags.workdir, flags.data, flags.out)
    for name, split in result.values["splits"].items():
        print("\n".join([split_line(name, split), *class_lines(split)]))
    for split, count in result.values["seen"].items():
        did = "trained on" if split == "train" else f"chosen by its {split} split, with"
        if count:
            print(f"optimistic: the run was {did} {count} of these pictures")
    print(f"wrote {flags.out}/: result.json, predictions.csv, plots/")


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "evaluate",
        "Measure a trained model on labelled pictures.",
        "python -m catsdogs_jax.evaluate --workdir runs/mine --data more_pictures --out runs/more",
    )
    made.add_argument("--workdir", required=True, metavar="RUN", help="the run folder")
    made.add_argument(
        "--data", required=True, metavar="DATA", help="one folder per class, or a .csv or .jsonl"
    )
    made.add_argument("--out", required=True, metavar="OUT", help="where the result goes")
    cli.add_require(made)
    return made


if __name__ == "__main__":
    cli.run(main)
