"""What a bundle computes: uint8 pictures to probabilities, in operations that any device knows."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from catsdogs_jax.config import Config, ModelConfig
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.training.recipe import abstract_model
from catsdogs_jax.training.restore import restore_best
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.state import Params, merge_model, split_model
from catsdogs_jax.training.step import views

Sigmoid = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Network:
    """A trained model with everything between its pictures and its probabilities.

    It uses no kernels of this machine, and computes in float32.

    Attributes:
        model: Its group of the config.
        preprocessing: Size, normalisation, views and task.
        temperature: What logits are divided by for calibrated probabilities.
        graphdef: Its structure.
        params: Its parameters, arrays of NumPy.
        statistics: Its other variables, likewise.
    """

    model: ModelConfig
    preprocessing: Preprocessing
    temperature: float
    graphdef: Any
    params: Params
    statistics: Params

    @classmethod
    def build(cls, model: ModelConfig, preprocessing: Preprocessing) -> "Network":
        """Returns the network with shapes in place of its variables, at temperature 1."""
        portable = dataclasses.replace(model, convolutions="native", dtype="float32")
        config = dataclasses.replace(Config(), model=portable)
        return cls(
            portable, preprocessing, 1.0, *split_model(abstract_model(config, preprocessing))
        )

    def __call__(
        self, images: jax.Array, sigmoid: Sigmoid = jax.nn.sigmoid
    ) -> tuple[jax.Array, jax.Array]:
        """Returns calibrated and uncalibrated probabilities, float32 [n, classes].

        The second are those of `predict`.

        Args:
            images: uint8 [n, size, size, 3].
            sigmoid: How it is computed.
        """
        task, logits = self.preprocessing.task, self.logits(images)
        calibrated = _probabilities(task, logits / self.temperature, sigmoid)
        return calibrated, _probabilities(task, logits, sigmoid)

    def logits(self, images: jax.Array) -> jax.Array:
        """Returns float32 logits [n, outputs], the mean over the views of the run."""
        model = merge_model(self.graphdef, self.params, self.statistics)
        normal = self.preprocessing.normalize(images)
        parts = [model(view).astype(jnp.float32) for view in views(self.preprocessing, normal)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total / len(parts)

    def named_weights(self) -> dict[str, np.ndarray]:
        """Returns every variable by its dotted path in the model."""
        return {
            ".".join(_words(path)): np.asarray(leaf)
            for tree in (self.params, self.statistics)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }

    def with_weights(self, named: Mapping[str, np.ndarray]) -> "Network":
        """Returns the network with variables by name, as `named_weights` gives them."""
        params, statistics = (
            jax.tree_util.tree_map_with_path(lambda path, _: named[".".join(_words(path))], tree)
            for tree in (self.params, self.statistics)
        )
        return dataclasses.replace(self, params=params, statistics=statistics)


def read_network(workdir: Path) -> tuple[Network, int]:
    """Returns the best checkpoint of a run as a network, and its step.

    Raises:
        UserError: The folder holds no run, or no checkpoint.
    """
    run = restore_best(workdir, make_sharding(1))
    built = Network.build(run.config.model, run.preprocessing)
    params, statistics = jax.device_get((run.params, run.statistics))
    return dataclasses.replace(built, params=params, statistics=statistics), run.step


def calibrated_thresholds(preprocessing: Preprocessing, temperature: float) -> list[float]:
    """Returns thresholds of calibrated probabilities that decide as the run's do of its own.

    Returns:
        For binary problems that of the second class, for multi-label ones one each, else none.
    """
    task = preprocessing.task
    if task.kind == "multiclass":
        return []
    chosen = np.broadcast_to(preprocessing.threshold, task.outputs).astype(np.float64)
    inside = np.clip(chosen, 1e-12, 1 - 1e-12)
    odds = np.log(inside) - np.log1p(-inside)
    return (1.0 / (1.0 + np.exp(-odds / temperature))).tolist()


def resized(images: jax.Array, size: int, resize: Literal["stretch", "crop", "pad"]) -> jax.Array:
    """Makes pictures square as the decoder does: bilinear, with antialiasing.

    Two products with triangles as wide as a pixel of the result, so that a graph of it needs no
    operation for resizing, on which formats differ.

    Args:
        images: uint8 [n, height, width, 3]; the sides may be symbolic.
        size: Side of the result, pixels.
        resize: See `DataConfig.resize`.

    Returns:
        uint8 [n, size, size, 3].
    """
    lengths = [jnp.asarray(side, jnp.float32) for side in images.shape[1:3]]
    weights = [
        _line_weights(images.shape[axis + 1], length, lengths[1 - axis], size, resize)
        for axis, length in enumerate(lengths)
    ]
    exact = jax.lax.Precision.HIGHEST
    floats = images.astype(jnp.float32)
    columns = jnp.einsum("ih,nhwc->niwc", weights[0], floats, precision=exact)
    square = jnp.einsum("jw,niwc->nijc", weights[1], columns, precision=exact)
    return jnp.clip(jnp.round(square), 0.0, 255.0).astype(jnp.uint8)


def _line_weights(
    pixels: Any, length: jax.Array, other: jax.Array, size: int, resize: str
) -> jax.Array:
    """Returns the share [size, pixels] of each pixel of a line in each of the result."""
    start, extent = jnp.float32(0), length
    first, count = jnp.float32(0), jnp.float32(size)
    if resize == "crop":
        extent = jnp.minimum(length, other)
        start = jnp.floor((length - extent) / 2)
    if resize == "pad":
        count = jnp.maximum(1.0, jnp.round(size * length / jnp.maximum(length, other)))
        first = jnp.floor((size - count) / 2)
    scale = extent / count
    support = jnp.maximum(scale, 1.0)
    places = jnp.arange(size, dtype=jnp.float32)
    centres = (start + (places - first + 0.5) * scale).reshape(-1, 1)
    middles = (jnp.arange(pixels, dtype=jnp.float32) + 0.5).reshape(1, -1)
    shares = jnp.maximum(0.0, 1.0 - jnp.abs(middles - centres) / support)
    shares = jnp.where((middles > start) & (middles < start + extent), shares, 0.0)
    shares = shares / jnp.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
    shown = ((places >= first) & (places < first + count)).reshape(-1, 1)
    return jnp.where(shown, shares, 0.0)


def sigmoid_by_tanh(x: jax.Array) -> jax.Array:
    """Returns the sigmoid without a division, within 1e-7.

    LiteRT has no sigmoid of its own in what JAX gives it, but 1 / (1 + exp(-x)), whose divisor int8
    rounds to zero.
    """
    return 0.5 + 0.5 * jnp.tanh(0.5 * x)


def _probabilities(task: Task, logits: jax.Array, sigmoid: Sigmoid) -> jax.Array:
    """Returns float32 probabilities [n, classes], as `Task.probabilities` does on the host."""
    if task.kind == "multiclass":
        return jax.nn.softmax(logits)
    if task.kind == "binary":
        return jnp.concatenate([sigmoid(-logits), sigmoid(logits)], axis=-1)
    return sigmoid(logits)


def _words(path: Sequence[Any]) -> list[str]:
    return [str(part.key) for part in path]
