"""Pictures in groups, one for each class, where a picture may have several labels."""

from collections.abc import Sequence

import numpy as np


def groups_by_rarest(labels: Sequence[Sequence[int]], classes: int) -> list[np.ndarray]:
    """Puts each picture into the group of the rarest of its labels.

    Args:
        labels: Class indices of each picture. One each makes a group of each class; pictures
            without labels are a group of their own.
        classes: Number of classes.

    Returns:
        int64 indices of the pictures of each group that is not empty.
    """
    found = np.array([label for each in labels for label in each], np.int64)
    counts = np.bincount(found, minlength=classes).tolist()
    rarest = np.array(
        [min(each, key=counts.__getitem__, default=classes) for each in labels], np.int64
    )
    sizes = np.bincount(rarest, minlength=classes + 1)
    groups = np.split(np.argsort(rarest, kind="stable"), np.cumsum(sizes)[:-1])
    return [group for group in groups if len(group)]
