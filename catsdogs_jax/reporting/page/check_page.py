"""The page of a look at a data set before training."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from catsdogs_jax.reporting.page.content import Photo, Table
from catsdogs_jax.reporting.page.render import save, template


@dataclasses.dataclass(frozen=True)
class CheckPart:
    """Pairs of alike pictures.

    Attributes:
        title: Heading.
        count: How many pairs there are.
        pairs: Those that are shown.
    """

    title: str
    count: int
    pairs: Sequence[tuple[Photo, ...]]


@dataclasses.dataclass(frozen=True)
class CheckContent:
    """Everything on the page.

    Attributes:
        title: Name of the folder.
        facts: Pairs of name and value.
        problems: What would spoil a run; none: nothing.
        counts: Pictures of each class and split.
        quarantined: Files that cannot be used, with reasons.
        pairs: Alike pictures across and within splits.
        outliers: Those that are shown.
        outlier_count: How many there are.
        sample: A few pictures by chance.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    problems: Sequence[str]
    counts: Table
    quarantined: Table
    pairs: Sequence[CheckPart]
    outliers: Sequence[Photo]
    outlier_count: int
    sample: Sequence[Photo]


def write_check(content: CheckContent, path: Path) -> Path:
    """Writes the page; returns `path`."""
    return save(template("check.html.j2").render(page=content), path)
