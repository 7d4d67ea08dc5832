"""A small layer over llvmlite's IR builder: counted loops and float vectors."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

FLOAT, BYTE, INT = ir.FloatType(), ir.IntType(8), ir.IntType(64)
PIXEL = 4
"""Lanes of the narrow vectors that hold red, green and blue; the last is not used."""

_POINTER, _VOID, _LANE = ir.PointerType(), ir.VoidType(), ir.IntType(32)

Value = Any
"""An `ir.Value`: llvmlite has no type annotations."""


@functools.cache
def host() -> tuple[str, str]:
    """Returns name and features of this CPU, as LLVM spells them."""
    features = llvm.get_host_cpu_features()
    return llvm.get_host_cpu_name(), features.flatten() if features else ""


@functools.cache
def vector_registers() -> tuple[int, int]:
    """Returns the floats in a vector register of this CPU, and the number of registers."""
    features = set(host()[1].split(","))
    if "+avx512f" in features:
        return 16, 32
    if {"+avx2", "+fma"} <= features:
        return 8, 16
    return 4, 32 if "+neon" in features else 16


class Emitter:
    """The function `void task(i64 index, ptr...)` under construction.

    Attributes:
        module: What it is part of.
        index: The number of the task.
        arguments: Its pointers, of which no two may lead to the same memory.
        lanes: Floats in a vector.
        registers: Vector registers of this CPU.
        zero: A vector of zeros.
    """

    def __init__(self, arguments: int):
        self.module = ir.Module()
        self.lanes, self.registers = vector_registers()
        self._vector = ir.VectorType(FLOAT, self.lanes)
        self._bytes = ir.VectorType(BYTE, self.lanes)
        self.zero = ir.Constant(self._vector, None)
        signature = ir.FunctionType(_VOID, [INT] + [_POINTER] * arguments)
        task = ir.Function(self.module, signature, "task")
        self.index, *self.arguments = task.args
        for pointer in self.arguments:
            pointer.add_attribute("noalias")
        self.builder: Any = ir.IRBuilder(task.append_basic_block("entry"))
        # The handler that calls the task uses these two as well.
        self._malloc = ir.Function(self.module, ir.FunctionType(_POINTER, [INT]), "malloc")
        self._free = ir.Function(self.module, ir.FunctionType(_VOID, [_POINTER]), "free")

    def allocate(self, floats: int) -> Value:
        """Returns memory on the heap, not cleared; `release` gives it back."""
        return self.builder.call(self._malloc, [self.number(4 * floats)])

    def release(self, memory: Value) -> None:
        """Gives back memory on the heap."""
        self.builder.call(self._free, [memory])

    def finish(self) -> str:
        """Ends the function and returns the module as text."""
        self.builder.ret_void()
        return str(self.module)

    def loop(
        self,
        count: int | Value,
        body: Callable[..., Sequence[Value] | None],
        carried: Sequence[Value] = (),
        step: int = 1,
    ) -> Sequence[Value]:
        """Emits a loop over 0, step, ... below `count`, which must be above 0.

        Args:
            count: A Python number or a value.
            body: Called once, with the counter and each carried value; returns their successors.
            carried: Values that go from round to round in registers.
            step: Added to the counter.

        Returns:
            The carried values after the last round.
        """
        builder, before = self.builder, self.builder.block
        count = self.number(count) if isinstance(count, int) else count
        head, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
        builder.branch(head)
        builder.position_at_end(head)
        counter = builder.phi(INT)
        counter.add_incoming(self.number(0), before)
        inside = [builder.phi(value.type) for value in carried]
        for phi, value in zip(inside, carried, strict=True):
            phi.add_incoming(value, before)
        after = body(counter, *inside) or ()
        following = builder.add(counter, self.number(step))
        counter.add_incoming(following, builder.block)
        for phi, value in zip(inside, after, strict=True):
            phi.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, count), head, done)
        builder.position_at_end(done)
        return after

    def number(self, value: int) -> Value:
        """Returns a whole number as a value."""
        return ir.Constant(INT, value)

    def at(
        self, base: Value, *terms: int | Value | tuple[Value, int | Value], item: Any = FLOAT
    ) -> Value:
        """Returns the pointer `base` moved by a sum of items.

        Args:
            base: Pointer to the first item.
            terms: Numbers, values, or (value, factor).
            item: FLOAT or BYTE.
        """
        known = sum(term for term in terms if isinstance(term, int))
        total = None
        for term in terms:
            if isinstance(term, int):
                continue
            value = term
            if isinstance(term, tuple):
                factor = self.number(term[1]) if isinstance(term[1], int) else term[1]
                value = self.builder.mul(term[0], factor)
            total = value if total is None else self.builder.add(total, value)
        moved = base
        for offset in (total, self.number(known) if known else None):
            if offset is not None:
                moved = self.builder.gep(moved, [offset], source_etype=item)
                moved.type = _POINTER  # llvmlite would make it a pointer to one item.
        return moved

    def load(self, pointer: Value, offset: int = 0, lanes: int | None = None) -> Value:
        """Returns a vector of floats."""
        vector = ir.VectorType(FLOAT, lanes or self.lanes)
        return self.builder.load(self.at(pointer, offset), typ=vector, align=4)

    def load_number(self, pointer: Value) -> Value:
        """Returns a whole number from memory."""
        return self.builder.load(pointer, typ=INT, align=8)

    def load_bytes(self, pointer: Value) -> Value:
        """Returns a vector of bytes, one for each lane."""
        return self.builder.load(pointer, typ=self._bytes, align=1)

    def floats_of(self, found: Value) -> Value:
        """Returns a vector of bytes as floats."""
        return self.builder.uitofp(found, self._vector)

    def rounded_bytes(self, vector: Value) -> Value:
        """Returns floats from 0 to 255 as the nearest bytes."""
        half = ir.Constant(vector.type, [0.5] * vector.type.count)
        whole = ir.VectorType(BYTE, vector.type.count)
        return self.builder.fptoui(self.builder.fadd(vector, half), whole)

    def store(self, vector: Value, pointer: Value, offset: int = 0) -> None:
        """Writes a vector of floats."""
        self.builder.store(vector, self.at(pointer, offset), align=4)

    def store_bytes(self, vector: Value, pointer: Value) -> None:
        """Writes a vector of bytes."""
        self.builder.store(vector, pointer, align=1)

    def splat(self, pointer: Value, offset: int = 0, lanes: int | None = None) -> Value:
        """Returns a vector with one float in every lane."""
        lanes = lanes or self.lanes
        value = self.builder.load(self.at(pointer, offset), typ=FLOAT, align=4)
        nothing = ir.Constant(ir.VectorType(FLOAT, lanes), ir.Undefined)
        first = self.builder.insert_element(nothing, value, ir.Constant(_LANE, 0))
        zeros = ir.Constant(ir.VectorType(_LANE, lanes), [0] * lanes)
        return self.builder.shuffle_vector(first, nothing, zeros)

    def zeros(self, lanes: int) -> Value:
        """Returns a vector of zeros of any width."""
        return ir.Constant(ir.VectorType(FLOAT, lanes), None)

    def smaller(self, a: Value, b: Value) -> Value:
        """Returns the smaller of two whole numbers."""
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def bytes_of(self, number: int) -> Value:
        """Returns a vector with one number in every lane."""
        return ir.Constant(self._bytes, [number] * self.lanes)

    def where_equal(self, found: Value, number: int, vector: Value) -> Value:
        """Returns the vector where a vector of bytes has a number, and zero elsewhere."""
        equal = self.builder.icmp_unsigned("==", found, self.bytes_of(number))
        return self.builder.select(equal, vector, self.zero)

    def multiply_add(self, a: Value, b: Value, c: Value) -> Value:
        """Returns a * b + c, rounded once."""
        name = f"llvm.fma.v{a.type.count}f32"
        signature = ir.FunctionType(a.type, [a.type] * 3)
        fma = self.module.globals.get(name) or ir.Function(self.module, signature, name)
        return self.builder.call(fma, [a, b, c])

    def scratch(self, floats: int) -> Value:
        """Returns memory on the stack."""
        memory = self.builder.alloca(FLOAT, size=floats)
        memory.align, memory.type = 64, _POINTER
        return memory
