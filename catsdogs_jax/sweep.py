"""Searches over settings: python -m catsdogs_jax.sweep --config C --space S --trials N ..."""

import argparse
from collections.abc import Sequence

from catsdogs_jax import cli, runtime
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import read_config
from catsdogs_jax.errors import UserError, extra


def main(argv: Sequence[str]) -> None:
    """Parses flags, runs trials until there are enough, or a population, and says what it found."""
    flags, overrides = cli.split_overrides(parser(), argv)
    config = read_config(flags.config, overrides)
    _require_optuna()
    if flags.population is None:
        _search(flags, config)
    else:
        _population(flags, config)


def _search(flags: argparse.Namespace, config: Config) -> None:
    from catsdogs_jax.search.outcome import conclude_search
    from catsdogs_jax.search.space import read_space
    from catsdogs_jax.search.study import open_search
    from catsdogs_jax.search.trials import run_trial

    for name in ("space", "trials", "storage"):
        if getattr(flags, name) is None:
            raise UserError(f"--{name} is missing: a search needs --space, --trials and --storage")
    space = read_space(flags.space)
    runtime.start()
    search = open_search(
        config,
        space,
        flags.storage,
        trials=flags.trials,
        workdir=flags.workdir,
        name=flags.study,
        reduction=flags.reduction,
        grace=flags.grace,
    )
    while (trial := search.next_trial()) is not None:
        run_trial(search, trial)
    print(conclude_search(search).farewell())


def _population(flags: argparse.Namespace, config: Config) -> None:
    from catsdogs_jax.search.contest import choose_members, run_population, table
    from catsdogs_jax.search.space import read_space

    for name in ("trials", "storage"):
        if getattr(flags, name) is not None:
            raise UserError(f"--{name} and --population: a population is one program, not trials")
    space = read_space(flags.space) if flags.space else None
    members = choose_members(config, space, flags.population)
    workdir = flags.workdir or f"{cli.default_workdir(flags.config)}_population"
    runtime.start()
    print(table(run_population(config, members, workdir), workdir))


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "sweep",
        "Search over settings. The same command goes on, and more workers may run it at once.",
        "python -m catsdogs_jax.sweep --config configs/quickstart.py --space space.toml "
        "--trials 30 --storage runs/sweep.log",
    )
    add = made.add_argument
    add("--config", required=True, metavar="FILE", help="what trials start from")
    add("--space", metavar="FILE", help="what they vary, see docs/search.md (.toml, .json, .py)")
    add("--trials", type=_positive, metavar="N", help="trials in all, pruned ones too")
    add("--storage", metavar="F", help="a file, or the URL of a database")
    add("--workdir", metavar="DIR", help="a folder that all workers share [F without its suffix]")
    add("--study", default="catsdogs_jax", help="name in the storage [%(default)s]")
    add(
        "--reduction",
        type=_positive,
        default=3,
        metavar="R",
        help="one in R trials passes each rung of successive halving; 1: no pruning [%(default)s]",
    )
    add(
        "--grace",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="silence after which a worker counts as dead [%(default)s]",
    )
    add(
        "--population",
        type=int,
        metavar="P",
        help="instead of trials, train P small models at once, over seeds and learning rates",
    )
    return made


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def _require_optuna() -> None:
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"the search needs Optuna: {extra('sweep')}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


if __name__ == "__main__":
    cli.run(main)
