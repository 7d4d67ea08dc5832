"""Reports on finished runs: python -m catsdogs_jax.report --compare A B."""

from collections.abc import Sequence

from catsdogs_jax import cli
from catsdogs_jax.comparison import compare_runs
from catsdogs_jax.errors import UserError


def main(argv: Sequence[str]) -> None:
    """Parses flags and prints the report that they ask for."""
    parser = cli.parser(
        "report",
        "Compare two runs on the same pictures.",
        "python -m catsdogs_jax.report --compare runs/a runs/b --split test",
    )
    parser.add_argument(
        "--compare", nargs=2, metavar=("A", "B"), help="two folders of train or evaluate"
    )
    parser.add_argument(
        "--split", default="validation", metavar="NAME", help="pictures to compare [validation]"
    )
    flags = parser.parse_args(argv)
    if not flags.compare:
        raise UserError("nothing to report: give --compare A B, two run folders")
    first, second = flags.compare
    print(compare_runs(first, second, flags.split).describe())


if __name__ == "__main__":
    cli.run(main)
