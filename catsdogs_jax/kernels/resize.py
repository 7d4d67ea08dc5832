"""Resizing of one picture: bilinear with antialiasing, as Pillow and TensorFlow define it.

A triangle as wide as a pixel of the result is laid over the picture, first down its columns, then
along each row; sums are floats and rounded once. TensorFlow's operation does the same several times
slower, see docs/performance.md.
"""

import ctypes
import functools
import math
from collections.abc import Callable

import numpy as np

from catsdogs_jax.kernels.compiler import compile_function
from catsdogs_jax.kernels.emitter import BYTE, INT, PIXEL, Emitter, Value, vector_registers

Box = tuple[float, float, float, float]
"""Top, left, height and width of a part of a picture, in its pixels."""

_VECTORS = 4
"""Vectors of a row that are summed at once."""


def resize(image: np.ndarray, rows: int, columns: int, box: Box | None = None) -> np.ndarray:
    """Returns a part of a picture at another size.

    Args:
        image: uint8 [height, width, 3].
        rows: Height of the result.
        columns: Width of the result.
        box: The part; it may begin and end within a pixel. None: the whole picture.

    Returns:
        uint8 [rows, columns, 3].
    """
    height, width = image.shape[:2]
    top, left, tall, wide = box or (0.0, 0.0, float(height), float(width))
    vertical, horizontal = _taps(height, top, tall, rows), _taps(width, left, wide, columns)
    narrow = -(-_VECTORS * vector_registers()[0] // 3)
    if width < narrow:  # The kernel reads at least so much of each row.
        image = np.pad(image, ((0, 0), (0, narrow - width), (0, 0)))
    image = np.ascontiguousarray(image)
    stride = 3 * image.shape[1]
    result = np.empty(rows * columns * 3 + 1, np.uint8)  # The fourth lane of the last pixel.
    line = np.empty(stride + 1, np.float32)
    sizes = np.array([stride, columns, vertical.count, horizontal.count])
    taps = (*vertical.addresses, *horizontal.addresses)
    _compiled()(rows, _address(image), *taps, *map(_address, (sizes, line, result)))
    return result[:-1].reshape(rows, columns, 3)


class _Taps:
    """Which pixels of a line each pixel of the result sums, and with what weights.

    Attributes:
        count: Pixels summed for each; some weights may be zero.
        arrays: First pixel int64 [result], weights float32 [result, count].
        addresses: Where these lie in memory.
    """

    def __init__(self, length: int, start: float, extent: float, result: int):
        scale = extent / result
        support = max(scale, 1.0)
        low = max(0, math.floor(start + 1e-6))
        high = min(length, math.ceil(start + extent - 1e-6))
        self.count = min(high - low, math.floor(2 * support) + 1)
        centres = start + (np.arange(result) + 0.5) * scale
        first = np.floor(centres - support + 0.5).astype(np.int64)
        first = np.clip(first, low, high - self.count)
        places = first[:, None] + np.arange(self.count) + 0.5
        weights = np.maximum(0.0, 1.0 - np.abs(places - centres[:, None]) / support)
        weights /= weights.sum(axis=1, keepdims=True)
        self.arrays = (first, weights.astype(np.float32))
        self.addresses = tuple(map(_address, self.arrays))


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]  # `array.ctypes` takes several times as long.


_taps = functools.lru_cache(maxsize=4096)(_Taps)


@functools.cache
def _compiled() -> Callable[..., None]:
    """Returns the kernel; while it runs, other Python threads do too."""
    address = compile_function(_kernel(), "task")
    return ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * 8)(address)


def _kernel() -> str:
    """Returns the task (rows of the result; picture, taps, sizes; one line of floats, result)."""
    e = Emitter(8)
    image, first_row, row_weights, first_column, column_weights, sizes, line, result = e.arguments
    stride, columns, row_taps, column_taps = (e.load_number(e.at(sizes, 2 * k)) for k in range(4))
    last = e.builder.sub(stride, e.number(_VECTORS * e.lanes))

    def row(y: Value) -> None:
        top = e.load_number(e.at(first_row, y, item=INT))
        start = e.at(image, e.builder.mul(top, stride), item=BYTE)
        weights = e.at(row_weights, e.builder.mul(y, row_taps))

        def down(j: Value) -> None:
            j = e.smaller(j, last)  # The last vectors overlap those before.

            def tap(k: Value, *totals: Value) -> list[Value]:
                weight = e.splat(e.at(weights, k))
                places = [(k, stride), j]
                found = [
                    e.floats_of(e.load_bytes(e.at(start, *places, v * e.lanes, item=BYTE)))
                    for v in range(_VECTORS)
                ]
                return [e.multiply_add(weight, *pair) for pair in zip(found, totals, strict=True)]

            for v, total in enumerate(e.loop(row_taps, tap, [e.zero] * _VECTORS)):
                e.store(total, e.at(line, j), v * e.lanes)

        def along(x: Value) -> None:
            left = e.load_number(e.at(first_column, x, item=INT))
            weights = e.at(column_weights, e.builder.mul(x, column_taps))

            def tap(k: Value, total: Value) -> list[Value]:
                found = e.load(e.at(line, (left, 3), (k, 3)), lanes=PIXEL)
                return [e.multiply_add(e.splat(e.at(weights, k), lanes=PIXEL), found, total)]

            (total,) = e.loop(column_taps, tap, [e.zeros(PIXEL)])
            place = e.builder.add(e.builder.mul(y, columns), x)
            e.store_bytes(e.rounded_bytes(total), e.at(result, (place, 3), item=BYTE))

        e.loop(stride, down, step=_VECTORS * e.lanes)
        e.loop(columns, along)

    e.loop(e.index, row)
    return e.finish()
