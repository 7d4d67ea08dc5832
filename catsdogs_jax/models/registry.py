"""What every model offers, and how one is built by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.errors import UserError, nearest
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


_MODELS: Mapping[str, Callable[..., Any]] = {"seed_cnn": SeedCNN}


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
    if config.name not in _MODELS:
        names = model_names()
        hint = nearest(config.name, names)
        raise UserError(f"model.name is {config.name!r}; known: {', '.join(names)}.{hint}")
    return _MODELS[config.name](config, image_size=image_size, outputs=outputs, rngs=rngs)


def uses_kernels(model: Model) -> bool:
    """Whether a model that was built with `convolutions="compiled"` has layers that use them."""
    return any(getattr(node, "compiled", False) is True for _, node in nnx.iter_graph(model))
