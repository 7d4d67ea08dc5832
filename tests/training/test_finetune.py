"""Promises of fine-tuning: probe, head then all, all, and the rates of each stage."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

from catsdogs_jax import hosts, load
from catsdogs_jax.config import Config, ModelConfig
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.errors import UserError
from catsdogs_jax.models import build_model
from catsdogs_jax.pretrained import read_weights
from catsdogs_jax.pretrained.lay_over import dotted
from catsdogs_jax.task import Task
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training import finetune
from catsdogs_jax.training.features import compute_features
from catsdogs_jax.training.finetune import start
from catsdogs_jax.training.layer_decay import stage_factors, with_layer_decay
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.probe import Head, fit_head
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.state import TrainState, split_model
from catsdogs_jax.training.trainer import build_trainer
from tests.models.small import small_config

SMALL = {"widths": (8, 8), "hidden": 16, "convolutions": "native"}  # Runs are compared to the bit.


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of another seed, with three outputs."""
    model = build_model(ModelConfig(widths=(8, 8), hidden=16), 16, 3, nnx.Rngs(5))
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    path = tmp_path_factory.mktemp("weights") / "other.safetensors"
    save_file({".".join(map(str, key)): np.asarray(leaf[...]) for key, leaf in flat}, path)
    return path


@pytest.fixture
def run(tiny: Callable[..., Config], weights: Path, tmp_path: Path) -> Callable[..., dict]:
    """Returns a function that fine-tunes in a folder of that name and reads its result."""

    def run(name: str, depth: str, **groups: dict) -> dict:
        finetune = {"weights": str(weights), "depth": depth, **groups.pop("finetune", {})}
        config = tiny(model=SMALL, finetune=finetune, **groups)
        train_and_evaluate(config, tmp_path / name)
        rows = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").open()]
        return {**json.loads((tmp_path / name / "result.json").read_text()), "rows": rows}

    return run


def test_a_probe_takes_no_step_and_is_ready_to_predict(
    run: Callable[..., dict], tmp_path: Path, colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run("probe", "probe")
    assert result["step"] == 0
    assert result["splits"]["validation"]["accuracy"] == 1.0
    assert [(row["step"], row["split"]) for row in result["rows"]] == [
        (0, "train"),
        (0, "validation"),
    ]
    said = capsys.readouterr().out
    assert "6 of 8 variables from" in said
    assert "the head of 3 outputs is replaced by a fresh one of 1" in said
    assert "logistic regression on 16 features of 24 pictures" in said
    files = sorted((colours / "validation").rglob("*.png"))
    found = load(tmp_path / "probe").predict(files)
    assert [prediction.predicted for prediction in found] == [file.parent.name for file in files]


def test_a_probe_run_again_goes_on_from_its_result(run: Callable[..., dict]) -> None:
    first, again = run("probe", "probe"), run("probe", "probe")
    assert again["rows"] == first["rows"]
    assert again["splits"] == first["splits"]


@pytest.mark.heavy
def test_training_all_begins_at_the_probe_which_counts_as_a_checkpoint(
    run: Callable[..., dict],
) -> None:
    probe = run("probe", "probe")
    result = run("both", "head_then_all", train={"learning_rate": 10.0, "optimizer": "sgd"})
    assert [row["step"] for row in result["rows"]] == [0, 0, 3, 3, 6, 6]
    assert result["rows"][:2] == probe["rows"]
    assert result["step"] == 0  # A rate that ruins the network does not ruin the run.
    assert result["splits"] == probe["splits"]


@pytest.mark.heavy
def test_training_all_at_once_begins_with_the_weights_and_a_fresh_head(
    run: Callable[..., dict], tmp_path: Path, weights: Path
) -> None:
    still = {"learning_rate": 1e-12, "optimizer": "sgd"}
    result = run("all", "all", train=still)
    assert [row["step"] for row in result["rows"]] == [3, 3, 6, 6]
    scratch = run("scratch", "all", finetune={"weights": ""}, train=still)
    assert scratch["rows"] != result["rows"]


def test_a_head_of_other_outputs_is_that_of_a_fresh_run_and_all_else_the_weights(
    tiny: Callable[..., Config], weights: Path
) -> None:
    config = tiny(model=SMALL, finetune={"weights": str(weights), "depth": "all"})
    dataset = load_dataset(config)
    trainer = build_trainer(
        config, dataset.preprocessing, make_sharding(1), make_plan(config, 24), ()
    )
    found = read_weights(str(weights), config.model.name)
    state, measured = start(config, trainer, found, dataset.splits["train"])
    assert measured == {}
    fresh = trainer.initialize().params
    jax.tree.map(np.testing.assert_array_equal, state.params["head"], fresh["head"])
    assert found is not None
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.params):
        if dotted(path).startswith("head."):
            continue
        np.testing.assert_array_equal(leaf, found.tensors[dotted(path)])


