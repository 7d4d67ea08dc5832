"""Which numbers of a picture's key each kind of variation takes.

`split(key, n)[i]` and `fold_in(key, i)` may be the same key, and `random_affine` splits a
picture's key in three: so all others stay clear of the first numbers.
"""

import enum

import jax


class Draw(enum.IntEnum):
    """A kind of variation; a new one is added at the end, so that the others stay as they are."""

    CROP = 16
    ROTATE = 17
    TRANSLATE = 18
    COLOR = 19
    POLICY = 20
    ERASE = 21
    MIX = 22


def key_of(key: jax.Array, draw: Draw) -> jax.Array:
    """Returns the key of one kind of variation of the picture that `key` belongs to."""
    return jax.random.fold_in(key, int(draw))
