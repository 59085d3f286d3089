"""Products L X L^T with a small constant matrix L, for many X at once: one lane of a vector register for each.

Minimal filtering (`nbdl.ops.convolution.winograd`) turns tiles of an image by such products, a lane a channel. The
elements of X are vectors that lie any steps apart; the code is straight, the zeros and ones of L cost nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nbdl.runtime.simd import _at, _load, _splat, _store, lanes

_FAST = ("contract",)  # a product and a sum may become one fused operation


def sandwich(matrix: np.ndarray) -> Any:
    """A function for kernels: target = L X L^T.

    Its arguments are (source, row step, column step, target, row step, column step), steps in elements. An element of
    X or of the target is one vector register.
    """

    @intrinsic
    def multiply(typing_context, source, source_row, source_column, target, target_row, target_column):
        def codegen(context, builder, signature, arguments):
            values = _turned(context, builder, matrix, signature.args[0], *arguments[:3])
            _store_all(builder, values, *arguments[3:])
            return context.get_dummy_value()

        step = types.int64
        return types.void(source, step, step, target, step, step), codegen

    return multiply


def sandwich_and_bias(matrix: np.ndarray) -> Any:
    """As `sandwich`, target = max(floor, L X L^T + bias), with two more arguments: bias, which may be null, and floor.

    NaN passes.
    """

    @intrinsic
    def multiply(typing_context, source, source_row, source_column, target, target_row, target_column, bias, floor):
        def codegen(context, builder, signature, arguments):
            values = _turned(context, builder, matrix, signature.args[0], *arguments[:3])
            address, limit = arguments[6:]
            vector = values[0][0].type
            place = builder.alloca(vector)
            builder.store(ir.Constant(vector, [0.0] * vector.count), place)
            with builder.if_then(builder.icmp_unsigned("!=", address, ir.Constant(address.type, None))):
                builder.store(_load(builder, address, vector), place)
            added = builder.load(place, typ=vector)
            limits = _splat(builder, limit, vector.count)
            for row in values:
                for j, value in enumerate(row):
                    total = builder.fadd(value, added)
                    row[j] = builder.select(builder.fcmp_ordered(">", limits, total), limits, total)
            _store_all(builder, values, *arguments[3:6])
            return context.get_dummy_value()

        step = types.int64
        return types.void(source, step, step, target, step, step, bias, source.dtype), codegen

    return multiply


def _turned(
    context: Any, builder: ir.IRBuilder, matrix: np.ndarray, pointer: Any, source: ir.Value, row: Any, column: Any
) -> list[list[ir.Value]]:
    """The vectors of L X L^T."""
    size = matrix.shape[1]
    vector = ir.VectorType(context.get_value_type(pointer.dtype), lanes(pointer.dtype))
    half = []  # X L^T, a row of X at a time: few vectors are alive at once
    for i in range(size):
        line = _at(builder, source, builder.mul(row, ir.Constant(row.type, i)))
        loaded = [
            _load(builder, _at(builder, line, builder.mul(column, ir.Constant(column.type, j))), vector)
            for j in range(size)
        ]
        half.append([_combined(builder, coefficients, loaded) for coefficients in matrix])
    columns = [[_combined(builder, row, list(column)) for row in matrix] for column in zip(*half, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _combined(builder: ir.IRBuilder, coefficients: np.ndarray, values: list[ir.Value]) -> ir.Value:
    """The sum of coefficient * value; positive ones first, so that nothing is negated."""
    total: Any = None
    for coefficient, value in sorted(zip(coefficients, values, strict=True), key=lambda pair: -pair[0]):
        if coefficient == 0:
            continue
        size = abs(float(coefficient))
        term = value
        if size != 1:
            term = builder.fmul(value, ir.Constant(value.type, [size] * value.type.count), flags=_FAST)
        if total is None:
            total = term if coefficient > 0 else builder.fneg(term, flags=_FAST)
        elif coefficient > 0:
            total = builder.fadd(total, term, flags=_FAST)
        else:
            total = builder.fsub(total, term, flags=_FAST)
    return total


def _store_all(builder: ir.IRBuilder, values: list[list[ir.Value]], target: Any, row: Any, column: Any) -> None:
    for i, of_row in enumerate(values):
        line = _at(builder, target, builder.mul(row, ir.Constant(row.type, i)))
        for j, value in enumerate(of_row):
            _store(builder, value, _at(builder, line, builder.mul(column, ir.Constant(column.type, j))))
