"""Curves on the results of a product: compiled by themselves, called by address from the kernel that forms the sums."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

from nbdl.runtime.cache import StampedCache
from nbdl.runtime.jit import FASTMATH
from nbdl.runtime.simd import advance


def _signature(element):
    integer = types.int64
    return types.void(integer, integer, types.CPointer(element), integer, integer)


@intrinsic
def bend_block(typing_context, address, rows, columns, c, c_row, to_slope):
    """c[i * c_row + j] = f(c[i * c_row + j]) by the function at an address; f' goes `to_slope` elements further on.

    With `to_slope` = 0 there is no room for f'.
    """
    signature = _signature(c.dtype)

    def codegen(context, builder, signature, arguments):
        address, *rest = arguments
        function = ir.FunctionType(ir.VoidType(), [value.type for value in rest])
        builder.call(builder.inttoptr(address, function.as_pointer()), rest)
        return context.get_dummy_value()

    return types.void(types.int64, *signature.args), codegen


def _bending(curve: Any) -> Any:
    """The body of that function for a scalar function of value and slope."""

    def bend(rows, columns, c, c_row, to_slope):
        for i in range(rows):
            line = advance(c, i * c_row)
            if to_slope == 0:
                for j in range(columns):
                    line[j] = curve(line[j])[0]
            else:
                slopes = advance(line, to_slope)
                for j in range(columns):
                    line[j], slopes[j] = curve(line[j])

    bend.__name__ = f"bend{curve.py_func.__name__}"
    return bend


@functools.cache
def bending_address(curve: Any, dtype: np.dtype) -> int:
    """Where the compiled function for a curve and a dtype lies."""
    signature = _signature(types.float64 if dtype.itemsize == 8 else types.float32)
    body = _bending(curve)
    function: Any = CFunc(
        body,
        (signature.args, signature.return_type),
        {},
        {"nopython": True, "error_model": "numpy", "fastmath": FASTMATH},
    )
    function._cache = StampedCache(body, "bending")
    function.compile()
    CURVES[function.address] = curve, function
    return function.address


CURVES: dict[int, tuple[Any, Any]] = {}
"""The curve behind each address, and its compiled function, whose code must not be freed."""
