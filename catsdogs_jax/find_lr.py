"""Finds a learning rate: python -m catsdogs_jax.find_lr --config configs/seed_cnn.py."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from catsdogs_jax import cli, runtime
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import describe_options, read_config
from catsdogs_jax.errors import UserError
from catsdogs_jax.pretrained import read_weights
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.training.fastest import fastest_trainer
from catsdogs_jax.training.finetune import start
from catsdogs_jax.training.lr_finder import Suggestions, Sweep, suggest, sweep, sweep_config
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.prepare import dataset_of
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.teacher import load_teacher
from catsdogs_jax.training.trainer import class_weights

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100


def find_learning_rate(
    config: Config,
    out: str | Path,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
) -> tuple[Sweep, Suggestions]:
    """Trains for a few steps while the learning rate rises, and draws the loss.

    Args:
        config: The run that is to be; its learning rate, schedule and warm-up do not matter.
        out: The PNG to write.
        lowest: Learning rate of the first step.
        highest: Learning rate towards the last step.
        steps: Length of the sweep; it ends sooner if the loss diverges.

    Returns:
        What was measured, and the learning rates that it speaks for.

    Raises:
        UserError: The config, the data or the devices cannot be used, or the loss diverges at once.
    """
    if not 0 < lowest < highest:
        raise UserError(f"--lowest is {lowest:g} and --highest {highest:g}: 0 < lowest < highest")
    if config.finetune.depth == "probe":
        raise UserError(
            "finetune.depth is probe, which takes no steps and has no learning rate: look for that "
            "of a training of all with --config.finetune.depth=all"
        )
    config = sweep_config(config, lowest, highest)
    weights = read_weights(config.finetune.weights, config.model.name)
    sharding, dataset = make_sharding(config.mesh.devices, config.mesh), dataset_of(config)
    pictures, preprocessing = dataset.splits["train"], dataset.preprocessing
    plan = make_plan(config, len(pictures), steps)
    balance = class_weights(config, pictures)
    teacher = load_teacher(config.train, preprocessing, sharding)
    trainer = fastest_trainer(config, preprocessing, sharding, plan, balance, None, teacher)
    state = start(config, trainer, weights, pictures)[0]
    found = sweep(config, dataset, trainer, steps, state)
    suggestions = suggest(found)
    from catsdogs_jax.reporting.learning_rate import draw_learning_rates  # Matplotlib: not earlier.

    marked = {"steepest": suggestions.steepest, "valley": suggestions.valley}
    draw_learning_rates(found.rates, found.losses, found.smoothed, marked, Path(out))
    return found, suggestions


def main(argv: Sequence[str]) -> None:
    """Parses flags, sweeps, and prints what to try."""
    flags, overrides = cli.split_overrides(parser(), argv)
    config = read_config(flags.config, overrides)
    out = Path(flags.out or "learning_rate.png")
    if flags.workdir:
        folder = RunFolder(Path(flags.workdir))
        folder.read_config()  # Says so if it is no run: train takes no folder with other files.
        out = folder.plots / "learning_rate.png"
    if flags.steps < 10:
        raise UserError(f"--steps is {flags.steps}: at least 10, or nothing can be seen")
    runtime.start()
    found, suggestions = find_learning_rate(config, out, flags.lowest, flags.highest, flags.steps)
    end = "until the loss diverged" if found.diverged else "to the end"
    print(
        f"swept     {found.rates[0]:.2g} to {found.rates[-1]:.2g}, {len(found.rates)} steps, {end}"
    )
    print(f"steepest  {suggestions.steepest:.2g}, where the loss falls fastest")
    print(f"valley    {suggestions.valley:.2g}, the middle of its longest fall")
    print(f"wrote     {out}")
    if suggestions.clear:
        print(f"try       --config.train.learning_rate={suggestions.valley:.2g}")
    else:
        print(
            f"unclear   the loss falls hardly more than its noise: give --steps={4 * flags.steps}, "
            "or a larger --config.data.batch_size"
        )


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "find_lr",
        "Find a learning rate: train for a few steps while it rises, and look at the loss.",
        "python -m catsdogs_jax.find_lr --config configs/seed_cnn.py "
        "--config.data.dir=my_pictures --out learning_rate.png",
    )
    made.add_argument(
        "--config", required=True, metavar="FILE", help="a file, or a name as finetune"
    )
    where = made.add_mutually_exclusive_group()
    where.add_argument("--out", metavar="PNG", help="the plot [learning_rate.png]")
    where.add_argument("--workdir", metavar="RUN", help="a run folder, whose plots/ it goes to")
    made.add_argument("--lowest", type=float, default=LOWEST, help="first rate [%(default)g]")
    made.add_argument("--highest", type=float, default=HIGHEST, help="last rate [%(default)g]")
    made.add_argument("--steps", type=int, default=STEPS, help="number of steps [%(default)s]")
    made.epilog = f"{made.epilog}\n\nconfig keys:\n{describe_options()}"
    return made


if __name__ == "__main__":
    cli.run(main)
