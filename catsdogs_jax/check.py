"""Looks before a run, or packs: python -m catsdogs_jax.check DIR [--pack], or --augment CONFIG."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from catsdogs_jax import cli, runtime
from catsdogs_jax.augment_sheet import PICTURES, VARIATIONS, draw_augmentation
from catsdogs_jax.config.reader import read_config
from catsdogs_jax.data.places import is_far
from catsdogs_jax.data.sources import here, list_folder, list_labelled
from catsdogs_jax.errors import UserError

_QUARANTINED_SHOWN = 10


def check_pictures(pictures: str, page: Path) -> bool:
    """Checks pictures, prints what was found, writes the page and the tables beside it.

    Returns:
        Whether nothing was found that would spoil a run.

    Raises:
        UserError: There are no pictures, or what is there can train no classifier.
    """
    # Matplotlib comes with these: not before it is asked for.
    from catsdogs_jax.insight.dataset_check import check_labelled, page_content, write_tables
    from catsdogs_jax.reporting.page.check_page import write_check

    check = check_labelled(pictures)
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


def pack_pictures(pictures: str, flags: argparse.Namespace) -> None:
    """Writes the pictures of a folder or table into records, and prints what the pack holds.

    Raises:
        UserError: Flags do not fit together; or see `data.pack.pack`.
    """
    from catsdogs_jax.data.pack import PackOptions, pack
    from catsdogs_jax.data.shards import Squares

    decoded = flags.pack_bytes == "decoded"
    if decoded != (flags.pack_size is not None):
        raise UserError("--pack-bytes decoded and --pack-size PIXELS need each other")
    counts = [count for count in (flags.shards, flags.workers) if count is not None]
    if min(counts, default=1) < 1 or (decoded and flags.pack_size < 8):
        raise UserError("--shards and --workers must be at least 1, and --pack-size at least 8")
    squares = Squares(flags.pack_size, flags.pack_resize) if decoded else None
    options = PackOptions(flags.pack_format, flags.shards, squares, flags.workers)
    listing, crew = None, None
    if flags.beam is not None:
        from catsdogs_jax.data.pack_beam import BeamCrew

        crew = BeamCrew(shlex.split(flags.beam), flags.pack)
        if is_far(pictures):  # Its workers read there, so that nothing is copied to here.
            listing = list_folder(here(pictures, stream=True), asked=pictures)
    index = pack(listing or list_labelled(pictures), flags.pack, options, crew)
    for split, found in index["splits"].items():
        classes = ", ".join(f"{name} {count:,}" for name, count in found["classes"].items())
        print(f"{split}: {found['pictures']:,} pictures ({classes})")
    for bad in index["quarantined"][:_QUARANTINED_SHOWN]:
        print(f"cannot be used: {bad['file']!r}: {bad['reason']}")
    print(f"cannot be used: {len(index['quarantined'])}, all named in records.json")
    size = sum(shard["bytes"] for shard in index["shards"])
    print(f"wrote {flags.pack}: {len(index['shards'])} shards, {size / 2**20:,.1f} MiB")
    print(f"train on it: --config.data.source=records --config.data.dir={flags.pack}")


def _add_pack_flags(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("records, see docs/records.md")
    group.add_argument(
        "--pack", metavar="OUT", help="write the pictures into records, in a folder or at a URL"
    )
    group.add_argument(
        "--pack-format",
        choices=("array_record", "tfrecord"),
        default="array_record",
        help="of the shards [array_record]",
    )
    group.add_argument(
        "--pack-bytes",
        choices=("original", "decoded"),
        default="original",
        help="the bytes of the files, or squares of --pack-size as BMP files [original]",
    )
    group.add_argument("--pack-size", type=int, metavar="PIXELS", help="side of decoded squares")
    group.add_argument(
        "--pack-resize",
        choices=("stretch", "crop", "pad"),
        default="stretch",
        help="how they become square, as data.resize [stretch]",
    )
    group.add_argument("--shards", type=int, help="of each split [one for 256 MiB]")
    group.add_argument("--workers", type=int, help="processes [one for each core]")
    group.add_argument(
        "--beam",
        metavar="OPTIONS",
        help="scan and write by Apache Beam with these options of its own, as "
        "'--runner=FlinkRunner --flink_master=HOST:8081'; '' is this machine",
    )


def main(argv: Sequence[str]) -> None:
    """Parses flags and checks; exits with 1 if something would spoil a run."""
    flags, overrides = cli.split_overrides(parser(), argv)
    if (flags.folder is None) == (flags.augment is None):
        raise UserError("give either a folder of pictures to check, or --augment CONFIG")
    if min(flags.pictures, flags.variations) < 1:
        raise UserError("--pictures and --variations must be at least 1")
    if flags.pack is not None:
        if flags.folder is None:
            raise UserError("--pack needs a folder of pictures, or a table of them")
        pack_pictures(flags.folder, flags)
        return
    runtime.start()
    if flags.augment:
        config, out = read_config(flags.augment, overrides), Path(flags.out or "sheet.png")
        print(f"wrote {draw_augmentation(config, out, flags.pictures, flags.variations)}")
    elif not check_pictures(flags.folder, Path(flags.out or "check/page.html")):
        raise SystemExit(1)


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "check",
        "Look at a folder of pictures before training, or at what a config does to them.",
        "python -m catsdogs_jax.check my_pictures --out check/page.html\n"
        "  python -m catsdogs_jax.check my_pictures --pack my_records\n"
        "  python -m catsdogs_jax.check --augment configs/seed_cnn.py --config.data.dir=PHOTOS",
    )
    made.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        help="one folder of pictures per class, a table (.csv, .jsonl), or records",
    )
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
    _add_pack_flags(made)
    return made


if __name__ == "__main__":
    cli.run(main)
