"""Pictures worth a look: mistakes with Grad-CAM and neighbours, doubtful labels, leaks."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from catsdogs_jax.data.pictures import Picture
from catsdogs_jax.errors import UserError
from catsdogs_jax.insight import thumbnails
from catsdogs_jax.insight.mistakes import (
    Suspect,
    nearest_neighbours,
    picture_losses,
    suspected_labels,
)
from catsdogs_jax.insight.network import Network
from catsdogs_jax.insight.source import Source
from catsdogs_jax.reporting.page import Case, Gallery, Photo
from catsdogs_jax.reporting.style import percent

SHOWN = 12
"""Cases of a gallery."""

_NEIGHBOURS = 3
_MOST_EMBEDDED = 4000
_NEIGHBOUR_SIDE = 96
_LEAKS = 6


def surest_mistake(
    probabilities: np.ndarray, predicted: np.ndarray, true: np.ndarray
) -> np.ndarray:
    """Returns the confidence in the most confident wrong answer about each picture, 0 for none.

    Args:
        probabilities: Of each label, [N, labels].
        predicted: Whether it is above its threshold, which may lie far below a half.
        true: Whether the picture has it.
    """
    confidence = np.where(predicted, probabilities, 1 - probabilities)
    return np.where(predicted != true, confidence, 0).max(axis=1)


def galleries(source: Source) -> list[Gallery]:
    """Returns the confident mistakes, the top losses if they are others, and doubtful labels."""
    split, task = source.split, source.task
    probabilities, true = source.probabilities(split), source.true(split)
    threshold = source.classifier.preprocessing.threshold
    predicted = task.predicted(probabilities, threshold)
    wrong = predicted != true if task.kind != "multilabel" else (predicted != true).any(axis=1)
    losses = picture_losses(probabilities, true, task)
    sure = probabilities.max(axis=1)
    if task.kind == "multilabel":
        sure = surest_mistake(probabilities, predicted, true)
    mistakes = [i for i in np.argsort(-sure, kind="stable") if wrong[i]][:SHOWN]
    others = [i for i in np.argsort(-losses, kind="stable") if i not in set(mistakes)][:SHOWN]
    maker = _Maker.create(source)
    words = [f"confidence {percent(sure[i])}, loss {losses[i]:.2f}" for i in range(len(sure))]
    total = int(wrong.sum())
    found = [
        Gallery(
            "Most confident mistakes",
            f"{len(mistakes)} of the {total} mistakes among {len(true):,} {split} pictures. The "
            "colours (Grad-CAM) show what spoke for the predicted class, or for the label that is "
            f"most wrong; the nearest{maker.known} training pictures are by the cosine of the "
            "features before the last layer.",
            maker.cases([_Wanted(i, split, words[i]) for i in mistakes]),
        )
    ]
    if task.kind != "binary":  # With two classes the greatest losses are the surest mistakes.
        cases = maker.cases([_Wanted(i, split, words[i]) for i in others])
        found.append(Gallery("Top losses", "The greatest losses besides those above.", cases))
    return [*found, _doubtful(source, maker)]


def suspects(source: Source) -> list[tuple[str, Suspect]]:
    """Returns the held-out pictures whose labels are doubtful, with their splits, worst first."""
    found = [
        (split, suspect)
        for split in source.evaluations
        for suspect in suspected_labels(
            source.probabilities(split), source.true(split), source.task
        )
    ]
    return sorted(found, key=lambda pair: -pair[1].margin)


def leak_photos(source: Source) -> list[tuple[Photo, Photo]]:
    """Returns pictures of the first pairs that stand in two splits."""
    places = {
        file: (name, index)
        for name, pictures in source.sets.items()
        for index, file in enumerate(pictures.pictures.column("file"))
    }

    def photo(picture: Picture) -> Photo:
        split, index = places[picture.file]
        image = source.sets[split].read_or_recall(index)
        jpeg = thumbnails.thumbnail(image, source.aspect(picture))
        return Photo(jpeg, picture.file, f"{split}: {picture.file} ({source.spell(picture)})")

    return [(photo(a), photo(b)) for a, b in source.leaks[:_LEAKS]]


def _doubtful(source: Source, maker: "_Maker") -> Gallery:
    found, wanted = suspects(source), []
    for split, suspect in found[:SHOWN]:
        name = source.task.classes[suspect.suggested]
        words = f"{split}: {name} is likelier by {suspect.margin:.2f}"
        if source.task.kind == "multilabel":
            given = suspect.label in source.sets[split].pictures[suspect.index].labels
            change = "should go" if given else "is missing"
            words = f"{split}: {name} perhaps {change} (likelier by {suspect.margin:.2f})"
        wanted.append(_Wanted(suspect.index, split, words))
    return Gallery(
        "Suspected label errors",
        f"{len(found)} of {sum(e.n for e in source.evaluations.values()):,} held-out pictures, by "
        "confident learning (Northcutt et al., 2021): the model is surer of another class than it "
        "usually is of pictures labelled so. A model that is often wrong suspects many good "
        "labels: look before you change one. suspects.csv lists all of them. Training pictures "
        "were trained on, and are not judged.",
        maker.cases(wanted, explained=False),
    )


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """A held-out picture that is to be shown, and what is said of it."""

    index: int
    split: str
    words: str


@dataclasses.dataclass(frozen=True)
class _Maker:
    """Makes cases; embeds the training pictures once, if there are any cases."""

    source: Source
    network: Network
    indices: np.ndarray

    @classmethod
    def create(cls, source: Source) -> "_Maker":
        training, network = source.sets["train"], Network.of(source.classifier)
        count = min(len(training), _MOST_EMBEDDED)
        return cls(source, network, np.linspace(0, len(training) - 1, count).astype(int))

    @functools.cached_property
    def embedded(self) -> np.ndarray:
        """Features of the training pictures at `indices`, [N, width]."""
        training = self.source.sets["train"]
        parts = [
            self.network.embeddings(np.stack([training.read_or_recall(i) for i in part]))
            for part in np.array_split(self.indices, -(-len(self.indices) // 256))
        ]
        return np.concatenate(parts)

    @property
    def known(self) -> str:
        """Of how many training pictures the nearest are shown, if not of all."""
        whole = len(self.indices) == len(self.source.sets["train"])
        return "" if whole else f" (of {len(self.indices):,})"

    def cases(self, wanted: Sequence[_Wanted], *, explained: bool = True) -> list[Case]:
        """Returns held-out pictures with their heat maps and neighbours, all in a few batches."""
        if not wanted:
            return []
        sets, task = self.source.sets, self.source.task
        pictures = [sets[each.split].pictures[each.index] for each in wanted]
        images = np.stack([sets[each.split].read_or_recall(each.index) for each in wanted])
        logits = [self.source.evaluations[each.split].logits[each.index] for each in wanted]
        probabilities = task.probabilities(np.stack(logits))
        labels = [self._label(p, q) for p, q in zip(probabilities, pictures, strict=True)]
        heats = self._heats(images, labels) if explained else None
        near = nearest_neighbours(self.network.embeddings(images), self.embedded, _NEIGHBOURS)
        threshold = self.source.classifier.preprocessing.threshold
        cases = []
        for k, (each, picture) in enumerate(zip(wanted, pictures, strict=True)):
            aspect = self.source.aspect(picture)
            photos = [Photo(thumbnails.thumbnail(images[k], aspect), picture.file)]
            if heats is not None:
                jpeg = thumbnails.thumbnail(thumbnails.overlay(images[k], heats[k]), aspect)
                photos.append(Photo(jpeg, picture.file, f"for {task.classes[labels[k]]}"))
            said = task.spell(probabilities[k], threshold) or "none"
            beside = [self._neighbour(place) for place in near[k]]
            cases.append(Case(photos, self.source.spell(picture), said, each.words, beside))
        return cases

    def _label(self, probabilities: np.ndarray, picture: Picture) -> int:
        """Returns the class to explain: the predicted one, or the label that is most wrong."""
        if self.source.task.kind != "multilabel":
            threshold = self.source.classifier.preprocessing.threshold
            return int(self.source.task.predicted(probabilities[None], threshold)[0])
        true = np.zeros(len(probabilities))
        true[list(picture.labels)] = 1
        return int(np.abs(probabilities - true).argmax())

    def _heats(self, images: np.ndarray, labels: Sequence[int]) -> np.ndarray | None:
        try:
            return self.network.grad_cam(images, labels)
        except UserError:  # A model without places has no such map.
            return None

    def _neighbour(self, place: int) -> Photo:
        training, index = self.source.sets["train"], int(self.indices[place])
        picture = training.pictures[index]
        image, aspect = training.read_or_recall(index), self.source.aspect(picture)
        jpeg = thumbnails.thumbnail(image, aspect, _NEIGHBOUR_SIDE)
        return Photo(jpeg, picture.file, self.source.spell(picture))
