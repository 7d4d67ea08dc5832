"""What a page about a run shows: plain values, gathered elsewhere."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from catsdogs_jax.reporting.flowchart import Layer


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        header: Names of the columns.
        rows: Cells, as many a row as there are columns.
        note: What a reader must know of it.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve of a chart.

    Attributes:
        name: Its name in the key, with its number.
        x: [n].
        y: [n].
    """

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclasses.dataclass(frozen=True)
class Bins:
    """Confidence and accuracy in bins, see `training.reliability.Reliability`.

    Attributes:
        name: Its name in the key, with its number.
        confidence: [bins], nan where empty.
        accuracy: [bins], nan where empty.
        count: [bins].
    """

    name: str
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


@dataclasses.dataclass(frozen=True)
class Photo:
    """A small picture.

    Attributes:
        jpeg: The file's bytes.
        file: Path of the original, as the manifest names it.
        caption: One line below it.
    """

    jpeg: bytes
    file: str
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Case:
    """One held-out picture worth a look.

    Attributes:
        photos: The picture, and with a heat map over it if there is one.
        true: Given label.
        predicted: What the model says.
        words: Confidence, loss or margin in words.
        neighbours: Most alike training pictures, captioned by label.
    """

    photos: Sequence[Photo]
    true: str
    predicted: str
    words: str
    neighbours: Sequence[Photo] = ()


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Cases under a heading.

    Attributes:
        title: The heading.
        note: What they are and how they were chosen.
        cases: None: the note says why.
    """

    title: str
    note: str
    cases: Sequence[Case]


@dataclasses.dataclass(frozen=True)
class Headline:
    """The accuracy of one split.

    Attributes:
        split: Its name.
        accuracy: "92.3 %".
        detail: n and interval.
        note: Whether it chose the checkpoint.
    """

    split: str
    accuracy: str
    detail: str
    note: str


@dataclasses.dataclass(frozen=True)
class Content:
    """Everything on the page of a run.

    Attributes:
        title: Name of the run.
        facts: Pairs of name and value, at the top.
        headlines: One a held-out split, the one that the page is about first.
        rows: Lines of `metrics.jsonl`.
        best_step: Step of the checkpoint.
        split: The split that the page is about.
        confusion: Counts, see `reporting.confusion`.
        classes: Class names.
        roc: False-positive rate and recall.
        precision_recall: Recall and precision.
        reliability: Before and after temperature scaling.
        calibration: How the temperature was found and what it changes, in words.
        per_class: One row a class.
        thresholds: What each threshold costs, or what each confidence keeps.
        galleries: Mistakes and doubtful labels.
        slices: Heading and table of each kind.
        leaks: Pairs of alike pictures in different splits.
        leak_note: How many there are.
        quarantined: File and reason.
        speed: Pairs of name and value.
        layers: The model's.
        input_shape: Of one picture.
        config: The run, nested.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    headlines: Sequence[Headline]
    rows: Sequence[Mapping[str, Any]]
    best_step: int
    split: str
    confusion: np.ndarray
    classes: Sequence[str]
    roc: Sequence[Line]
    precision_recall: Sequence[Line]
    reliability: Sequence[Bins]
    calibration: str
    per_class: Table
    thresholds: Table
    galleries: Sequence[Gallery]
    slices: Sequence[tuple[str, Table]]
    leaks: Sequence[tuple[Photo, Photo]]
    leak_note: str
    quarantined: Table
    speed: Sequence[tuple[str, str]]
    layers: Sequence[Layer]
    input_shape: tuple[int, ...]
    config: Mapping[str, Any]
