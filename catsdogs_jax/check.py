"""Looks before a run: python -m catsdogs_jax.check DIR, or --augment CONFIG."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from catsdogs_jax import cli, runtime
from catsdogs_jax.augment_sheet import PICTURES, VARIATIONS, draw_augmentation
from catsdogs_jax.config_reader import read_config
from catsdogs_jax.errors import UserError


def check_pictures(folder: Path, page: Path) -> bool:
    """Checks a folder, prints what was found, writes the page and the tables beside it.

    Returns:
        Whether nothing was found that would spoil a run.

    Raises:
        UserError: There are no pictures, or what is there can train no classifier.
    """
    # Matplotlib comes with these: not before it is asked for.
    from catsdogs_jax.insight.dataset_check import check_folder, page_content, write_tables
    from catsdogs_jax.reporting.page.check_page import write_check

    check = check_folder(folder)
    content = page_content(check)
    write_check(content, page)
    exclude, relabel = write_tables(check, page.parent)
    for name, value in content.facts:
        print(f"{name}: {value}")
    print(f"cannot be used: {len(check.manifest.quarantined)}, odd: {len(check.outliers)}")
    for problem in check.problems:
        print(f"mend: {problem}")
    print(f"wrote {page}, {exclude}, {relabel}")
    print(f"train without those: --config.data.exclude={exclude}")
    return not check.problems


def main(argv: Sequence[str]) -> None:
    """Parses flags and checks; exits with 1 if something would spoil a run."""
    flags, overrides = cli.split_overrides(parser(), argv)
    if (flags.folder is None) == (flags.augment is None):
        raise UserError("give either a folder of pictures to check, or --augment CONFIG")
    if min(flags.pictures, flags.variations) < 1:
        raise UserError("--pictures and --variations must be at least 1")
    if flags.augment:
        config, out = read_config(flags.augment, overrides), Path(flags.out or "sheet.png")
        runtime.start()
        print(f"wrote {draw_augmentation(config, out, flags.pictures, flags.variations)}")
        return
    runtime.start()
    if not check_pictures(Path(flags.folder), Path(flags.out or "check/page.html")):
        raise SystemExit(1)


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "check",
        "Look at a folder of pictures before training, or at what a config does to them.",
        "python -m catsdogs_jax.check my_pictures --out check/page.html\n"
        "  python -m catsdogs_jax.check --augment configs/seed_cnn.py --config.data.dir=PHOTOS",
    )
    made.add_argument("folder", nargs="?", metavar="DIR", help="one folder of pictures per class")
    made.add_argument(
        "--augment", metavar="CONFIG", help="draw training pictures before and after augmentation"
    )
    made.add_argument(
        "--out", metavar="FILE", help="what is written [check/page.html; with --augment sheet.png]"
    )
    made.add_argument("--pictures", type=int, default=PICTURES, help=f"rows [{PICTURES}]")
    made.add_argument(
        "--variations", type=int, default=VARIATIONS, help=f"variations of each [{VARIATIONS}]"
    )
    return made


if __name__ == "__main__":
    cli.run(main)
