"""The same config from several seeds: how much of a result is luck."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catsdogs_jax import hosts
from catsdogs_jax.config import Config
from catsdogs_jax.errors import UserError
from catsdogs_jax.headline import split_line
from catsdogs_jax.result import CHOOSING_SPLIT, Result
from catsdogs_jax.run_folder import RunFolder, write_json
from catsdogs_jax.statistics import mean_interval
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.preemption import Stop
from catsdogs_jax.training.rows import read_rows


def train_repeats(
    config: Config, workdir: str | Path, count: int, stop: Stop | None = None
) -> dict[str, Any]:
    """Trains seeds seed to seed + count - 1, each in a run folder of its own.

    Where the source has no validation split, the seed also draws it, so the spread then holds that
    of the pictures too.

    Args:
        config: The first run.
        workdir: Gets `seed_N/` for each run, `repeat.json` and `plots/repeat.png`.
        count: Number of runs, at least 2.
        stop: As in `train_and_evaluate`; the same call goes on with the run that was stopped.

    Returns:
        What `repeat.json` holds.

    Raises:
        UserError: There are too few runs, or the folder holds a single run; or see `train`.
        Interrupted: A run was asked to stop, and has saved.
    """
    folder = Path(workdir)
    if count < 2:
        raise UserError(f"--repeat is {count}: a spread needs at least 2 seeds")
    if RunFolder(folder).config.exists():
        raise UserError(f"--workdir {str(folder)!r} holds a single run: give another to --repeat")
    results = []
    for number, seed in enumerate(range(config.seed, config.seed + count), 1):
        if hosts.is_first():
            between = "" if number == 1 else "\n"
            print(f"{between}seed {seed}, run {number} of {count}", flush=True)
        one = dataclasses.replace(config, seed=seed)
        results.append(train_and_evaluate(one, folder / f"seed_{seed}", stop))
        if hosts.is_first():
            for name, split in results[-1].values["splits"].items():
                print(split_line(name, split))
    values = summarize(results)
    if hosts.is_first():
        write_json(folder / "repeat.json", values)
        _draw(results, folder / "plots" / "repeat.png")
    hosts.wait_for_all("the first process wrote what the runs have reached")
    return values


def summarize(results: Sequence[Result]) -> dict[str, Any]:
    """Returns mean, spread and interval of the accuracy over runs, for each held-out split."""
    splits = {}
    for name in results[0].values["splits"]:
        found = [result.values["splits"][name] for result in results]
        accuracies = [split["accuracy"] for split in found]
        spread = float(np.std(accuracies, ddof=1))
        splits[name] = {
            "n": [split["n"] for split in found],
            "accuracy": accuracies,
            "mean": float(np.mean(accuracies)),
            "standard_deviation": spread,
            "standard_error": spread / len(accuracies) ** 0.5,
            "mean_ci95": mean_interval(accuracies),
            "range": [min(accuracies), max(accuracies)],
        }
    return {
        "seeds": [result.values["config"]["seed"] for result in results],
        "steps": [result.values["step"] for result in results],
        "chosen_by": results[0].values["chosen_by"],
        "chosen_on": CHOOSING_SPLIT,
        "same_pictures": len({result.values["fingerprint"] for result in results}) == 1,
        "splits": splits,
    }


def farewell(values: Mapping[str, Any], workdir: str | Path) -> str:
    """Returns the last lines of repeated runs.

    Args:
        values: What `train_repeats` returned.
        workdir: The folder it was given.
    """
    seeds = values["seeds"]
    lines = [""]
    for name, split in values["splits"].items():
        (low, high), (least, most) = split["mean_ci95"], split["range"]
        pictures = " or ".join(f"{n:,}" for n in sorted(set(split["n"])))
        lines.append(
            f"{name}: mean accuracy {split['mean']:.1%} of {pictures} pictures over {len(seeds)} "
            f"seeds (95 % interval of the mean {low:.1%} to {high:.1%}, Student's t); "
            f"standard deviation {split['standard_deviation']:.2%}, standard error "
            f"{split['standard_error']:.2%}, range {least:.1%} to {most:.1%}"
        )
    on, metric = values["chosen_on"], values["chosen_by"]
    lines.append(f"each checkpoint was chosen by {on} {metric}: optimistic on {on}")
    if not values["same_pictures"]:
        lines.append("the seeds also drew the splits: the spread is of weights and pictures")
    lines.append(f"wrote {workdir}/: repeat.json, plots/repeat.png, seed_*/")
    return "\n".join(lines)


def _draw(results: Sequence[Result], path: Path) -> None:
    """Draws the validation accuracy of each seed over the epochs."""
    from catsdogs_jax.reporting import style  # Matplotlib: not earlier.
    from catsdogs_jax.reporting.curves import curve_figure

    rows = [
        {**row, "split": f"seed {result.values['config']['seed']}"}
        for result in results
        for row in read_rows(result.folder.metrics)
        if row["split"] == CHOOSING_SPLIT
    ]
    n = results[0].values["splits"][CHOOSING_SPLIT]["n"]
    sample = f"Validation accuracy of {len(results)} seeds; n = {n:,} pictures"
    style.save(curve_figure(rows, "accuracy", sample=sample), path)