def test_features_are_the_input_of_the_head_of_a_picture_and_its_mirror_image(
    tiny: Callable[..., Config],
) -> None:
    config = tiny(model=SMALL, eval={"batch_size": 5})
    dataset = load_dataset(config)
    plan = make_plan(config, len(dataset.splits["train"]))
    trainer = build_trainer(config, dataset.preprocessing, make_sharding(1), plan, ())
    state = trainer.initialize()
    pictures = dataset.splits["train"]
    features = compute_features(trainer, state.params, state.statistics, pictures)
    assert features.shape == (24, 2, 16)
    head = state.params["head"]
    logits = features @ np.asarray(head["kernel"]) + np.asarray(head["bias"])
    model = nnx.merge(trainer.recipe.graphdef, nnx.State(state.params), nnx.State(state.statistics))
    images = np.stack([pictures.read(index) for index in range(24)])
    for view, seen in enumerate((images, images[:, :, ::-1])):
        wanted = model(dataset.preprocessing.normalize(jax.numpy.asarray(seen)))
        np.testing.assert_allclose(logits[:, view], wanted, rtol=1e-4, atol=1e-5)


@pytest.fixture
def started(
    tiny: Callable[..., Config], weights: Path
) -> Callable[[], tuple[TrainState, dict[str, float]]]:
    """Returns a function that fits a head and returns the state before the first step."""
    config = tiny(model=SMALL, finetune={"weights": str(weights), "depth": "head_then_all"})
    dataset, sharding = load_dataset(config), make_sharding(1)
    trainer = build_trainer(config, dataset.preprocessing, sharding, make_plan(config, 24), ())
    read = read_weights(config.finetune.weights, config.model.name)
    return lambda: start(config, trainer, read, dataset.training)


