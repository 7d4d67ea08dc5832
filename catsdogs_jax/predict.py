"""Classifies pictures: python -m catsdogs_jax.predict --workdir RUN WHAT..."""

import argparse
import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from catsdogs_jax import cli, runtime
from catsdogs_jax.classifier import Classifier, load
from catsdogs_jax.data.inputs import list_inputs
from catsdogs_jax.errors import UserError
from catsdogs_jax.prediction import forms
from catsdogs_jax.prediction.partial import Partial, partial_path
from catsdogs_jax.prediction.predictor import neighbours_of, predict_rows
from catsdogs_jax.prediction.reject import Rejection

_VIEWS = ("run", "none", "mirror", "zooms", "all")


def main(argv: Sequence[str]) -> None:
    """Parses flags, predicts, prints or writes a table."""
    flags = parser().parse_args(argv)
    form, out = _check(flags)
    names = _shard(list_inputs(flags.pictures, sys.stdin.buffer), flags.shard)
    if out is not None and flags.resume and out.is_file() and not partial_path(out).is_file():
        print(f"{out} is whole already", file=sys.stderr)
        return
    runtime.start(flags.require)
    classifier = load(flags.workdir, views=flags.tta)
    neighbours, far = None, None
    if flags.reject_far is not None:
        neighbours = neighbours_of(Path(flags.workdir), classifier)
        far = neighbours.limit(flags.reject_far)
    rejection = Rejection(flags.reject_below, far, flags.reject_as)
    lines = _form(form, classifier, rejection)
    with _opened(out, lines, form, flags, classifier) as (done, last, write):
        begin = done - done % classifier.batch  # The same batches as in one go.
        checked = _after(names, begin, done, lambda name: lines.is_of(last, name))
        found = predict_rows(classifier, checked, rejection, neighbours)
        count, broken = _write(found, lines, write, done - begin)
    if count and count == broken and not done:  # Of what was done before, most may be pictures.
        raise UserError(f"none of the {broken} files is a picture, see the column error")


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "predict",
        "Classify pictures, any number of them: files, folders, patterns, URLs, lists.",
        "python -m catsdogs_jax.predict --workdir runs/mine photo.jpg 'holiday/**/*.jpg' "
        "--out found.csv\n"
        "  find archive -name '*.jpg' -print0 | python -m catsdogs_jax.predict --workdir runs/mine "
        "- --shard 1/4 --resume --out found.parquet",
    )
    add = made.add_argument
    add("--workdir", required=True, metavar="RUN", help="the run folder")
    add("--out", metavar="FILE", help=".csv, .jsonl or .parquet [CSV to standard output]")
    add("--format", choices=forms.FORMATS, help="[by the ending of --out]")
    add("--resume", action="store_true", help="go on from what a stopped call has left of --out")
    add("--shard", metavar="I/N", help="every N-th picture from the I-th on, for one of N hosts")
    add("--tta", choices=_VIEWS, default="run", help="views to average [those of the run]")
    add("--reject-below", type=float, metavar="P", help="no answer below this confidence, 0 to 1")
    add(
        "--reject-far",
        type=float,
        metavar="Q",
        help="no answer if farther from the training pictures than this share of the validation "
        "pictures, for example 0.99",
    )
    add("--reject-as", default="neither", metavar="WORD", help="what stands for it [neither]")
    add("pictures", nargs="+", metavar="WHAT", help="file, folder, 'pattern', URL, or - for a list")
    cli.add_require(made)
    return made


