"""Promises of a run whose length is a time."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.errors import Interrupted, UserError
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training import budget
from catsdogs_jax.training.budget import Pace, fit_to_budget, steps_within
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.trainer import build_trainer
from tests.processes import StopAfter

Tiny = Callable[..., Config]
TIMED = {"steps": "unset", "budget": "1m"}


def test_the_steps_and_their_evaluations_fill_the_budget(tiny: Tiny) -> None:
    config, pace = tiny(train=TIMED, eval={"every_steps": 10}), Pace(0.5, 2.0, 30.0)
    steps = steps_within(1000, pace, config, 24)

    def taken(steps: int) -> float:
        return steps * 0.5 + -(-steps // 10) * 2.0 + 30.0

    assert taken(steps) <= 950  # One part in 20 is kept back.
    assert taken(steps + 10) > 945


def test_a_budget_without_room_for_a_step_names_one_with_room(tiny: Tiny) -> None:
    config, pace = tiny(train=TIMED), Pace(0.5, 2.0, 70.0)
    with pytest.raises(UserError, match=r"train.budget is 1m, .*train.budget=(\d+)s") as caught:
        steps_within(60, pace, config, 24)
    enough = float(str(caught.value).split("train.budget=")[1].removesuffix("s"))
    assert steps_within(enough, pace, config, 24) >= 1


@pytest.mark.heavy
def test_the_pace_is_measured_on_the_runs_own_pictures_and_disk(tiny: Tiny, tmp_path: Path) -> None:
    config = tiny(train={**TIMED, "budget": "1h"})
    dataset, sharding = load_dataset(config), make_sharding(1)
    plan = make_plan(config, 24, budget.PROVISIONAL_STEPS)
    trainer = build_trainer(config, dataset.preprocessing, sharding, plan, ())
    before = sorted(tmp_path.iterdir())
    found = fit_to_budget(config, dataset, trainer, tmp_path / "runs/one", time.perf_counter())
    assert sorted(tmp_path.iterdir()) == before  # What was written there is gone.
    assert found["budget"] == "1h"
    assert min(found["seconds_per_step"], found["seconds_per_evaluation"]) > 0
    assert 1 <= found["steps"] <= 3600 / found["seconds_per_step"]


def test_checkpoints_are_timed_in_the_run_folder_where_it_is_there_already(tmp_path: Path) -> None:
    for near, ground in ((tmp_path, tmp_path), (tmp_path / "runs/one", tmp_path)):
        with budget._scratch_folder(near) as folder:
            assert folder.parent == ground


@pytest.mark.heavy
def test_a_run_that_goes_on_keeps_the_steps_it_began_with(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(train={**TIMED, "schedule": "cosine"})
    monkeypatch.setattr(budget, "_measure", lambda *_: Pace(4.0, 3.0, 20.0))
    with pytest.raises(Interrupted, match="after step 2 of 5"):
        train_and_evaluate(config, tmp_path / "run", StopAfter(2))
    assert json.loads((tmp_path / "run/plan.json").read_text())["steps"] == 5
    monkeypatch.setattr(budget, "_measure", lambda *_: pytest.fail("measured again"))
    train_and_evaluate(config, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 5
    # The schedule ends with the budget: a step before the end of a cosine of 5 steps.
    assert rows[-2]["learning_rate"] == pytest.approx(1e-2 * 0.0955, rel=1e-2)


def test_processes_plan_by_the_slowest(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(train={**TIMED, "budget": "1h"})
    dataset, sharding = load_dataset(config), make_sharding(1)
    plan = make_plan(config, 24, budget.PROVISIONAL_STEPS)
    trainer = build_trainer(config, dataset.preprocessing, sharding, plan, ())
    monkeypatch.setattr(budget, "_seconds_per_checkpoint", lambda *_: 0.0)
    monkeypatch.setattr(budget.hosts, "told_by_all", lambda word: [word, "3.0", "2.0"])
    found = fit_to_budget(config, dataset, trainer, Path("run"), time.perf_counter())
    assert found["seconds_per_step"] == found["seconds_per_evaluation"] == 3.0
