"""How a step's time grows with the number of chips, from compiled costs and bandwidths."""

import dataclasses

from catsdogs_jax.planning.chips import Chip

_PASSES = 2
"""An all-reduce by rings sends its bytes twice: to add up, and to hand the sums out."""


@dataclasses.dataclass(frozen=True)
class Network:
    """What joins the chips.

    Attributes:
        chips_of_slice: Chips that the fast links join.
        chips_of_host: Chips of a host, which also decodes their pictures.
        slice_bandwidth: Bytes a second that a slice can send to others.
    """

    chips_of_slice: int
    chips_of_host: int
    slice_bandwidth: float


V5E_PODS = Network(256, 8, 6.4e12 / 8)
"""Source: "TPU Pod size", "Chips per host" and "Data center network bandwidth per Pod" of
https://cloud.google.com/tpu/docs/v5e."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What a training step costs a chip: a part that is fixed, and a part for each picture.

    Attributes:
        flops: Operations, fixed and for a picture.
        accessed: Bytes to and from memory, fixed and for a picture.
        gradient: Bytes of the gradients, which are added up over all chips.
    """

    flops: tuple[float, float]
    accessed: tuple[float, float]
    gradient: float

    def seconds(self, pictures: float, chip: Chip) -> float:
        """Returns the least time of a chip's own work on so many pictures."""
        flops, accessed = (fixed + each * pictures for fixed, each in (self.flops, self.accessed))
        return max(flops / chip.flops, accessed / chip.bandwidth)


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A step on a number of chips.

    Attributes:
        chips: Number of chips.
        own: Seconds of each chip's own work.
        exchange: Seconds of adding up the gradients.
        pictures: Pictures a second of all chips, if exchange and work overlap.
        pictures_apart: The same, if the exchange comes after the work.
    """

    chips: int
    own: float
    exchange: float
    pictures: float
    pictures_apart: float


def at_scale(work: Work, batch: float, chips: int, chip: Chip, network: Network) -> Scaled:
    """Returns a data-parallel step of a global batch on a number of chips.

    Within a slice gradients are added up by rings over all links; between slices each chip
    exchanges its share of the sums over the data centre's network.

    Args:
        work: What the step costs.
        batch: Pictures of the global batch; may be fewer than chips, which then idle.
        chips: Number of chips; above a slice, whole slices.
        chip: Their kind.
        network: What joins them.
    """
    within = min(chips, network.chips_of_slice)
    slices = max(1, chips // network.chips_of_slice)
    inside = _PASSES * work.gradient * (within - 1) / within / chip.interconnect
    outside = _PASSES * work.gradient * (slices - 1) / slices / network.slice_bandwidth
    own, exchange = work.seconds(max(1.0, batch / chips), chip), inside + outside
    return Scaled(chips, own, exchange, batch / max(own, exchange), batch / (own + exchange))


def pictures_of_host(scaled: Scaled, network: Network) -> float:
    """Returns the pictures a second that each host has to give its chips for them not to wait."""
    return scaled.pictures / max(1.0, scaled.chips / network.chips_of_host)
