"""The manifest: every picture of a run, decoded once, labelled, split and fingerprinted."""

import dataclasses
import functools
import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.columns import Choices, Lists
from catsdogs_jax.data.listing import SPLITS, Examples, Listing
from catsdogs_jax.data.pictures import PLACES, Facts, Pictures, Scanned
from catsdogs_jax.data.places import origin_of
from catsdogs_jax.data.scan_shares import scan_in_shares
from catsdogs_jax.data.split import hold_out
from catsdogs_jax.errors import UserError, nearest
from catsdogs_jax.task import Kind, Task


@dataclasses.dataclass(frozen=True)
class Manifest:
    """All pictures of a run.

    Attributes:
        root: The folder that `Picture.file` is relative to.
        task: Kind of labels and class names.
        pictures: Sorted by file.
        quarantined: File and reason of each picture that cannot be used; none is deleted.
        excluded: File and reason of each that could be used but is left out, see `data.leaks`.
    """

    root: Path
    task: Task
    pictures: Pictures
    quarantined: tuple[tuple[str, str], ...]
    excluded: tuple[tuple[str, str], ...] = ()

    def split(self, name: str) -> Pictures:
        """Returns the pictures of one split."""
        return self.pictures.of_split(name)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that hold pictures, in the order train, validation, test."""
        counts = self.counts
        return tuple(name for name in SPLITS if counts[name])

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of pictures in each split."""
        return self.pictures.column("split").counts()

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of classes, names, contents, labels and splits: equal for equal data only."""
        digest = hashlib.sha256(json.dumps(self.task.classes).encode())
        named = map(self.pictures.column, ("file", "content_hash", "labels", "split"))
        for row in zip(*named, strict=True):
            digest.update(json.dumps(row).encode())
        return digest.hexdigest()[:16]


def build_manifest(listing: Listing, config: DataConfig, seed: int) -> Manifest:
    """Decodes every listed picture once and assigns classes and splits.

    Raises:
        UserError: All files are unreadable, a class is empty or missing from a split, or a split
            has a class that the training split has not.
    """
    scanned = scan_listing(listing)
    # Of all that is listed: a class of which no file can be read does not vanish in silence.
    task = _task(config, listing.examples, listing.multilabel)
    pictures = label_pictures(scanned, task)
    pictures = _assign_splits(pictures, config, seed)
    check_classes(pictures, task, scanned.quarantined)
    return Manifest(listing.root, task, pictures, scanned.quarantined)


def evaluation_manifest(listing: Listing, task: Task) -> Manifest:
    """Builds a manifest for a trained model: its classes are given, nothing is held out.

    A picture whose source names no split counts as "test"; training pictures, if the source
    marks any, keep their split.

    Raises:
        UserError: All files are unreadable, or a label is none of the task's classes.
    """
    scanned = scan_listing(listing)
    pictures = label_pictures(scanned, task)
    splits = pictures.column("split").values.copy()
    splits[splits == PLACES.index("")] = PLACES.index("test")
    return Manifest(listing.root, task, pictures.placed(splits), scanned.quarantined)


@dataclasses.dataclass(frozen=True)
class ScannedListing:
    """A listing after every file was opened.

    Attributes:
        examples: Those that can be used.
        facts: What was found in each.
        quarantined: File and reason of each that cannot be used.
    """

    examples: Examples
    facts: Facts
    quarantined: tuple[tuple[str, str], ...]


Scan = Callable[[Path, Sequence[str]], Iterable[Scanned | str]]
"""From a folder and files in it to what each is, in order."""


def scan_listing(listing: Listing, scan: Scan = scan_in_shares) -> ScannedListing:
    """Opens every file of a listing that was not opened before, or has changed since.

    Args:
        listing: What to open.
        scan: How; the default knows what has changed, and shares the work among processes.

    Raises:
        UserError: Not one file can be read.
    """
    files = listing.examples.column("file")
    results = scan(listing.root, files) if listing.facts is None else listing.facts
    facts, readable = Facts.of([]), array("q")
    quarantined = list(listing.quarantined)
    for place, result in zip(range(len(files)), results, strict=True):
        if isinstance(result, Scanned):
            facts.append(result)
            readable.append(place)
        else:
            quarantined.append((files[place], result))
    if not readable:
        file, reason = quarantined[0]
        raise UserError(
            f"none of the {len(quarantined)} files in {origin_of(listing.root)!r} can be used; "
            f"the first, {file!r}: {reason}"
        )
    examples = listing.examples
    if len(readable) < len(examples):
        examples = examples[np.array(readable)]
    return ScannedListing(examples, facts, tuple(quarantined))


def label_pictures(scanned: ScannedListing, task: Task) -> Pictures:
    """Turns class names into indices.

    Raises:
        UserError: A label is none of the task's classes, or there are several or none where there
            must be one.
    """
    index = {name: i for i, name in enumerate(task.classes)}
    columns = scanned.examples.columns()
    files, splits, found = columns["file"], columns["split"], Lists()
    for file, names in zip(files, columns["labels"], strict=True):
        for name in names:
            if name not in index:
                known = ", ".join(task.classes)
                hint = nearest(name, list(task.classes))
                raise UserError(f"{file!r} is labelled {name!r}; known: {known}.{hint}")
        if task.kind != "multilabel" and len(names) != 1:
            raise UserError(
                f"{file!r} has {len(names)} labels ({', '.join(names)}), "
                f"but each picture of a {task.kind} problem has one: label it so, or leave it out"
            )
        found.append(sorted({index[name] for name in names}))
    return Pictures.joined(files, found, Choices(PLACES, splits.data), scanned.facts)


def _task(config: DataConfig, examples: Examples, multilabel: bool) -> Task:
    found = (examples.of_split("train") or examples).column("labels").used()
    classes = config.classes or tuple(found)
    absent = [name for name in classes if name not in found]
    if absent:
        raise UserError(f"data.classes names {absent[0]!r}, but no training picture is labelled so")
    kind: Kind = "multilabel" if multilabel else "binary" if len(classes) == 2 else "multiclass"
    if config.labels != "auto":
        kind = config.labels
    if len(classes) < 2 and kind != "multilabel":
        raise UserError(f"only one class, {found[0]!r}: a classifier needs at least two")
    if kind == "binary" and len(classes) != 2:
        raise UserError(f"data.labels=binary needs two classes, found {len(classes)}: {classes}")
    if kind != "multilabel" and not examples.single:
        raise UserError(f"data.labels={kind}, but some pictures have several labels or none")
    return Task(kind, classes)


def _assign_splits(pictures: Pictures, config: DataConfig, seed: int) -> Pictures:
    """Holds out validation (and, if wanted, test) pictures where the source has no such split."""
    splits = pictures.column("split").values.copy()
    splits[splits == PLACES.index("")] = PLACES.index("train")
    for name, share in (("test", config.test_share), ("validation", config.validation_share)):
        if (splits == PLACES.index(name)).any():
            continue
        training = np.flatnonzero(splits == PLACES.index("train"))
        left = pictures[training]
        held = hold_out(left.column("labels"), left.column("content_hash"), share, seed, name)
        splits[training[held]] = PLACES.index(name)
    return pictures.placed(splits)


def check_classes(
    pictures: Pictures, task: Task, quarantined: Sequence[tuple[str, str]] = ()
) -> None:
    """Checks that the training and the validation split have pictures of every class.

    Args:
        pictures: Those that can be used.
        task: Its classes.
        quarantined: File and reason of each that cannot.

    Raises:
        UserError: A class is missing.
    """
    for split in ("train", "validation"):
        found = pictures.of_split(split).column("labels").numbers
        counts = np.bincount(found, minlength=len(task.classes))
        for name, count in zip(task.classes, counts, strict=True):
            if not count:
                bad = "".join(f" ({file!r}: {why})" for file, why in quarantined[:1])
                raise UserError(
                    f"class {name!r} has no readable picture in the {split} split: add some, or "
                    "remove the class from every split"
                    + (f"; {len(quarantined):,} files cannot be used{bad}" if bad else "")
                )
