"""Promises of the two steps."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from catsdogs_jax.augment import zoomed
from catsdogs_jax.config import AugmentConfig, Config
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.state import TrainState, merge_model
from catsdogs_jax.training.step import _shared_out, picture_keys, train_step, vary
from catsdogs_jax.training.trainer import Trainer, build_trainer, class_weights

Tiny = Callable[..., Config]
TASKS = [
    Task("binary", ("a", "b")),
    Task("multiclass", ("a", "b", "c")),
    Task("multilabel", ("a", "b", "c")),
]


def trainer_of(config: Config, task: Task = TASKS[0], weights: tuple = ()) -> Trainer:
    preprocessing = Preprocessing(config.data.image_size, "stretch", task)
    sharding = make_sharding(config.mesh.devices)
    return build_trainer(config, preprocessing, sharding, make_plan(config, 24), weights)


def batch_for(trainer: Trainer, seed: int = 0, size: int = 8) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    task = trainer.recipe.preprocessing.task
    labels = [(int(label),) for label in rng.integers(0, len(task.classes), size)]
    side = trainer.recipe.preprocessing.image_size
    values = {
        "image": rng.integers(0, 256, (size, side, side, 3)).astype(np.uint8),
        "target": task.targets(labels),
        "mask": np.ones(size, bool),
        "index": np.arange(size, dtype=np.int32),
    }
    return {k: jax.device_put(v, trainer.sharding.batch) for k, v in values.items()}


def run(trainer: Trainer, steps: int) -> tuple[TrainState, list[float]]:
    state, losses = trainer.initialize(), []
    for step in range(steps):
        state, metrics = trainer.train(state, batch_for(trainer, step))
        losses.append(float(metrics["loss"]))
    return state, losses


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.kind)
def test_every_kind_of_labels_learns_a_batch(tiny: Tiny, task: Task) -> None:
    trainer = trainer_of(tiny(model={"dropout": 0.0}), task)
    state, batch = trainer.initialize(), batch_for(trainer)
    losses = []
    for _ in range(60):
        state, metrics = trainer.train(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.5 * losses[0]


def test_the_gradient_is_that_of_the_plain_formulation(tiny: Tiny) -> None:
    config = tiny(train={"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0})
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, dropout=0.0))
    trainer = trainer_of(config)
    before, batch = trainer.initialize(), batch_for(trainer)
    recipe = trainer.recipe

    def plain(params: Any) -> jax.Array:
        model = merge_model(recipe.graphdef, params, {})
        logits = model(batch["image"].astype(jnp.float32) / 255)
        return optax.sigmoid_binary_cross_entropy(logits, batch["target"]).mean()

    params = jax.device_get(before.params)
    expected = jax.jit(jax.grad(plain))(params)
    after, metrics = trainer.train(before, batch)
    found = jax.tree.map(lambda old, new: old - new, params, jax.device_get(after.params))
    np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-4, atol=1e-6)
    assert float(metrics["loss"]) == pytest.approx(float(jax.jit(plain)(params)), rel=1e-5)
    assert float(metrics["gradient_norm"]) == pytest.approx(
        float(optax.tree.norm(expected)), rel=1e-4
    )


@pytest.mark.heavy
def test_training_sees_smaller_pictures_where_the_model_takes_any_size(tiny: Tiny) -> None:
    small = {"name": "resnet_small", "widths": (4, 8), "depths": (1, 1), "hidden": "unset"}
    data, augment = {"image_size": 32}, {"size": 16, "crop": (0.5, 1.0)}
    whole, less = (
        trainer_of(tiny(data=data, model=small, augment=augment | change))
        for change in ({"size": 32}, {})
    )
    work = [trainer.train.compiled.cost_analysis() or {} for trainer in (whole, less)]
    assert work[1]["flops"] < 0.5 * work[0]["flops"]
    state, losses = run(less, 3)
    assert np.isfinite(losses).all()
    fed = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), less.abstract_eval_batch)
    assert fed["image"].shape[1] == 32
    less.evaluate(state.params, state.statistics, jax.device_put(fed, less.sharding.batch))


@pytest.mark.parametrize(("name", "stages"), [("vit_tiny", 1), ("convnext_tiny", 4)])
def test_a_model_that_cannot_take_smaller_pictures_says_so(
    tiny: Tiny, name: str, stages: int
) -> None:
    model = {"name": name, "widths": (64,) * stages, "depths": (1,) * stages, "hidden": "unset"}
    for size in (8, 32) if name == "vit_tiny" else (8,):  # ConvNeXt takes half of its size.
        with pytest.raises(UserError, match=f"augment.size is {size}"):
            trainer_of(tiny(data={"image_size": 64}, model=model, augment={"size": size}))


def test_a_model_of_one_size_refuses_smaller_pictures_in_training(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"augment.size is 12, but seed_cnn takes .* one size only"):
        trainer_of(tiny(augment={"size": 12}))
    with pytest.raises(UserError, match="augment.size is 20, more than data.image_size 16"):
        tiny(augment={"size": 20})


@pytest.mark.heavy
def test_a_sharpness_aware_step_takes_the_gradient_uphill_and_the_loss_where_it_is(
    tiny: Tiny,
) -> None:
    small = {"name": "resnet_small", "widths": (4, 8), "depths": (1, 1), "hidden": "unset"}
    sgd = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0}
    plain, aware = (
        trainer_of(tiny(model=small, train={**sgd, "sam_radius": radius})) for radius in (0, 0.3)
    )
    batch, first = batch_for(plain), jax.device_get(plain.initialize())

    def step(trainer: Trainer, params: Any) -> tuple[TrainState, Any, dict[str, Any]]:
        state = dataclasses.replace(trainer.initialize(), params=jax.device_put(params))
        after, metrics = jax.device_get(trainer.train(state, batch))
        return after, jax.tree.map(lambda old, new: old - new, params, after.params), metrics

    after, gradient, metrics = step(plain, first.params)
    length = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))
    uphill = jax.tree.map(lambda at, slope: at + 0.3 / length * slope, first.params, gradient)
    _, expected, _ = step(plain, uphill)
    found_after, found, found_metrics = step(aware, first.params)
    np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-3, atol=1e-5)
    assert np.abs(flat(found) - flat(gradient)).max() > 0.01
    assert found_metrics["loss"] == pytest.approx(metrics["loss"], rel=1e-6)
    np.testing.assert_allclose(flat(found_after.statistics), flat(after.statistics), rtol=1e-6)


@pytest.mark.heavy
@pytest.mark.parametrize(("microbatch", "sam_radius"), [(1, 0.0), (8, 0.0), (2, 0.05)])
def test_micro_batches_do_not_change_the_losses(
    tiny: Tiny, microbatch: int, sam_radius: float
) -> None:
    def losses(microbatch: int) -> list[float]:
        augment = {"flip": True, "zoom": (0.8, 1.2), "mixup": 0.4, "cutmix": 1.0}
        train = {"microbatch": microbatch, "sam_radius": sam_radius}
        return run(trainer_of(tiny(augment=augment, train=train)), 4)[1]

    found, expected = losses(microbatch), losses(4)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("devices", [pytest.param(2, marks=pytest.mark.heavy), 8])
def test_devices_do_not_change_the_losses(tiny: Tiny, devices: int) -> None:
    augment = {"flip": True, "zoom": (0.8, 1.2), "shear": 3.0, "mixup": 0.4, "cutmix": 1.0}
    _, expected = run(trainer_of(tiny(augment=augment)), 4)
    _, found = run(trainer_of(tiny(augment=augment, mesh={"devices": devices})), 4)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.heavy
@pytest.mark.parametrize("devices", [1, 8])
def test_accumulated_gradients_are_those_of_the_whole_batch(tiny: Tiny, devices: int) -> None:
    config = tiny(
        data={"batch_size": 32},
        mesh={"devices": devices},
        augment={"flip": True},
        train={"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0, "microbatch": 32},
    )
    trainer = trainer_of(config)
    batch, found = batch_for(trainer, size=32), []
    for passes, looped in ((1, False), (4, False), (4, True)):
        recipe = dataclasses.replace(trainer.recipe, microbatch=32 // passes, looped=looped)
        step = jax.jit(train_step, static_argnums=0, out_shardings=trainer.sharding.replicated)
        state, metrics = step(recipe, trainer.initialize(), batch)
        assert float(state.sums.count) == 32
        found.append((flat(state.params), float(metrics["loss"])))
    for params, loss in found[1:]:
        assert loss == pytest.approx(found[0][1], rel=1e-6)
        np.testing.assert_allclose(params, found[0][0], rtol=1e-4, atol=1e-6)


def test_each_device_gives_its_share_to_every_pass() -> None:
    parts = _shared_out(jnp.arange(12), passes=3, devices=2)
    np.testing.assert_array_equal(parts, [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]])


def test_a_micro_batch_that_the_devices_cannot_share_is_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"train.microbatch is 4, which 8 devices cannot share"):
        trainer_of(tiny(train={"microbatch": 4}, mesh={"devices": 8}))


@pytest.mark.heavy
def test_devices_change_neither_the_pictures_nor_the_targets() -> None:
    augment: Any = AugmentConfig(
        flip=True, crop=(0.3, 1.0), rotate=20.0, contrast=0.4, erase=0.5, mixup=0.4, cutmix=1.0
    )
    rng = np.random.default_rng(0)
    images, targets = rng.integers(0, 256, (8, 16, 16, 3), np.uint8), np.eye(8, dtype=np.float32)
    seen = []
    for devices in (1, 8):
        sharding = make_sharding(devices)
        batch = jax.device_put((images, targets), sharding.batch)
        made = jax.jit(vary, static_argnums=0)(augment, picture_keys(0, jnp.int32(3), 8), *batch)
        seen.append(jax.device_get(made))
    np.testing.assert_allclose(seen[0][0], seen[1][0], atol=1e-2)
    np.testing.assert_allclose(seen[0][1], seen[1][1], atol=1e-5)
    assert (np.abs(seen[0][1] - targets).max(axis=1) > 0.01).any()


@pytest.mark.heavy
def test_the_loss_and_the_accuracy_of_a_mixed_batch_are_of_its_mixed_targets(tiny: Tiny) -> None:
    trainer = trainer_of(tiny(model={"dropout": 0.0}, augment={"mixup": 1.0}), TASKS[1])
    batch = batch_for(trainer)
    state = trainer.initialize()
    keys = picture_keys(trainer.recipe.seed, state.step, 8)
    images, targets = vary(trainer.recipe.augment, keys, batch["image"], batch["target"])
    logits = merge_model(trainer.recipe.graphdef, state.params, {})(images / 255)
    after, metrics = trainer.train(state, batch)
    expected = optax.softmax_cross_entropy(logits, targets).mean()
    assert float(metrics["loss"]) == pytest.approx(float(expected), rel=1e-4)
    dominant = logits.argmax(-1) == targets.argmax(-1)
    assert float(after.sums.correct) == float(dominant.sum())


def test_a_micro_batch_that_does_not_divide_is_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match="train.microbatch is 3"):
        trainer_of(tiny(train={"microbatch": 3}))


def test_a_mirrored_evaluation_is_the_mean_of_both_and_knows_no_left_from_right(
    tiny: Tiny,
) -> None:
    config = tiny()
    preprocessing = Preprocessing(16, "stretch", TASKS[0], mirror=True)
    plan, sharding = make_plan(config, 24), make_sharding(1)
    plain, mirrored = trainer_of(config), build_trainer(config, preprocessing, sharding, plan, ())
    state, batch = plain.initialize(), batch_for(plain)
    turned = {**batch, "image": batch["image"][:, :, ::-1]}
    one, other = (plain.evaluate(state.params, {}, b)[0] for b in (batch, turned))
    for view in (batch, turned):
        logits, _ = mirrored.evaluate(state.params, {}, view)
        np.testing.assert_allclose(logits, (one + other) / 2, rtol=1e-5, atol=1e-6)
    assert np.abs(one - other).max() > 1e-3


def test_a_zoomed_evaluation_is_the_mean_over_its_views(tiny: Tiny) -> None:
    config, zooms = tiny(), (0.8, 1.25)
    preprocessing = Preprocessing(16, "stretch", TASKS[0], mirror=True, zooms=zooms)
    plan, sharding = make_plan(config, 24), make_sharding(1)
    plain, averaged = trainer_of(config), build_trainer(config, preprocessing, sharding, plan, ())
    state, batch = plain.initialize(), batch_for(plain)
    views = [
        {**batch, "image": zoomed(batch["image"].astype(jnp.float32), zoom)[:, :, ::turn]}
        for zoom in zooms
        for turn in (1, -1)
    ]
    model = merge_model(plain.recipe.graphdef, state.params, {})
    expected = np.mean([model(preprocessing.normalize(view["image"])) for view in views], axis=0)
    logits, _ = averaged.evaluate(state.params, {}, batch)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_the_sums_count_every_picture(tiny: Tiny) -> None:
    trainer = trainer_of(tiny())
    state, losses = run(trainer, 3)
    assert float(state.sums.count) == 24
    assert float(state.sums.mean_loss) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(trainer.reset_sums(state).sums.count) == 0
    assert int(state.step) == 3


def test_the_average_follows_the_parameters(tiny: Tiny) -> None:
    state, _ = run(trainer_of(tiny(train={"ema_decay": 0.5})), 1)
    first = trainer_of(tiny()).initialize()
    share = min(0.5, 1 / 10)
    expected = share * flat(first.params) + (1 - share) * flat(state.params)
    np.testing.assert_allclose(flat(state.average), expected, rtol=1e-5, atol=1e-7)
    assert state.evaluated_params is state.average


@pytest.mark.heavy
def test_the_average_has_statistics_of_its_own(tiny: Tiny) -> None:
    small = {"name": "resnet_small", "widths": (4, 8), "depths": (1, 1), "hidden": "unset"}
    trainer = trainer_of(tiny(model=small, train={"ema_decay": 0.999}))
    states = [run(trainer, steps)[0] for steps in (2, 3)]
    share = 3 / 12  # (1 + step) / (10 + step), the third step's.
    expected = share * flat(states[0].average_statistics) + (1 - share) * flat(states[1].statistics)
    np.testing.assert_allclose(flat(states[1].average_statistics), expected, rtol=1e-5, atol=1e-6)
    assert states[1].evaluated_statistics is states[1].average_statistics
    plain = run(trainer_of(tiny(model=small)), 1)[0]
    assert plain.evaluated_statistics is plain.statistics


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_smoothing_and_class_weights_change_the_loss_as_they_should(tiny: Tiny, loss: str) -> None:
    train = {"label_smoothing": 0.2, "loss": loss, "focal_gamma": 3.0}
    config = tiny(model={"dropout": 0.0}, train=train)
    trainer = trainer_of(config, weights=(0.5, 2.0))
    batch = batch_for(trainer)
    model = merge_model(trainer.recipe.graphdef, trainer.initialize().params, {})
    logits = model(batch["image"].astype(jnp.float32) / 255)
    targets = batch["target"]
    smoothed = targets * 0.8 + 0.1
    losses = optax.sigmoid_binary_cross_entropy(logits, smoothed)
    if loss == "focal":
        losses *= (
            smoothed * (1 - jax.nn.sigmoid(logits)) + (1 - smoothed) * jax.nn.sigmoid(logits)
        ) ** 3
    expected = (losses * jnp.where(targets > 0.5, 2.0, 0.5)).mean()
    _, metrics = trainer.train(trainer.initialize(), batch)
    assert float(metrics["loss"]) == pytest.approx(float(expected), rel=1e-5)


def test_balanced_weights_are_scikit_learns(tiny: Tiny) -> None:
    class Counted:
        def class_counts(self) -> np.ndarray:
            return np.array([30, 10])

    assert class_weights(tiny(), Counted()) == ()  # type: ignore[arg-type]
    balanced = tiny(train={"class_weights": "balanced"})
    assert class_weights(balanced, Counted()) == pytest.approx((2 / 3, 2.0))  # type: ignore[arg-type]


def test_the_state_given_to_a_step_is_used_up(tiny: Tiny) -> None:
    trainer = trainer_of(tiny())
    state = trainer.initialize()
    kernel = state.params["hidden"]["kernel"]
    trainer.train(state, batch_for(trainer))
    assert kernel.is_deleted()


def test_another_shape_is_an_error_that_names_the_argument(tiny: Tiny) -> None:
    trainer = trainer_of(tiny())
    with pytest.raises(TypeError, match=r"training step is compiled once.*\n.*batch\['image'\]"):
        trainer.train(trainer.initialize(), batch_for(trainer, size=16))
    state = trainer.initialize()
    with pytest.raises(TypeError, match=r"evaluation step is compiled once"):
        trainer.evaluate(state.params, state.statistics, batch_for(trainer, size=4))


def test_each_step_compiles_exactly_once(tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    jax.clear_caches()  # Another test may have compiled the same step.
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        trainer = trainer_of(tiny())
        state = trainer.initialize()
        for step in range(3):
            state, _ = trainer.train(state, batch_for(trainer, step))
            trainer.evaluate(state.params, state.statistics, batch_for(trainer, step))
    compiled = [r.getMessage() for r in caplog.records if "Compiling" in r.getMessage()]
    assert sum("train_step" in message for message in compiled) == 1
    assert sum("eval_step" in message for message in compiled) == 1


def test_picture_keys_depend_on_seed_step_and_place_alone() -> None:
    keys = jax.random.key_data(picture_keys(3, jnp.int32(5), 8))
    again = jax.random.key_data(picture_keys(3, jnp.int32(5), 4))
    np.testing.assert_array_equal(keys[:4], again)
    assert len({row.tobytes() for row in np.asarray(keys)}) == 8
    other = jax.random.key_data(picture_keys(3, jnp.int32(6), 8))
    assert (keys != other).any()
