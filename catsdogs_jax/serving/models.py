"""What can be served: the best checkpoint of a run, or a bundle of `export`."""

import dataclasses
import functools
from pathlib import Path
from typing import Protocol

import numpy as np

from catsdogs_jax.classifier import Classifier, load
from catsdogs_jax.data.decode import decode_square, read_header
from catsdogs_jax.data.manifest_file import read_manifest
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.places import origin_of
from catsdogs_jax.errors import UserError
from catsdogs_jax.exporting import bundle
from catsdogs_jax.exporting.runtimes import RUNTIMES
from catsdogs_jax.insight import thumbnails
from catsdogs_jax.insight.network import Network
from catsdogs_jax.prediction.neighbours import spaced
from catsdogs_jax.prediction.predictor import neighbours_of
from catsdogs_jax.run_folder import RunFolder

BATCH = 8
"""Pictures in a compiled batch: few, as most requests bring one."""

_NEAREST = 3


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Why a model answers as it does.

    Attributes:
        heat: JPEG of the picture under the map of Grad-CAM; none if the model has no places.
        nearest: JPEG and classes of the nearest training pictures.
        missing: What cannot be shown, and why; empty if nothing is.
    """

    heat: bytes | None
    nearest: list[tuple[bytes, str]]
    missing: str = ""


class Served(Protocol):
    """A model that answers."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the probabilities."""
        ...

    @property
    def about(self) -> str:
        """What it is, in a line."""
        ...

    def decode(self, data: bytes) -> np.ndarray:
        """Returns uint8 [size, size, 3] of a picture file; raises `BadPicture` for another."""
        ...

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns probabilities [n, classes] of uint8 [n, size, size, 3]."""
        ...

    def spell(self, probabilities: np.ndarray) -> str:
        """Returns the predicted class, or several joined by "|", or nothing."""
        ...

    def explain(self, image: np.ndarray, label: int) -> Explanation:
        """Returns what speaks for a class in a picture uint8 [size, size, 3]."""
        ...


@dataclasses.dataclass(frozen=True)
class Run:
    """The best checkpoint of a run.

    Attributes:
        folder: The run folder.
        classifier: The model.
    """

    folder: RunFolder
    classifier: Classifier

    @property
    def classes(self) -> tuple[str, ...]:
        """See `Served`."""
        return self.classifier.preprocessing.task.classes

    @property
    def about(self) -> str:
        """See `Served`."""
        return f"{self.classifier.config.model.name} of {self.folder.path.absolute().name}"

    def decode(self, data: bytes) -> np.ndarray:
        """See `Served`."""
        to = self.classifier.preprocessing
        return decode_square(data, read_header(data), to.image_size, to.resize)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """See `Served`."""
        return self.classifier.probabilities(images)

    def spell(self, probabilities: np.ndarray) -> str:
        """See `Served`."""
        to = self.classifier.preprocessing
        return to.task.spell(probabilities, to.threshold)

    def explain(self, image: np.ndarray, label: int) -> Explanation:
        """See `Served`."""
        missing = []
        heat = None
        try:
            spoken = self._network.grad_cam(image[None], [label])[0]
            heat = thumbnails.thumbnail(thumbnails.overlay(image, spoken), side=360)
        except UserError as error:
            missing.append(f"no Grad-CAM: {error}")
        try:
            nearest = self._nearest(image)
        except (UserError, OSError) as error:
            nearest = []
            missing.append(f"no nearest pictures: {error}")
        return Explanation(heat, nearest, "; ".join(missing))

    def _nearest(self, image: np.ndarray) -> list[tuple[bytes, str]]:
        pictures, bank = self._training_pictures
        embedding = self._network.embeddings(image[None])[0]
        embedding = embedding / max(float(np.linalg.norm(embedding)), 1e-12)
        found = np.argsort(np.linalg.norm(bank - embedding, axis=1))[:_NEAREST]
        return [
            (
                thumbnails.thumbnail(pictures.read(int(place)), side=200),
                "|".join(self.classes[label] for label in pictures.pictures[place].labels),
            )
            for place in found
        ]

    @functools.cached_property
    def _network(self) -> Network:
        return Network.of(self.classifier)

    @functools.cached_property
    def _training_pictures(self) -> tuple[PictureSet, np.ndarray]:
        bank = neighbours_of(self.folder.path, self.classifier).train
        manifest = read_manifest(self.folder.manifest)
        listed = spaced(manifest.split("train"))
        if len(listed) != len(bank) or not manifest.root.is_dir():
            raise UserError(
                f"the training pictures are not whole below {origin_of(manifest.root)!r}"
            )
        to = self.classifier.preprocessing
        return PictureSet(listed, manifest.root, to), bank


@dataclasses.dataclass(frozen=True)
class Exported:
    """A bundle; its probabilities are calibrated.

    Attributes:
        bundle: The bundle.
    """

    bundle: bundle.Bundle

    @property
    def classes(self) -> tuple[str, ...]:
        """See `Served`."""
        return self.bundle.classes

    @property
    def about(self) -> str:
        """See `Served`."""
        return f"{self.bundle.format} of {self.bundle.folder.absolute().name}"

    def decode(self, data: bytes) -> np.ndarray:
        """See `Served`."""
        return self.bundle.decode(data)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """See `Served`."""
        few = len(images)
        if RUNTIMES[self.bundle.format].compiles:  # Once, and not as requests happen to come.
            fed = np.zeros((BATCH, *images.shape[1:]), images.dtype)
            fed[:few] = images
            images = fed
        return self.bundle.probabilities(images)[:few]

    def spell(self, probabilities: np.ndarray) -> str:
        """See `Served`."""
        return self.bundle.spell(probabilities)

    def explain(self, image: np.ndarray, label: int) -> Explanation:
        """See `Served`."""
        del image, label
        return Explanation(None, [], "a bundle holds no gradients and no training pictures")


def open_model(folder: Path) -> Served:
    """Opens a run folder or a bundle, whichever it is.

    Raises:
        UserError: It is neither, or cannot be used.
    """
    if (folder / "export.json").is_file():
        return Exported(bundle.load(folder))
    return Run(RunFolder(folder), load(folder, devices=1, batch=BATCH))
