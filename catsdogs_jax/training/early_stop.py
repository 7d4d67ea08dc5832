"""A run that does not get better any more ends before its last step."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class EarlyStop:
    """Why a run ended early.

    Attributes:
        step: After which step.
        best_step: The step of the best evaluation.
        metric: The validation metric that was watched.
        best: Its best value.
        evaluations: Number of evaluations since, none of them better.
    """

    step: int
    best_step: int
    metric: str
    best: float
    evaluations: int

    def __str__(self) -> str:
        return (
            f"stopped early after step {self.step:,}: validation {self.metric} was best at step "
            f"{self.best_step:,} ({self.best:.4g}) and no better in {self.evaluations} evaluations "
            "since (train.patience)"
        )


def early_stop(
    rows: Sequence[Mapping[str, Any]], metric: str, patience: int | None
) -> EarlyStop | None:
    """Returns why a run ends after the last of its evaluations; none if it goes on.

    What was measured decides, and nothing else is remembered, so that a run which was interrupted
    ends after the same step as one that was not.

    Args:
        rows: The lines of `metrics.jsonl`.
        metric: The validation metric that chooses checkpoints; a loss is better when lower.
        patience: Evaluations without a better one after which a run ends; none: it never does.
    """
    measured = [row for row in rows if row["split"] == "validation"]
    if patience is None or not measured:
        return None
    sign = -1.0 if metric == "loss" else 1.0
    best = max(range(len(measured)), key=lambda n: sign * measured[n][metric])
    since = len(measured) - 1 - best
    if since < patience:
        return None
    row = measured[best]
    return EarlyStop(measured[-1]["step"], row["step"], metric, row[metric], since)
