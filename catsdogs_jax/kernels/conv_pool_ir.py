"""The machine code of 3x3 convolution, 2x2 max-pooling, bias and ReLU in one, and its gradients.

A picture is [height, width, inputs], the kernel [3, 3, inputs, outputs], and the result
[(height - 2) // 2, (width - 2) // 2, outputs]. Beside each result stands its winner, a byte: which
of the four pooled places was the greatest (row by row, 0 to 3), or `INACTIVE` if ReLU made it zero.
The winner is all that the gradients need of the convolution's own output, which is never stored.

Sums are kept for a block of places and output channels at once, as many as there are registers.
Three neighbouring pixels are one run of 3 * inputs numbers in memory, so a convolution is, for
each of three rows, a product of runs with rows of the kernel.
"""

import dataclasses
from collections.abc import Callable, Sequence

from catsdogs_jax.kernels.emitter import BYTE, Emitter, Value

INACTIVE = 4


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of one convolution.

    Attributes:
        pictures: Pictures of a batch.
        height: Rows of an input picture.
        width: Columns of an input picture.
        inputs: Channels of an input picture.
        outputs: Channels of the result.
    """

    pictures: int
    height: int
    width: int
    inputs: int
    outputs: int

    @property
    def rows(self) -> int:
        """Rows of the pooled result."""
        return (self.height - 2) // 2

    @property
    def columns(self) -> int:
        """Columns of the pooled result."""
        return (self.width - 2) // 2

    @property
    def picture(self) -> int:
        """Numbers of an input picture."""
        return self.height * self.width * self.inputs

    @property
    def result(self) -> int:
        """Numbers of a result picture."""
        return self.rows * self.columns * self.outputs


def forward(shape: Shape) -> str:
    """Returns the task (picture; x, kernel, bias; y, winner)."""
    e = Emitter(5)
    x, kernel, bias, y, winner = e.arguments
    width, inputs, outputs = shape.width, shape.inputs, shape.outputs
    vectors = _vectors(e, outputs)
    pooled = 2 if e.registers == 32 else 1  # Results at once, of four places each.
    picture = e.at(x, (e.index, shape.picture))

    def channels(channel: Value) -> None:
        weights, biases = e.at(kernel, channel), e.at(bias, channel)

        def row(r: Value) -> None:
            def block(c: Value, count: int) -> None:
                places = [
                    (i * width + 2 * k + j) * inputs
                    for k in range(count)
                    for i in (0, 1)
                    for j in (0, 1)
                ]
                corner = e.at(picture, (r, 2 * width * inputs), (c, 2 * inputs))
                run = (3 * inputs, width * inputs)
                sums = _correlate(e, corner, places, run, weights, outputs, vectors)
                for k in range(count):
                    to = [(e.index, shape.result), (r, shape.columns * outputs), (c, outputs)]
                    for v in range(vectors):
                        here = [*to, channel, k * outputs + v * e.lanes]
                        four = [sums[(4 * k + p) * vectors + v] for p in range(4)]
                        result, won = _pool(e, four, e.load(biases, v * e.lanes))
                        e.store(result, e.at(y, *here))
                        e.store_bytes(won, e.at(winner, *here, item=BYTE))

            _blocks(e, shape.columns, pooled, block)

        e.loop(shape.rows, row)

    e.loop(outputs, channels, step=vectors * e.lanes)
    return e.finish()


def weight_gradient(shape: Shape, tasks: int) -> str:
    """Returns the task (part; x, dy, winner; dkernel, dbias), each part its own sums.

    Part t sums over the pictures from t * pictures // tasks to (t + 1) * pictures // tasks.
    """
    e = Emitter(5)
    x, dy, winner, dkernel, dbias = e.arguments
    width, inputs, outputs = shape.width, shape.inputs, shape.outputs
    builder, run = e.builder, 3 * inputs
    dkernel, dbias = e.at(dkernel, (e.index, 3 * run * outputs)), e.at(dbias, (e.index, outputs))
    e.loop(3 * run * outputs, lambda i: e.store(e.zero, e.at(dkernel, i)), step=e.lanes)
    e.loop(outputs, lambda i: e.store(e.zero, e.at(dbias, i)), step=e.lanes)
    unpooled = e.scratch(2 * shape.columns * outputs)
    first, last = (
        builder.sdiv(builder.mul(number, e.number(shape.pictures)), e.number(tasks))
        for number in (e.index, builder.add(e.index, e.number(1)))
    )

    def picture(number: Value) -> None:
        n = builder.add(first, number)

        def row(r: Value) -> None:
            here = [(n, shape.result), (r, shape.columns * outputs)]
            pooled, won = e.at(dy, *here), e.at(winner, *here, item=BYTE)
            _add_bias_gradient(e, shape, pooled, won, dbias)
            for i in (0, 1):
                _unpool_row(e, shape, pooled, won, i, unpooled)
                top = e.at(x, (n, shape.picture), (r, 2 * width * inputs), i * width * inputs)

                def kernel_row(k: Value, top: Value = top) -> None:
                    pixels, sums = e.at(top, (k, width * inputs)), e.at(dkernel, (k, run * outputs))
                    _add_outer_products(e, shape, pixels, unpooled, sums)

                e.loop(3, kernel_row)

        e.loop(shape.rows, row)

    e.loop(builder.sub(last, first), picture)
    return e.finish()


def input_gradient(shape: Shape) -> str:
    """Returns the task (picture; dy, winner, turned; dx).

    `turned` is the kernel turned by half a turn, [3, 3, outputs, inputs]: dx is the convolution of
    the unpooled gradient, with a frame of zeros, with it.
    """
    e = Emitter(4)
    dy, winner, turned, dx = e.arguments
    inputs, outputs = shape.inputs, shape.outputs
    height, width = shape.height + 2, shape.width + 2  # Of the framed gradient.
    framed = e.allocate(height * width * outputs)
    e.loop(height * width * outputs, lambda i: e.store(e.zero, e.at(framed, i)), step=e.lanes)

    def unpool(r: Value) -> None:
        here = [(e.index, shape.result), (r, shape.columns * outputs)]
        pooled, won = e.at(dy, *here), e.at(winner, *here, item=BYTE)
        for i in (0, 1):
            inner = ((2 + i) * width + 2) * outputs
            _unpool_row(e, shape, pooled, won, i, e.at(framed, (r, 2 * width * outputs), inner))

    e.loop(shape.rows, unpool)
    vectors = _vectors(e, inputs)
    at_once = e.registers // 2 // vectors

    def channels(channel: Value) -> None:
        def row(r: Value) -> None:
            def block(c: Value, count: int) -> None:
                corner = e.at(framed, (r, width * outputs), (c, outputs))
                places = [k * outputs for k in range(count)]
                run = (3 * outputs, width * outputs)
                weights = e.at(turned, channel)
                sums = _correlate(e, corner, places, run, weights, inputs, vectors)
                to = [(e.index, shape.picture), (r, shape.width * inputs), (c, inputs)]
                for k in range(count):
                    for v in range(vectors):
                        here = e.at(dx, *to, channel, k * inputs + v * e.lanes)
                        e.store(sums[k * vectors + v], here)

            _blocks(e, shape.width, at_once, block)

        e.loop(shape.height, row)

    e.loop(inputs, channels, step=vectors * e.lanes)
    e.release(framed)
    return e.finish()


def _vectors(e: Emitter, channels: int) -> int:
    """Returns the vectors of channels that are summed at once."""
    return 2 if channels % (2 * e.lanes) == 0 else 1


def _blocks(e: Emitter, places: int, at_once: int, block: Callable[[Value, int], None]) -> None:
    """Emits a loop over blocks of places in a row, and a smaller block for the rest."""
    whole, rest = places // at_once * at_once, places % at_once
    if whole:
        e.loop(whole, lambda place: block(place, at_once), step=at_once)
    if rest:
        block(e.number(whole), rest)


def _correlate(
    e: Emitter,
    corner: Value,
    places: Sequence[int],
    run: tuple[int, int],
    weights: Value,
    channels: int,
    vectors: int,
) -> Sequence[Value]:
    """Sums three runs of numbers times rows of weights, for several places at once.

    Args:
        e: Where to emit.
        corner: Pointer to the first number of the first place.
        places: Distance of each place from the corner.
        run: Numbers of a run, and the distance of one run from the next.
        weights: Pointer to [3, run, channels], moved to the first channel wanted.
        channels: Distance of one row of weights from the next.
        vectors: Vectors of channels wanted.

    Returns:
        A sum for each place and vector, the vectors of a place together.
    """
    length, distance = run

    def row(k: Value, *sums: Value) -> Sequence[Value]:
        start, row_weights = e.at(corner, (k, distance)), e.at(weights, (k, length * channels))

        def number(j: Value, *sums: Value) -> list[Value]:
            here, beside = e.at(start, j), e.at(row_weights, (j, channels))
            loaded = [e.load(beside, v * e.lanes) for v in range(vectors)]
            after = []
            for p, place in enumerate(places):
                value = e.splat(here, place)
                for v in range(vectors):
                    after.append(e.multiply_add(value, loaded[v], sums[p * vectors + v]))
            return after

        return e.loop(length, number, sums)

    return e.loop(3, row, [e.zero] * (len(places) * vectors))


def _pool(e: Emitter, four: Sequence[Value], bias: Value) -> tuple[Value, Value]:
    """Returns the result and the winner of four places; of equals the first wins.

    The comparisons are such that a NaN goes through to the result.
    """
    builder = e.builder
    greatest, won = four[0], e.bytes_of(0)
    for place, value in enumerate(four[1:], 1):
        greater = builder.fcmp_unordered(">", value, greatest)
        greatest = builder.select(greater, value, greatest)
        won = builder.select(greater, e.bytes_of(place), won)
    biased = builder.fadd(greatest, bias)
    off = builder.fcmp_ordered("<=", biased, e.zero)
    return builder.select(off, e.zero, biased), builder.select(off, e.bytes_of(INACTIVE), won)


def _unpool_row(e: Emitter, shape: Shape, dy: Value, winner: Value, i: int, to: Value) -> None:
    """Writes row i (0 or 1) of two unpooled rows: each gradient at its winner's place, else 0."""
    outputs = shape.outputs

    def column(c: Value) -> None:
        pooled, won = e.at(dy, (c, outputs)), e.at(winner, (c, outputs), item=BYTE)
        pair = e.at(to, (c, 2 * outputs))

        def channel(o: Value) -> None:
            gradient, place = e.load(e.at(pooled, o)), e.load_bytes(e.at(won, o, item=BYTE))
            for j in (0, 1):
                here = e.where_equal(place, 2 * i + j, gradient)
                e.store(here, e.at(pair, o), j * outputs)

        e.loop(outputs, channel, step=e.lanes)

    e.loop(shape.columns, column)


