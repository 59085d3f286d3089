"""The tile driver: a panel of a matrix product, at most two vectors wide and any number of rows high.

Every matrix product of the CPU ends here: GEMM, implicit-GEMM convolution, recurrent layers, attention. The register
tiles under it are the largest piece of machine code in the library, so they are compiled once per dtype, as a C
function that other kernels call by its symbol: `multiply_panel` in a kernel, and `register_tile_driver` as the
`requires` of its Kernel.
"""

from __future__ import annotations

import functools
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from nbdl.runtime.cache import StampedCache
from nbdl.runtime.simd import advance, multiply_tile, tile_rows, vector_unit

FLOATS = (types.float32, types.float64)


def _panel(rows, outer, inner, a, a_outer, a_row, a_inner, b, b_outer, b_inner, bias, floor, c, c_row, beta, columns):
    """`multiply_tile` for any number of rows, shared evenly: five tiles of 13 rows beat four of 14 and one of 9."""
    most = tile_rows(a)
    tiles = (rows + most - 1) // most
    row = 0
    for tile in range(tiles):
        height = (rows - row + tiles - tile - 1) // (tiles - tile)
        multiply_tile(
            height, outer, inner, advance(a, row * a_row), a_outer, a_row, a_inner, b, b_outer, b_inner,
            bias, floor, advance(c, row * c_row), c_row, beta, columns,
        )  # fmt: skip
        row += height


def _signature(element):
    pointer, integer = types.CPointer(element), types.int64
    a, b, c = (pointer, integer, integer, integer), (pointer, integer, integer), (pointer, integer)
    return types.void(*(integer,) * 3, *a, *b, pointer, element, *c, element, integer)


def _symbol(element: Any) -> str:
    return f"nbdl_{vector_unit().name}_panel_{element}"


@functools.cache
def _compiled_driver(element):
    signature = _signature(element)
    options = {"nopython": True, "error_model": "numpy"}
    driver = CFunc(_panel, (signature.args, signature.return_type), {}, options)
    driver._cache = StampedCache(_panel)
    driver.compile()
    llvm.add_symbol(_symbol(element), driver.address)
    return driver


def register_tile_driver() -> None:
    """Makes the symbols behind `multiply_panel` known to LLVM; the first time on a machine it compiles them."""
    for element in FLOATS:
        _compiled_driver(element)


@intrinsic
def multiply_panel(
    typing_context, rows, outer, inner, a, a_outer, a_row, a_inner, b, b_outer, b_inner,
    bias, floor, c, c_row, beta, columns,
):  # fmt: skip
    """`simd.multiply_tile` for any number of rows: a call of the compiled driver."""
    signature = _signature(a.dtype)

    def codegen(context, builder, signature, arguments):
        function_type = ir.FunctionType(ir.VoidType(), [value.type for value in arguments])
        builder.call(cgutils.get_or_insert_function(builder.module, function_type, _symbol(a.dtype)), arguments)
        return context.get_dummy_value()

    return signature, codegen
