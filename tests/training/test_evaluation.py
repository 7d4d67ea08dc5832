"""Promises of evaluation: every picture once, whatever the batch size and the devices."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.data.dataset import Dataset, load_dataset
from catsdogs_jax.training.evaluation import Evaluation, evaluate
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.trainer import build_trainer

Tiny = Callable[..., Config]


def evaluated(config: Config, dataset: Dataset, split: str = "validation") -> Evaluation:
    plan = make_plan(config, len(dataset.splits["train"]))
    sharding = make_sharding(config.mesh.devices)
    trainer = build_trainer(config, dataset.preprocessing, sharding, plan, ())
    state = trainer.initialize()
    return evaluate(
        trainer.evaluate,
        state.params,
        state.statistics,
        dataset.splits[split],
        trainer.eval_batch,
        sharding,
    )


def same(one: Evaluation, other: Evaluation) -> None:
    assert one.n == other.n
    assert one.accuracy == other.accuracy
    assert one.loss == pytest.approx(other.loss, rel=1e-6)
    np.testing.assert_allclose(one.logits, other.logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 9, 10])
def test_the_batch_size_does_not_matter(tiny: Tiny, batch: int) -> None:
    config = tiny(eval={"batch_size": batch})
    dataset = load_dataset(config)
    same(evaluated(config, dataset), evaluated(tiny(eval={"batch_size": 4}), dataset))


@pytest.mark.parametrize("devices", [2, 8])
def test_the_number_of_devices_does_not_matter(tiny: Tiny, devices: int) -> None:
    config = tiny(mesh={"devices": devices}, eval={"batch_size": 3})
    dataset = load_dataset(config)
    same(evaluated(config, dataset), evaluated(tiny(), dataset))


@pytest.mark.heavy
def test_600_photographs_are_measured_the_same_every_way(photos: Path) -> None:
    from catsdogs_jax.config.reader import config_from_dict

    def config(batch: int, devices: int) -> Config:
        return config_from_dict(
            {
                "data": {"dir": str(photos), "image_size": 32, "batch_size": 8},
                "model": {"widths": (8, 8), "hidden": 8},
                "train": {"steps": 1},
                "eval": {"batch_size": batch},
                "mesh": {"devices": devices},
            }
        )

    dataset = load_dataset(config(20, 1))
    expected = evaluated(config(20, 1), dataset)
    assert expected.n == 600
    for batch, devices in ((1, 1), (7, 1), (600, 1), (20, 2), (20, 8)):
        same(evaluated(config(batch, devices), dataset), expected)
