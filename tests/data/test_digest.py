"""Promises of the digest: it adds up over parts, and nothing can change without changing it."""

import numpy as np
import pytest

from catsdogs_jax.data.digest import step_digest

CONTENTS = np.arange(100, 108, dtype=np.uint64)
PLACES = np.arange(8)
WHOLE = step_digest(CONTENTS, 0, 1, PLACES)


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_parts_add_up_to_the_whole(processes: int) -> None:
    parts = (np.arange(8)[n::processes] for n in range(processes))
    assert sum(step_digest(CONTENTS[at], 0, 1, at) for at in parts) % 2**64 == WHOLE


def test_another_seed_step_place_or_picture_is_another_digest() -> None:
    swapped = CONTENTS[[1, 0, 2, 3, 4, 5, 6, 7]]
    other = CONTENTS.copy()
    other[3] += 1
    digests = [
        WHOLE,
        step_digest(CONTENTS, 1, 1, PLACES),
        step_digest(CONTENTS, -1, 1, PLACES),
        step_digest(CONTENTS, 0, 2, PLACES),
        step_digest(CONTENTS, 1, 0, PLACES),
        step_digest(swapped, 0, 1, PLACES),
        step_digest(other, 0, 1, PLACES),
        step_digest(CONTENTS[:7], 0, 1, PLACES[:7]),
    ]
    assert len(set(digests)) == len(digests)
