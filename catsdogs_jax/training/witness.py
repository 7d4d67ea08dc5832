"""Keeps account of which pictures the steps were given, for `metrics.jsonl`."""

from collections.abc import Iterable, Iterator

import numpy as np

from catsdogs_jax import hosts
from catsdogs_jax.data.digest import content_numbers, step_digest
from catsdogs_jax.data.pipeline import Batch, PictureSet, Places


class Witness:
    """The digest of the steps since the last record, over all processes.

    Args:
        pictures: The training pictures.
        batch: Pictures in a step, over all processes.
        seed: Seed of the run.
    """

    def __init__(self, pictures: PictureSet, batch: int, seed: int):
        self._contents = content_numbers(pictures.pictures)
        self._places, self._seed = np.arange(batch), seed
        self._fed: dict[int, int] = {}
        self._sum = 0

    def watched(self, batches: Iterable[Batch], first_step: int, places: Places) -> Iterator[Batch]:
        """Passes batches on; those of steps that are not taken in the end do not count.

        Args:
            batches: This process' places of the batches.
            first_step: Steps before the first of them.
            places: Which places those are.
        """
        for step, batch in enumerate(batches, first_step + 1):
            self._fed[step] = self._digest(step, batch["index"], places)
            yield batch

    def taken(self, step: int) -> None:
        """Counts a step that was taken."""
        self._sum += self._fed.pop(step)

    def recall(self, first_step: int, orders: Iterable[np.ndarray]) -> None:
        """Counts steps that an earlier call of the program took after its last record.

        Args:
            first_step: Steps before the first of them.
            orders: The pictures of all places of each.
        """
        if hosts.is_first():
            for step, indices in enumerate(orders, first_step + 1):
                self._sum += self._digest(step, indices, slice(None))

    def spell(self) -> str:
        """Returns the digest since the last record, 16 hexadecimal digits, and begins anew."""
        parts, self._sum = hosts.told_by_all(f"{self._sum:x}"), 0
        return f"{sum(int(part, 16) for part in parts) % 2**64:016x}"

    def _digest(self, step: int, indices: np.ndarray, places: Places) -> int:
        return step_digest(self._contents[indices], self._seed, step, self._places[places])
