"""Casts and copies: the same values in another dtype or in other memory. Their gradient is cast back."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.maps import Map1
from nbdl.runtime import arrays, halves, memory
from nbdl.runtime.devices import is_device, require
from nbdl.runtime.dtypes import BOOL, FLOAT16, FLOAT32, INT64, as_dtype, kernel_dtype
from nbdl.runtime.errors import ArgumentTypeError
from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- scalar functions


@exact
def _cast(x):
    return x


@exact
def _is_nonzero(x):
    return x != type(x)(0)


cast_map = Map1(_cast)
is_nonzero = Map1(_is_nonzero)
_to_float16 = Map1(halves.to_float16)
_from_float16 = Map1(halves.from_float16)


def cast(x: Any, dtype: np.dtype) -> Any:
    """The array in another dtype; floating-point numbers are cut off towards zero, integers wrap around."""
    if x.dtype == dtype:
        return x
    if x.dtype == FLOAT16:
        return cast(_from_float16(x.view(np.uint16), dtype=FLOAT32), dtype)
    if dtype == FLOAT16:
        return _to_float16(cast(x, FLOAT32), dtype=np.dtype(np.uint16)).view(FLOAT16)
    if dtype == BOOL:
        return is_nonzero(x, dtype=BOOL)
    if x.dtype.kind == "f" and dtype.kind in "iu" and dtype != INT64:
        x = cast_map(x, dtype=INT64)  # the machine converts to 64 bits; the low bits are the smaller integer
    return cast_map(x, dtype=dtype)


def widened(x: Any) -> Any:
    """The array as kernels take it: float16 as float32."""
    return cast(x, kernel_dtype(x.dtype))


# ---------------------------------------------------------------- autograd


class ToOp(Op):
    """y = x in another dtype."""

    @staticmethod
    def forward(ctx: Context, x, dtype):
        ctx.dtype = x.dtype
        return cast(x, dtype)

    @staticmethod
    def backward(ctx: Context, dy):
        return cast(dy, ctx.dtype), None


class ToDeviceOp(Op):
    """y = x in the memory of another device."""

    @staticmethod
    def forward(ctx: Context, x, kind, non_blocking):
        ctx.kind = "cpu" if kind == "cuda" else "cuda"
        return ToDeviceOp.moved(x, kind, non_blocking)

    @staticmethod
    def backward(ctx: Context, dy):
        return ToDeviceOp.moved(dy, ctx.kind, False), None, None

    @staticmethod
    def moved(x: Any, kind: str, non_blocking: bool) -> Any:
        from nbdl.runtime.cuda import memory as cuda_memory

        return cuda_memory.to_device(x, non_blocking) if kind == "cuda" else cuda_memory.to_host(x)


class CloneOp(Op):
    """y = x in memory of its own."""

    @staticmethod
    def forward(ctx: Context, x, keep_order):
        if keep_order:
            return cast_map(x)
        y = memory.empty(x.shape, x.dtype)
        arrays.copy_into(y, x)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        return dy, None


# ---------------------------------------------------------------- public


def clone(input: Tensor) -> Tensor:
    """Copies a tensor into memory of its own, in the same memory order.

    Args:
        input: [*], any dtype.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy.

    Example:
        >>> x = nbdl.tensor([1.0, 2.0])
        >>> y = x.clone().zero_()
        >>> x
        tensor([1., 2.])
    """
    return CloneOp.apply(check_tensor("input", input), True)


def contiguous(input: Tensor) -> Tensor:
    """The tensor itself if its elements lie in row-major order, else a copy in which they do.

    Args:
        input: [*], any dtype.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy.

    Example:
        >>> nbdl.zeros(2, 3).transpose(0, 1).contiguous().is_contiguous()
        True
    """
    if check_tensor("input", input)._array.flags.c_contiguous:
        return input
    return CloneOp.apply(input, False)


def check_tensor(name: str, value: Any) -> Tensor:
    """The value, if it is a tensor."""
    if not isinstance(value, Tensor):
        raise ArgumentTypeError(f"{name}: expected a Tensor, got {type(value).__name__}")
    return value


def to_dtype(input: Tensor, dtype: Any) -> Tensor:
    """The tensor in another dtype; the tensor itself if it has it."""
    if input._array.dtype is dtype:
        return input
    dtype = as_dtype(dtype)
    return input if input._array.dtype == dtype else ToOp.apply(input, dtype)


def to(
    input: Tensor,
    *arguments: Any,
    dtype: Any = None,
    device: Any = None,
    copy: bool = False,
    non_blocking: bool = False,
    **_: Any,
) -> Tensor:
    """The tensor in another dtype or on another device; the tensor itself if nothing changes.

    Called as `x.to(dtype)`, `x.to(device)`, `x.to(device, dtype)` or `x.to(other)`, with a tensor whose dtype and
    device are wanted.

    Args:
        input: [*], any dtype.
        arguments: A dtype, a device ("cpu" or "cuda"), both, or a tensor.
        dtype: The dtype of the result.
        device: The device of the result.
        copy: Copy even if nothing changes.
        non_blocking: From pinned memory to the GPU: go on before the copy is done. Do not write to the input until
            something has waited for the GPU.

    Returns:
        [*], of that dtype and device.

    Raises:
        DeviceError: The device is missing.
        ArgumentTypeError: An argument is neither dtype, nor device, nor tensor.

    Gradient:
        For input, if both dtypes are floating point: dy in the input's dtype.

    Example:
        >>> nbdl.tensor([1, 2]).to(nbdl.float32)
        tensor([1., 2.])
    """
    for argument in arguments:
        if isinstance(argument, Tensor):
            dtype, device = argument.dtype, argument.device
        elif isinstance(argument, bool):
            non_blocking = argument
        elif is_device(argument):
            device = argument
        else:
            dtype = argument
    result = input if dtype is None else to_dtype(input, dtype)
    if device is not None and require(device) != result.device:
        return ToDeviceOp.apply(result, require(device), non_blocking)
    return clone(result) if copy and result is input else result


def _caster(name: str, dtype: Any) -> Any:
    def method(input: Tensor) -> Tensor:
        return to_dtype(input, dtype)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"The tensor in {np.dtype(dtype)}; the tensor itself if it is."
    return method


CASTS = {
    "float": _caster("float", np.float32),
    "double": _caster("double", np.float64),
    "long": _caster("long", np.int64),
    "int": _caster("int", np.int32),
    "short": _caster("short", np.int16),
    "char": _caster("char", np.int8),
    "byte": _caster("byte", np.uint8),
    "bool": _caster("bool", np.bool_),
}
"""Methods of a tensor that are named after the C types."""


def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor in the dtype of another."""
    return to_dtype(input, other.dtype)