def _check(flags: argparse.Namespace) -> tuple[str, Path | None]:
    """Returns the format of the table and its name, none for standard output."""
    for name in ("reject_below", "reject_far"):
        value = getattr(flags, name)
        if value is not None and not 0 <= value <= 1:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} is {value:g}, but is a share: give 0 to 1, such as 0.95")
    if flags.resume and not flags.out:
        raise UserError("--resume goes on from a file: give the --out of the call before")
    ending = Path(flags.out or ".csv").suffix.lstrip(".").lower() if flags.out else "csv"
    form = flags.format or ending
    if form not in forms.FORMATS:
        raise UserError(f"--out {flags.out!r} ends in none of {', '.join(forms.FORMATS)}: --format")
    if form == "parquet":
        forms.require_parquet()
        if not flags.out:
            raise UserError("Parquet cannot be written to standard output: give --out FILE.parquet")
    if not flags.out:
        return form, None
    out = Path(flags.out)
    if flags.shard:
        index, count = parse_shard(flags.shard)
        out = out.with_name(f"{out.stem}-{index:05d}-of-{count:05d}{out.suffix}")
    return form, out


def parse_shard(text: str) -> tuple[int, int]:
    """Returns I and N of "I/N".

    Raises:
        UserError: It has another form, or I is not from 1 to N.
    """
    index, _, count = text.partition("/")
    if index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count):
        return int(index), int(count)
    raise UserError(f"--shard is {text!r}, but must be I/N with I from 1 to N, for example 2/8")


def _shard(names: Iterator[str], shard: str | None) -> Iterator[str]:
    if shard is None:
        return names
    index, count = parse_shard(shard)
    return islice(names, index - 1, None, count)


def _form(form: str, classifier: Classifier, rejection: Rejection) -> forms.Form:
    task = classifier.preprocessing.task
    if rejection.word in task.classes:
        raise UserError(f"--reject-as {rejection.word!r} is a class: give another word")
    measures = rejection.far is not None
    rejects = measures or rejection.below is not None
    if form == "csv":
        return forms.Csv(task.classes, rejects, measures)
    return forms.Jsonl(task.classes, task.kind == "multilabel", rejects, measures)


@contextlib.contextmanager
def _opened(
    out: Path | None,
    form: forms.Form,
    name: str,
    flags: argparse.Namespace,
    classifier: Classifier,
) -> Iterator[tuple[int, str, Callable[[str], object]]]:
    """Gives the rows that are there, the last of them, and a function that writes lines."""
    if out is None:
        sys.stdout.write(form.header)
        yield 0, "", sys.stdout.write
        return
    settings = {
        "workdir": str(Path(flags.workdir).absolute()),
        "step": classifier.step,
        **{key: getattr(flags, key) for key in ("tta", "shard", "reject_below", "reject_far")},
        "reject_as": flags.reject_as,
        "format": name,
    }
    partial = Partial(out, form, settings)
    done, last = partial.begin(flags.resume)
    with partial.path.open("a", encoding="utf-8") as stream:
        yield done, last, stream.write
    make = None
    if name == "parquet" and isinstance(form, forms.Jsonl):
        make = functools.partial(forms.write_parquet, form=form)
    partial.finish(make)


def _after(
    names: Iterator[str], begin: int, done: int, is_last: Callable[[str], bool]
) -> Iterator[str]:
    """Yields the names from place `begin` on, once the last of those done has proved the same."""
    place = 0
    for place, name in enumerate(names, 1):
        if place == done and not is_last(name):
            break
        if place > begin:
            yield name
    else:
        if place >= done:
            return
    raise UserError(
        f"the list is not that of the call which was stopped: its {done:,} rows do not end with "
        "this list's: give the same pictures, or remove the .partial file"
    )


def _write(
    found: Iterator[list[forms.Row]],
    form: forms.Form,
    write: Callable[[str], object],
    known: int,
) -> tuple[int, int]:
    """Writes rows but for the first `known`; returns how many, and how many are broken."""
    start, count, broken = time.perf_counter(), 0, 0
    for rows in found:
        fresh, known = rows[known:], max(0, known - len(rows))
        write("".join(map(form.line, fresh)))
        count += len(fresh)
        broken += sum(bool(row.error) for row in fresh)
    seconds = time.perf_counter() - start
    rate = f"{count:,} pictures in {seconds:.1f} s, {count / max(seconds, 1e-9):,.0f} pictures/s"
    print(f"{rate}; {broken:,} could not be used", file=sys.stderr)
    return count, broken


if __name__ == "__main__":
    cli.run(main)
