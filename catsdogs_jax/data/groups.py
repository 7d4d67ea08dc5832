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
    counts = np.bincount([label for each in labels for label in each], minlength=classes)
    rarest = [min(each, key=lambda label: counts[label], default=classes) for each in labels]
    groups = (np.flatnonzero(np.array(rarest) == number) for number in range(classes + 1))
    return [group for group in groups if len(group)]
