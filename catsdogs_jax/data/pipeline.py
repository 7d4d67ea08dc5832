"""From pictures of a manifest to batches in memory; `feed` moves them to the devices."""

import collections
import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from catsdogs_jax.cores import REQUESTS, cores
from catsdogs_jax.data.columns import Lists
from catsdogs_jax.data.contents import changed, far, read_picture
from catsdogs_jax.data.decode import BadPicture, decode_square
from catsdogs_jax.data.groups import groups_by_rarest
from catsdogs_jax.data.order import evaluation_indices, training_indices
from catsdogs_jax.data.pictures import Pictures
from catsdogs_jax.data.sampling import Sampler, Sampling, sampled_indices
from catsdogs_jax.preprocessing import Preprocessing

Batch = Mapping[str, Any]
"""image uint8 [B, size, size, 3], target float32 [B, outputs], mask bool [B], index int32 [B]."""

Places = np.ndarray | slice
"""Which places of a batch are wanted, as an index."""

EVERYWHERE = slice(None)

_BATCHES_DECODED_AT_ONCE = 2
_DECODED_AT_ONCE = 64
_ALIGNMENT = 64
_THREADS = cores()


@dataclasses.dataclass(frozen=True)
class PictureSet:
    """Random access to the square pictures of one split.

    Attributes:
        pictures: What the manifest knows of each.
        root: Folder of the files, or of the records that hold them.
        preprocessing: Size and resize rule.
        cache: uint8 [n, size, size, 3] if the decoded pictures are kept, in memory or in a file
            that is mapped to it, else none.
    """

    pictures: Pictures
    root: Path
    preprocessing: Preprocessing
    cache: np.ndarray | None = None

    @functools.cached_property
    def targets(self) -> np.ndarray:
        """The targets of all pictures, float32 [n, outputs]; batches come with their own."""
        return self._targets(self._labels)

    @functools.cached_property
    def _labels(self) -> Lists:
        return self.pictures.column("labels")

    def _targets(self, labels: Lists) -> np.ndarray:
        return self.preprocessing.task.targets_of(labels.numbers, np.diff(labels.starts))

    @property
    def decoded_bytes(self) -> int:
        """Size of all decoded pictures."""
        return len(self) * self.preprocessing.image_size**2 * 3

    def in_memory(self) -> "PictureSet":
        """Returns the set with its decoded pictures in memory."""
        size = self.preprocessing.image_size
        cache = np.empty((len(self), size, size, 3), np.uint8)
        self.decode_into(cache)
        return dataclasses.replace(self, cache=cache)

    def larger(self, factor: float) -> "PictureSet":
        """Returns the set of the same pictures decoded larger, or smaller; none is kept."""
        size = round(self.preprocessing.image_size * factor)
        resized = dataclasses.replace(self.preprocessing, image_size=size)
        return dataclasses.replace(self, preprocessing=resized, cache=None)

    def __len__(self) -> int:
        return len(self.pictures)

    def among(self, files: Set[str]) -> np.ndarray:
        """Returns whether each picture is one of some files, bool [n]."""
        return np.array([file in files for file in self.pictures.column("file")], bool)

    def class_counts(self) -> np.ndarray:
        """Returns the number of pictures of each class, int [classes]."""
        labels = self._labels.numbers
        return np.bincount(labels, minlength=len(self.preprocessing.task.classes))

    def read(self, index: int) -> np.ndarray:
        """Reads and decodes one picture: uint8 [size, size, 3].

        Raises:
            UserError: The file cannot be read any more, or holds something else.
        """
        picture, to = self.pictures[index], self.preprocessing
        data = read_picture(self.root, picture.file, picture.content_hash)
        try:
            return decode_square(data, picture, to.image_size, to.resize)
        except BadPicture as error:
            raise changed(picture.file, str(error)) from error

    def read_or_recall(self, index: int) -> np.ndarray:
        """Returns one picture, uint8 [size, size, 3], from the cache if there is one."""
        return self.read(index) if self.cache is None else self.cache[index]

    def decode_into(self, decoded: np.ndarray) -> None:
        """Decodes every picture into uint8 [n, size, size, 3]."""
        starts = range(_DECODED_AT_ONCE, len(self), _DECODED_AT_ONCE)
        for indices, images in self._with_images(np.split(np.arange(len(self)), starts)):
            decoded[indices] = images

    def training_batches(
        self,
        first_step: int,
        last_step: int,
        batch: int,
        seed: int,
        sampling: Sampling = "natural",
        places: Places = EVERYWHERE,
    ) -> Iterator[Batch]:
        """Yields the batches of steps first_step to last_step - 1, always full.

        Args:
            first_step: The first step to yield, 0 for a new run.
            last_step: One past the last step.
            batch: Pictures in a step, over all processes.
            seed: Seed of the run.
            sampling: How pictures are drawn.
            places: The places of each batch that are wanted; no other picture is read.
        """
        order = self.training_order(first_step, last_step, batch, seed, sampling)
        mask = np.ones(batch, bool)[places]
        for indices, images in self._with_images(whole[places] for whole in order):
            yield {"image": images, **self._rows(indices, mask)}

    def training_rows(
        self,
        first_step: int,
        last_step: int,
        batch: int,
        seed: int,
        sampling: Sampling = "natural",
        places: Places = EVERYWHERE,
    ) -> Iterator[Batch]:
        """Yields what `training_batches` does, without the pictures: none is read."""
        mask = np.ones(batch, bool)[places]
        for whole in self.training_order(first_step, last_step, batch, seed, sampling):
            yield self._rows(whole[places], mask)

    def files_of_step(
        self, step: int, batch: int, seed: int, sampling: Sampling = "natural"
    ) -> list[str]:
        """Returns the files of the batch of a step, counted from 1, in the order of the batch."""
        (indices,) = self.training_order(step - 1, step, batch, seed, sampling)
        return [self.pictures.cell("file", int(index)) for index in indices]

    def training_order(
        self, first_step: int, last_step: int, batch: int, seed: int, sampling: Sampling
    ) -> Iterator[np.ndarray]:
        """Yields the indices [batch] of the pictures of steps first_step to last_step - 1."""
        if sampling == "natural":
            return training_indices(first_step, last_step, batch, len(self), seed)
        groups = groups_by_rarest(self._labels, len(self.preprocessing.task.classes))
        sampler = Sampler.create(groups, sampling, seed)
        return sampled_indices(first_step, last_step, batch, sampler)

    def evaluation_batches(self, batch: int, places: Places = EVERYWHERE) -> Iterator[Batch]:
        """Yields every picture once, in order; the last batch is padded and masked.

        Args:
            batch: Pictures in a step, over all processes.
            places: The places of each batch that are wanted; no other picture is read.
        """
        batches = evaluation_indices(len(self), batch)
        plan = [(indices[places], mask[places]) for indices, mask in batches]
        found = self._with_images(indices for indices, _ in plan)
        for (indices, images), (_, mask) in zip(found, plan, strict=True):
            yield {"image": images, **self._rows(indices, mask)}

    def _rows(self, indices: np.ndarray, mask: np.ndarray) -> Batch:
        """Returns all of a batch but its pictures."""
        return {
            "target": self._targets(self._labels.taken(indices)),
            "mask": mask,
            "index": indices.astype(np.int32),
        }

    def _with_images(self, order: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields (indices [batch], images [batch, size, size, 3]) for arrays of indices."""
        if self.cache is not None:
            for indices in order:
                images = aligned_empty((len(indices), *self.cache.shape[1:]))
                yield indices, np.take(self.cache, indices, axis=0, out=images, mode="clip")
            return
        decoding: collections.deque[_Decoding] = collections.deque()
        for indices in order:
            decoding.append(_Decoding(self, indices))
            if len(decoding) > _BATCHES_DECODED_AT_ONCE:
                yield decoding.popleft().result()
        for last in decoding:
            yield last.result()


class _Decoding:
    """The pictures of a batch while threads read and decode them.

    This is no operation of a tf.data map: an iterator that is given up waits for its maps with
    Python's lock in its hand, and a map in Python (Pillow) waits for the lock. Nor is it faster.
    """

    def __init__(self, pictures: PictureSet, indices: np.ndarray):
        size = pictures.preprocessing.image_size
        self._pictures, self._indices = pictures, indices
        self._images = aligned_empty((len(indices), size, size, 3))
        # Who waits for a store leaves his core to others.
        self._share = REQUESTS if far(pictures.root) else _THREADS
        threads = _threads(self._share)
        self._parts = [threads.submit(self._decode, k) for k in range(self._share)]

    def _decode(self, first: int) -> None:
        for place in range(first, len(self._indices), self._share):
            self._images[place] = self._pictures.read(self._indices[place])

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Waits; returns (indices [batch], images [batch, size, size, 3])."""
        for part in self._parts:
            part.result()
        return self._indices, self._images


def aligned_empty(shape: tuple[int, ...]) -> np.ndarray:
    """Returns uint8 memory of a shape, not cleared, that XLA's CPU backend uses without a copy."""
    size = math.prod(shape)
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].reshape(shape)


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="decode")
