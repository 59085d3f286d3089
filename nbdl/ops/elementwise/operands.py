"""Operands: how tensors, arrays and numbers of different dtypes meet, and the forms that elementwise Ops take.

PyTorch's rules decide the dtype of a result (nbdl.runtime.dtypes). Kernels compute in float32, float64 and int64 alone,
bool where bits are the matter: smaller integers are widened before and narrowed after, which changes no result.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nbdl.autograd import Context, Op, Tensor, wrap
from nbdl.ops.elementwise.casting import cast, to_dtype
from nbdl.ops.elementwise.layout import over_memory, sum_to
from nbdl.ops.elementwise.maps import Map1, Map2, Place
from nbdl.runtime import arrays
from nbdl.runtime.dtypes import BOOL, FLOAT32, FLOAT64, INT64, get_default_dtype, kernel_dtype, result_type
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError

# ---------------------------------------------------------------- arguments


def as_operand(name: str, value: Any) -> Any:
    """A tensor as it is, a NumPy array as a tensor, a number as a Python number."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return wrap(value)
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return value.item()
    raise ArgumentTypeError(f"{name}: expected a Tensor, a NumPy array or a number, got {type(value).__name__}")


def as_tensor_operand(name: str, value: Any) -> Tensor:
    """The value, if it is a tensor or a NumPy array."""
    operand = as_operand(name, value)
    if not isinstance(operand, Tensor):
        raise ArgumentTypeError(f"{name}: expected a Tensor, got {type(value).__name__}")
    return operand


def float_operand(name: str, value: Any) -> Tensor:
    """The tensor, integers and bools in the default floating-point dtype."""
    if isinstance(value, Tensor) and value._array.dtype.kind == "f":
        return value
    tensor = as_tensor_operand(name, value)
    return tensor if tensor._array.dtype.kind == "f" else to_dtype(tensor, get_default_dtype())


