"""Asking for memory before it is needed.

A normalization does so little arithmetic that memory sets its pace. A CPU guesses which lines come next, but not
beyond the end of a page of 4 kB; kernels that read rows once, one after the other, and ask for the lines 8 kB ahead
read up to twice as fast from main memory, and lose little where the lines are near. (Where a kernel returns to what it
has read, as with the planes of a channel, asking costs more than it gains.) An address behind an array's end does no
harm.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

AHEAD = 8192
"""Bytes between what is worked on and what is asked for."""

LINE = 64
"""Bytes of a cache line."""

_INT = ir.IntType(64)
_FLAGS = [ir.Constant(ir.IntType(32), flag) for flag in (0, 3, 1)]  # to read, keep in all caches, data


@intrinsic
def fetch_row(typing_context, x, row):
    """Asks for as much memory of x [..., D], contiguous, as a row has, 8 kB behind the row of that number."""

    def codegen(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        row_bytes = cgutils.unpack_tuple(builder, array.strides)[-2]
        byte = ir.IntType(8).as_pointer()
        start = builder.gep(
            builder.bitcast(array.data, byte), [builder.add(builder.mul(row_bytes, arguments[1]), _INT(AHEAD))]
        )
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, *(flag.type for flag in _FLAGS)]), "llvm.prefetch.p0"
        )
        with cgutils.for_range_slice(builder, _INT(0), row_bytes, _INT(LINE), _INT, inc=True) as (place, _):
            builder.call(function, [builder.gep(start, [place]), *_FLAGS])
        return context.get_dummy_value()

    return types.void(x, types.int64), codegen
