"""Promises of sharded parameters (FSDP), alone and in groups side by side (hybrid)."""

import functools
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from catsdogs_jax import classifier
from catsdogs_jax.config import Config, MeshConfig
from catsdogs_jax.config.reader import config_from_dict
from catsdogs_jax.errors import Interrupted, UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.optimizer import scaled
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import arrange, make_sharding
from catsdogs_jax.training.step import train_step
from catsdogs_jax.training.trainer import Trainer, build_trainer
from tests.processes import StopAfter

TASK = Task("multiclass", tuple("abcdefgh"))
BATCH = 64
STEPS = 3


def config_of(remat: str = "none", **mesh: Any) -> Config:
    return config_from_dict(
        {
            "data": {"dir": "unused", "image_size": 12, "batch_size": BATCH},
            "model": {"widths": (8, 64), "hidden": 64},
            "augment": {"flip": True},
            "train": {
                "steps": STEPS,
                "optimizer": "adamw",
                "clip_norm": 1.0,
                "ema_decay": 0.9,
                "remat": remat,
            },
            "mesh": {"fsdp_above": 64, **mesh},
        }
    )


def trainer_of(config: Config) -> Trainer:
    sharding = make_sharding(config.mesh.devices, config.mesh)
    preprocessing = Preprocessing(12, "stretch", TASK)
    return build_trainer(config, preprocessing, sharding, make_plan(config, 100), ())


def losses_of(trainer: Trainer) -> list[float]:
    state, losses, fed = trainer.initialize(), [], {}
    for step in range(STEPS):
        rng = np.random.default_rng(step)
        values = {
            "image": rng.integers(0, 256, (BATCH, 12, 12, 3)).astype(np.uint8),
            "target": TASK.targets([(int(k),) for k in rng.integers(0, 8, BATCH)]),
            "mask": np.ones(BATCH, bool),
            "index": np.arange(BATCH, dtype=np.int32),
        }
        fed = {name: jax.device_put(v, trainer.sharding.batch) for name, v in values.items()}
        state, metrics = trainer.train(state, fed)
        losses.append(float(metrics["loss"]))
    logits, _ = trainer.evaluate(state.evaluated_params, state.evaluated_statistics, fed)
    return [*losses, *np.ravel(logits).tolist()]


@pytest.fixture(scope="module")
def alone() -> Trainer:
    return trainer_of(config_of(devices=1))


@pytest.fixture(scope="module")
def expected(alone: Trainer) -> list[float]:
    return losses_of(alone)


@pytest.fixture(scope="module")
def sharded() -> dict[int, Trainer]:
    kinds = {2: "blocks", 8: "none"}
    return {n: trainer_of(config_of(kinds[n], devices=8, fsdp=n)) for n in kinds}


@pytest.mark.parametrize("group", [pytest.param(2, marks=pytest.mark.heavy), 8])
def test_sharded_parameters_do_not_change_losses_or_logits(
    sharded: dict[int, Trainer], expected: list[float], group: int
) -> None:
    np.testing.assert_allclose(losses_of(sharded[group]), expected, rtol=1e-5, atol=1e-7)


