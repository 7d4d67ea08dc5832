"""Reports on finished runs: python -m catsdogs_jax.report --workdir RUN, or --compare A B."""

import argparse
from collections.abc import Sequence

from catsdogs_jax import cli, runtime
from catsdogs_jax.comparison import compare_runs
from catsdogs_jax.errors import UserError


def write(workdir: str) -> str:
    """Writes the page of a run; returns its path.

    Raises:
        UserError: The folder holds no finished run, or its pictures are gone.
    """
    # Matplotlib and scikit-learn come with these: not before they are asked for.
    from catsdogs_jax.insight.gather import write_report
    from catsdogs_jax.insight.source import read_run

    runtime.start()
    return str(write_report(read_run(workdir)))


def main(argv: Sequence[str]) -> None:
    """Parses flags and writes or prints the report that they ask for."""
    flags = parser().parse_args(argv)
    if (flags.workdir is None) == (flags.compare is None):
        raise UserError("give either --workdir RUN, or --compare A B, two run folders")
    if flags.compare:
        first, second = flags.compare
        print(compare_runs(first, second, flags.split).describe())
    else:
        print(f"wrote {write(flags.workdir)}")


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "report",
        "Write report.html, one page about a finished run, or compare two runs on the same "
        "pictures.",
        "python -m catsdogs_jax.report --workdir runs/mine",
    )
    made.add_argument("--workdir", metavar="RUN", help="the run folder")
    made.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="two folders of train or evaluate"
    )
    made.add_argument(
        "--split", default="validation", metavar="NAME", help="pictures to compare [validation]"
    )
    return made


if __name__ == "__main__":
    cli.run(main)
