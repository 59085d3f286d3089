r"""Several operands in one pass: interpolation, products and quotients added to a tensor, sums of exponentials.

The references are the equations, in NumPy.
"""

from __future__ import annotations

import math
from typing import Any

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.arithmetic import mul
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.ops.elementwise.layout import sum_to
from nbdl.ops.elementwise.maps import Map2, MapN
from nbdl.ops.elementwise.operands import (
    BinaryOp,
    apply_pair,
    as_operand,
    as_tensor_operand,
    computing_dtype,
    meet,
    typed_number,
)
from nbdl.runtime import looking, vecmath
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.errors import DTypeError
from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- scalar functions


@exact
def _lerp(start, end, weight):
    """From the nearer end, so that weight 1 gives exactly the end."""
    step = end - start
    return start + weight * step if abs(weight) < type(start)(0.5) else end - step * (type(start)(1) - weight)


@exact
def _lerp_start(dy, weight):
    return dy * (type(dy)(1) - weight)


@exact
def _lerp_end(dy, weight):
    return dy * weight


@exact
def _lerp_weight(dy, start, end):
    return dy * (end - start)


@exact
def _add_product(a, b, c, value):
    return a + value * b * c


@exact
def _product(dy, b, value):
    return dy * (value * b)


@exact
def _add_quotient(a, b, c, value):
    return a + value * b / c


@exact
def _quotient(dy, c, value):
    return dy * value / c


@exact
def _quotient_denominator(dy, b, c, value):
    return -dy * (value * b / c / c)


@exact
def _logaddexp(a, b):
    larger = a if a > b or a != a else b
    y = larger + vecmath.log1p(vecmath.exp(-abs(a - b)))
    return a if a == b and abs(a) == type(a)(math.inf) else y  # inf - inf is NaN


@exact
def _logaddexp_side(dy, a, b):
    return dy * vecmath.sigmoid(a - b)


@exact
def _xlogy(a, b):
    y = a * vecmath.log(b)
    y = type(a)(0) if a == type(a)(0) else y
    return b if b != b else y


@exact
def _xlogy_left(dy, a, b):
    y = dy * vecmath.log(b)
    return type(a)(0) if a == type(a)(0) and b <= type(b)(0) else y


@exact
def _xlogy_right(dy, a, b):
    return dy * (a / b)


# ---------------------------------------------------------------- autograd


class LerpOp(Op):
    """y = start + weight (end - start); weight may be a number."""

    value = MapN(_lerp)
    value_number = Map2(_lerp)
    from_start, from_end, from_weight = Map2(_lerp_start), Map2(_lerp_end), MapN(_lerp_weight)

    @classmethod
    def forward(cls, ctx: Context, start, end, weight):
        ctx.save(start, end, weight)
        if weight.shape or type(weight) is DeviceArray:
            return cls.value(start, end, weight)
        return cls.value_number(start, end, looking.number(weight))

    @classmethod
    def backward(cls, ctx: Context, dy):
        start, end, weight = ctx.saved
        wants_start, wants_end, wants_weight = ctx.needs_input_grad
        return (
            sum_to(cls.from_start(dy, weight), start.shape) if wants_start else None,
            sum_to(cls.from_end(dy, weight), end.shape) if wants_end else None,
            sum_to(cls.from_weight(dy, start, end), weight.shape) if wants_weight else None,
        )


class AddProductOp(Op):
    """y = a + value b c."""

    value = MapN(_add_product)
    product = Map2(_product)

    @classmethod
    def forward(cls, ctx: Context, a, b, c, value):
        ctx.save(b, c)
        ctx.shape, ctx.value = a.shape, value
        return cls.value(a, b, c, numbers=(value,))

    @classmethod
    def backward(cls, ctx: Context, dy):
        b, c = ctx.saved
        wants_a, wants_b, wants_c, _ = ctx.needs_input_grad
        return (
            sum_to(dy, ctx.shape) if wants_a else None,
            sum_to(cls.product(dy, c, ctx.value), b.shape) if wants_b else None,
            sum_to(cls.product(dy, b, ctx.value), c.shape) if wants_c else None,
            None,
        )


