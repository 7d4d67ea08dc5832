"""Looks inside a model by its stages: features, Grad-CAM and occlusion, for any of the registry.

A model names its stages, whose composition it is. The input of the last one is the embedding of a
picture; the last output that still has places is the map that Grad-CAM weighs.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from catsdogs_jax.classifier import Classifier
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.training.compilation import jit
from catsdogs_jax.training.state import Params, merge_model

_BATCH = 16
_OCCLUSION_STEPS = 10
_GREY = 128


@dataclasses.dataclass(frozen=True)
class Network:
    """A model with its variables, to be taken apart.

    Attributes:
        graphdef: Structure of the model.
        preprocessing: Normalisation and task.
        params: Parameters.
        statistics: Other variables.
    """

    graphdef: Any
    preprocessing: Preprocessing
    params: Params
    statistics: Params

    @classmethod
    def of(cls, classifier: Classifier) -> "Network":
        """Takes the model of a classifier."""
        variables = (classifier.params, classifier.statistics)
        return cls(classifier.graphdef, classifier.preprocessing, *variables)

    def embeddings(self, images: np.ndarray) -> np.ndarray:
        """Returns what the last stage is given: float32 [n, features].

        Args:
            images: uint8 [n, size, size, 3].
        """
        return self._in_batches(_features, images)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Returns float32 logits [n, outputs] of one view of each picture, uint8 [n, s, s, 3]."""
        return self._in_batches(_logits, images)

    def grad_cam(self, images: np.ndarray, classes: Sequence[int]) -> np.ndarray:
        """Returns where each picture speaks for a class, [n, rows, columns] from 0 to 1.

        The map is that of the last stage with places, weighed by the mean gradient of the class's
        logit. Places that speak against the class are 0.
        Source: Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391

        Args:
            images: uint8 [n, size, size, 3].
            classes: Index of the class to explain, one a picture.

        Returns:
            One map a picture, of all of it; what the model does not see of it is 0.

        Raises:
            UserError: No stage of the model keeps places.
        """
        weights = self._class_weights(classes)
        maps = self._in_batches(_grad_cam, images, weights, last=self._last_map())
        return _scaled(_in_whole_pictures(maps, self.preprocessing))

    def occlusion(self, image: np.ndarray, label: int) -> np.ndarray:
        """Returns how much a class's probability falls where a grey square hides the picture.

        Source: Zeiler and Fergus, 2014, https://arxiv.org/abs/1311.2901

        Args:
            image: uint8 [size, size, 3].
            label: Index of the class.

        Returns:
            [10, 10], scaled so that the greatest fall is 1; places that hide nothing are 0.
        """
        size = len(image)
        edges = np.linspace(0, size, _OCCLUSION_STEPS + 1).astype(int)
        hidden = [image]
        for top, bottom in zip(edges, edges[1:], strict=False):
            for left, right in zip(edges, edges[1:], strict=False):
                copy = image.copy()
                margin = (bottom - top) // 2  # Squares overlap: an edge between two hides little.
                rows = slice(max(top - margin, 0), bottom + margin)
                copy[rows, max(left - margin, 0) : right + margin] = _GREY
                hidden.append(copy)
        task = self.preprocessing.task
        probabilities = task.probabilities(self.logits(np.stack(hidden)))[:, label]
        falls = (probabilities[0] - probabilities[1:]).reshape(1, _OCCLUSION_STEPS, -1)
        return _scaled(np.maximum(falls, 0))[0]

    def _class_weights(self, classes: Sequence[int]) -> np.ndarray:
        """Returns the weights [n, outputs] whose product with the logits speaks for the classes."""
        labels = np.asarray(classes, int)
        if self.preprocessing.task.kind == "binary":
            return np.where(labels == 1, 1.0, -1.0).astype(np.float32)[:, None]
        return np.eye(self.preprocessing.task.outputs, dtype=np.float32)[labels]

    def _last_map(self) -> int:
        """Returns the index of the last stage whose output has places."""
        size = self.preprocessing.seen_size
        image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        outputs = jax.eval_shape(
            lambda params, statistics, x: _stage_outputs(
                merge_model(self.graphdef, params, statistics), x
            ),
            self.params,
            self.statistics,
            image,
        )
        found = [i for i, output in enumerate(outputs) if _grid(output.shape)]
        if not found:
            raise UserError(
                "Grad-CAM needs a stage whose output has places, and this model has none: "
                "use --method occlusion"
            )
        return found[-1]

    def _in_batches(
        self,
        function: Callable[..., jax.Array],
        images: np.ndarray,
        *others: np.ndarray,
        **static: int,
    ) -> np.ndarray:
        """Calls a function of a batch of one fixed size, so that it is compiled once."""
        results, compiled = [], _compiled(function, tuple(static))
        variables = (self.graphdef, self.preprocessing, self.params, self.statistics)
        for start in range(0, len(images), _BATCH):
            parts = [values[start : start + _BATCH] for values in (images, *others)]
            count = len(parts[0])
            padded = [np.concatenate([p, np.repeat(p[:1], _BATCH - count, 0)]) for p in parts]
            result = compiled(*variables, *padded, **static)
            results.append(np.asarray(result)[:count])
        return np.concatenate(results).astype(np.float32)


