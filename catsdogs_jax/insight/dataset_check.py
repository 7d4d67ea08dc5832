"""Looks at a folder of pictures before a run: what is there, and what would spoil it."""

import collections
import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

import numpy as np

from catsdogs_jax.config import DataConfig
from catsdogs_jax.data.leaks import find_leaks
from catsdogs_jax.data.manifest import Manifest, build_manifest
from catsdogs_jax.data.pictures import Picture, Pictures
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.places import origin_of
from catsdogs_jax.data.sources import list_labelled
from catsdogs_jax.escaping import NAME_BYTES
from catsdogs_jax.insight import thumbnails
from catsdogs_jax.insight.mistakes import brightness, sharpness
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.reporting.page import Photo, Table
from catsdogs_jax.reporting.page.check_page import CheckContent, CheckPart
from catsdogs_jax.reporting.style import percent
from catsdogs_jax.run_folder import write_text

_SIDE = 128
_MOST_LOOKED_AT = 5000
_SHOWN = 24
_PAIRS_SHOWN = 12
_DARK, _BRIGHT, _BLURRED = 40, 220, 60
_ASPECT, _TINY = 3.0, 32
_UNEVEN = 10


@dataclasses.dataclass(frozen=True)
class Check:
    """What was found in a folder.

    Attributes:
        manifest: Its pictures, split as a run would.
        alike: Pairs of pictures that are the same or nearly.
        outliers: Pictures that look odd, with the reason.
    """

    manifest: Manifest
    alike: Sequence[tuple[Picture, Picture]]
    outliers: Sequence[tuple[Picture, str]]

    @property
    def across(self) -> list[tuple[Picture, Picture]]:
        """Alike pairs whose pictures stand in two splits."""
        return [(a, b) for a, b in self.alike if a.split != b.split]

    @property
    def contradictions(self) -> list[tuple[Picture, Picture]]:
        """Pairs of the same bytes with different labels."""
        return [
            (a, b)
            for a, b in self.alike
            if a.content_hash == b.content_hash and a.labels != b.labels
        ]

    @property
    def problems(self) -> list[str]:
        """What would spoil a run, a line each; none: nothing."""
        found = []
        if self.across:
            found.append(f"alike across splits: {len(self.across)} (the score would flatter)")
        if self.contradictions:
            found.append(f"equal but labelled differently: {len(self.contradictions)}")
        counts = collections.Counter(self.manifest.split("train").column("labels").numbers.tolist())
        most, least = max(counts.values()), min(counts.values())
        if most > _UNEVEN * least:
            found.append(
                f"the largest class has {most:,} training pictures, the smallest {least:,}: "
                "try --config.train.class_weights=balanced"
            )
        return found

    def exclusions(self) -> list[tuple[str, str]]:
        """Returns file and reason of each that cannot be used, or is there twice.

        Of a pair across splits the training picture goes; of one within a split the second.
        """
        found = dict(self.manifest.quarantined)
        for a, b in self.alike:
            gone, kept = (a, b) if a.split == "train" and b.split != "train" else (b, a)
            if kept.file not in found:
                found.setdefault(gone.file, f"alike {kept.file} ({kept.split})")
        return sorted(found.items())


def check_labelled(pictures: str | Path) -> Check:
    """Opens every picture of a folder, a table or a pack; splits are those of a config's defaults.

    Raises:
        UserError: There are no pictures, or what is there can train no classifier.
    """
    manifest = build_manifest(list_labelled(pictures), DataConfig(), seed=0)
    return Check(manifest, find_leaks(manifest.pictures, within=True), _outliers(manifest))


def _pictures(manifest: Manifest, pictures: Iterable[Picture]) -> PictureSet:
    to = Preprocessing(_SIDE, "stretch", manifest.task)
    return PictureSet(Pictures.of(pictures), manifest.root, to)


def _outliers(manifest: Manifest) -> list[tuple[Picture, str]]:
    count = min(len(manifest.pictures), _MOST_LOOKED_AT)
    places = np.linspace(0, len(manifest.pictures) - 1, count).astype(int)
    looked_at = _pictures(manifest, manifest.pictures[places])
    images = np.empty((count, _SIDE, _SIDE, 3), np.uint8)
    looked_at.decode_into(images)
    found = []
    for picture, light, sharp in zip(
        looked_at.pictures, brightness(images), sharpness(images), strict=True
    ):
        aspect = picture.width / picture.height
        reasons = [
            (light < _DARK, f"dark (mean {light:.0f} of 255)"),
            (light > _BRIGHT, f"bright (mean {light:.0f} of 255)"),
            (sharp < _BLURRED, f"blurred (variance of Laplacian {sharp:.0f})"),
            (max(aspect, 1 / aspect) > _ASPECT, f"odd aspect ({picture.width}×{picture.height})"),
            (
                min(picture.width, picture.height) < _TINY,
                f"tiny ({picture.width}×{picture.height})",
            ),
        ]
        words = [words for holds, words in reasons if holds]
        if words:
            found.append((picture, ", ".join(words)))
    return found


