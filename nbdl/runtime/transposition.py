"""The transposed of a small square, in registers.

A copy that turns rows into columns one element at a time loads and stores as often as there are elements. Eight rows of
eight elements fit into registers; three rounds of exchanges turn them: in the first, neighbouring rows exchange their
odd and even elements, in the second, rows two apart exchange pairs, in the third, rows four apart exchange halves.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

SIDE = 8
"""Rows and columns of the square."""

_INT = ir.IntType(64)


@intrinsic
def copy_turned(typing_context, x, source, x_step, y, target, y_step):
    """y[target + k y_step + c] = x[source + c x_step + k] for k, c under SIDE; x, y flat memory of one dtype."""

    def codegen(context, builder, signature, arguments):
        data_type = context.get_data_type(signature.args[0].dtype)
        itemsize = context.get_abi_sizeof(data_type)
        row_pointer = ir.VectorType(data_type, SIDE).as_pointer()

        def rows(kind: Any, array: Any, first: Any, step: Any) -> list[Any]:
            data = context.make_array(kind)(context, builder, array).data
            places = [builder.add(first, builder.mul(step, _INT(row))) for row in range(SIDE)]
            return [builder.bitcast(builder.gep(data, [place]), row_pointer) for place in places]

        loaded = [builder.load(row) for row in rows(signature.args[0], *arguments[:3])]
        for load in loaded:
            load.align = itemsize
        for value, row in zip(_turned(builder, loaded), rows(signature.args[3], *arguments[3:]), strict=True):
            builder.store(value, row).align = itemsize
        return context.get_dummy_value()

    return types.void(x, types.int64, types.int64, y, types.int64, types.int64), codegen


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """The vectors of the columns."""
    lanes = ir.VectorType(ir.IntType(32), SIDE)
    for apart in (1, 2, 4):
        upper = [lane if not lane & apart else SIDE + lane - apart for lane in range(SIDE)]
        lower = [lane + apart if not lane & apart else SIDE + lane for lane in range(SIDE)]
        exchanged = list(rows)
        for row in range(SIDE):
            if not row & apart:
                pair = rows[row], rows[row + apart]
                exchanged[row] = builder.shuffle_vector(*pair, ir.Constant(lanes, upper))
                exchanged[row + apart] = builder.shuffle_vector(*pair, ir.Constant(lanes, lower))
        rows = exchanged
    return rows