def computing_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype in which kernels compute results of the given one."""
    return kernel_dtype(dtype) if dtype.kind == "f" else INT64


def typed_number(name: str, number: Any, dtype: np.dtype) -> Any:
    """A Python number as a number of the dtype."""
    if dtype is FLOAT32:  # a number beyond its range is an infinity, quietly
        return np.float32(number) if -3.4e38 < number < 3.4e38 else np.float32(_rounded_to_float32(number))
    try:
        return dtype.type(number)
    except OverflowError:
        raise ArgumentError(f"{name}: {number} does not fit into {dtype}") from None


def _rounded_to_float32(number: float) -> Any:
    with np.errstate(over="ignore"):
        return np.float64(number).astype(np.float32)


def meet(names: tuple[str, ...], values: tuple[Any, ...], dtype: np.dtype | None = None) -> tuple[np.dtype, list[Any]]:
    """The dtype of an operation on the values, and the values in the dtype in which it is computed.

    Tensors stay tensors, numbers become numbers of the computing dtype. At least one value must be a tensor.
    """
    shared = _shared_dtype(values) if dtype is None else None
    if shared is not None:
        return shared, [
            value if isinstance(value, Tensor) else typed_number(name, value, shared)
            for name, value in zip(names, values, strict=True)
        ]
    operands = [as_operand(name, value) for name, value in zip(names, values, strict=True)]
    tensors = [value for value in operands if isinstance(value, Tensor)]
    if not tensors:
        raise ArgumentTypeError(f"{' or '.join(names)}: expected a Tensor, got {type(values[0]).__name__}")
    if dtype is None:
        numbers = [value for value in operands if not isinstance(value, Tensor)]
        dtype = result_type([tensor._array for tensor in tensors], numbers)
    return dtype, [_for_computing(name, value, dtype) for name, value in zip(names, operands, strict=True)]


def _shared_dtype(values: tuple[Any, ...]) -> np.dtype | None:
    """The dtype of all tensors among the values, if it is that of the result and computed in: the usual case."""
    shared = None
    for value in values:
        if isinstance(value, Tensor):
            dtype = value._array.dtype
            if dtype is not shared and (shared is not None or dtype not in (FLOAT32, FLOAT64)):
                return None
            shared = dtype
        elif type(value) is not float and type(value) is not int:
            return None
    return shared


def _for_computing(name: str, value: Any, dtype: np.dtype) -> Any:
    """The operand in the computing dtype; what does not fit into `dtype` wraps around first, as in PyTorch."""
    computing = computing_dtype(dtype)
    if isinstance(value, Tensor):
        return to_dtype(to_dtype(value, dtype) if value._array.dtype.kind != "b" else value, computing)
    if dtype.kind == "f" or computing is dtype or dtype in (BOOL, INT64):
        return typed_number(name, value, computing)
    return typed_number(name, cast(np.asarray(int(value)), dtype).item(), computing)


# ---------------------------------------------------------------- one operand


class UnaryOp(Op):
    """y = value(x), dx = slope(dy, s), where s is x or y.

    Attributes:
        value: The map of the function.
        slope: The map of its chain rule; None where the gradient is zero.
        keeps: What the chain rule needs, "x" or "y".
        over: When forward may write its result over its operand (see in_place).
    """

    over = "always"

    value: ClassVar[Map1]
    slope: ClassVar[Map2 | None]
    keeps: ClassVar[str] = "x"

    @classmethod
    def forward(cls, ctx: Context, x, *numbers):
        ctx.numbers = numbers
        kept = x
        if x is not Place.recorded:
            y = cls.value(x, *numbers)
        else:
            if cls.keeps == "x":
                kept = over_memory(x, arrays.copied)  # y takes its place
            y = cls.value.over(x, *numbers)
        if cls.slope is not None:
            ctx.save(kept if cls.keeps == "x" else y)
        return y

    @classmethod
    def backward(cls, ctx: Context, dy):
        if cls.slope is None:
            return zeros_like(dy), *(None for _ in ctx.numbers)
        return cls.slope(dy, *ctx.saved, *ctx.numbers), *(None for _ in ctx.numbers)


def zeros_like(x: Any) -> Any:
    """A contiguous array of zeros, of the shape and dtype of x."""
    return arrays.full(x.shape, 0, x.dtype)


def apply_float(op: type[UnaryOp], input: Any, *numbers: Any) -> Tensor:
    """The Op on a floating-point tensor; integers are converted to the default dtype."""
    if isinstance(input, Tensor) and (input._array.dtype is FLOAT32 or input._array.dtype is FLOAT64):
        return op.apply(input, *numbers)
    return op.apply(float_operand("input", input), *numbers)


def apply_any(op: type[UnaryOp], input: Any, allow_bool: bool = False) -> Tensor:
    """The Op on a tensor of any dtype; the result has the same."""
    tensor = as_tensor_operand("input", input)
    dtype = tensor._array.dtype
    if dtype.kind == "f" or dtype == INT64:
        return op.apply(tensor)
    if dtype == BOOL and not allow_bool:
        raise DTypeError(f"input: expected numbers, got bool; {op.__name__.removesuffix('Op').lower()} has no meaning")
    return to_dtype(op.apply(to_dtype(tensor, INT64)), dtype)


# ---------------------------------------------------------------- two operands


class BinaryOp(Op):
    """y = value(a, b), shapes broadcast to each other; b may be a number.

    Attributes:
        value: The map of the function.
        result: The dtype of the result where it is not that of the operands.
        of_number: The Op for (number, tensor), called with the tensor first.
    """

    value: ClassVar[Map2]
    result: ClassVar[np.dtype | None] = None
    of_number: ClassVar[type[Op] | None] = None

    @classmethod
    def forward(cls, ctx: Context, a, b):
        ctx.save(a, b)
        return cls.value(a, b, dtype=cls.result)

    @classmethod
    def backward(cls, ctx: Context, dy):
        a, b = ctx.saved
        wants_a, wants_b = ctx.needs_input_grad
        da = sum_to(cls.left(dy, a, b), a.shape) if wants_a else None
        db = sum_to(cls.right(dy, a, b), b.shape) if wants_b else None
        return da, db

    @classmethod
    def left(cls, dy: Any, a: Any, b: Any) -> Any:
        """The gradient of a, before the sum over the dimensions in which a was repeated."""
        raise NotImplementedError

    @classmethod
    def right(cls, dy: Any, a: Any, b: Any) -> Any:
        """The gradient of b, before the sum over the dimensions in which b was repeated."""
        raise NotImplementedError


def apply_pair(op: type[BinaryOp], input: Any, other: Any, allow_bool: bool = True, floating: bool = False) -> Tensor:
    """The Op on two operands, of which one may be a number.

    Args:
        op: The Op.
        input: A tensor, an array or a number.
        other: A tensor, an array or a number.
        allow_bool: Whether two bool operands are accepted.
        floating: Whether integers are converted to the default floating-point dtype.
    """
    if isinstance(input, Tensor):
        dtype = input._array.dtype
        if isinstance(other, Tensor):
            if dtype is other._array.dtype and (dtype is FLOAT32 or dtype is FLOAT64):
                return op.apply(input, other)
        elif type(other) is float or type(other) is int:
            if dtype is FLOAT32 and -3.4e38 < other < 3.4e38:
                return op.apply(input, np.float32(other))
            if dtype is FLOAT64:
                return op.apply(input, np.float64(other))
    dtype, (a, b) = _meet_pair(op, input, other, allow_bool, floating)
    if isinstance(a, Tensor):
        result = op.apply(a, b)
    elif op.of_number is not None:
        result = op.of_number.apply(b, a)
    else:
        result = op.apply(wrap(np.asarray(a)), b)
    return result if op.result is not None else to_dtype(result, dtype)


def _meet_pair(
    op: type[BinaryOp], input: Any, other: Any, allow_bool: bool, floating: bool
) -> tuple[np.dtype, list[Any]]:
    names = ("input", "other")
    dtype, operands = meet(names, (input, other))
    if dtype == BOOL and not allow_bool:
        name = op.__name__.removesuffix("Op").lower()
        raise DTypeError(f"input, other: expected numbers, got bool; {name} has no meaning (see logical_xor)")
    if floating and dtype.kind != "f":
        return meet(names, (input, other), get_default_dtype())
    return dtype, operands