def write_tables(check: Check, folder: Path) -> tuple[Path, Path]:
    """Writes `exclude.csv`, and `relabel.csv` with the equal pictures whose labels differ."""
    exclude, relabel = folder / "exclude.csv", folder / "relabel.csv"
    _write_csv(exclude, ("file", "reason"), check.exclusions())
    classes = check.manifest.task.classes
    rows = [
        (one.file, "|".join(classes[k] for k in one.labels), f"equal to {other.file}")
        for pair in check.contradictions
        for one, other in (pair, pair[::-1])
    ]
    _write_csv(relabel, ("file", "label", "reason"), sorted(set(rows)))
    return exclude, relabel


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue(), errors=NAME_BYTES)


def page_content(check: Check) -> CheckContent:
    """Gathers what the page of a check shows."""
    manifest = check.manifest
    within = [(a, b) for a, b in check.alike if a.split == b.split]
    sample = np.random.default_rng(0).permutation(len(manifest.pictures))[:_SHOWN]
    rows = [(file, reason) for file, reason in manifest.quarantined]
    return CheckContent(
        title=PurePath(origin_of(manifest.root)).name,
        facts=_facts(manifest),
        problems=check.problems,
        counts=_counts(manifest),
        quarantined=Table(("file", "reason"), rows, "" if rows else "Every file could be read."),
        pairs=[
            CheckPart("Alike across splits", len(check.across), _photos(manifest, check.across)),
            CheckPart("Alike within a split", len(within), _photos(manifest, within)),
        ],
        outliers=_singles(manifest, check.outliers[:_SHOWN]),
        outlier_count=len(check.outliers),
        sample=_singles(manifest, [(manifest.pictures[i], "") for i in sample]),
    )


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    columns = manifest.pictures.columns()
    widths, heights = columns["width"].values, columns["height"].values
    kinds = collections.Counter(Path(file).suffix.lower() or "none" for file in columns["file"])
    return [
        ("folder", origin_of(manifest.root)),
        ("pictures", f"{len(manifest.pictures):,}"),
        ("median size", f"{np.median(widths):.0f}×{np.median(heights):.0f}"),
        (
            "smallest, largest side",
            f"{min(widths.min(), heights.min())}, {max(widths.max(), heights.max())}",
        ),
        ("endings", ", ".join(f"{name} {n:,}" for name, n in kinds.most_common())),
        ("turned by EXIF", f"{(columns['orientation'].values != 1).sum():,}"),
        ("fingerprint", manifest.fingerprint),
    ]


def _counts(manifest: Manifest) -> Table:
    splits = manifest.splits
    classes = len(manifest.task.classes)
    counts = {
        split: np.bincount(manifest.split(split).column("labels").numbers, minlength=classes)
        for split in splits
    }
    total = max(manifest.counts["train"], 1)
    rows = [
        [name, *(f"{counts[s][k]:,}" for s in splits), percent(counts["train"][k] / total)]
        for k, name in enumerate(manifest.task.classes)
    ]
    return Table(["class", *splits, "share of train"], rows)


def _photos(
    manifest: Manifest, pairs: Sequence[tuple[Picture, Picture]]
) -> list[tuple[Photo, ...]]:
    shown = pairs[:_PAIRS_SHOWN]
    return [tuple(_singles(manifest, [(a, ""), (b, "")])) for a, b in shown]


def _singles(manifest: Manifest, wanted: Sequence[tuple[Picture, str]]) -> list[Photo]:
    pictures = _pictures(manifest, [picture for picture, _ in wanted])
    photos = []
    for index, (picture, words) in enumerate(wanted):
        label = "|".join(manifest.task.classes[k] for k in picture.labels)
        caption = f"{picture.split}, {label}: {words or picture.file}"
        jpeg = thumbnails.thumbnail(pictures.read(index), picture.width / picture.height)
        photos.append(Photo(jpeg, picture.file, caption))
    return photos
