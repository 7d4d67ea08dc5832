"""What every model offers, and how one is built by name."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.errors import UserError, nearest
from catsdogs_jax.models.convnext import ConvNeXt
from catsdogs_jax.models.efficientnet import EfficientNetLite
from catsdogs_jax.models.fields import check_fields
from catsdogs_jax.models.own import check_contract, import_model
from catsdogs_jax.models.resnet import ResNet
from catsdogs_jax.models.seed_cnn import SeedCNN
from catsdogs_jax.models.spec import IMAGENET, InputSpec
from catsdogs_jax.models.vit import VisionTransformer

Stage = tuple[str, str, Callable[[jax.Array], jax.Array]]
"""Name, description and function of one part of a model, for the flowchart."""


@runtime_checkable
class Model(Protocol):
    """A classifier of pictures, as an NNX module."""

    def __call__(self, images: jax.Array, *, keys: jax.Array | None = None) -> jax.Array:
        """Returns float logits [batch, outputs] for normalised pictures [batch, size, size, 3].

        Args:
            images: Floats.
            keys: Random keys [batch], one a picture, in training; none in evaluation. Their
                presence also tells normalisation layers to use the statistics of the batch.
        """
        ...

    def stages(self) -> Sequence[Stage]:
        """Returns the parts whose composition is the model."""
        ...


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model that can be built by name.

    Attributes:
        build: Called as `(config, image_size=, outputs=, rngs=)`; returns a `Model`.
        spec: The pictures it was made for.
        fields: The fields of `ModelConfig` that it reads, besides name, dtype and convolutions.
        source: Where it comes from, for docs/models.md.
    """

    build: Callable[..., Any]
    spec: InputSpec
    fields: frozenset[str]
    source: str


_STAGED = frozenset({"widths", "depths", "dropout", "drop_path"})
_RESNET = _STAGED | {"antialias"}
_HE = "[He et al., 2015](https://arxiv.org/abs/1512.03385), v1.5 as in torchvision"
_VIT = "[Beyer et al., 2022](https://arxiv.org/abs/2205.01580)"
_LITE = "[Tan and Le, 2019](https://arxiv.org/abs/1905.11946), Lite as in tensorflow/tpu"
_LITE_FIELDS = _STAGED | {"batch_norm"}


def _lite(image_size: int) -> Entry:
    """(pixel - 127) / 128, as in tensorflow/tpu's efficientnet_lite_builder.py."""
    mean, std = 127 / 255, 128 / 255
    spec = InputSpec(image_size, (mean, mean, mean), (std, std, std))
    return Entry(EfficientNetLite, spec, _LITE_FIELDS, _LITE)


_HALF = InputSpec(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

_MODELS: Mapping[str, Entry] = {
    "seed_cnn": Entry(
        SeedCNN,
        InputSpec(150),
        frozenset({"widths", "hidden", "dropout"}),
        "the Keras notebook this project grew from",
    ),
    "resnet_small": Entry(
        ResNet,
        dataclasses.replace(IMAGENET, image_size=128),
        _RESNET,
        "ours, for training from scratch on few pictures",
    ),
    "resnet18": Entry(ResNet, IMAGENET, _RESNET, _HE),
    "resnet34": Entry(ResNet, IMAGENET, _RESNET, _HE),
    "resnet50": Entry(ResNet, IMAGENET, _RESNET, _HE),
    "efficientnet_lite0": _lite(224),
    "efficientnet_lite1": _lite(240),
    "efficientnet_lite2": _lite(260),
    "convnext_tiny": Entry(
        ConvNeXt, IMAGENET, _STAGED, "[Liu et al., 2022](https://arxiv.org/abs/2201.03545)"
    ),
    "vit_tiny": Entry(VisionTransformer, _HALF, _STAGED | {"patch"}, _VIT),
    "vit_small": Entry(VisionTransformer, _HALF, _STAGED | {"patch"}, _VIT),
}


def model_names() -> list[str]:
    """Returns the names that `config.model.name` may have, besides import paths."""
    return sorted(_MODELS)


def entry(name: str) -> Entry:
    """Returns what is registered under a name.

    Raises:
        UserError: Nothing is.
    """
    if name not in _MODELS:
        names = model_names()
        raise UserError(
            f"model.name is {name!r}; known: {', '.join(names)}, or my_package.my_module:MyModel."
            f"{nearest(name, names)}"
        )
    return _MODELS[name]


def input_spec(name: str) -> InputSpec:
    """Returns the size and normalisation of the pictures that a model was made for.

    Args:
        name: As in `config.model.name`. The class of a user's own model may have an attribute
            `input_spec`; otherwise it gets `InputSpec()`.

    Raises:
        UserError: There is no such model.
    """
    if ":" in name:
        return getattr(import_model(name), "input_spec", InputSpec())
    return entry(name).spec


def build_model(config: ModelConfig, image_size: int, outputs: int, rngs: nnx.Rngs) -> Any:
    """Builds an NNX module with fresh parameters.

    Args:
        config: Name and shape of the network.
        image_size: Side of the pictures, pixels.
        outputs: Number of logits.
        rngs: Random keys of the initial parameters.

    Returns:
        A `Model`.

    Raises:
        UserError: There is no model of that name, it does not read a field that was set, it does
            not fit the picture size, or a user's own model does not keep the contract.
    """
    if ":" in config.name:
        model = import_model(config.name)(config, image_size=image_size, outputs=outputs, rngs=rngs)
        check_contract(config.name, model, image_size, outputs)
        return model
    found = entry(config.name)
    check_fields(config, found.fields)
    return found.build(config, image_size=image_size, outputs=outputs, rngs=rngs)


def uses_kernels(model: Model) -> bool:
    """Whether a model that was built with `convolutions="compiled"` has layers that use them."""
    return any(getattr(node, "compiled", False) is True for _, node in nnx.iter_graph(model))
