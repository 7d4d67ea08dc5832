"""Promises of learning from a teacher."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from catsdogs_jax.classifier import load
from catsdogs_jax.config import Config, TrainConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Kind, Task
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.distillation import Distillation
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.recipe import Teacher
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.state import split_model
from catsdogs_jax.training.teacher import _order, load_teacher
from catsdogs_jax.training.trainer import build_trainer

Tiny = Callable[..., Config]


class Means(nnx.Module):
    """Its logits are the mean colours of a picture."""

    def __init__(self, outputs: int):
        self.outputs = outputs

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        assert keys is None
        return images.mean(axis=(1, 2))[:, : self.outputs]


def teacher_of(kind: Kind, classes: tuple[str, ...], order: tuple[int, ...]) -> Teacher:
    task = Task(kind, classes)
    preprocessing = Preprocessing(8, "stretch", task, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1.0))
    graphdef, *variables = split_model(Means(task.outputs))
    return Teacher(Distillation(graphdef, preprocessing, order, 0.7, 2.0), tuple(variables))


def pictures(batch: int = 4) -> jax.Array:
    pixels = np.random.default_rng(0).integers(0, 256, (batch, 16, 16, 3))
    return jnp.asarray(pixels, jnp.float32)


def test_a_teacher_has_its_own_size_normalisation_and_order_of_classes() -> None:
    images = pictures()
    expected = (np.asarray(images.mean(axis=(1, 2))) / 255 - 0.5) / [0.25, 0.5, 1.0]
    teacher = teacher_of("multiclass", ("a", "b", "c"), (2, 0, 1))
    found = teacher.distillation.logits(images, teacher.variables)
    np.testing.assert_allclose(found, expected[:, [2, 0, 1]], atol=0.02)  # Resized pixels.
    for order, sign in (((0, 1), 1), ((1, 0), -1)):
        teacher = teacher_of("binary", ("a", "b"), order)
        found = teacher.distillation.logits(images, teacher.variables)
        np.testing.assert_allclose(found, sign * expected[:, :1], atol=0.02)


@pytest.mark.heavy
def test_the_loss_is_the_weighted_sum_of_labels_and_teacher_on_the_same_pictures(
    tiny: Tiny,
) -> None:
    config = tiny(model={"dropout": 0.0})
    preprocessing = Preprocessing(16, "stretch", Task("binary", ("a", "b")))
    teacher = teacher_of("binary", ("a", "b"), (0, 1))
    plan, sharding = make_plan(config, 24), make_sharding(1)
    plain, taught = (
        build_trainer(config, preprocessing, sharding, plan, (), None, one)
        for one in (None, teacher)
    )
    values = {
        "image": pictures(8).astype(jnp.uint8),
        "target": np.ones((8, 1), np.float32),
        "mask": np.ones(8, bool),
        "index": np.arange(8, dtype=np.int32),
    }
    batch = {name: jax.device_put(value, sharding.batch) for name, value in values.items()}
    state = plain.initialize()
    logits, _ = plain.evaluate(state.params, state.statistics, batch)
    wanted = teacher.distillation.logits(pictures(8), teacher.variables)
    distance = preprocessing.task.distillation_losses(logits, wanted, 2.0).mean()
    _, alone = plain.train(state, batch)
    _, both = taught.train(taught.initialize(), batch)
    expected = 0.3 * float(alone["loss"]) + 0.7 * float(distance)
    assert float(both["loss"]) == pytest.approx(expected, rel=1e-4)
    # The teacher is no part of what is saved.
    assert jax.tree.structure(taught.abstract_state()) == jax.tree.structure(plain.abstract_state())


@pytest.mark.heavy
def test_a_student_learns_from_a_finished_run_and_is_loaded_without_it(
    tiny: Tiny, tmp_path: Path
) -> None:
    folder, sharding = tmp_path / "teacher", make_sharding(1)
    train_and_evaluate(tiny(train={"steps": 40, "ema_decay": 0.5}), folder)
    config = tiny(
        data={"image_size": 12},
        train={"steps": 40, "teacher": str(folder), "teacher_weight": 1.0},
    )
    result = train_and_evaluate(config, tmp_path / "student")
    assert result.values["splits"]["validation"]["accuracy"] == 1.0
    loaded = load_teacher(config.train, load(folder, 1).preprocessing, sharding)
    assert loaded is not None
    images = pictures(8)
    expected, _ = load(folder, 1).evaluation(
        *loaded.variables,
        {
            "image": images.astype(jnp.uint8),
            "target": np.zeros((8, 1), np.float32),
            "mask": np.ones(8, bool),
            "index": np.zeros(8, np.int32),
        },
    )
    found = loaded.distillation.logits(images, loaded.variables)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    (folder / "result.json").unlink()
    with pytest.raises(UserError, match=r"train.teacher .* is not finished"):
        train_and_evaluate(config, tmp_path / "another")


def test_a_folder_that_holds_no_run_is_no_teacher(tmp_path: Path) -> None:
    config, task = TrainConfig(teacher=str(tmp_path)), Task("binary", ("a", "b"))
    with pytest.raises(UserError, match="holds no run"):
        load_teacher(config, Preprocessing(16, "stretch", task), make_sharding(1))


@pytest.mark.parametrize(
    ("kind", "classes"),
    [("binary", ("a", "c")), ("multiclass", ("a", "b", "c")), ("multilabel", ("a", "b"))],
)
def test_a_teacher_of_other_classes_is_refused(kind: Kind, classes: tuple[str, ...]) -> None:
    ours, theirs = (
        Preprocessing(16, "stretch", task)
        for task in (Task("binary", ("b", "a")), Task(kind, classes))
    )
    with pytest.raises(UserError, match=rf"runs/t.* is {kind} of .*this run is binary of b, a"):
        _order("runs/t", theirs, ours)
    same = dataclasses.replace(ours, task=Task("binary", ("a", "b")))
    assert _order("runs/t", same, ours) == (1, 0)
