"""A population from a config and a space, measured and written down."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_to_dict, with_values
from catsdogs_jax.errors import UserError
from catsdogs_jax.headline import split_line
from catsdogs_jax.result import CHOOSING_SPLIT
from catsdogs_jax.run_folder import write_json, write_text
from catsdogs_jax.search.outcome import config_file
from catsdogs_jax.search.population import Members, Population
from catsdogs_jax.search.space import Space
from catsdogs_jax.statistics import wilson_interval
from catsdogs_jax.training.plan import Plan, make_plan
from catsdogs_jax.training.prepare import dataset_of
from catsdogs_jax.training.sharding import make_sharding

_RATE = "train.learning_rate"


def choose_members(config: Config, space: Space | None, count: int) -> Members:
    """Returns members of seeds seed to seed + count - 1 and the learning rates of a space.

    A range is cut evenly, on its logarithm if the space says so; choices take turns.

    Args:
        config: Gives the first seed, and the rate where there is no space.
        space: May hold train.learning_rate alone.
        count: Number of members, at least 2.

    Raises:
        UserError: The space holds another key, or there are too few members.
    """
    if count < 2:
        raise UserError(f"--population is {count}: give at least 2 members")
    entries = space.entries if space else {_RATE: [config.train.learning_rate]}
    others = [key for key in entries if key != _RATE]
    if others:
        raise UserError(
            f"space key {others[0]!r} cannot differ within one program: a population varies seeds "
            f"and {_RATE} only; leave out --population to search over it"
        )
    entry = entries[_RATE]
    if not isinstance(entry, Mapping) or "choices" in entry:
        choices = entry["choices"] if isinstance(entry, Mapping) else entry
        rates = np.resize(np.asarray(choices, np.float32), count)
    else:
        cut = np.geomspace if entry.get("log") else np.linspace
        rates = cut(entry["low"], entry["high"], count).astype(np.float32)
    seeds = np.arange(config.seed, config.seed + count, dtype=np.int32)
    return Members(seeds, rates)


def run_population(config: Config, members: Members, workdir: str | Path) -> dict[str, Any]:
    """Trains a population to the end of its plan and measures each member once, at the end.

    Args:
        config: What all members share. The test split is not looked at, nothing is saved on the
            way, and a stop ends it.
        members: What differs.
        workdir: Gets `population.json` and `best_config.py`.

    Returns:
        What `population.json` holds.

    Raises:
        UserError: See `Population`; or no member has a finite loss.
    """
    sharding, dataset = make_sharding(config.mesh.devices), dataset_of(config)
    device = sharding.mesh.devices.flat[0]
    print(f"device    {sharding.device_count} x {device.device_kind} ({device.platform})")
    plan = make_plan(config, len(dataset.splits["train"]))
    n = len(dataset.splits[CHOOSING_SPLIT])
    population = Population(config, dataset, sharding, plan, members)
    print(f"training  {len(members)} members for {plan.steps:,} steps in one program")
    measured = _train(population, plan, n)
    entries = [
        {
            "member": number,
            "seed": int(members.seeds[number]),
            "learning_rate": float(members.rates[number]),
            "n": n,
            "accuracy": own["accuracy"],
            "accuracy_ci95": wilson_interval(round(own["accuracy"] * n), n),
            "loss": own["loss"] if math.isfinite(own["loss"]) else None,
        }
        for number, own in enumerate(measured)
    ]
    finite = [entry for entry in entries if entry["loss"] is not None]
    if not finite:
        raise UserError(f"no member has a finite loss: lower {_RATE}")
    values = {
        "config": config_to_dict(config),
        "chosen_on": CHOOSING_SPLIT,
        "steps": plan.steps,
        "device": device.device_kind,
        "device_count": sharding.device_count,
        "best": max(finite, key=lambda entry: (entry["accuracy"], -entry["loss"]))["member"],
        "members": entries,
        "fingerprint": dataset.manifest.fingerprint,
    }
    folder = Path(workdir)
    write_json(folder / "population.json", values)
    write_text(folder / "best_config.py", _best_config(config, values, folder))
    return values


def _train(population: Population, plan: Plan, n: int) -> list[dict[str, float]]:
    """Trains to the end, with a line for each evaluation; returns the last."""
    measured: list[dict[str, float]] = []
    step = 0
    while step < plan.steps:
        after = min(step + plan.eval_every, plan.steps)
        population.train(step, after)
        measured = population.evaluate(CHOOSING_SPLIT)
        accuracies = sorted(own["accuracy"] for own in measured)
        middle = accuracies[len(accuracies) // 2]
        print(
            f"step {after:,} of {plan.steps:,}: {CHOOSING_SPLIT} accuracy of the members "
            f"{accuracies[0]:.1%} to {accuracies[-1]:.1%}, middle {middle:.1%} (n = {n:,})",
            flush=True,
        )
        step = after
    return measured


def table(values: Mapping[str, Any], workdir: str | Path) -> str:
    """Returns the members as a table, best first, and what to do next.

    Args:
        values: What `run_population` returned.
        workdir: The folder it was given.
    """
    lines = ["", f"{'member':>6} {'seed':>6} {'rate':>10}  {'accuracy':>8}  95 % interval   loss"]
    for entry in sorted(values["members"], key=_rank):
        low, high = entry["accuracy_ci95"]
        loss = "not finite" if entry["loss"] is None else f"{entry['loss']:.3f}"
        lines.append(
            f"{entry['member']:>6} {entry['seed']:>6} {entry['learning_rate']:>10.3g}  "
            f"{entry['accuracy']:>8.1%}  {low:6.1%}, {high:6.1%}  {loss}"
        )
    n = values["members"][0]["n"]
    lines += [
        f"accuracy on n = {n:,} {CHOOSING_SPLIT} pictures at the last step; the best of "
        f"{len(values['members'])} is optimistic",
        f"wrote {workdir}/: population.json, best_config.py",
    ]
    return "\n".join(lines)


def _rank(entry: Mapping[str, Any]) -> tuple[float, float]:
    loss = entry["loss"]
    return (math.inf, 0.0) if loss is None else (-entry["accuracy"], loss)


def _best_config(config: Config, values: Mapping[str, Any], folder: Path) -> str:
    best = values["members"][values["best"]]
    chosen = with_values(config, {"seed": best["seed"], _RATE: best["learning_rate"]})
    header = (
        f"The best of a population of {len(values['members'])}: member {best['member']}.\n\n"
        f"    python -m catsdogs_jax.train --config {folder / 'best_config.py'}\n\n"
        f"{split_line(CHOOSING_SPLIT, best)}.\n"
        f"The {CHOOSING_SPLIT} split chose it among the members, so this number is optimistic."
    )
    return config_file(chosen, header)
