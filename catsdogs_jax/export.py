"""Writes a model for use elsewhere: python -m catsdogs_jax.export --workdir RUN --out DIR."""

import argparse
import sys
from collections.abc import Sequence

from catsdogs_jax import cli, runtime
from catsdogs_jax.errors import UserError

_MOST_GOLDEN = 64


def main(argv: Sequence[str]) -> None:
    """Parses flags, then exports a run or verifies a bundle."""
    flags = parser().parse_args(argv)
    given = [
        f"--{name}"
        for name in ("format", "out", "licence", "golden", "pictures")
        if getattr(flags, name) is not None
    ]
    if flags.verify:
        if given:
            raise UserError(f"{', '.join(given)}: not with --verify, which only reads a bundle")
        runtime.start()
        _verify(flags.verify)
    else:
        _export(flags)


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    from catsdogs_jax.exporting.formats import FORMATS

    made = cli.parser(
        "export",
        "Write a trained model as a bundle that gives the same probabilities elsewhere, or verify "
        "one.",
        "python -m catsdogs_jax.export --workdir runs/mine --format onnx,tflite-int8 "
        "--out bundles/mine\n  python -m catsdogs_jax.export --verify bundles/mine",
    )
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", metavar="RUN", help="the run folder to export")
    what.add_argument("--verify", metavar="DIR", help="the bundle to check; exit code 1 if wrong")
    names = ", ".join(FORMATS)
    made.add_argument("--format", metavar="F[,F...]", help=f"all, or some of {names} [all]")
    made.add_argument("--out", metavar="DIR", help="where the bundle goes, a new folder")
    made.add_argument("--licence", metavar="TEXT", help="of the weights, for the model card")
    made.add_argument(
        "--golden",
        type=int,
        metavar="N",
        help="validation pictures that go into the bundle, decoded; 0: noise in their place [8]",
    )
    made.add_argument(
        "--golden-originals", action="store_true", help="put their files in too, to check decoding"
    )
    made.add_argument(
        "--pictures", type=int, metavar="N", help="validation pictures to measure on [600]"
    )
    made.add_argument(
        "--uncalibrated", action="store_true", help="fit no temperature: give predict's numbers"
    )
    return made


def _export(flags: argparse.Namespace) -> None:
    from catsdogs_jax.exporting.card import as_text, table
    from catsdogs_jax.exporting.formats import FORMATS
    from catsdogs_jax.exporting.write import Options, check_formats, export_run

    if not flags.out:
        raise UserError("--out is missing: give a new folder for the bundle")
    golden = 8 if flags.golden is None else flags.golden
    pictures = 600 if flags.pictures is None else flags.pictures
    if not 0 <= golden <= _MOST_GOLDEN:
        raise UserError(f"--golden is {golden}: give 0 to {_MOST_GOLDEN}")
    if pictures < 1:
        raise UserError(f"--pictures is {pictures}: give 1 or more")
    asked = (flags.format or "all").split(",")
    if asked == ["all"]:
        asked = list(FORMATS)
    check_formats(asked)
    runtime.start()
    options = Options(
        asked,
        golden,
        flags.golden_originals,
        flags.licence or "not stated",
        pictures,
        not flags.uncalibrated,
    )
    facts = export_run(flags.workdir, flags.out, options, lambda line: print(line, flush=True))
    calibration = facts["calibration"]
    print(f"\nmeasured on {facts['n']} validation pictures, {facts['device']}:")
    print(as_text(table(facts)))
    print(
        f"\ntemperature {calibration['temperature']:.4f}"
        + (f" ({calibration['why_none']})" if calibration["why_none"] else "")
        + "; difference: the largest of any probability, calibrated or not"
        f"\nwrote {flags.out}/: README.md (the model card), export.json, golden/"
        f"\ncheck it anywhere:  python -m catsdogs_jax.export --verify {flags.out}"
    )
    failed = [name for name, entry in facts["formats"].items() if not entry["passed"]]
    if failed:
        print(f"outside of the tolerance: {', '.join(failed)}", file=sys.stderr)
        raise SystemExit(1)


def _verify(folder: str) -> None:
    from catsdogs_jax.exporting.verify import verify

    checks = verify(folder)
    for check in checks:
        print(check.words)
    if any(check.passed is False for check in checks):
        raise SystemExit(1)
    if not any(check.passed for check in checks[1:]):
        raise UserError("no format of the bundle can be run here, see above")


if __name__ == "__main__":
    cli.run(main)
