"""Promises of the plan: epochs become steps, and the last step is always evaluated."""

from collections.abc import Callable

from catsdogs_jax.config import Config
from catsdogs_jax.training.plan import make_plan

Tiny = Callable[..., Config]


def test_an_epoch_is_one_pass_unless_told_otherwise(tiny: Tiny) -> None:
    config = tiny(train={"steps": "unset", "epochs": 2}, eval={"every_steps": "unset"})
    plan = make_plan(config, 100)
    assert (plan.steps, plan.eval_every) == (25, 12)
    assert plan.epoch(25) == 2


def test_the_seeds_epoch_of_50_steps_can_be_said(tiny: Tiny) -> None:
    train = {"steps": "unset", "epochs": 100, "steps_per_epoch": 50}
    plan = make_plan(tiny(train=train, eval={"every_steps": "unset", "every_epochs": 1}), 2000)
    assert (plan.steps, plan.eval_every) == (5000, 50)


def test_every_evaluation_and_the_last_step_is_saved(tiny: Tiny) -> None:
    plan = make_plan(tiny(train={"steps": 10}, eval={"every_steps": 4}), 24)
    assert [s for s in range(1, 11) if plan.evaluates_after(s)] == [4, 8, 10]
    assert [s for s in range(1, 11) if plan.saves_after(s)] == [4, 8, 10]
    plan = make_plan(tiny(train={"steps": 10}, checkpoint={"every_steps": 3}), 24)
    assert [s for s in range(1, 11) if plan.saves_after(s)] == [3, 6, 9, 10]


def test_a_short_run_is_still_evaluated_once(tiny: Tiny) -> None:
    plan = make_plan(tiny(train={"steps": 1}, eval={"every_steps": 50}), 24)
    assert plan.evaluates_after(1)
