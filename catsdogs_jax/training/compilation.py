"""How XLA compiles a step."""

import jax
from jax.stages import Compiled, Lowered

_DOTS_ALONE = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
"""YNNPACK for matrix products, but not for convolutions, which XLA's own code runs faster:
see docs/performance.md."""


def compile_for_device(lowered: Lowered) -> Compiled:
    """Compiles a lowered function with the options that suit its platform."""
    if jax.default_backend() != "cpu":
        return lowered.compile()
    try:
        return lowered.compile(compiler_options=dict(_DOTS_ALONE))
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return lowered.compile()  # Another version of XLA, which has no such option.
