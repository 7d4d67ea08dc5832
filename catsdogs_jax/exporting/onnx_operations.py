"""How each operation of a trace is said in ONNX."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from catsdogs_jax.errors import UserError
from catsdogs_jax.exporting.onnx_graph import Graph, Value

_END = np.iinfo(np.int64).max
_SAME: Mapping[str, str] = {
    **{"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min"},
    **{"pow": "Pow", "exp": "Exp", "log": "Log", "tanh": "Tanh", "logistic": "Sigmoid"},
    **{"neg": "Neg", "sqrt": "Sqrt", "erf": "Erf", "abs": "Abs", "floor": "Floor", "ceil": "Ceil"},
    **{"sign": "Sign", "sin": "Sin", "cos": "Cos", "and": "And", "or": "Or", "not": "Not"},
    **{"lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual", "eq": "Equal"},
}
_REDUCTIONS: Mapping[str, str] = {
    **{"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}
}
_TO_EVEN = 1


def translate(graph: Graph, equation: Any, inputs: list[Value], what: str) -> Value:
    """Adds the nodes of one operation; returns its result.

    Raises:
        UserError: It has no translation.
    """
    name = equation.primitive.name
    if name in _SAME:
        return graph.node(_SAME[name], inputs)
    if name in _REDUCTIONS:
        axes = np.array(equation.params["axes"], np.int64)
        return graph.node(_REDUCTIONS[name], [inputs[0], axes], keepdims=0)
    if name not in _OTHERS:
        raise UserError(
            f"ONNX: the operation {name!r} of {what} has no translation here: leave out onnx and "
            "onnx-int8, or use another model"
        )
    return _OTHERS[name](graph, equation, inputs)


def _one_result(equation: Any) -> Any:
    return equation.outvars[0].aval


def _of_type(equation: Any, number: float) -> np.ndarray:
    return np.array(number, _one_result(equation).dtype)


def _rsqrt(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    del equation
    return graph.node("Reciprocal", [graph.node("Sqrt", inputs)])


def _square(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    del equation
    return graph.node("Mul", inputs * 2)


def _erfc(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    return graph.node("Sub", [_of_type(equation, 1), graph.node("Erf", inputs)])


def _integer_pow(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    return graph.node("Pow", [*inputs, _of_type(equation, equation.params["y"])])


def _log1p(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    return graph.node("Log", [graph.node("Add", [*inputs, _of_type(equation, 1)])])


def _round(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    if int(equation.params["rounding_method"]) != _TO_EVEN:
        raise UserError("ONNX rounds halves to even only: use jnp.round in the model")
    return graph.node("Round", inputs)


def _cast(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    return _to(graph, inputs[0], _one_result(equation).dtype)


def _to(graph: Graph, value: Value, dtype: Any) -> Value:
    from onnx import helper

    return graph.node("Cast", [value], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _clamp(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    del equation
    low, value, high = inputs
    return graph.node("Min", [graph.node("Max", [value, low]), high])


def _select(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    del equation
    which, first, second = inputs
    return graph.node("Where", [which, second, first])


def _reshape(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    return graph.reshape(inputs[0], _one_result(equation).shape)


def _transpose(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    return graph.transpose(inputs[0], equation.params["permutation"])


def _broadcast(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    sides, axes = equation.params["shape"], equation.params["broadcast_dimensions"]
    given = equation.invars[0].aval.shape
    aligned: list[Any] = [1] * len(sides)
    for axis, side in zip(axes, given, strict=True):
        aligned[axis] = side
    value = graph.reshape(inputs[0], aligned)
    if all(str(one) == str(other) for one, other in zip(aligned, sides, strict=True)):
        return value
    return graph.node("Expand", [value, graph.shape(sides)])


def _slice(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    options, sides = equation.params, equation.invars[0].aval.shape
    strides = options["strides"] or (1,) * len(sides)
    starts, limits = options["start_indices"], options["limit_indices"]
    rows = [
        (start, _END if str(limit) == str(side) else limit, axis, stride)
        for axis, (start, limit, stride, side) in enumerate(
            zip(starts, limits, strides, sides, strict=True)
        )
        if start != 0 or stride != 1 or str(limit) != str(side)
    ]
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    return graph.node("Slice", [inputs[0], *columns]) if rows else inputs[0]


def _reverse(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    axes = equation.params["dimensions"]
    columns = [[-1] * len(axes), [-_END] * len(axes), list(axes), [-1] * len(axes)]
    return graph.node("Slice", [inputs[0], *(np.array(column, np.int64) for column in columns)])


def _concatenate(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    return graph.node("Concat", inputs, axis=equation.params["dimension"])


def _pad(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    low, high, inside = zip(*equation.params["padding_config"], strict=True)
    if any(inside):
        raise UserError("ONNX has no padding between values, as lax.pad with interior padding does")
    return graph.node("Pad", [inputs[0], np.array([*low, *high], np.int64), inputs[1]])


def _iota(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    del inputs
    (side,) = equation.params["shape"]  # Those of more axes are made of one and reshaped.
    count = graph.reshape(graph.shape([side]), [])
    zero, one = np.array(0, np.int64), np.array(1, np.int64)
    return _to(graph, graph.node("Range", [zero, count, one]), equation.params["dtype"])


def _side(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    del inputs
    value = graph.reshape(graph.side(equation.params["dim"]), [])
    return _to(graph, value, _one_result(equation).dtype)


def _convolution(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    options = equation.params
    if any(step != 1 for step in options["lhs_dilation"]) or options["batch_group_count"] != 1:
        raise UserError("ONNX: a transposed or batch-grouped convolution has no translation here")
    picture, kernel, result = options["dimension_numbers"]
    before, after = zip(*options["padding"], strict=True)
    made = graph.node(
        "Conv",
        [graph.transpose(inputs[0], picture), graph.transpose(inputs[1], kernel)],
        strides=list(options["window_strides"]),
        dilations=list(options["rhs_dilation"]),
        pads=[*before, *after],
        group=options["feature_group_count"],
    )
    return graph.transpose(made, np.argsort(result).tolist())


def _product(graph: Graph, equation: Any, inputs: list[Value]) -> Value:
    """A matrix product over whatever axes: shared ones first, the rest as rows and columns."""
    (left_summed, right_summed), (left_shared, right_shared) = equation.params["dimension_numbers"]
    left, right = (variable.aval.shape for variable in equation.invars)
    rows = [axis for axis in range(len(left)) if axis not in (*left_summed, *left_shared)]
    columns = [axis for axis in range(len(right)) if axis not in (*right_summed, *right_shared)]
    a = graph.transpose(inputs[0], [*left_shared, *rows, *left_summed])
    b = graph.transpose(inputs[1], [*right_shared, *right_summed, *columns])
    shared = [left[axis] for axis in left_shared]
    if len(left_summed) > 1:
        a = graph.reshape(a, [*shared, *(left[k] for k in rows), _size(left, left_summed)])
    if left_shared and len(rows) != 1:
        a = graph.reshape(a, [*shared, _size(left, rows), _size(left, left_summed)])
    if len(columns) != 1 or len(right_summed) > 1:
        b = graph.reshape(b, [*shared, _size(right, right_summed), _size(right, columns)])
    made = graph.node("MatMul", [a, b])
    if len(columns) != 1 or (left_shared and len(rows) != 1):
        made = graph.reshape(made, _one_result(equation).shape)
    return made


def _size(sides: Sequence[Any], axes: Sequence[int]) -> Any:
    return math.prod(sides[axis] for axis in axes)


_OTHERS: Mapping[str, Callable[[Graph, Any, list[Value]], Value]] = {
    "rsqrt": _rsqrt,
    "square": _square,
    "erfc": _erfc,
    "integer_pow": _integer_pow,
    "log1p": _log1p,
    "round": _round,
    "convert_element_type": _cast,
    "clamp": _clamp,
    "select_n": _select,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "rev": _reverse,
    "concatenate": _concatenate,
    "pad": _pad,
    "iota": _iota,
    "dim_as_value": _side,
    "conv_general_dilated": _convolution,
    "dot_general": _product,
}
