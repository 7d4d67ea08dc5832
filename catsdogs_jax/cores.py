"""How many threads there are to work with."""

import os

REQUESTS = 32
"""Threads that ask a store for files: each waits for its answer, and none needs a core."""


def cores() -> int:
    """Returns the processors that this process may use.

    Under Slurm, or in a container that is pinned to some, that is less than the machine has.
    """
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not Linux.
        return os.cpu_count() or 1
