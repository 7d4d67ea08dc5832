"""Draws a folder of animals to try things with: python -m catsdogs_jax.draw pets."""

import argparse
from collections.abc import Sequence

from catsdogs_jax import cli
from catsdogs_jax.data import drawn
from catsdogs_jax.errors import UserError


def main(argv: Sequence[str]) -> None:
    """Parses flags, draws, and says what was written."""
    flags = parser().parse_args(argv)
    species = [name.strip() for name in flags.classes.split(",")]
    for name in ("train", "validation"):
        if (count := getattr(flags, name)) < len(species):
            raise UserError(f"--{name} is {count}: give at least one picture for each class")
    if flags.seed < 0:
        raise UserError(f"--seed is {flags.seed}: give 0 or more")
    folder = drawn.write_folder(
        flags.folder,
        train=flags.train,
        validation=flags.validation,
        seed=flags.seed,
        species=species,
    )
    print(
        f"wrote {folder}/: train {flags.train}, validation {flags.validation} pictures of", end=" "
    )
    print(f"{', '.join(species)}\nnext  catsdogs check {folder}")


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "draw",
        "Draw a folder of animals, the same for the same flags: pictures to try things with.",
        "python -m catsdogs_jax.draw pets --train 300 --validation 100",
    )
    add = made.add_argument
    add("folder", metavar="DIR", help="a new folder; train/ and validation/ go into it")
    add("--train", type=int, default=300, metavar="N", help="pictures to learn from [300]")
    add("--validation", type=int, default=100, metavar="N", help="pictures to measure on [100]")
    names = ",".join(drawn.DEFAULT_SPECIES)
    every = ", ".join(drawn.SPECIES)
    add("--classes", default=names, metavar="A,B", help=f"some of {every} [{names}]")
    add("--seed", type=int, default=0, metavar="S", help="another seed, other pictures [0]")
    return made


if __name__ == "__main__":
    cli.run(main)