def test_every_process_begins_with_the_head_that_the_first_has_fitted(
    started: Callable[[], tuple[TrainState, dict[str, float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = Head(np.full((16, 1), 0.25, np.float32), np.ones(1, np.float32), 0.1, 3)
    monkeypatch.setattr(hosts, "gathered", lambda mine: [theirs.to_bytes() if mine else mine])
    state, measured = started()
    np.testing.assert_array_equal(state.params["head"]["kernel"], theirs.kernel)
    np.testing.assert_array_equal(state.params["head"]["bias"], theirs.bias)
    assert measured["loss"] > 0


def test_a_model_without_such_a_last_layer_is_not_fitted(
    started: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "HEAD", "classifier")
    with pytest.raises(UserError, match="seed_cnn has no dense layer 'classifier' of 1 outputs"):
        started()


def points(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns features [n, 2, 6] around a centre for each class, and labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = random.normal(size=(classes, 6)) * 2
    return (centres[labels][:, None] + random.normal(size=(n, 2, 6))).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_is_scikit_learns_logistic_regression(classes: int) -> None:
    features, labels = points(60, classes)
    kind = "binary" if classes == 2 else "multiclass"
    task = Task(kind, tuple("abc"[:classes]))
    targets = task.targets([[label] for label in labels])
    head = fit_head(features, targets, task, 5, balanced=False, seed=0)
    mean, std = features.mean(axis=(0, 1)), features.std(axis=(0, 1))
    rows = ((features - mean) / std).reshape(120, 6)
    wanted = LogisticRegression(C=head.strength, tol=1e-8, max_iter=1000)
    wanted.fit(rows, np.repeat(labels, 2))
    found = task.probabilities(head.logits(features.reshape(120, 6)))
    np.testing.assert_allclose(found, wanted.predict_proba(rows), atol=0.01)
    assert head.folds == 5


def test_two_classes_by_softmax_are_those_by_a_sigmoid() -> None:
    features, labels = points(40, 2)
    heads = {}
    for kind in ("binary", "multiclass"):
        task = Task(kind, ("a", "b"))
        targets = task.targets([[label] for label in labels])
        head = fit_head(features, targets, task, 4, balanced=False, seed=0)
        heads[kind] = task.probabilities(head.logits(features[:, 0]))
    np.testing.assert_allclose(heads["binary"], heads["multiclass"], atol=1e-5)


def test_each_label_of_several_has_its_own_regression_and_one_never_seen_is_unlikely() -> None:
    features, labels = points(40, 2)
    task = Task("multilabel", ("a", "b", "never"))
    targets = task.targets([[label] for label in labels])
    head = fit_head(features, targets, task, 4, balanced=False, seed=0)
    found = task.probabilities(head.logits(features[:, 0]))
    assert ((found[:, 0] > 0.5) == (labels == 0)).all()
    assert (found[:, 2] < 0.05).all()


def test_noise_is_met_with_a_strong_penalty_and_signal_with_a_weak_one() -> None:
    task = Task("binary", ("a", "b"))
    features, labels = points(60, 2)
    targets = task.targets([[label] for label in labels])
    noise = np.random.default_rng(1).normal(size=features.shape).astype(np.float32)
    signal_head = fit_head(features, targets, task, 5, balanced=False, seed=0)
    noise_head = fit_head(noise, targets, task, 5, balanced=False, seed=0)
    assert noise_head.strength < signal_head.strength


def test_a_class_of_one_picture_is_fitted_without_folds() -> None:
    features, labels = points(12, 2)
    labels[:] = 0
    labels[3] = 1
    task = Task("binary", ("a", "b"))
    targets = task.targets([[label] for label in labels])
    assert fit_head(features, targets, task, 5, balanced=False, seed=0).folds == 0


def test_each_stage_before_the_head_learns_at_a_smaller_rate() -> None:
    model = nnx.eval_shape(lambda: build_model(ModelConfig(**SMALL), 16, 1, nnx.Rngs(0)))
    factors = stage_factors(model, 0.5)
    assert factors["head"]["kernel"] == 1.0
    names = [name for name, _, _ in model.stages()]
    for place, part in enumerate(("blocks", "blocks")):
        distance = len(names) - 1 - names.index(f"conv {place + 1}")
        assert factors[part][place]["conv"]["kernel"] == 0.5**distance
    _, params, _ = split_model(build_model(ModelConfig(**SMALL), 16, 1, nnx.Rngs(0)))
    plain, scaled = optax.sgd(1.0), with_layer_decay(optax.sgd(1.0), model, 0.5)
    gradient = jax.tree.map(np.ones_like, params)
    updates, wanted = (o.update(gradient, o.init(params), params)[0] for o in (scaled, plain))
    jax.tree.map(
        lambda update, full, factor: np.testing.assert_allclose(update, full * factor),
        *(updates, wanted, factors),
    )


def test_every_parameter_of_an_efficientnet_belongs_to_a_stage() -> None:
    config = ModelConfig(name="efficientnet_lite0")
    model = nnx.eval_shape(lambda: build_model(config, 32, 1, nnx.Rngs(0)))
    factors = jax.tree.leaves(stage_factors(model, 0.5))
    stages = len(list(model.stages()))
    assert set(factors) == {0.5**k for k in range(stages) if k != 1}  # All but the pooling.


@pytest.mark.heavy
def test_frozen_batch_statistics_stay_as_they_were_and_allow_passes() -> None:
    config = small_config("efficientnet_lite0", batch_norm="frozen")
    model = build_model(config, 32, 1, nnx.Rngs(0))
    before = jax.tree.map(np.asarray, split_model(model)[2])
    images = jax.random.normal(jax.random.key(0), (2, 32, 32, 3))
    keys = jax.random.split(jax.random.key(1), 2)
    model.stem(images, keys)
    jax.tree.map(np.testing.assert_array_equal, before, split_model(model)[2])
    trained = build_model(small_config("efficientnet_lite0"), 32, 1, nnx.Rngs(0))
    trained.stem(images, keys)
    assert (split_model(trained)[2]["stem"]["norm"]["mean"] != before["stem"]["norm"]["mean"]).any()
