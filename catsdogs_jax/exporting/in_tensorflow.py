"""Puts a JAX function into a TensorFlow graph, in words that an older TensorFlow knows too.

`jax2tf` writes StableHLO of some weeks ago; TensorFlow's releases are further apart, and TensorFlow
2.21 does not read what JAX 0.12 writes by it. The same module can be written in an older version of
StableHLO as long as it needs nothing newer
(https://openxla.org/stablehlo/compatibility), and no operation here does.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxlib.mlir.dialects import stablehlo

_STABLEHLO = "1.0.0"
"""May 2024; TensorFlow 2.19, the oldest that this package takes, knows it."""


def in_tensorflow(
    function: Callable[[jax.Array], Sequence[jax.Array]],
    shape: Sequence[Any],
    platforms: Sequence[str],
) -> Callable[[Any], list[Any]]:
    """Converts a function of uint8 pictures.

    Args:
        function: Of one array; gives several.
        shape: Of its argument; symbolic sides, of `jax.export.symbolic_shape`, may be any later.
        platforms: `cpu`, `cuda` or `tpu`: where the graph shall run.

    Returns:
        The same function of a TensorFlow tensor.
    """
    from catsdogs_jax.data.tensorflow import call_module, tf

    exported = jax.export.export(jax.jit(function), platforms=platforms)(
        jax.ShapeDtypeStruct(tuple(shape), np.uint8)
    )
    module = stablehlo.serialize_portable_artifact_str(exported.mlir_module(), _STABLEHLO)
    given = exported.out_avals
    sides = [tuple(n if isinstance(n, int) else None for n in one.shape) for one in given]

    def call(images: Any) -> list[Any]:
        results: Any = call_module(
            (images,),
            version=exported.calling_convention_version,
            module=module,
            Tout=[tf().as_dtype(one.dtype) for one in given],
            Sout=sides,
            platforms=[name.upper() for name in platforms],
        )
        return results

    return call
