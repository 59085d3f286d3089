"""Another dtype for the elements that a reduction works on."""

from __future__ import annotations

from typing import Any

from nbdl.autograd import Context, Op, Tensor
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_float
from nbdl.runtime.dtypes import as_dtype


def cast(array: Any, dtype: Any) -> Any:
    """The array's elements in another dtype: the array itself if it has that dtype already."""
    if array.dtype == dtype:
        return array
    result = memory.empty(array.shape, dtype)
    arrays.copy_into(result, array)
    return result


class CastOp(Op):
    """y = x in another floating-point dtype; the gradient is cast back."""

    @staticmethod
    def forward(ctx: Context, x, dtype):
        ctx.dtype = x.dtype
        return cast(x, dtype)

    @staticmethod
    def backward(ctx: Context, dy):
        return cast(dy, ctx.dtype), None


def with_dtype(input: Tensor, dtype: Any) -> Tensor:
    """The tensor in the dtype that a reduction was asked for; as it is when None."""
    if dtype is None or input.dtype == dtype:
        return input
    return CastOp.apply(input, as_dtype(dtype))


def float_input(input: Tensor, dtype: Any) -> Tensor:
    """The tensor in the dtype asked for, which must be floating-point in the end."""
    return check_float("input", with_dtype(input, dtype))
