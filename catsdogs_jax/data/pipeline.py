"""From pictures of a manifest to batches on the devices."""

import collections
import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from catsdogs_jax.data.decode import load_square, words
from catsdogs_jax.data.manifest import Picture
from catsdogs_jax.data.order import evaluation_indices, training_indices
from catsdogs_jax.data.tensorflow import tf
from catsdogs_jax.errors import UserError
from catsdogs_jax.preprocessing import Preprocessing

Batch = Mapping[str, Any]
"""image uint8 [B, size, size, 3], target float32 [B, outputs], mask bool [B], index int32 [B]."""

_PREFETCHED_BATCHES = 2


@dataclasses.dataclass(frozen=True)
class PictureSet:
    """Random access to the square pictures of one split.

    Attributes:
        pictures: What the manifest knows of each.
        root: Folder of the files.
        targets: float32 [n, outputs].
        preprocessing: Size and resize rule.
        cache: uint8 [n, size, size, 3] if the decoded pictures are kept in memory, else none.
    """

    pictures: Sequence[Picture]
    root: Path
    targets: np.ndarray
    preprocessing: Preprocessing
    cache: np.ndarray | None = None

    @classmethod
    def create(
        cls, pictures: Sequence[Picture], root: Path, preprocessing: Preprocessing, cache_bytes: int
    ) -> "PictureSet":
        """Makes a set, and decodes it into memory if that takes at most `cache_bytes`."""
        targets = preprocessing.task.targets([picture.labels for picture in pictures])
        made = cls(pictures, root, targets, preprocessing)
        if len(pictures) * preprocessing.image_size**2 * 3 > cache_bytes:
            return made
        return dataclasses.replace(made, cache=made.decode_all())

    def __len__(self) -> int:
        return len(self.pictures)

    def class_counts(self) -> np.ndarray:
        """Returns the number of pictures of each class, int [classes]."""
        labels = [label for picture in self.pictures for label in picture.labels]
        return np.bincount(labels, minlength=len(self.preprocessing.task.classes))

    def decode_all(self) -> np.ndarray:
        """Decodes every picture: uint8 [n, size, size, 3]."""
        size = self.preprocessing.image_size
        decoded = np.empty((len(self), size, size, 3), np.uint8)
        loaded = self._load(tf().data.Dataset.range(len(self)))
        for place, image in enumerate(_naming_bad_files(loaded.as_numpy_iterator())):
            decoded[place] = image
        return decoded

    def training_batches(
        self, first_step: int, last_step: int, batch: int, seed: int
    ) -> Iterator[Batch]:
        """Yields the batches of steps first_step to last_step - 1, always full."""
        order = training_indices(first_step, last_step, batch, len(self), seed)
        mask = np.ones(batch, bool)
        for indices, images in _naming_bad_files(self._with_images(order, batch)):
            yield self._batch(indices, images, mask)

    def evaluation_batches(self, batch: int) -> Iterator[Batch]:
        """Yields every picture once, in order; the last batch is padded and masked."""
        plan = evaluation_indices(len(self), batch)
        order = tf().data.Dataset.from_tensor_slices(np.stack([indices for indices, _ in plan]))
        found = _naming_bad_files(self._with_images(order, batch))
        for (indices, images), (_, mask) in zip(found, plan, strict=True):
            yield self._batch(indices, images, mask)

    def _batch(self, indices: np.ndarray, images: np.ndarray, mask: np.ndarray) -> Batch:
        return {
            "image": images,
            "target": self.targets[indices],
            "mask": mask,
            "index": indices.astype(np.int32),
        }

    def _with_images(self, order: Any, batch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (indices [batch], images [batch, size, size, 3]) for a Dataset of indices."""
        if self.cache is not None:
            cache = self.cache
            for indices in order.prefetch(_PREFETCHED_BATCHES).as_numpy_iterator():
                yield indices, cache[indices]
            return
        images = self._load(order.unbatch()).batch(batch)
        both = tf().data.Dataset.zip((order, images)).prefetch(_PREFETCHED_BATCHES)
        yield from both.as_numpy_iterator()

    def _load(self, indices: Any) -> Any:
        paths = tf().constant([str(self.root / picture.file) for picture in self.pictures])
        plain = tf().constant([picture.plain_jpeg for picture in self.pictures])
        orientations = tf().constant([picture.orientation for picture in self.pictures])
        size, resize = self.preprocessing.image_size, self.preprocessing.resize
        return indices.map(
            lambda i: load_square(paths[i], plain[i], orientations[i], size, resize),
            num_parallel_calls=tf().data.AUTOTUNE,
            deterministic=True,
        )


def _naming_bad_files(batches: Iterable[Any]) -> Iterator[Any]:
    """Turns TensorFlow's error about a file that changed after the scan into one line."""
    try:
        yield from batches
    except tf().errors.OpError as error:
        raise UserError(
            f"a picture that was readable when the run began is not any more: {words(error)}; "
            "put it back, or start the run anew"
        ) from error


@dataclasses.dataclass
class Feed:
    """Moves batches to the devices ahead of their use, and measures the time spent waiting.

    Attributes:
        waited: Seconds that the reader has waited for the next batch so far.
    """

    batches: Iterator[Batch]
    sharding: jax.sharding.Sharding
    depth: int = 2
    waited: float = 0.0

    def __post_init__(self) -> None:
        self._queue: collections.deque[Batch] = collections.deque()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        start = time.perf_counter()
        try:
            while len(self._queue) < self.depth:
                batch = next(self.batches, None)
                if batch is None:
                    break
                self._queue.append(to_devices(batch, self.sharding))
            if not self._queue:
                raise StopIteration
            return self._queue.popleft()
        finally:
            self.waited += time.perf_counter() - start


def to_devices(batch: Batch, sharding: jax.sharding.Sharding) -> Batch:
    """Splits a batch of numpy arrays over the devices by their first axis."""
    return {
        name: jax.make_array_from_process_local_data(sharding, values)
        for name, values in batch.items()
    }
