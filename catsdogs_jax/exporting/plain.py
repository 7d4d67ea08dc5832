"""Rewrites a function so that its trace holds nothing but arithmetic.

Converters know the operations of a network, but not those that JAX wraps around them: nested jits,
custom gradients, names for rematerialisation, and branches for one platform or another.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.extend import core

_WRAPPERS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2")
_CUSTOM = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")
_ALIASES = ("name", "stop_gradient", "copy", "copy_p", "optimization_barrier")


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function with the same results, without wrappers and with constants computed.

    Of operations that depend on the platform, it takes what suits every platform.

    Args:
        function: Of arrays; returns a tuple of arrays.
    """

    def flat(*arguments: jax.Array) -> tuple[jax.Array, ...]:
        traced = jax.make_jaxpr(function)(*arguments)
        return tuple(_run(traced.jaxpr, traced.consts, arguments))

    return flat


def _run(jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    known: dict[Any, Any] = {}

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else known[atom]

    known.update(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))
    for equation in jaxpr.eqns:
        found = _step(equation, [value(atom) for atom in equation.invars])
        known.update(zip(equation.outvars, found, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _step(equation: Any, values: list[Any]) -> list[Any]:
    """Returns the results of one operation."""
    name, options = equation.primitive.name, equation.params
    if name in _ALIASES:
        return values
    if name in _WRAPPERS or name in _CUSTOM:
        return _inside(options["call_jaxpr" if "call_jaxpr" in options else "jaxpr"], values)
    if name == "platform_index":
        return [len(options["platforms"]) - 1]  # The last branch is the default of all platforms.
    if name == "cond" and not isinstance(values[0], Tracer):
        return _inside(options["branches"][int(values[0])], values[1:])
    if name == "gather" and not isinstance(values[1], Tracer):
        sliced = _as_slice(values[0], np.asarray(values[1]), options)
        return _bound(equation, values) if sliced is None else [sliced]
    if name == "dim_as_value" or any(isinstance(value, Tracer) for value in values):
        return _bound(equation, values)
    if not all(isinstance(side, int) for out in equation.outvars for side in out.aval.shape):
        return _bound(equation, values)  # As large as a batch that is not known yet.
    with jax.ensure_compile_time_eval():
        return _bound(equation, values)


def _inside(inner: Any, values: list[Any]) -> list[Any]:
    # A trace with its constants; newer versions of JAX have one class for those with and without.
    return _run(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), values)


def _bound(equation: Any, values: list[Any]) -> list[Any]:
    found = equation.primitive.bind(*values, **equation.params)
    return list(found) if equation.primitive.multiple_results else [found]


def _as_slice(x: Any, indices: np.ndarray, options: Any) -> Any:
    """Returns what a gather at known places gives, by a slice; none if no slice does.

    JAX makes `x[:, ::2]` a gather where a side of x is symbolic.

    Args:
        x: What is gathered from.
        indices: Its places, [..., axes].
        options: Of the operation.
    """
    numbers = options["dimension_numbers"]
    starts, sizes, steps = [0] * x.ndim, list(options["slice_sizes"]), [1] * x.ndim
    axis_of: dict[int, int] = {}  # The axis of x of each axis of the places.
    for place, axis in enumerate(numbers.start_index_map):
        column = indices[..., place]
        along = [
            k for k in range(column.ndim) if column.shape[k] > 1 and np.ptp(column, axis=k).any()
        ]
        starts[axis] = int(column.flat[0])
        if along:
            line = np.moveaxis(column, along[0], 0).reshape(column.shape[along[0]], -1)[:, 0]
            steps[axis], sizes[axis] = int(line[1] - line[0]), len(line)
            if len(along) > 1 or steps[axis] < 1 or (np.diff(line) != steps[axis]).any():
                return None
            axis_of[along[0]] = axis
    if len(axis_of) != indices.ndim - 1 or numbers.operand_batching_dims:
        return None
    ends = [
        start + (size - 1) * step + 1
        for start, size, step in zip(starts, sizes, steps, strict=True)
    ]
    sliced = lax.slice(x, starts, ends, steps)
    gone = [axis for axis in numbers.collapsed_slice_dims if axis not in axis_of.values()]
    kept = iter(axis for axis in range(x.ndim) if axis not in numbers.collapsed_slice_dims)
    placed = iter(axis_of[k] for k in range(indices.ndim - 1))
    order = [
        next(kept if axis in numbers.offset_dims else placed) for axis in range(x.ndim - len(gone))
    ]
    return lax.squeeze(lax.transpose(sliced, [*order, *gone]), range(len(order), x.ndim))
