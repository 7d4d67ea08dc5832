"""Promises of models that see the centre of a picture (`eval.center_crop`)."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catsdogs_jax.classifier import load
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_from_dict
from catsdogs_jax.data.dataset import preprocessing_of
from catsdogs_jax.errors import UserError
from catsdogs_jax.exporting.bundle import load as load_bundle
from catsdogs_jax.exporting.write import Options, export_run
from catsdogs_jax.insight.network import Network
from catsdogs_jax.task import Task
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.trainer import build_trainer

Tiny = Callable[..., Config]

SIDE, CROP = 32, 24
EDGE = (SIDE - CROP) // 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = config_from_dict(
        {
            "data": {
                "source": "drawn",
                "drawn_train": 16,
                "drawn_validation": 8,
                "image_size": SIDE,
                "batch_size": 8,
            },
            "model": {"name": "resnet_small", "widths": (4, 8), "depths": (1, 1)},
            "train": {"steps": 4, "learning_rate": 1e-2},
            "eval": {"every_steps": 4, "center_crop": CROP, "mirror": True},
            "mesh": {"devices": 1},
        }
    )
    folder = tmp_path_factory.mktemp("center") / "run"
    train_and_evaluate(config, folder)
    return folder


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3)).astype(np.uint8)


def edged(images: np.ndarray, value: int) -> np.ndarray:
    """The same centres in frames of one colour."""
    framed = np.full_like(images, value)
    inside = (slice(None), slice(EDGE, -EDGE), slice(EDGE, -EDGE))
    framed[inside] = images[inside]
    return framed


@pytest.mark.heavy
def test_predictions_are_those_of_the_centre_alone(run: Path, images: np.ndarray) -> None:
    classifier = load(run, devices=1)
    found = classifier.probabilities(images)
    np.testing.assert_array_equal(found, classifier.probabilities(edged(images, 255)))
    whole = dataclasses.replace(classifier.preprocessing, image_size=CROP, center_crop=None)
    network = Network(classifier.graphdef, whole, classifier.params, classifier.statistics)
    centre = images[:, EDGE:-EDGE, EDGE:-EDGE]
    views = [network.logits(view) for view in (centre, centre[:, :, ::-1])]
    wanted = classifier.preprocessing.task.probabilities(np.mean(views, axis=0))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["stablehlo", "onnx", "savedmodel"])
def test_an_exported_model_takes_the_whole_and_sees_the_centre(
    name: str, run: Path, images: np.ndarray, tmp_path: Path
) -> None:
    export_run(run, tmp_path / "bundle", Options((name,), golden=1))
    files = [tmp_path / f"{number}.png" for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    found = load_bundle(tmp_path / "bundle", name).predict(files, calibrated=False)
    np.testing.assert_allclose(found, load(run, devices=1).probabilities(images), atol=1e-4)


def test_what_looks_inside_looks_at_the_centre(run: Path, images: np.ndarray) -> None:
    classifier = load(run, devices=1)
    network = Network.of(classifier)
    np.testing.assert_array_equal(network.embeddings(images), network.embeddings(edged(images, 0)))
    heats = network.grad_cam(images, [0] * len(images))
    assert heats.shape[1:] == (SIDE, SIDE)
    assert heats.max() == 1
    assert edged(heats, 0).sum() == heats.sum()  # Nothing in the frame.


def test_crops_that_cannot_be_are_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"eval.center_crop is 20, more than data.image_size 16"):
        tiny(eval={"center_crop": 20})
    fixed = tiny(eval={"center_crop": 12})
    to = preprocessing_of(fixed, Task("binary", ("a", "b")))
    with pytest.raises(UserError, match=r"eval.center_crop is 12, but seed_cnn takes .* one size"):
        build_trainer(fixed, to, make_sharding(1), make_plan(fixed, 24), ())