@functools.cache
def _compiled(function: Callable[..., jax.Array], static: tuple[str, ...]) -> Any:
    """Returns a compiled function of graph definition, preprocessing, variables and batches."""
    return jit(function, static_argnums=(0, 1), static_argnames=static)


def _logits(
    graphdef: Any, to: Preprocessing, params: Params, statistics: Params, images: jax.Array
) -> jax.Array:
    return merge_model(graphdef, params, statistics)(to.seen(images)).astype(jnp.float32)


def _features(
    graphdef: Any, to: Preprocessing, params: Params, statistics: Params, images: jax.Array
) -> jax.Array:
    x = to.seen(images)
    for _, _, stage in merge_model(graphdef, params, statistics).stages()[:-1]:
        x = stage(x)
    return x.reshape(x.shape[0], -1).astype(jnp.float32)


def _grad_cam(
    graphdef: Any,
    to: Preprocessing,
    params: Params,
    statistics: Params,
    images: jax.Array,
    weights: jax.Array,
    *,
    last: int,
) -> jax.Array:
    stages = merge_model(graphdef, params, statistics).stages()
    x = to.seen(images)
    for _, _, stage in stages[: last + 1]:
        x = stage(x)

    def score(x: jax.Array) -> jax.Array:
        for _, _, stage in stages[last + 1 :]:
            x = stage(x)
        return (x.astype(jnp.float32) * weights).sum()

    maps, gradients = _as_map(x), _as_map(jax.grad(score)(x))
    importance = gradients.mean(axis=(1, 2), keepdims=True)
    return jax.nn.relu((maps * jnp.broadcast_to(importance, maps.shape)).sum(axis=-1))


def _in_whole_pictures(maps: np.ndarray, to: Preprocessing) -> np.ndarray:
    """Lays maps [n, rows, columns] of what the model sees in the pictures whose centre it is."""
    size, rest = to.seen_size, to.image_size - to.seen_size
    if not rest:
        return maps
    spread = jax.image.resize(maps, (len(maps), size, size), "linear")
    sides = rest // 2, rest - rest // 2
    return np.pad(spread, ((0, 0), sides, sides))


def _stage_outputs(model: Any, x: jax.Array) -> list[jax.Array]:
    outputs = []
    for _, _, stage in model.stages():
        x = stage(x)
        outputs.append(x)
    return outputs


def _grid(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Returns rows, columns and leading tokens without a place of an output; none: no places."""
    if len(shape) == 4 and shape[1] * shape[2] > 1:
        return shape[1], shape[2], 0
    if len(shape) == 3:  # Tokens, perhaps behind one of the class.
        for extra in (0, 1):
            side = math.isqrt(max(shape[1] - extra, 0))
            if side > 1 and side * side == shape[1] - extra:
                return side, side, extra
    return None


def _as_map(x: jax.Array) -> jax.Array:
    """Returns float32 [n, rows, columns, channels] of an output with places."""
    grid = _grid(x.shape)
    assert grid is not None
    rows, columns, extra = grid
    if x.ndim == 3:
        x = x[:, extra:].reshape(x.shape[0], rows, columns, x.shape[-1])
    return x.astype(jnp.float32)


def _scaled(maps: np.ndarray) -> np.ndarray:
    """Divides each map [n, rows, columns] by its greatest value; one of zeros stays so."""
    greatest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, greatest, out=np.zeros_like(maps), where=greatest > 0)
