"""Over which devices the arrays of a run are spread."""

import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from catsdogs_jax.config import MeshConfig
from catsdogs_jax.config.checks import parse_rule
from catsdogs_jax.errors import UserError

GATHERED = "gathered"
"""The name of gathered parameters, which the backward pass gathers again (`training/remat.py`)."""

_AXES = ("data", "fsdp")


@dataclasses.dataclass(frozen=True)
class Sharding:
    """The batch is split over all devices; the state is copied or, by FSDP, split as well.

    FSDP: of each large array, every device of a group keeps one part; the whole is gathered where
    it is used, and gradients are summed where their parameter lies.
    Sources: ZeRO, Rajbhandari et al., 2020, https://arxiv.org/abs/1910.02054; the form by
    annotations alone, Xu et al., 2021, https://arxiv.org/abs/2105.04663.

    Attributes:
        mesh: All devices of the run on two axes: "data", groups of devices that each hold the
            whole state, and "fsdp", the devices of such a group.
        above: Arrays of fewer values are not split.
        rules: "REGEX=AXIS" for arrays whose path ("params/hidden/kernel") the expression is
            found in; the first that matches is used. AXIS is a number or none.
    """

    mesh: Mesh
    above: int = 0
    rules: tuple[str, ...] = ()

    @property
    def batch(self) -> NamedSharding:
        """Splits the first axis over the devices."""
        return NamedSharding(self.mesh, PartitionSpec(_AXES))

    @property
    def batches(self) -> NamedSharding:
        """Splits the second axis over the devices, of batches one after another."""
        return NamedSharding(self.mesh, PartitionSpec(None, _AXES))

    @property
    def replicated(self) -> NamedSharding:
        """The same values on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def device_count(self) -> int:
        """Number of devices in the mesh."""
        return self.mesh.size

    @property
    def group(self) -> int:
        """Number of devices that share one copy of the state."""
        return self.mesh.shape["fsdp"]

    @property
    def platform(self) -> str:
        """The kind of the devices: "cpu", "gpu" or "tpu"."""
        return self.mesh.devices.flat[0].platform

    def places(self, batch: int) -> slice | np.ndarray:
        """Returns the places of a batch, as an index, whose pictures this process' devices take."""
        if self.mesh.is_multi_process:
            parts = self.batch.addressable_devices_indices_map((batch,)).values()
            return np.unique([np.arange(batch)[part] for part in parts])
        return slice(None)

    def everywhere(self, tree: Any) -> Any:
        """Returns small arrays of the host on every device; each process must give the same."""
        return jax.tree.map(lambda value: everywhere(value, self.replicated), tree)

    def check_batch(self, key: str, size: int) -> None:
        """Checks that a global batch splits evenly.

        Raises:
            UserError: It does not; the message names the nearest sizes that do.
        """
        rest = size % self.device_count
        if rest:
            lower, upper = size - rest, size - rest + self.device_count
            nearby = f"{lower} or {upper}" if lower else f"{upper}"
            fewer = (
                "start another number of processes"
                if self.mesh.is_multi_process
                else "--config.mesh.devices=N"
            )
            raise UserError(
                f"{key} is {size}, which {self.device_count} devices cannot share evenly: "
                f"use {nearby}, or {fewer}"
            )

    def of(self, path: str, shape: Sequence[int]) -> NamedSharding:
        """Returns how an array of the state is split.

        Args:
            path: Where it lies in the state, for example "params/hidden/kernel". An average lies as
                that of which it is the average does, as either is evaluated.
            shape: Its shape.

        Raises:
            UserError: A rule names an axis that the array does not have, or that does not divide.
        """
        if self.group == 1:
            return self.replicated
        for kept, of in (("average/", "params/"), ("average_statistics/", "statistics/")):
            path = of + path.removeprefix(kept) if path.startswith(kept) else path
        for rule in self.rules:
            pattern, axis = parse_rule(rule)
            if re.search(pattern, path):
                return self._along(axis, shape, f"mesh.fsdp_rules {rule!r} for {path!r}")
        if np.prod(shape) < self.above:
            return self.replicated
        divisible = [axis for axis, length in enumerate(shape) if length % self.group == 0]
        longest = max(divisible, key=lambda axis: shape[axis], default=None)
        return self._along(longest, shape, path)

    def _along(self, axis: int | None, shape: Sequence[int], who: str) -> NamedSharding:
        if axis is None:
            return self.replicated
        if axis >= len(shape) or shape[axis] % self.group:
            raise UserError(
                f"{who}: axis {axis} of shape {tuple(shape)} cannot be split over mesh.fsdp="
                f"{self.group}: name another axis, or none"
            )
        return NamedSharding(self.mesh, PartitionSpec(*(None,) * axis, "fsdp"))

    def shardings(self, tree: Any, prefix: str = "") -> Any:
        """Returns how each array of a tree, abstract or not, is split; `prefix` is its path."""

        def of(path: Any, leaf: Any) -> NamedSharding:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return self.of(f"{prefix}{name}", leaf.shape)

        return jax.tree_util.tree_map_with_path(of, tree)

    def abstract(self, tree: Any, prefix: str = "") -> Any:
        """Returns shapes, types and shardings of a tree of arrays."""
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            tree,
            self.shardings(tree, prefix),
        )

    def gathered(self, params: Any) -> Any:
        """Returns whole parameters on each device, for use inside a step.

        The gradient of a parameter is summed where its part of it lies.
        """
        if self.group == 1:
            return params
        return jax.tree.map(
            lambda leaf, part: leaf if part == self.replicated else _gathered(leaf, part),
            params,
            self.shardings(params, "params/"),
        )