class AddQuotientOp(Op):
    """y = a + value b / c."""

    value = MapN(_add_quotient)
    quotient = Map2(_quotient)
    denominator = MapN(_quotient_denominator)

    @classmethod
    def forward(cls, ctx: Context, a, b, c, value):
        ctx.save(b, c)
        ctx.shape, ctx.value = a.shape, value
        return cls.value(a, b, c, numbers=(value,))

    @classmethod
    def backward(cls, ctx: Context, dy):
        b, c = ctx.saved
        wants_a, wants_b, wants_c, _ = ctx.needs_input_grad
        return (
            sum_to(dy, ctx.shape) if wants_a else None,
            sum_to(cls.quotient(dy, c, ctx.value), b.shape) if wants_b else None,
            sum_to(cls.denominator(dy, b, c, numbers=(ctx.value,)), c.shape) if wants_c else None,
            None,
        )


class LogaddexpOp(BinaryOp):
    """y = ln(e^a + e^b)."""

    value = Map2(_logaddexp)
    _side = MapN(_logaddexp_side)

    @classmethod
    def left(cls, dy: Any, a: Any, b: Any) -> Any:
        return cls._side(dy, a, b)

    @classmethod
    def right(cls, dy: Any, a: Any, b: Any) -> Any:
        return cls._side(dy, b, a)


class XlogyOp(BinaryOp):
    """y = a ln b, 0 where a = 0."""

    value = Map2(_xlogy)
    _left, _right = MapN(_xlogy_left), MapN(_xlogy_right)

    @classmethod
    def left(cls, dy: Any, a: Any, b: Any) -> Any:
        return cls._left(dy, a, b)

    @classmethod
    def right(cls, dy: Any, a: Any, b: Any) -> Any:
        return cls._right(dy, a, b)


# ---------------------------------------------------------------- public


