"""Writes a traced function as an ONNX model, with symbolic sides where the trace has them.

Why not a converter of others: docs/export.md compares them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from catsdogs_jax.errors import UserError
from catsdogs_jax.exporting.plain import plain

OPSET = 18
_IR_VERSION = 9
"""The oldest that goes with the opset: older runtimes refuse newer files."""

Value = Any
"""An array of NumPy, if it is known, or the name of what a node gives."""


class Graph:
    """Nodes and constants of a graph in the making.

    Attributes:
        nodes: In the order of computation.
    """

    def __init__(self, inputs: Sequence[tuple[str, Any]]):
        self.nodes: list[Any] = []
        self._inputs = inputs
        self._constants: dict[tuple[Any, ...], tuple[str, np.ndarray]] = {}
        self._sides: dict[str, str] = {}

    def node(self, operation: str, inputs: Sequence[Value], **attributes: Any) -> str:
        """Adds a node with one result; returns its name."""
        from onnx import helper

        name = f"{operation.lower()}_{len(self.nodes)}"
        names = [self.name_of(value) for value in inputs]
        self.nodes.append(helper.make_node(operation, names, [name], name=name, **attributes))
        return name

    def name_of(self, value: Value) -> str:
        """Returns the name of a value; a constant becomes part of the graph, once."""
        if isinstance(value, str):
            return value
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = (f"constant_{len(self._constants)}", array)
        return self._constants[key][0]

    def side(self, wanted: Any) -> str:
        """Returns the name of int64 [1], a symbolic side of one of the inputs."""
        if str(wanted) not in self._sides:
            for name, aval in self._inputs:
                for axis, side in enumerate(aval.shape):
                    if str(side) == str(wanted):
                        shape = self.node("Shape", [name], start=axis, end=axis + 1)
                        self._sides[str(wanted)] = shape
        if str(wanted) not in self._sides:
            raise UserError(f"ONNX cannot compute the side {wanted} from those of the pictures")
        return self._sides[str(wanted)]

    def shape(self, sides: Sequence[Any]) -> Value:
        """Returns an int64 vector of sides, some of which may be symbolic."""
        if all(isinstance(side, int) for side in sides):
            return np.array(sides, np.int64)
        parts = [
            np.array([side], np.int64) if isinstance(side, int) else self.side(side)
            for side in sides
        ]
        return self.node("Concat", parts, axis=0)

    def reshape(self, value: Value, sides: Sequence[Any]) -> Value:
        """Returns a value in another shape; constants at once."""
        symbolic = [not isinstance(side, int) for side in sides]
        if not isinstance(value, str):
            return np.reshape(value, sides)
        if sum(symbolic) == 1:
            sides = [-1 if unknown else side for side, unknown in zip(sides, symbolic, strict=True)]
        return self.node("Reshape", [value, self.shape(sides)])

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """Returns a value with its axes in another order; constants at once."""
        if list(order) == list(range(len(order))):
            return value
        if not isinstance(value, str):
            return np.transpose(value, order)
        return self.node("Transpose", [value], perm=list(order))

    def model(self, outputs: Sequence[tuple[str, Any]], name: str) -> Any:
        """Returns the checked `onnx.ModelProto`.

        Args:
            outputs: Name and aval of each result; the names are those of nodes.
            name: Of the graph.
        """
        import onnx
        from onnx import helper, numpy_helper

        graph = helper.make_graph(
            self.nodes,
            name,
            [_info(*pair) for pair in self._inputs],
            [_info(*pair) for pair in outputs],
            [numpy_helper.from_array(array, key) for key, array in self._constants.values()],
        )
        made = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="catsdogs_jax",
            ir_version=_IR_VERSION,
        )
        onnx.checker.check_model(made, full_check=True)
        return made


def to_onnx(
    function: Callable[[jax.Array], tuple[jax.Array, ...]],
    shape: Sequence[Any],
    outputs: Sequence[str],
    what: str,
) -> Any:
    """Returns the ONNX model of a function of uint8 pictures.

    Args:
        function: Of one array; returns a tuple.
        shape: Of the pictures; sides may be symbolic, see `jax.export.symbolic_shape`.
        outputs: Names of the results.
        what: Named in errors, for example "model.name vit_tiny".

    Raises:
        UserError: The function needs an operation that is not translated.
    """
    from catsdogs_jax.exporting.onnx_operations import translate

    images = jax.ShapeDtypeStruct(tuple(shape), np.uint8)
    traced = jax.make_jaxpr(plain(function))(images)
    jaxpr = traced.jaxpr
    graph = Graph([("images", images)])
    known: dict[Any, Value] = dict(
        zip(jaxpr.constvars, map(np.asarray, traced.consts), strict=True)
    )
    known[jaxpr.invars[0]] = "images"
    for equation in jaxpr.eqns:
        inputs = [np.asarray(v.val) if hasattr(v, "val") else known[v] for v in equation.invars]
        known[equation.outvars[0]] = translate(graph, equation, inputs, what)
    for name, variable in zip(outputs, jaxpr.outvars, strict=True):
        node = graph.node("Identity", [known[variable]])
        graph.nodes[-1].output[0] = name
        del node
    return graph.model(
        [(name, v.aval) for name, v in zip(outputs, jaxpr.outvars, strict=True)], "catsdogs_jax"
    )


def _info(name: str, aval: Any) -> Any:
    from onnx import helper

    sides = [side if isinstance(side, int) else str(side) for side in aval.shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(aval.dtype), sides)