def _gathered(part: jax.Array, sharding: NamedSharding) -> jax.Array:
    return checkpoint_name(_gather(sharding, part), GATHERED)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gather(sharding: NamedSharding, part: jax.Array) -> jax.Array:
    whole = NamedSharding(sharding.mesh, PartitionSpec())
    return jax.lax.with_sharding_constraint(part, whole)


def _gather_forward(sharding: NamedSharding, part: jax.Array) -> tuple[jax.Array, None]:
    return _gather(sharding, part), None


def _gather_backward(sharding: NamedSharding, _: None, gradient: jax.Array) -> tuple[jax.Array]:
    # Without this, the gradient would be summed whole on every device and then cut.
    return (jax.lax.with_sharding_constraint(gradient, sharding),)


_gather.defvjp(_gather_forward, _gather_backward)


def everywhere(value: Any, replicated: jax.sharding.Sharding) -> jax.Array:
    """Returns an array of the host on every device; each process must give the same."""
    host = np.asarray(value)
    with jax.transfer_guard("allow"):  # It is asked for.
        return jax.make_array_from_callback(host.shape, replicated, lambda at: host[at])


def make_sharding(devices: int | None, config: MeshConfig | None = None) -> Sharding:
    """Makes a mesh of the first `devices` devices; none: of all.

    Args:
        devices: Their number.
        config: How the state is split over them; none: each device has all of it.

    Raises:
        UserError: There are not that many, or groups of mesh.fsdp do not divide them.
    """
    found = jax.devices()
    if devices is not None and devices > len(found):
        raise UserError(
            f"mesh.devices is {devices}, but this machine has {len(found)} "
            f"{found[0].platform} device(s): --config.mesh.devices={len(found)} or less"
        )
    if devices not in (None, len(found)) and jax.process_count() > 1:
        raise UserError(
            f"mesh.devices is {devices}, but the {jax.process_count()} processes of this run have "
            f"{len(found)} devices, and a process cannot be without: start fewer processes"
        )
    return arrange(found[:devices], config or MeshConfig())


def arrange(devices: Sequence[Any], config: MeshConfig) -> Sharding:
    """Lays devices out on the two axes, neighbours in the network close together.

    Of several slices of TPUs, each holds whole groups: only gradients cross the network between
    slices.

    Raises:
        UserError: Groups of mesh.fsdp do not divide the devices, or those of a slice.
    """
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if len(devices) // slices % config.fsdp or len(devices) % slices:
        of_slices = f" in {slices} slices" if slices > 1 else ""
        raise UserError(
            f"mesh.fsdp is {config.fsdp}, which does not divide {len(devices)} devices{of_slices}: "
            f"--config.mesh.fsdp={len(devices) // slices} shards over all of them"
        )
    groups = len(devices) // slices // config.fsdp
    if slices > 1:
        laid = mesh_utils.create_hybrid_device_mesh(
            (groups, config.fsdp), (slices, 1), devices, allow_split_physical_axes=True
        )
    elif devices[0].platform == "tpu" and config.fsdp > 1:
        laid = mesh_utils.create_device_mesh(
            (groups, config.fsdp), devices, allow_split_physical_axes=True
        )
    else:
        laid = np.array(devices).reshape(groups, config.fsdp)
    return Sharding(Mesh(laid, _AXES), config.fsdp_above, config.fsdp_rules)