def _add_bias_gradient(e: Emitter, shape: Shape, dy: Value, winner: Value, sums: Value) -> None:
    """Adds a row of pooled gradients, where ReLU was active, to the sums [outputs]."""

    def channel(o: Value) -> None:
        def column(c: Value, total: Value) -> list[Value]:
            here = [(c, shape.outputs), o]
            gradient, won = e.load(e.at(dy, *here)), e.load_bytes(e.at(winner, *here, item=BYTE))
            active = e.builder.icmp_unsigned("!=", won, e.bytes_of(INACTIVE))
            return [e.builder.fadd(total, e.builder.select(active, gradient, e.zero))]

        (total,) = e.loop(shape.columns, column, [e.load(e.at(sums, o))])
        e.store(total, e.at(sums, o))

    e.loop(shape.outputs, channel, step=e.lanes)


def _add_outer_products(
    e: Emitter, shape: Shape, pixels: Value, gradients: Value, sums: Value
) -> None:
    """Adds, over a row of places, run of pixels times gradients to the sums [run, outputs]."""
    inputs, outputs = shape.inputs, shape.outputs
    run, vectors = 3 * inputs, _vectors(e, outputs)
    most = (24 if e.registers == 32 else 8) // vectors
    numbers = max(n for n in range(1, most + 1) if run % n == 0)

    def some_of_run(j: Value) -> None:
        def channels(o: Value) -> None:
            def place(p: Value, *partial: Value) -> list[Value]:
                row = e.at(gradients, (p, outputs), o)
                loaded = [e.load(row, v * e.lanes) for v in range(vectors)]
                here, after = e.at(pixels, j, (p, inputs)), []
                for n in range(numbers):
                    value = e.splat(here, n)
                    for v in range(vectors):
                        after.append(e.multiply_add(value, loaded[v], partial[n * vectors + v]))
                return after

            partial = e.loop(2 * shape.columns, place, [e.zero] * (numbers * vectors))
            for n in range(numbers):
                for v in range(vectors):
                    to = e.at(sums, (j, outputs), o, n * outputs + v * e.lanes)
                    e.store(e.builder.fadd(e.load(to), partial[n * vectors + v]), to)

        e.loop(outputs, channels, step=vectors * e.lanes)

    e.loop(run, some_of_run, step=numbers)
