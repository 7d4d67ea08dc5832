"""Pictures in groups, one for each class, where a picture may have several labels."""

from collections.abc import Sequence

import numpy as np

from catsdogs_jax.data.columns import Lists


def groups_by_rarest(labels: Sequence[Sequence[int]], classes: int) -> list[np.ndarray]:
    """Puts each picture into the group of the rarest of its labels.

    Args:
        labels: Class indices of each picture, ascending. One each makes a group of each class;
            pictures without labels are a group of their own.
        classes: Number of classes.

    Returns:
        int64 indices of the pictures of each group that is not empty.
    """
    lists = labels if isinstance(labels, Lists) else Lists(labels)
    numbers, starts = lists.numbers, lists.starts
    counts = np.bincount(numbers, minlength=classes)
    rarest = np.full(len(lists), classes)
    some = starts[1:] > starts[:-1]
    if some.any():
        # The least of (count, label) as one number; in place, as there may be millions.
        rarity = counts[numbers]
        rarity *= classes
        rarity += numbers
        rarest[some] = np.minimum.reduceat(rarity, starts[:-1][some].astype(np.intp)) % classes
    sizes = np.bincount(rarest, minlength=classes + 1)
    groups = np.split(np.argsort(rarest, kind="stable"), np.cumsum(sizes)[:-1])
    return [group for group in groups if len(group)]
