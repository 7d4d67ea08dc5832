"""Promises of a run that ends when it does not get better any more."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.errors import Interrupted
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.early_stop import early_stop
from tests.processes import StopAfter

Tiny = Callable[..., Config]


def rows(*accuracies: float) -> list[dict]:
    return [
        {"step": 10 * n, "split": split, "accuracy": value, "loss": 1 - value}
        for n, value in enumerate(accuracies, 1)
        for split in ("train", "validation")
    ]


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_a_run_ends_when_enough_evaluations_were_no_better(metric: str) -> None:
    assert early_stop(rows(0.5, 0.7, 0.6), metric, 2) is None
    found = early_stop(rows(0.5, 0.7, 0.6, 0.7), metric, 2)  # As good is no better.
    assert found is not None
    assert (found.step, found.best_step, found.evaluations) == (40, 20, 2)
    assert "after step 40: validation" in str(found)
    assert early_stop(rows(0.5, 0.7, 0.6, 0.8), metric, 2) is None


def test_without_patience_or_evaluations_a_run_goes_on() -> None:
    assert early_stop(rows(0.9, 0.1, 0.1), "accuracy", None) is None
    assert early_stop([], "accuracy", 1) is None


def test_a_loss_that_is_not_a_number_is_no_better() -> None:
    assert early_stop(rows(0.5, float("nan")), "loss", 1) is not None


@pytest.mark.heavy
def test_an_interrupted_run_ends_as_early_and_stays_ended(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = {"steps": 9, "patience": 2, "learning_rate": 1e-30}
    model = {"convolutions": "native"}  # Runs are compared to the bit.
    config = tiny(train=train, eval={"every_steps": 1}, model=model)
    result = train_and_evaluate(config, tmp_path / "whole")
    assert result.values["stopped_early"]["step"] == 3
    assert "stopped early after step 3" in capsys.readouterr().out
    with pytest.raises(Interrupted):
        train_and_evaluate(config, tmp_path / "stopped", StopAfter(2))
    for _ in range(2):  # The second time, it only says again what it reached.
        train_and_evaluate(config, tmp_path / "stopped")
        for name in ("metrics.jsonl", "predictions.csv"):
            expected = (tmp_path / "whole" / name).read_bytes()
            assert (tmp_path / "stopped" / name).read_bytes() == expected
        values = json.loads((tmp_path / "stopped/result.json").read_text())
        assert values["stopped_early"] == result.values["stopped_early"]
