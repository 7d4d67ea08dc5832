"""Promises of runs that begin with small pictures."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from catsdogs_jax.augment_sheet import varied
from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.errors import Interrupted, UserError
from catsdogs_jax.planning.decoder import Decoder
from catsdogs_jax.planning.duration import duration_of
from catsdogs_jax.planning.problem import Problem
from catsdogs_jax.search.population import Members, Population
from catsdogs_jax.task import Task
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.plan import Plan, make_plan
from catsdogs_jax.training.resident import Resident, with_resident_pictures
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.stages import with_stages
from catsdogs_jax.training.trainer import Trainer, build_trainer
from tests.processes import StopAfter

Tiny = Callable[..., Config]

STEPS = 12


def config_of(tiny: Tiny, *sizes: int, **groups: Any) -> Config:
    return tiny(
        data={"image_size": 32},
        model={
            "name": "resnet_small",
            "widths": (4, 8),
            "depths": (1, 1),
            "hidden": "unset",
            "convolutions": "native",
        },
        augment={"flip": True, "crop": (0.5, 1.0), "grow_from": sizes, "size": 24},
        eval={"every_steps": 5},
        train={"steps": STEPS, "ema_decay": 0.9} | groups.pop("train", {}),
        **groups,
    )


def trainer_of(config: Config) -> Trainer:
    data = load_dataset(config)
    sharding, plan = make_sharding(1), make_plan(config, len(data.training))
    last = build_trainer(config, data.preprocessing, sharding, plan, ())
    staged = with_stages(last, config, data.preprocessing, plan, (), None)
    return with_resident_pictures(staged, config, data.training, plan)


@pytest.mark.heavy
def test_each_size_takes_an_equal_share_of_the_steps_and_is_compiled_once(tiny: Tiny) -> None:
    trainer = trainer_of(config_of(tiny, 8, 8, 16))
    seen = [trainer.after(step).recipe.trained_size for step in range(STEPS)]
    assert seen == [8] * 6 + [16] * 3 + [24] * 3
    assert len(trainer.programs) == 4  # One of them evaluates.
    assert trainer.after(0) is trainer.after(5)
    work = [trainer.after(step).train.compiled.cost_analysis() or {} for step in (0, 6, 11)]
    assert work[0]["flops"] < work[1]["flops"] < work[2]["flops"]


@pytest.mark.heavy
def test_a_step_of_a_stage_is_that_of_a_run_of_its_size(tiny: Tiny) -> None:
    config = config_of(tiny, 16)
    augment = dataclasses.replace(config.augment, size=16, grow_from=())
    alone = trainer_of(dataclasses.replace(config, augment=augment))
    batch = {
        name: jax.device_put(np.ones(leaf.shape, leaf.dtype), leaf.sharding)
        for name, leaf in alone.abstract_batch.items()
    }
    states = [
        trainer.train(alone.initialize(), batch)[0]
        for trainer in (alone, trainer_of(config).after(0))
    ]
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, states))


@pytest.mark.heavy
@pytest.mark.parametrize("steps_per_call", [1, pytest.param(4, marks=pytest.mark.long)])
def test_a_run_that_is_stopped_in_a_stage_ends_with_the_same_bits(
    tiny: Tiny, tmp_path: Path, steps_per_call: int
) -> None:
    config = config_of(tiny, 8, train={"steps_per_call": steps_per_call})

    whole = train_and_evaluate(config, tmp_path / "whole")
    for step in (3, 6):
        with pytest.raises(Interrupted):
            train_and_evaluate(config, tmp_path / "stopped", StopAfter(step))
    again = train_and_evaluate(config, tmp_path / "stopped")
    assert again.folder.metrics.read_bytes() == whole.folder.metrics.read_bytes()
    losses = [
        json.loads(line)["loss"]
        for line in whole.folder.metrics.read_text().splitlines()
        if json.loads(line)["split"] == "train"
    ]
    assert np.isfinite(losses).all()


def test_calls_of_several_steps_end_where_a_stage_does(tiny: Tiny) -> None:
    trainer = trainer_of(config_of(tiny, 8, train={"steps_per_call": 4, "steps": 21}))
    assert [stage.until for stage in trainer.earlier] == [10]
    assert trainer.resident is not None
    assert trainer.after(0).resident is not None
    resident = Resident.__new__(Resident)
    resident.steps = 4
    plan = Plan(21, 1.0, 21, None)
    sizes = list(resident.calls(plan, 0, trainer.earlier))
    assert 10 in np.cumsum(sizes)
    assert sizes.count(4) == 4


def test_the_plan_of_a_run_counts_the_pixels_of_every_stage(tiny: Tiny) -> None:
    whole, grown = config_of(tiny), config_of(tiny, 12)
    assert grown.trained_share == pytest.approx((1 / 4 + 1) / 2)
    problem = Problem(24, 8, Task("binary", ("a", "b")), "made up")
    spent = [
        duration_of(one, problem, make_plan(one, 24), 1.0, 0.1, Decoder(1e9, 1, 2), 1).training
        for one in (whole, grown)
    ]
    assert spent[1] == pytest.approx(spent[0] * 5 / 8)


def test_sizes_that_cannot_be_are_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"augment.grow_from has 28, more than the 24 pixels"):
        config_of(tiny, 28)
    with pytest.raises(
        UserError, match=r"augment.grow_from has 12, but seed_cnn takes .* one size"
    ):
        trainer_of(tiny(augment={"grow_from": (12,)}))
    config = config_of(tiny, 16)
    members = Members(np.arange(2), np.full(2, 1e-3))
    with pytest.raises(UserError, match="a population trains with pictures of one size"):
        Population(config, load_dataset(config), make_sharding(1), make_plan(config, 24), members)


def test_the_sheet_of_variations_shows_the_size_of_the_first_steps(tiny: Tiny) -> None:
    config, images = config_of(tiny, 16), np.zeros((4, 32, 32, 3), np.uint8)
    seen, _ = varied(config, 0, images, np.zeros((4, 1), np.float32))
    assert seen.shape == (4, 16, 16, 3)
