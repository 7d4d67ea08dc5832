"""Shows what a config does before it trains: python -m catsdogs_jax.check --augment CONFIG."""

from collections.abc import Sequence
from pathlib import Path

from catsdogs_jax import cli, runtime
from catsdogs_jax.augment_sheet import PICTURES, VARIATIONS, draw_augmentation
from catsdogs_jax.config_reader import read_config
from catsdogs_jax.errors import UserError


def main(argv: Sequence[str]) -> None:
    """Parses flags, draws, prints where."""
    parser = cli.parser(
        "check",
        "Look at what a config does before it trains.",
        "python -m catsdogs_jax.check --augment configs/seed_cnn.py --config.data.dir=PHOTOS",
    )
    parser.add_argument(
        "--augment", metavar="CONFIG", help="draw training pictures before and after augmentation"
    )
    parser.add_argument("--out", metavar="PNG", default="sheet.png", help="the file [sheet.png]")
    parser.add_argument("--pictures", type=int, default=PICTURES, help=f"rows [{PICTURES}]")
    parser.add_argument(
        "--variations", type=int, default=VARIATIONS, help=f"variations of each [{VARIATIONS}]"
    )
    flags, overrides = cli.split_overrides(parser, argv)
    if not flags.augment:
        raise UserError("nothing to check: give --augment CONFIG")
    if min(flags.pictures, flags.variations) < 1:
        raise UserError("--pictures and --variations must be at least 1")
    config = read_config(flags.augment, overrides)
    runtime.start()
    drawn = draw_augmentation(config, Path(flags.out), flags.pictures, flags.variations)
    print(f"wrote {drawn}")


if __name__ == "__main__":
    cli.run(main)
