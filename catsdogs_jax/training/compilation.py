"""How XLA compiles steps, and what else computes convolutions."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.stages import Compiled, Lowered

_DOTS_ALONE = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
"""YNNPACK for matrix products, but not for convolutions, which XLA's own code runs faster:
see docs/performance.md."""


_CACHE_HIT = "/jax/compilation_cache/cache_hits"


def compile_or_recall(lowered: Lowered) -> tuple[Compiled, bool]:
    """Compiles a lowered function with the options that suit its platform.

    Returns:
        The compiled function, and whether it was in the cache (`runtime.keep_compilations`).
    """
    before = len(_hits())
    return _compile(lowered)[0], len(_hits()) > before


@functools.cache
def _hits() -> list[str]:
    """Returns a list that grows whenever JAX finds a compiled function in its cache."""
    found: list[str] = []

    def hear(event: str, **_: str | int) -> None:
        if event == _CACHE_HIT:
            found.append(event)

    jax.monitoring.register_event_listener(hear)
    return found


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """Returns `jax.jit` of a function, compiled with the options that suit the platform.

    Args:
        function: What to compile.
        **options: Of `jax.jit`.
    """
    return jax.jit(function, compiler_options=_options(), **options)


@functools.cache
def _options() -> dict[str, Any] | None:
    """Returns the options that suit the platform, if its XLA knows them."""
    return _compile(jax.jit(lambda: 0).lower())[1]


def _compile(lowered: Lowered) -> tuple[Compiled, dict[str, Any] | None]:
    """Returns the compiled function, and the options that it was compiled with."""
    options: dict[str, Any] = dict(_DOTS_ALONE)
    if jax.default_backend() == "cpu":
        try:
            return lowered.compile(compiler_options=options), options
        except jax.errors.JaxRuntimeError as error:
            if "No such compile option" not in str(error):
                raise  # Otherwise it is another version of XLA, which has no such option.
    return lowered.compile(), None
