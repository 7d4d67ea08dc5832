"""Two runs on the same pictures: how many each gets right where the other is wrong."""

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from catsdogs_jax.data.manifest_file import read_pictures
from catsdogs_jax.errors import UserError, nearest
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.statistics import mcnemar_p, paired_difference_interval, wilson_interval

_SIGNIFICANT = 0.05
_CHOOSING_SPLIT = "validation"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The pictures of a split, counted by which of two runs gets them right.

    Attributes:
        first: Name of run A.
        second: Name of run B.
        split: Name of the split.
        both: Right in both.
        first_alone: Right in A alone.
        second_alone: Right in B alone.
        neither: Right in neither.
    """

    first: str
    second: str
    split: str
    both: int
    first_alone: int
    second_alone: int
    neither: int

    @property
    def n(self) -> int:
        """Number of pictures."""
        return self.both + self.first_alone + self.second_alone + self.neither

    @property
    def p(self) -> float:
        """Two-sided p of McNemar's exact test."""
        return mcnemar_p(self.first_alone, self.second_alone)

    def describe(self) -> str:
        """Returns accuracies, the table of counts, the difference, and the test in words."""
        low, high = paired_difference_interval(
            self.both, self.first_alone, self.second_alone, self.neither
        )
        difference = (self.second_alone - self.first_alone) / self.n
        verdict = f"{'' if self.p < _SIGNIFICANT else 'no '}evidence of a difference"
        lines = [
            f"A = {self.first}: {self._accuracy(self.both + self.first_alone)}",
            f"B = {self.second}: {self._accuracy(self.both + self.second_alone)}",
            "",
            f"{self.split + ' pictures':<20} {'B right':>9} {'B wrong':>9}",
            f"{'A right':<20} {self.both:>9,} {self.first_alone:>9,}",
            f"{'A wrong':<20} {self.second_alone:>9,} {self.neither:>9,}",
            "",
            f"B - A: {100 * difference:+.1f} points (95 % interval {100 * low:+.1f} to "
            f"{100 * high:+.1f}, Newcombe's for pairs)",
            f"B is right on {self.second_alone} pictures where A is wrong, {self.first_alone} the "
            f"other way: p = {_spelled(self.p)} (McNemar's exact test): {verdict}",
        ]
        if self.split == _CHOOSING_SPLIT:
            lines.append(
                "these pictures also chose the checkpoint of each run, so both accuracies are "
                "optimistic; a test split (--split test) is not"
            )
        return "\n".join(lines)

    def _accuracy(self, right: int) -> str:
        low, high = wilson_interval(right, self.n)
        return (
            f"{right / self.n:.1%} of {self.n:,} {self.split} pictures right "
            f"(95 % interval {low:.1%} to {high:.1%})"
        )


def compare_runs(first: str | Path, second: str | Path, split: str) -> Comparison:
    """Compares the predictions of two run folders on a split.

    Args:
        first: A folder that `train` or `evaluate` wrote.
        second: Another.
        split: Name of the split, as in `predictions.csv`.

    Raises:
        UserError: A folder has no predictions of that split, or their pictures or labels differ.
    """
    folders = RunFolder(Path(first)), RunFolder(Path(second))
    rows = [_read(folder, split) for folder in folders]
    hashes = [_hashes(folder) for folder in folders]
    known = all(hashes)  # Names alone are compared where one folder knows no contents.
    ours, theirs = (
        {(file, found.get(file, "") if known else ""): row for file, row in table.items()}
        for table, found in zip(rows, hashes, strict=True)
    )
    shared = ours.keys() & theirs.keys()
    if not len(shared) == len(ours) == len(theirs):
        raise UserError(
            f"the {split} pictures differ: {str(first)!r} has {len(ours)}, {str(second)!r} has "
            f"{len(theirs)}, and they share {len(shared)} (same name"
            f"{' and content' if known else ''}): compare runs on the same pictures"
        )
    counts = {(a, b): 0 for a in (True, False) for b in (True, False)}
    for key in sorted(shared):
        (true, predicted), (also_true, also_predicted) = ours[key], theirs[key]
        if true != also_true:
            raise UserError(
                f"{key[0]!r} is {true!r} in {str(first)!r} but {also_true!r} in {str(second)!r}: "
                "compare runs with the same labels"
            )
        counts[predicted == true, also_predicted == true] += 1
    return Comparison(
        str(first),
        str(second),
        split,
        both=counts[True, True],
        first_alone=counts[True, False],
        second_alone=counts[False, True],
        neither=counts[False, False],
    )


def _read(folder: RunFolder, split: str) -> Mapping[str, tuple[str, str]]:
    """Returns the true and the predicted label of each file of a split."""
    if not folder.predictions.is_file():
        raise UserError(
            f"{str(folder.path)!r} has no predictions.csv: give a folder in which "
            "python -m catsdogs_jax.train or .evaluate has finished"
        )
    with folder.predictions.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {row["file"]: (row["true"], row["predicted"]) for row in rows if row["split"] == split}
    if not found:
        names = sorted({row["split"] for row in rows})
        raise UserError(
            f"{str(folder.predictions)!r} has no split {split!r}; it has {', '.join(names)}."
            f"{nearest(split, names)}"
        )
    return found


def _hashes(folder: RunFolder) -> Mapping[str, str]:
    """Returns the content hash of each file; nothing where the folder has no manifest."""
    if not folder.manifest.is_file():
        return {}
    return {picture.file: picture.content_hash for picture in read_pictures(folder.manifest)}


def _spelled(p: float) -> str:
    return f"{p:.2g}" if p >= 1e-4 else f"{p:.0e}"
