"""Promises of pictures that lie on the devices: the run is the same, and only indices are sent."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from catsdogs_jax import hosts
from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.errors import Diverged, Interrupted, UserError
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.plan import Plan, make_plan
from catsdogs_jax.training.preemption import AgreedStop
from catsdogs_jax.training.resident import (
    Resident,
    stacked,
    tile_rows,
    tiled,
    with_resident_pictures,
)
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.trainer import Trainer, build_trainer
from tests.processes import StopAfter, assert_same_rows, launched, rows_of, stopped, until_rows

Tiny = Callable[..., Config]

STEPS = 22


def config_of(
    tiny: Tiny, steps_per_call: int | None = 4, devices: int = 1, **groups: Any
) -> Config:
    train = {"steps": STEPS, "steps_per_call": steps_per_call, "ema_decay": 0.9}
    model = {"convolutions": "native", "dropout": 0.5}
    return tiny(
        train=train | groups.pop("train", {}),
        model=model,
        augment={"flip": True, "zoom": (0.8, 1.2)},
        eval={"every_steps": 6},
        mesh={"devices": devices},
        **groups,
    )


def trainer_of(config: Config) -> Trainer:
    data = load_dataset(config)
    sharding = make_sharding(config.mesh.devices, config.mesh)
    plan = make_plan(config, len(data.training))
    built = build_trainer(config, data.preprocessing, sharding, plan, ())
    return with_resident_pictures(built, config, data.training, plan)


@pytest.mark.heavy
@pytest.mark.parametrize("devices", [1, 4])
def test_a_run_is_that_of_pictures_that_are_sent(tiny: Tiny, tmp_path: Path, devices: int) -> None:
    sent = train_and_evaluate(config_of(tiny, 1, devices), tmp_path / "sent")
    resident = train_and_evaluate(config_of(tiny, 4, devices), tmp_path / "resident")
    assert_same_rows(rows_of(resident.folder.path), rows_of(sent.folder.path))


@pytest.mark.heavy
def test_a_run_that_was_stopped_ends_with_the_same_bits(tiny: Tiny, tmp_path: Path) -> None:
    config = config_of(tiny)
    whole = train_and_evaluate(config, tmp_path / "whole")
    with pytest.raises(Interrupted, match="saved after step 4 of"):  # The call goes to its end.
        train_and_evaluate(config, tmp_path / "stopped", StopAfter(2))
    with pytest.raises(Interrupted, match="saved after step 16 of"):
        train_and_evaluate(config, tmp_path / "stopped", StopAfter(13))
    again = train_and_evaluate(config, tmp_path / "stopped")
    assert again.folder.metrics.read_bytes() == whole.folder.metrics.read_bytes()
    assert again.folder.predictions.read_bytes() == whole.folder.predictions.read_bytes()


@pytest.mark.parametrize("first", range(STEPS))
def test_calls_end_where_something_happens_and_fall_into_step_after_a_stop(first: int) -> None:
    plan = Plan(STEPS, 1.0, 6, 9)
    resident = Resident.__new__(Resident)
    resident.steps = 4
    sizes = list(resident.calls(plan, first))
    ends = (first + np.cumsum(sizes)).tolist()
    assert ends[-1] == STEPS
    assert {step for step in range(first + 1, STEPS + 1) if plan.saves_after(step)} <= set(ends)
    whole = np.cumsum(list(resident.calls(plan, 0))).tolist()
    assert set(ends) - set(whole) <= set(range(first + 1, first + 4))
    assert 4 in list(resident.calls(plan, 0))


@pytest.mark.heavy
def test_a_failed_step_within_a_call_is_named(tiny: Tiny, tmp_path: Path) -> None:
    sent = config_of(tiny, 1, train={"learning_rate": 1e38})
    with pytest.raises(Diverged) as expected:
        train_and_evaluate(sent, tmp_path / "sent")
    resident = config_of(tiny, 8, train={"learning_rate": 1e38}, checkpoint={"every_steps": 16})
    with pytest.raises(Diverged) as found:
        train_and_evaluate(resident, tmp_path / "resident")
    step = re.compile(r"at step (\d+)")
    assert step.findall(str(found.value)) == step.findall(str(expected.value))
    assert int(step.findall(str(found.value))[0]) % 8 != 0
    one, other = (RunFolder(tmp_path / name).failure.read_text() for name in ("sent", "resident"))
    assert json.loads(one)["files"] == json.loads(other)["files"]


def test_no_picture_is_sent_and_devices_exchange_no_more_than_gradients(tiny: Tiny) -> None:
    trainer = trainer_of(config_of(tiny, devices=4))
    assert trainer.resident is not None
    several = trainer.resident.compiled[0]
    assert set(several.arguments[2]) == {"target", "mask", "index"}
    exchanges = re.compile(r"= .* (all-[a-z]+|collective-[a-z]+|reduce-scatter)\(")
    one, many = (
        set(exchanges.findall(s.compiled.as_text() or "")) for s in (trainer.train, several)
    )
    assert many == one == {"all-reduce"}


def test_pictures_are_sent_where_that_is_asked_for_or_nothing_is_gained(tiny: Tiny) -> None:
    assert trainer_of(config_of(tiny, 1)).resident is None
    assert trainer_of(config_of(tiny, None)).resident is None  # A CPU.
    with pytest.raises(UserError, match="steps_per_call=4 needs .* raise --config.data.cache_mb"):
        trainer_of(config_of(tiny, data={"cache_mb": 0}))


TILES = 24 * 4096
"""Bytes of the 24 training pictures of 16x16, each of which takes a tile."""


@pytest.mark.parametrize(
    ("stats", "kept"),
    [
        (None, False),
        ({"bytes_limit": 4 * TILES - 1, "bytes_in_use": 0}, False),
        ({"bytes_limit": 4 * TILES, "bytes_in_use": 0}, True),
        ({"bytes_limit": 4 * TILES, "bytes_in_use": 1}, False),
    ],
)
def test_an_accelerator_with_room_keeps_the_pictures(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, stats: dict[str, int] | None, kept: bool
) -> None:
    monkeypatch.setattr("catsdogs_jax.training.sharding.Sharding.platform", "tpu")
    monkeypatch.setattr(jax.Device, "memory_stats", lambda _: stats)
    trainer = trainer_of(config_of(tiny, None))
    assert (trainer.resident is not None) is kept
    if trainer.resident is not None:
        assert trainer.resident.steps == 8


def test_processes_agree_on_the_end_of_a_call_of_several_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers: list[int] = []

    def reached(number: int) -> bool:  # As JAX does: at the number after the last one.
        numbers.append(number)
        return number == 3

    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", reached)
    monkeypatch.setattr(AgreedStop, "_number", 0)
    stop = AgreedStop()
    assert [stop.requested(step) for step in (8, 8, 16, 17, 25)] == [None, None, None, 15, 15]
    assert numbers == [1, 1, 2, 3]
    AgreedStop().requested(8)  # Of the next run of the same processes.
    assert numbers[-1] > 3


@pytest.mark.long
def test_two_processes_train_as_one_and_stop_after_the_same_call(
    tiny: Tiny, tmp_path: Path
) -> None:
    def config(devices: int) -> Config:
        return config_of(tiny, 4, devices, train={"steps": 20_000, "learning_rate": 1e-4})

    run = launched(tmp_path, config(2), processes=2)
    until_rows(run, tmp_path / "run", 4)
    said = stopped(run)
    assert said.count("4 in a call, of pictures that lie on the devices") == 1
    first, other = (int(n.replace(",", "")) for n in re.findall(r"after step ([\d,]+) of", said))
    assert first == other
    resident = Resident.__new__(Resident)
    resident.steps = 4
    assert first in np.cumsum(list(resident.calls(make_plan(config(2), 24), 0)))

    with pytest.raises(Interrupted):
        train_and_evaluate(config(1), tmp_path / "alone", StopAfter(13))
    alone = rows_of(tmp_path / "alone", 12)
    assert [row["split"] for row in alone] == ["train", "validation"] * 2
    assert_same_rows(rows_of(tmp_path / "run", 12), alone)


@pytest.mark.parametrize("side", [1, 37, 150])
def test_tiles_hold_the_pictures_one_after_another(side: int) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, side, side, 3), np.uint8)
    tiles = tiled(images)
    assert tiles.shape[1:] == (tile_rows(3 * side**2), 128)
    assert tiles.shape[1] % 32 == 0
    assert tiles.nbytes < images.nbytes + 3 * 32 * 128
    np.testing.assert_array_equal(tiles.reshape(3, -1)[:, : 3 * side**2], images.reshape(3, -1))


def test_no_process_keeps_pictures_that_another_has_no_room_for(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = config_of(tiny, None), load_dataset(config_of(tiny, None))
    plan, sharding = make_plan(config, len(data.training)), make_sharding(1)
    built = build_trainer(config, data.preprocessing, sharding, plan, ())
    monkeypatch.setattr("catsdogs_jax.training.sharding.Sharding.platform", "tpu")
    monkeypatch.setattr(jax.Device, "memory_stats", lambda _: {"bytes_limit": 10**9})
    monkeypatch.setattr(hosts, "told_by_all", lambda word: [word, "False"])
    assert with_resident_pictures(built, config, data.training, plan).resident is None


@pytest.mark.heavy
@pytest.mark.parametrize("begun", [1, 8])
def test_a_run_goes_on_in_the_calls_that_it_began_with(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, begun: int
) -> None:
    with pytest.raises(Interrupted):
        train_and_evaluate(config_of(tiny, 4), tmp_path / "run", StopAfter(4))
    recorded = json.loads(RunFolder(tmp_path / "run").formulation.read_text())
    assert recorded["steps_per_call"] == 4
    config, data = config_of(tiny, None), load_dataset(config_of(tiny, None))
    plan, sharding = make_plan(config, len(data.training)), make_sharding(1)
    built = build_trainer(config, data.preprocessing, sharding, plan, ())
    monkeypatch.setattr("catsdogs_jax.training.sharding.Sharding.platform", "tpu")
    # Whatever room there is now.
    monkeypatch.setattr(jax.Device, "memory_stats", lambda _: {"bytes_limit": 10**9 * (begun == 1)})
    found = with_resident_pictures(built, config, data.training, plan, begun).resident
    assert (1 if found is None else found.steps) == begun


def test_batches_are_put_together_as_the_sizes_say() -> None:
    batches = [{"index": np.full(3, k)} for k in range(5)]
    found = [batch["index"].tolist() for batch in stacked(batches, [1, 3, 1])]
    assert found == [[[0] * 3], [[1] * 3, [2] * 3, [3] * 3], [[4] * 3]]