def lerp(input: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    r"""Linear interpolation, $y = a + w (b - a)$.

    Args:
        input: [*], a, float32 or float64.
        end: [*], b, of the same dtype.
        weight: w: a tensor of the same dtype or a number; the three shapes broadcast to each other.

    Returns:
        [*], the common shape, dtype of the input.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: The dtypes differ or are not floating point.

    Gradient:
        For input: $dy (1 - w)$. For end: $dy\, w$. For weight: $dy (b - a)$.

    Example:
        >>> nbdl.ops.lerp(nbdl.tensor([1.0, 2.0]), nbdl.tensor([3.0, 4.0]), 0.25)
        tensor([1.5000, 2.5000])
    """
    start, end, weight = as_tensor_operand("input", input), as_tensor_operand("end", end), as_operand("weight", weight)
    if start.dtype.kind != "f":
        raise DTypeError(f"input: expected float32 or float64, got {start.dtype}")
    for name, value in (("end", end), ("weight", weight)):
        if isinstance(value, Tensor) and value.dtype != start.dtype:
            raise DTypeError(f"{name}: expected {start.dtype}, the dtype of input, got {value.dtype}")
    if not isinstance(weight, Tensor):
        weight = typed_number("weight", weight, start.dtype)
    return LerpOp.apply(start, end, weight)


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    r"""Adds a product, $y = a + v\, b\, c$.

    Args:
        input: [*], a.
        tensor1: [*], b.
        tensor2: [*], c; the three shapes broadcast to each other.
        value: v; an integer for integer tensors.

    Returns:
        [*], the common shape; the dtype that the three promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: value is no integer and the tensors are.

    Gradient:
        For input: dy. For tensor1: $dy\, v\, c$. For tensor2: $dy\, v\, b$.

    Example:
        >>> nbdl.ops.addcmul(nbdl.tensor([1.0]), nbdl.tensor([2.0]), nbdl.tensor([3.0]), value=0.5)
        tensor([4.])
    """
    dtype, operands = _three(input, tensor1, tensor2, value)
    return to_dtype(AddProductOp.apply(*operands), dtype)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    r"""Adds a quotient, $y = a + v\, b / c$.

    Args:
        input: [*], a.
        tensor1: [*], b.
        tensor2: [*], c; the three shapes broadcast to each other.
        value: v.

    Returns:
        [*], the common shape; the dtype that the three promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: The three are integers.

    Gradient:
        For input: dy. For tensor1: $dy\, v / c$. For tensor2: $-dy\, v\, b / c^2$.

    Example:
        >>> nbdl.ops.addcdiv(nbdl.tensor([1.0]), nbdl.tensor([6.0]), nbdl.tensor([3.0]), value=0.5)
        tensor([2.])
    """
    dtype, operands = _three(input, tensor1, tensor2, value)
    if dtype.kind != "f":
        raise DTypeError(f"input, tensor1, tensor2: expected a floating-point dtype among them, got {dtype}")
    return to_dtype(AddQuotientOp.apply(*operands), dtype)


def _three(input: Any, tensor1: Any, tensor2: Any, value: float) -> tuple[Any, list[Any]]:
    """The dtype of the result, and the operands and value in the computing dtype."""
    names, operands = ("input", "tensor1", "tensor2"), (input, tensor1, tensor2)
    for name, x in zip(names, operands, strict=True):
        as_tensor_operand(name, x)
    dtype, parts = meet(names, operands)
    number = as_operand("value", value)
    if isinstance(number, Tensor):
        parts[1], number = parts[1] * number, 1  # it may want a gradient
    if dtype.kind != "f" and isinstance(number, float) and number != 1:
        raise DTypeError(f"value: expected an integer for {dtype} tensors, got {value}")
    return dtype, [*parts, typed_number("value", number, computing_dtype(dtype))]


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    r"""The logarithm of a sum of exponentials, $y = \ln(e^a + e^b)$, without overflow.

    Args:
        input: [*], a, floating point.
        other: [*], b, floating point; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: Neither operand is floating point.

    Gradient:
        For input: $dy\, e^{a - y}$. For other: $dy\, e^{b - y}$.

    Example:
        >>> nbdl.ops.logaddexp(nbdl.tensor([0.0]), nbdl.tensor([0.0]))
        tensor([0.6931])
    """
    a, b = as_tensor_operand("input", input), as_tensor_operand("other", other)
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        raise DTypeError(f"input: expected float32 or float64, got {a.dtype}")
    return apply_pair(LogaddexpOp, a, b)


def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    r"""The logarithm to base 2 of a sum of powers of two, $y = \log_2(2^a + 2^b)$, without overflow.

    Args:
        input: [*], a, floating point.
        other: [*], b, floating point; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: Neither operand is floating point.

    Gradient:
        For input: $dy\, 2^{a - y}$. For other: $dy\, 2^{b - y}$.

    Example:
        >>> nbdl.ops.logaddexp2(nbdl.tensor([3.0]), nbdl.tensor([3.0]))
        tensor([4.])
    """
    a, b = as_tensor_operand("input", input), as_tensor_operand("other", other)
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        raise DTypeError(f"input: expected float32 or float64, got {a.dtype}")
    dtype, (a, b) = meet(("input", "other"), (a, b))
    return to_dtype(mul(logaddexp(mul(a, math.log(2)), mul(b, math.log(2))), 1 / math.log(2)), dtype)


def xlogy(input: Tensor | float, other: Tensor | float) -> Tensor:
    r"""The product with a logarithm, $y = a \ln b$, 0 where a = 0.

    Args:
        input: [*], a: a tensor or a number; integers are converted to the default dtype.
        other: [*], b: a tensor or a number; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        For input: $dy \ln b$, 0 where a = 0 and b <= 0. For other: $dy\, a / b$.

    Example:
        >>> nbdl.ops.xlogy(nbdl.tensor([0.0, 2.0]), nbdl.tensor([0.0, 1.5]))
        tensor([0.0000, 0.8109])
    """
    return apply_pair(XlogyOp, input, other, floating=True)