def test_keeping_products_alone_changes_nothing(expected: list[float]) -> None:
    found = losses_of(trainer_of(config_of("products", devices=1)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_keeping_products_takes_each_of_them_once_and_keeping_blocks_some_twice() -> None:
    counts = {}
    for remat in ("none", "products", "blocks"):
        trainer = trainer_of(config_of(remat, devices=1))
        traced = jax.make_jaxpr(functools.partial(train_step, trainer.recipe))(
            trainer.abstract_state(), dict(trainer.abstract_batch)
        )
        counts[remat] = len(re.findall(r"= (?:conv_general_dilated|dot_general)\[", str(traced)))
    assert counts["none"] == counts["products"] < counts["blocks"]


def device_bytes(trainer: Trainer) -> int:
    """Returns what a device keeps of the state."""
    leaves = jax.tree.leaves(trainer.abstract_state())
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves
    )


def test_the_memory_of_a_device_falls_with_the_size_of_the_group(
    alone: Trainer, sharded: dict[int, Trainer]
) -> None:
    whole = device_bytes(alone)
    for group, trainer in sharded.items():
        kept = device_bytes(trainer)
        assert kept == pytest.approx(whole / group, rel=0.05)
        memory = trainer.train.compiled.memory_analysis()
        assert memory is not None
        batch = sum(leaf.size * leaf.dtype.itemsize for leaf in trainer.abstract_batch.values()) / 8
        assert memory.argument_size_in_bytes == pytest.approx(kept + batch, rel=0.02)


def test_devices_gather_parameters_reduce_gradients_and_say_nothing_else(
    sharded: dict[int, Trainer],
) -> None:
    for trainer in sharded.values():
        code = trainer.train.compiled.as_text() or ""
        talk = set(
            re.findall(r"\b(all-\w+|reduce-scatter|collective-permute)(?=-start\(|\()", code)
        )
        assert talk == {"all-gather", "all-reduce"}
        gathered = re.findall(r"= f32\[([\d,]+)\]\S* all-gather\(", code)
        shapes = {tuple(leaf.shape) for leaf in jax.tree.leaves(trainer.abstract_state().params)}
        assert gathered
        assert {tuple(map(int, shape.split(","))) for shape in gathered} <= shapes


def test_the_backward_pass_gathers_again_what_it_needs(sharded: dict[int, Trainer]) -> None:
    """Whatever is kept else: with train.remat=blocks in groups of 2, with none in one of 8."""
    for trainer in sharded.values():
        code = trainer.train.compiled.as_text() or ""
        gathered = re.findall(r"= f32\[([\d,]+)\]\S* all-gather\(", code)
        assert gathered.count("3,3,8,64") == 2
        assert gathered.count("64,64") == 2


def test_rules_come_before_the_longest_axis() -> None:
    rules = ("head=none", "params/hidden/kernel=1", "mu/hidden/kernel=1")
    sharding = make_sharding(8, MeshConfig(fsdp=8, fsdp_above=64, fsdp_rules=rules))
    specs = {
        path: tuple(sharding.of(path, shape).spec)
        for path, shape in {
            "params/head/kernel": (64, 8),
            "params/hidden/kernel": (128, 64),
            "average/hidden/kernel": (128, 64),  # Evaluated in place of the parameters.
            "optimizer/0/mu/hidden/kernel": (128, 64),
            "params/blocks/0/conv/kernel": (3, 3, 64, 32),
            "params/odd": (9, 9),
            "params/small": (8,),
        }.items()
    }
    assert specs == {
        "params/head/kernel": (),
        "params/hidden/kernel": (None, "fsdp"),
        "average/hidden/kernel": (None, "fsdp"),
        "optimizer/0/mu/hidden/kernel": (None, "fsdp"),
        "params/blocks/0/conv/kernel": (None, None, "fsdp"),
        "params/odd": (),
        "params/small": (),
    }


def test_a_rule_that_cannot_be_followed_is_refused() -> None:
    sharding = make_sharding(8, MeshConfig(fsdp=8, fsdp_rules=("hidden=0",)))
    with pytest.raises(UserError, match=r"axis 0 of shape \(9, 8\) cannot be split"):
        sharding.of("params/hidden/kernel", (9, 8))
    for rule in ("hidden", "hidden=x", "(=1", "=1"):
        with pytest.raises(UserError, match="must hold REGEX=AXIS"):
            config_from_dict({"train": {"steps": 1}, "mesh": {"fsdp_rules": (rule,)}})


def test_groups_must_divide_the_devices() -> None:
    with pytest.raises(UserError, match="mesh.fsdp is 3, which does not divide 8 devices"):
        make_sharding(8, MeshConfig(fsdp=3))


def test_slices_hold_whole_groups() -> None:
    class Device:
        """A device of a slice, as TPU runtimes describe it."""

        def __init__(self, place: int):
            self.id, self.slice_index, self.platform = place, place // 4, "cpu"
            self.process_index, self.device_kind = place // 4, "fake"

    devices = [Device(place) for place in (0, 4, 1, 5, 2, 6, 3, 7)]
    laid = arrange(devices, MeshConfig(fsdp=4)).mesh.devices
    assert [{device.slice_index for device in group} for group in laid] == [{0}, {1}]
    with pytest.raises(UserError, match="fsdp is 8, which does not divide 8 devices in 2 slices"):
        arrange(devices, MeshConfig(fsdp=8))


@pytest.mark.heavy
def test_a_run_goes_on_on_another_mesh_and_its_model_loads(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    meshes = [{"devices": 1}, {"devices": 8, "fsdp": 8}, {"devices": 2}]
    whole = train_and_evaluate(tiny(), tmp_path / "whole")
    for step, mesh in enumerate(meshes[:2], 2):
        config = tiny(mesh={"fsdp_above": 8, **mesh})
        with pytest.raises(Interrupted):
            train_and_evaluate(config, tmp_path / "moved", StopAfter(step))
    moved = train_and_evaluate(tiny(mesh=meshes[2]), tmp_path / "moved")
    for result in (whole, moved):
        assert result.values["splits"]["validation"]["n"] == 9
    loss = whole.values["splits"]["validation"]["loss"]
    assert moved.values["splits"]["validation"]["loss"] == pytest.approx(loss, rel=1e-4)
    pictures = sorted((tmp_path / "colours/validation").rglob("*.png"))
    found = classifier.load(tmp_path / "moved").predict(pictures)
    assert all(prediction.predicted in ("blue", "red") for prediction in found)


def test_the_rate_is_scaled_to_the_batch() -> None:
    tree = {
        "data": {"batch_size": 1024},
        "train": {"steps": 9, "learning_rate": 0.1, "base_batch": 256, "warmup": 0.1},
    }
    assert scaled(config_from_dict(tree)).learning_rate == pytest.approx(0.4)
    with pytest.raises(UserError, match="must be warmed up"):
        config_from_dict({**tree, "train": {**tree["train"], "warmup": 0.0}})


@pytest.mark.heavy
def test_sixty_four_devices_do_not_change_the_losses(expected: list[float]) -> None:
    code = "from tests.training.test_fsdp import *\n"
    code += "print(*losses_of(trainer_of(config_of(devices=64, fsdp=8))))"
    flags = "--xla_force_host_platform_device_count=64"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    values = [float(word) for word in found.stdout.split()]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7)
