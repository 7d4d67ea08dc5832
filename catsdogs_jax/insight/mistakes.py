"""Which pictures the model gets wrong, which labels it doubts, and what they are like."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from catsdogs_jax.task import Task

_LEAST_IN_SLICE = 5


@dataclasses.dataclass(frozen=True)
class Suspect:
    """A picture whose label may be wrong.

    Attributes:
        index: Place in the split.
        label: Index of the given class, or for several labels of the doubtful one.
        suggested: Index of the class that fits better; for several labels `label` again, whose
            presence or absence should then be the other way.
        margin: Probability of the suggestion less that of what is given.
    """

    index: int
    label: int
    suggested: int
    margin: float


def suspected_labels(probabilities: np.ndarray, true: np.ndarray, task: Task) -> list[Suspect]:
    """Finds labels that are likely wrong by confident learning, the most doubtful first.

    A class counts as confident where its probability is at least the mean over the pictures
    labelled so. A picture is suspected if the likeliest of its confident classes is another.
    The probabilities must be of pictures that were not trained on.
    Source: Northcutt et al., 2021, https://arxiv.org/abs/1911.00068

    Args:
        probabilities: [n, classes].
        true: As `Task.true_classes` gives it.
        task: Kind of labels.
    """
    if task.kind != "multilabel":
        return sorted(_suspects(probabilities, true), key=lambda s: -s.margin)
    found = []
    for label in range(len(task.classes)):
        present = probabilities[:, label]
        pairs = np.stack([1 - present, present], axis=1)
        for suspect in _suspects(pairs, true[:, label].astype(int)):
            found.append(dataclasses.replace(suspect, label=label, suggested=label))
    return sorted(found, key=lambda s: -s.margin)


def _suspects(probabilities: np.ndarray, true: np.ndarray) -> list[Suspect]:
    classes = range(probabilities.shape[1])
    # A class without pictures can be confident nowhere.
    means = [probabilities[true == k, k].mean() if (true == k).any() else np.inf for k in classes]
    confident = probabilities >= np.array(means)[None]
    best = np.where(confident, probabilities, -1).argmax(axis=1)
    doubtful = np.flatnonzero(confident.any(axis=1) & (best != true))
    return [
        Suspect(int(i), int(true[i]), int(best[i]), float(p[best[i]] - p[true[i]]))
        for i in doubtful
        for p in [probabilities[i]]
    ]


def picture_losses(probabilities: np.ndarray, true: np.ndarray, task: Task) -> np.ndarray:
    """Returns the cross-entropy [n], nats, of each picture; a mean over labels if many."""
    floor = np.finfo(np.float32).tiny
    if task.kind == "multilabel":
        given = np.where(true, probabilities, 1 - probabilities)
        return -np.log(np.maximum(given, floor)).mean(axis=1)
    return -np.log(np.maximum(probabilities[np.arange(len(true)), true], floor))


def nearest_neighbours(queries: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    """Returns the indices [q, count] of the embeddings most alike by cosine, nearest first.

    Args:
        queries: [q, features].
        known: [n, features].
        count: Neighbours wanted; fewer if there are fewer.
    """
    normed = [
        x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (queries, known)
    ]
    return np.argsort(-(normed[0] @ normed[1].T), axis=1, kind="stable")[:, :count]


@dataclasses.dataclass(frozen=True)
class Slice:
    """The pictures whose value lies in one range.

    Attributes:
        low: Least value.
        high: Greatest value.
        right: Of those, how many are right.
        n: How many there are.
    """

    low: float
    high: float
    right: int
    n: int


def slices(values: np.ndarray, right: np.ndarray, parts: int = 4) -> list[Slice]:
    """Cuts pictures into parts of about equal number by a value, and counts what is right.

    Args:
        values: [n].
        right: bool [n].
        parts: Parts wanted; equal values stay together, and a part of fewer than 5 is joined.
    """
    edges = np.unique(np.quantile(values, np.linspace(0, 1, parts + 1)[1:-1]))
    groups = np.searchsorted(edges, values, side="left")
    found: list[Slice] = []
    for group in np.unique(groups):
        inside = groups == group
        made = Slice(
            float(values[inside].min()),
            float(values[inside].max()),
            int(right[inside].sum()),
            int(inside.sum()),
        )
        if found and (found[-1].n < _LEAST_IN_SLICE or made.n < _LEAST_IN_SLICE):
            last = found.pop()
            made = Slice(last.low, made.high, last.right + made.right, last.n + made.n)
        found.append(made)
    return found


def brightness(images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Returns the mean of the pixels, 0 to 255, of each picture uint8 [h, w, 3]."""
    return np.array([image.mean() for image in images])


def sharpness(images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Returns the variance of the Laplacian of each picture uint8 [h, w, 3]; blur makes it small.

    Source: Pech-Pacheco et al., 2000, https://doi.org/10.1109/ICPR.2000.903548
    """
    return np.array([_laplacian(image).var() for image in images])


def _laplacian(image: np.ndarray) -> np.ndarray:
    grey = image.astype(np.float32).mean(axis=-1)
    across = grey[1:-1, :-2] + grey[1:-1, 2:]
    return across + grey[:-2, 1:-1] + grey[2:, 1:-1] - 4 * grey[1:-1, 1:-1]
