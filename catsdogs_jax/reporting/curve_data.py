"""The lines that a run's metrics make when they are drawn over the epochs."""

import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np

from catsdogs_jax.reporting import style

# Lines with more points than this are drawn thin, under a running mean that shows their course.
_MOST_PLAIN: Final = 300
Metric = Literal["accuracy", "loss"]


@dataclasses.dataclass(frozen=True)
class Line:
    """One split's values of one metric, ordered by epoch and step.

    Attributes:
      split: The split's name.
      color: The colour of the line.
      epochs: Epoch of each value, shape [N].
      steps: Step of each value, -1 where the row has none, shape [N].
      values: The values, accuracies in percent, nan or infinite where they were so, shape [N].
    """

    split: str
    color: str
    epochs: np.ndarray
    steps: np.ndarray
    values: np.ndarray

    @property
    def finite(self) -> np.ndarray:
        """Whether each value is finite, shape [N]."""
        return np.isfinite(self.values)

    @property
    def window(self) -> int:
        """Width of the running mean in values, odd; 1 where the line is drawn as it is."""
        return 1 if len(self.values) <= _MOST_PLAIN else 2 * (len(self.values) // 120) + 1

    @property
    def course(self) -> np.ndarray:
        """The values or their centred running mean, nan where one is not finite, shape [N]."""
        values = np.where(self.finite, self.values, 0.0)
        kernel = np.ones(self.window)
        sums = np.convolve(values, kernel, mode="same")
        counts = np.convolve(self.finite.astype(float), kernel, mode="same")
        return np.where(self.finite, sums / np.maximum(counts, 1.0), np.nan)


@dataclasses.dataclass(frozen=True)
class Best:
    """The point of the step that the run kept.

    Attributes:
      split: The split whose line the point lies on.
      epoch: The point's epoch.
      value: The point's value, an accuracy in percent.
      leads: Whether no other value of the line is better.
    """

    split: str
    epoch: float
    value: float
    leads: bool


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, numbers.Real) else None


def read_lines(rows: Sequence[Mapping[str, Any]], metric: Metric) -> list[Line]:
    """Sorts the rows into lines, training first, then validation, then others by name.

    Args:
      rows: The lines of a run's metrics, accuracies as fractions from 0 to 1. Rows without a finite
        epoch or without a number as the metric are left out; of several rows of one split, epoch
        and step, the last one counts.
      metric: The metric to read.

    Returns:
      A line for each split that has values, finite or not.
    """
    splits: dict[str, dict[tuple[float, float], float]] = {}
    for row in rows:
        epoch, value = _number(row, "epoch"), _number(row, metric)
        if epoch is None or value is None or not math.isfinite(epoch):
            continue
        step = _number(row, "step")
        key = (epoch, -1.0 if step is None else step)
        splits.setdefault(str(row.get("split", "")), {})[key] = value
    # The fixed places keep a split's colour the same in every picture of every run.
    known = ("train", "validation")
    others = sorted(split for split in splits if split not in known)
    lines = []
    for index, split in enumerate((*known, *others)):
        points = sorted(splits.get(split, {}).items())
        if not points:
            continue
        lines.append(
            Line(
                split=split,
                color=style.PALETTE[index % len(style.PALETTE)],
                epochs=np.array([epoch for (epoch, _), _ in points]),
                steps=np.array([step for (_, step), _ in points]),
                values=np.array([value for _, value in points])
                * (100.0 if metric == "accuracy" else 1.0),
            )
        )
    return lines


def find_best(lines: Sequence[Line], metric: Metric, best_step: int | None) -> Best | None:
    """Finds the point of the step that the run kept.

    Args:
      lines: The lines, each with at least one finite value.
      metric: The lines' metric, which decides whether high or low values are good.
      best_step: The step, or None for no point.

    Returns:
      The step's point on the validation line, else on the first line that has one, else None.
    """
    for line in sorted(lines, key=lambda line: line.split != "validation"):
        found = np.flatnonzero((line.steps == best_step) & line.finite)
        if best_step is None or not found.size:
            continue
        value = float(line.values[found[-1]])
        values = line.values[line.finite]
        leads = value >= values.max() if metric == "accuracy" else value <= values.min()
        return Best(line.split, float(line.epochs[found[-1]]), value, bool(leads))
    return None
