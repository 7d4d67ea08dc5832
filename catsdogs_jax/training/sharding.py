"""Over which devices the arrays of a run are spread."""

import dataclasses

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from catsdogs_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Sharding:
    """Data parallelism: the batch is split over the mesh, the state is copied to each device.

    Attributes:
        mesh: All devices of the run on one axis, "data"; one device is a mesh of one.
    """

    mesh: Mesh

    @property
    def batch(self) -> NamedSharding:
        """Splits the first axis over the devices."""
        return NamedSharding(self.mesh, PartitionSpec("data"))

    @property
    def replicated(self) -> NamedSharding:
        """The same values on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def device_count(self) -> int:
        """Number of devices in the mesh."""
        return self.mesh.size

    @property
    def platform(self) -> str:
        """The kind of the devices: "cpu", "gpu" or "tpu"."""
        return self.mesh.devices.flat[0].platform

    def check_batch(self, key: str, size: int) -> None:
        """Checks that a global batch splits evenly.

        Raises:
            UserError: It does not; the message names the nearest sizes that do.
        """
        rest = size % self.device_count
        if rest:
            lower, upper = size - rest, size - rest + self.device_count
            nearby = f"{lower} or {upper}" if lower else f"{upper}"
            raise UserError(
                f"{key} is {size}, which {self.device_count} devices cannot share evenly: "
                f"use {nearby}, or --config.mesh.devices=N"
            )


def make_sharding(devices: int | None) -> Sharding:
    """Makes a mesh of the first `devices` devices; none: of all.

    Raises:
        UserError: There are not that many.
    """
    found = jax.devices()
    if devices is not None and devices > len(found):
        raise UserError(
            f"mesh.devices is {devices}, but this machine has {len(found)} "
            f"{found[0].platform} device(s): --config.mesh.devices={len(found)} or less"
        )
    chosen = found[:devices]
    return Sharding(Mesh(np.array(chosen), ("data",)))
