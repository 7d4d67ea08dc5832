"""Which picture is held out: stratified, and decided by its content alone."""

import hashlib
from collections.abc import Iterable

import numpy as np

from catsdogs_jax.data.columns import Lists
from catsdogs_jax.data.groups import groups_by_rarest


def hold_out(
    labels: Lists, contents: Iterable[str], share: float, seed: int, purpose: str
) -> np.ndarray:
    """Chooses `share` of each class, at least one picture where a class has two or more.

    Within a class, pictures are ranked by a hash of (seed, purpose, content), and the first are
    held out. So the choice does not depend on names or on the order of listing; equal files always
    fall on the same side; and adding or removing a picture moves at most those at the border.

    Args:
        labels: Of each picture. One with several counts for the rarest of them: their sets are
            often unique, and nothing could be held out of a set of one.
        contents: Hash of each picture's file, hexadecimal.
        share: Wanted share, 0 to 1.
        seed: Seed of the run.
        purpose: "validation" or "test": the two choices are independent.

    Returns:
        Whether each picture is held out, bool [n].
    """
    groups = groups_by_rarest(labels, int(labels.numbers.max(initial=-1)) + 1)
    salt = f"{seed}/{purpose}/"
    ranks = np.fromiter((_rank(salt + content) for content in contents), np.uint64, len(labels))
    chosen = []
    for members in groups:
        ranked = np.unique(ranks[members])
        count = round(share * len(ranked))
        if share > 0 and len(ranked) > 1:
            count = min(max(count, 1), len(ranked) - 1)
        chosen.append(ranked[:count])
    if not any(map(len, chosen)):
        return np.zeros(len(ranks), bool)
    held = np.unique(np.concatenate(chosen))
    nearest = np.searchsorted(held, ranks)
    return held.take(nearest, mode="clip") == ranks


def _rank(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
