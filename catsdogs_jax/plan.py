"""Plans a run before it begins: python -m catsdogs_jax.plan --config C --topology v5e:2x4."""

import argparse
from collections.abc import Sequence

from catsdogs_jax import cli, runtime
from catsdogs_jax.config.reader import read_config
from catsdogs_jax.durations import seconds_of
from catsdogs_jax.errors import UserError
from catsdogs_jax.planning.problem import problem_of


def parse_duration(text: str) -> float:
    """Returns the seconds of a `--budget`, in the words of `train.budget`: "25m" or "1h30m".

    Raises:
        UserError: It is no duration.
    """
    try:
        return seconds_of(text)
    except ValueError:
        raise UserError(
            f"--budget {text!r} is no duration: give for example 90s, 25m or 1h30m"
        ) from None


def main(argv: Sequence[str]) -> None:
    """Parses flags, plans, and prints the plan."""
    flags, overrides = cli.split_overrides(parser(), argv)
    config = read_config(flags.config, overrides)
    here = flags.topology in ("local", "cpu")
    if config.train.budget and not here:
        raise UserError(
            f"train.budget is {config.train.budget!r}, and how many steps those are is measured "
            "where the run begins: give --config.train.epochs=N, or plan there, --topology local"
        )
    time = flags.budget or config.train.budget
    budget = parse_duration(time) if time else None
    problem = problem_of(config, flags.pictures, flags.classes)
    runtime.start()
    if flags.slices < 1 or (flags.slices > 1 and here):
        raise UserError(
            f"--slices {flags.slices} --topology {flags.topology}: slices are of TPUs, 1 or more"
        )
    if here:
        from catsdogs_jax.planning.here import plan_for_here

        lines = plan_for_here(config, problem, budget, flags.price)
    elif budget is not None:
        raise UserError("--budget chooses a run by measuring: give --topology local with it")
    else:
        from catsdogs_jax.planning.absent import plan_for_tpus

        lines = plan_for_tpus(
            config, problem, flags.topology, flags.price, flags.seconds, flags.slices
        )
    print("\n".join(lines))


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "plan",
        "Say what a run needs and costs before it begins: memory, time, exchanges, input.",
        "python -m catsdogs_jax.plan --config configs/seed_cnn.py --topology v5e:2x4 --price 1.2",
    )
    made.add_argument(
        "--config", required=True, metavar="FILE", help="a file, or a name as finetune"
    )
    made.add_argument(
        "--topology", required=True, metavar="T", help="local, or KIND:SHAPE such as v5e:2x4"
    )
    made.add_argument(
        "--slices", type=int, default=1, metavar="N", help="so many of them, joined by a network"
    )
    made.add_argument("--price", type=float, metavar="P", help="of one chip for one hour")
    made.add_argument("--budget", metavar="25m", help="local: choose epochs and batch for it")
    made.add_argument("--pictures", type=int, metavar="N", help="all pictures together")
    made.add_argument("--classes", type=int, metavar="K", help="number of classes")
    made.add_argument(
        "--seconds", type=float, default=30.0, metavar="S", help="stop trying variants after [30]"
    )
    return made


if __name__ == "__main__":
    cli.run(main)
