"""TPUs that are not there: a step can be compiled for them, and its machine code read."""

import os

import jax
from jax.experimental import topologies
from jax.experimental.compilation_cache import compilation_cache

from catsdogs_jax.config import MeshConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.training.sharding import Sharding, arrange

_ENVIRONMENT = {
    # Otherwise the compiler asks the network what kind of machine this is.
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    # Otherwise it wants to be alone, for the sake of chips that are not opened here.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def absent_tpus(name: str, config: MeshConfig | None = None, slices: int = 1) -> Sharding:
    """Returns a mesh over TPUs for which steps can be compiled but not run.

    Turns off JAX's persistent cache of this process.

    Args:
        name: Kind and shape, for example "v5e:2x4".
        config: How the state is split over them; none: each device has all of it.
        slices: Number of such slices, joined by the data centre's network.

    Raises:
        UserError: The TPU compiler is not installed, or does not know the name.
    """
    # What is compiled for devices that are not there cannot be read back from JAX's cache.
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # It remembers that it was on, if it was used.
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name, num_slices=slices)
    except Exception as error:  # The plugin raises several types.
        raise UserError(
            f"cannot compile for TPU topology {name!r} (for example v5e:2x4): install the compiler "
            f"with pip install libtpu ({str(error).splitlines()[0]})"
        ) from error
    return arrange(found.devices, config or MeshConfig())
