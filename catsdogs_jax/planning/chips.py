"""What the vendor says of each TPU."""

import dataclasses

from catsdogs_jax.errors import UserError, nearest


@dataclasses.dataclass(frozen=True)
class Chip:
    """The limits of a chip.

    Attributes:
        name: For example "v5e".
        memory: Bytes of its memory (HBM).
        flops: bfloat16 operations a second.
        bandwidth: Bytes a second to and from its memory.
        interconnect: Bytes a second that it can send to its neighbours over all links together.
        network: Its share of the bytes a second that its slice can send to others; none: not
            published.
    """

    name: str
    memory: float
    flops: float
    bandwidth: float
    interconnect: float
    network: float | None = None


_GIB = 2**30
_GBIT = 1e9 / 8

CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", 32 * _GIB, 275e12, 1200e9, 2400 * _GBIT),
        Chip("v5e", 16 * _GIB, 197e12, 819e9, 1600 * _GBIT, 25 * _GBIT),
        Chip("v5p", 95 * _GIB, 459e12, 2765e9, 4800 * _GBIT, 50 * _GBIT),
        Chip("v6e", 32 * _GIB, 918e12, 1640e9, 3200 * _GBIT, 100 * _GBIT),
    )
}
"""By name. Sources: the tables "key specifications" of https://cloud.google.com/tpu/docs/v4, /v5e,
/v5p and /v6e; where two editions of a page differ, the smaller figure."""


def chip_of(topology: str) -> Chip:
    """Returns the chip of a topology like "v5e:2x4".

    Raises:
        UserError: The kind is unknown.
    """
    kind = topology.partition(":")[0]
    if kind not in CHIPS or ":" not in topology:
        raise UserError(
            f"--topology {topology!r} is not local or KIND:SHAPE with KIND one of "
            f"{', '.join(CHIPS)}, for example v5e:2x4.{nearest(kind, list(CHIPS))}"
        )
    return CHIPS[kind]
