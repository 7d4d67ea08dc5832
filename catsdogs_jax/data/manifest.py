"""The manifest: every picture of a run, decoded once, labelled, split and fingerprinted."""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.scan import Scanned
from catsdogs_jax.data.scan_shares import scan_in_shares
from catsdogs_jax.data.sources import SPLITS, Example, Listing
from catsdogs_jax.data.split import hold_out
from catsdogs_jax.errors import UserError, nearest
from catsdogs_jax.task import Kind, Task


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A usable picture.

    Attributes:
        file: Path below the manifest's root.
        labels: Indices into the class names.
        split: "train", "validation" or "test".
        width: Pixels, upright.
        height: Pixels, upright.
        orientation: EXIF orientation, 1 to 8.
        plain_jpeg: Whether the fast decoder reads it.
        content_hash: SHA-256 of the bytes.
        perceptual_hash: 64-bit pHash, hexadecimal.
    """

    file: str
    labels: tuple[int, ...]
    split: str
    width: int
    height: int
    orientation: int
    plain_jpeg: bool
    content_hash: str
    perceptual_hash: str

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Picture":
        """Reads an entry of `Manifest.to_dict`."""
        return cls(**{**entry, "labels": tuple(entry["labels"])})


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
    pictures: tuple[Picture, ...]
    quarantined: tuple[tuple[str, str], ...]
    excluded: tuple[tuple[str, str], ...] = ()

    def split(self, name: str) -> tuple[Picture, ...]:
        """Returns the pictures of one split."""
        return tuple(picture for picture in self.pictures if picture.split == name)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that hold pictures, in the order train, validation, test."""
        present = {picture.split for picture in self.pictures}
        return tuple(name for name in SPLITS if name in present)

    @property
    def fingerprint(self) -> str:
        """A hash of classes, names, contents, labels and splits: equal for equal data only."""
        digest = hashlib.sha256(json.dumps(self.task.classes).encode())
        for p in self.pictures:
            digest.update(json.dumps([p.file, p.content_hash, p.labels, p.split]).encode())
        return digest.hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON types."""
        return {
            "root": str(self.root),
            "task": dataclasses.asdict(self.task),
            "fingerprint": self.fingerprint,
            "pictures": [dataclasses.asdict(picture) for picture in self.pictures],
            "quarantined": [{"file": f, "reason": reason} for f, reason in self.quarantined],
            "excluded": [{"file": f, "reason": reason} for f, reason in self.excluded],
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "Manifest":
        """Reads what `to_dict` wrote."""
        task, pictures = tree["task"], tree["pictures"]
        return cls(
            Path(tree["root"]),
            Task(task["kind"], tuple(task["classes"])),
            tuple(Picture(**{**p, "labels": tuple(p["labels"])}) for p in pictures),
            tuple((bad["file"], bad["reason"]) for bad in tree["quarantined"]),
        )


def build_manifest(listing: Listing, config: DataConfig, seed: int) -> Manifest:
    """Decodes every listed picture once and assigns classes and splits.

    Raises:
        UserError: All files are unreadable, a class is empty or missing from a split, or a split
            has a class that the training split has not.
    """
    scanned = scan_listing(listing)
    task = _task(config, [e for e, _ in scanned.readable], listing.multilabel)
    pictures = label_pictures(scanned.readable, task)
    pictures = _assign_splits(pictures, config, seed)
    check_classes(pictures, task)
    return Manifest(listing.root, task, pictures, scanned.quarantined)


def evaluation_manifest(listing: Listing, task: Task) -> Manifest:
    """Builds a manifest for a trained model: its classes are given, nothing is held out.

    A picture whose source names no split counts as "test"; training pictures, if the source
    marks any, keep their split.

    Raises:
        UserError: All files are unreadable, or a label is none of the task's classes.
    """
    scanned = scan_listing(listing)
    pictures = label_pictures(scanned.readable, task)
    placed = tuple(dataclasses.replace(p, split=p.split or "test") for p in pictures)
    return Manifest(listing.root, task, placed, scanned.quarantined)


@dataclasses.dataclass(frozen=True)
class ScannedListing:
    """A listing after every file was opened."""

    readable: tuple[tuple[Example, Scanned], ...]
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
    files = [example.file for example in listing.examples]
    if listing.facts is None:
        results = scan(listing.root, files)
    else:
        results = (listing.facts[file] for file in files)
    readable, quarantined = [], list(listing.quarantined)
    for example, result in zip(listing.examples, results, strict=True):
        if isinstance(result, Scanned):
            readable.append((example, result))
        else:
            quarantined.append((example.file, result))
    if not readable:
        file, reason = quarantined[0]
        raise UserError(
            f"none of the {len(quarantined)} files in {str(listing.root)!r} can be used; "
            f"the first, {file!r}: {reason}"
        )
    return ScannedListing(tuple(readable), tuple(quarantined))


def label_pictures(readable: Sequence[tuple[Example, Scanned]], task: Task) -> tuple[Picture, ...]:
    """Turns class names into indices.

    Raises:
        UserError: A label is none of the task's classes, or there are several or none where there
            must be one.
    """
    index = {name: i for i, name in enumerate(task.classes)}
    pictures = []
    for example, scanned in readable:
        for name in example.labels:
            if name not in index:
                known = ", ".join(task.classes)
                hint = nearest(name, list(task.classes))
                raise UserError(f"{example.file!r} is labelled {name!r}; known: {known}.{hint}")
        if task.kind != "multilabel" and len(example.labels) != 1:
            raise UserError(
                f"{example.file!r} has {len(example.labels)} labels ({', '.join(example.labels)}), "
                f"but each picture of a {task.kind} problem has one: label it so, or leave it out"
            )
        labels = tuple(sorted({index[name] for name in example.labels}))
        pictures.append(
            Picture(example.file, labels, example.split or "", **dataclasses.asdict(scanned))
        )
    return tuple(pictures)


def _task(config: DataConfig, examples: Sequence[Example], multilabel: bool) -> Task:
    training = [e for e in examples if e.split == "train"] or examples
    found = sorted({name for example in training for name in example.labels})
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
    if kind != "multilabel" and any(len(example.labels) != 1 for example in examples):
        raise UserError(f"data.labels={kind}, but some pictures have several labels or none")
    return Task(kind, classes)


def _assign_splits(
    pictures: Sequence[Picture], config: DataConfig, seed: int
) -> tuple[Picture, ...]:
    """Holds out validation (and, if wanted, test) pictures where the source has no such split."""
    placed = [dataclasses.replace(p, split=p.split or "train") for p in pictures]
    for name, share in (("test", config.test_share), ("validation", config.validation_share)):
        if any(p.split == name for p in placed):
            continue
        training = [i for i, p in enumerate(placed) if p.split == "train"]
        held = hold_out([placed[i] for i in training], share, seed, name)
        for index, out in zip(training, held, strict=True):
            if out:
                placed[index] = dataclasses.replace(placed[index], split=name)
    return tuple(placed)


def check_classes(pictures: Iterable[Picture], task: Task) -> None:
    """Checks that the training and the validation split have pictures of every class.

    Raises:
        UserError: A class is missing.
    """
    counts: Mapping[str, Counter[int]] = {}
    for picture in pictures:
        counts.setdefault(picture.split, Counter()).update(picture.labels)
    for split in ("train", "validation"):
        for index, name in enumerate(task.classes):
            if not counts.get(split, Counter())[index]:
                raise UserError(
                    f"class {name!r} has no readable picture in the {split} split: add some, or "
                    "remove the class from every split"
                )
