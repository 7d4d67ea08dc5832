"""What every model offers, and how one is built by name."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.errors import UserError, nearest
from catsdogs_jax.models.efficientnet import EFFICIENTNETS
from catsdogs_jax.models.seed_cnn import SeedCNN

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
class InputSpec:
    """The pictures that a model was made for.

    Attributes:
        image_size: Side, pixels; other sizes work too.
        mean: Mean of each of the red, green and blue values, after division by 255.
        std: Their standard deviation, after division by 255.
    """

    image_size: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


def _lite(image_size: int) -> InputSpec:
    """As in tensorflow/tpu's efficientnet_lite_builder.py: (pixel - 127) / 128."""
    mean, std = 127 / 255, 128 / 255
    return InputSpec(image_size, mean=(mean, mean, mean), std=(std, std, std))


_INPUTS: Mapping[str, InputSpec] = {
    "seed_cnn": InputSpec(150),
    "efficientnet_lite0": _lite(224),
    "efficientnet_lite1": _lite(240),
    "efficientnet_lite2": _lite(260),
}

_MODELS: Mapping[str, Callable[..., Any]] = {"seed_cnn": SeedCNN, **EFFICIENTNETS}


def model_names() -> list[str]:
    """Returns the names that `config.model.name` may have."""
    return sorted(_MODELS)


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
        UserError: There is no model of that name, or it does not fit the picture size.
    """
    _check_known(config.name)
    return _MODELS[config.name](config, image_size=image_size, outputs=outputs, rngs=rngs)


def input_spec(name: str) -> InputSpec:
    """Returns the pictures that a model was made for.

    Raises:
        UserError: There is no model of that name.
    """
    _check_known(name)
    return _INPUTS[name]


def _check_known(name: str) -> None:
    if name not in _MODELS:
        names = model_names()
        hint = nearest(name, names)
        raise UserError(f"model.name is {name!r}; known: {', '.join(names)}.{hint}")


def uses_kernels(model: Model) -> bool:
    """Whether a model that was built with `convolutions="compiled"` has layers that use them."""
    return any(getattr(node, "compiled", False) is True for _, node in nnx.iter_graph(model))
