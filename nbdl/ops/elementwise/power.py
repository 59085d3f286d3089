r"""Powers and roots.

$y = a^b$ has $da = dy\, b\, a^{b-1}$ and $db = dy\, y \ln a$. Where these are of the form $0 \cdot \infty$ the limits
count: the gradient of a is 0 for b = 0, that of b is 0 for a = 0 and b >= 0. The exponents 2, 3, 0.5, -1 and 1 are
products, roots and reciprocals.

The references are NumPy's functions of the same names.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Tensor
from nbdl.ops.elementwise.arithmetic import ReciprocalOp, mul
from nbdl.ops.elementwise.casting import CloneOp, to_dtype
from nbdl.ops.elementwise.exponential import exp2
from nbdl.ops.elementwise.layout import aligned, in_order, repeated, sum_to
from nbdl.ops.elementwise.maps import Map1, Map2, MapN
from nbdl.ops.elementwise.operands import (
    BinaryOp,
    UnaryOp,
    apply_float,
    apply_pair,
    as_operand,
    as_tensor_operand,
    meet,
    zeros_like,
)
from nbdl.runtime import arrays
from nbdl.runtime.dtypes import BOOL, FLOAT64, INT64, get_default_dtype
from nbdl.runtime.errors import ArgumentError, DTypeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_map, cuda, cuda_kernel, exact
from nbdl.runtime.powers import power, powers

# ---------------------------------------------------------------- scalar functions


@exact
def _power_sides(dy, a, b):
    """The gradients of a and of b; in a kernel that needs one of them the other costs nothing."""
    y, below, log = powers(a, b)
    left = dy * b * below if b != type(b)(0) else type(a)(0)
    flat = a == type(a)(0) and b >= type(b)(0)
    return left, type(a)(0) if flat else dy * y * log


@exact
def _power_left(dy, a, b):
    left, _ = _power_sides(dy, a, b)
    return left


@exact
def _power_right(dy, a, b):
    _, right = _power_sides(dy, a, b)
    return right


@exact
def _power_of(x, base):
    return power(base, x)


@exact
def _power_of_slope(dy, x, base):
    return _power_right(dy, base, x)


@exact
def _integer_power(a, b):
    """By squaring; 1 / a^-b cut off to an integer where b is negative."""
    result, base, exponent = a - a + 1, a, abs(b)
    while exponent > 0:
        if exponent & 1:
            result = result * base
        base = base * base
        exponent = exponent >> 1
    if b < 0:
        result = result if result == 1 or result == -1 else result - result
    return result


@exact
def _integer_power_of(x, base):
    return _integer_power(base, x)


@exact
def _square(x):
    return x * x


@exact
def _square_slope(dy, x):
    return dy * (x + x)


@exact
def _cube(x):
    return x * x * x


@exact
def _cube_slope(dy, x):
    return dy * (type(x)(3) * x * x)


@exact
def _sqrt(x):
    return math.sqrt(x)


@exact
def _sqrt_slope(dy, y):
    return dy / (y + y)


@exact
def _rsqrt(x):
    return type(x)(1) / math.sqrt(x)


@exact
def _rsqrt_slope(dy, y):
    return type(y)(-0.5) * dy * (y * y * y)


@exact
def _hypot(a, b):
    """Scaled by the larger side, so that no square overflows or vanishes."""
    a, b = abs(a), abs(b)
    larger = a if a > b else b
    smaller = b if a > b else a
    ratio = smaller / larger if larger > type(a)(0) else type(a)(0)
    y = larger * math.sqrt(type(a)(1) + ratio * ratio)
    y = a + b if a != a or b != b else y
    return type(a)(math.inf) if a == type(a)(math.inf) or b == type(a)(math.inf) else y


@exact
def _hypot_side(dy, a, y):
    return dy * (a / y)


# ---------------------------------------------------------------- both gradients


@cpu_map
def _power_gradients_cpu(dy, a, b, da, db, start, stop):
    """All [N]. One task an element."""
    for i in range(start, stop):
        da[i], db[i] = _power_sides(dy[i], a[i], b[i])


@cuda_kernel
def _power_gradients_cuda(dy, a, b, da, db):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < dy.size:
        da[i], db[i] = _power_sides(dy[i], a[i], b[i])


_power_gradients = Kernel(
    cpu=_power_gradients_cpu,
    cuda=_power_gradients_cuda,
    tasks=lambda dy, *_: dy.size,
    blocks=lambda dy, *_: max(1, -(-dy.size // BLOCK)),
)

# ---------------------------------------------------------------- autograd


class PowOp(BinaryOp):
    """y = a^b; b may be a number. Where both gradients are wanted, one logarithm serves both."""

    value = Map2(power)
    integer = Map2(_integer_power)
    _left = MapN(_power_left)
    _left_number = Map2(_power_left)
    _right = MapN(_power_right)

    @classmethod
    def forward(cls, ctx: Context, a, b):
        if a.dtype.kind != "f":
            return cls.integer(a, b)
        ctx.save(a, b)
        return cls.value(a, b)

    @classmethod
    def backward(cls, ctx: Context, dy):
        if not all(ctx.needs_input_grad):
            return super().backward(ctx, dy)
        a, b = ctx.saved
        parts, shape, back = aligned(dy, a, b)
        da, db = arrays.empty_beside(dy, shape), arrays.empty_beside(dy, shape)
        _power_gradients(*[repeated(x, shape).ravel() for x in parts], da.ravel(), db.ravel())
        return sum_to(in_order(da, back), a.shape), sum_to(in_order(db, back), b.shape)

    @classmethod
    def left(cls, dy: Any, a: Any, b: Any) -> Any:
        return cls._left(dy, a, b) if isinstance(b, np.ndarray) else cls._left_number(dy, a, b)

    @classmethod
    def right(cls, dy: Any, a: Any, b: Any) -> Any:
        return cls._right(dy, a, b)


class PowerOfNumberOp(UnaryOp):
    """y = number^x."""

    value = Map1(_power_of)
    integer = Map1(_integer_power_of)
    slope = Map2(_power_of_slope)

    @classmethod
    def forward(cls, ctx: Context, x, number):
        ctx.numbers = (number,)
        ctx.save(x)
        return (cls.value if x.dtype.kind == "f" else cls.integer)(x, number)


PowOp.of_number = PowerOfNumberOp


class SquareOp(UnaryOp):
    """y = x^2."""

    value = Map1(_square)
    slope = Map2(_square_slope)


class CubeOp(UnaryOp):
    """y = x^3."""

    value = Map1(_cube)
    slope = Map2(_cube_slope)


class SqrtOp(UnaryOp):
    """y = the square root."""

    value = Map1(_sqrt)
    slope = Map2(_sqrt_slope)
    keeps = "y"


class RsqrtOp(UnaryOp):
    """y = 1 / the square root."""

    value = Map1(_rsqrt)
    slope = Map2(_rsqrt_slope)
    keeps = "y"


class OneOp(UnaryOp):
    """y = x^0 = 1."""

    @classmethod
    def forward(cls, ctx: Context, x):
        return arrays.full(x.shape, 1, x.dtype)

    @classmethod
    def backward(cls, ctx: Context, dy):
        return zeros_like(dy)


class HypotOp(BinaryOp):
    """y = sqrt(a^2 + b^2)."""

    value = Map2(_hypot)
    _side = MapN(_hypot_side)

    @classmethod
    def forward(cls, ctx: Context, a, b):
        y = cls.value(a, b)
        ctx.save(a, b, y)
        return y

    @classmethod
    def backward(cls, ctx: Context, dy):
        a, b, y = ctx.saved
        wants_a, wants_b = ctx.needs_input_grad
        da = sum_to(cls._side(dy, a, y), a.shape) if wants_a else None
        db = sum_to(cls._side(dy, b, y), b.shape) if wants_b else None
        return da, db


_SHORT = {2: SquareOp, 3: CubeOp, 0.5: SqrtOp, -1: ReciprocalOp, -0.5: RsqrtOp, 0: OneOp}
"""Exponents for which there is a shorter way."""

# ---------------------------------------------------------------- public


def pow(input: Tensor | float, exponent: Tensor | float) -> Tensor:
    r"""The power, $y = a^b$.

    Args:
        input: [*], a: a tensor or a number.
        exponent: [*], b: a tensor or a number; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        ArgumentError: An integer tensor is raised to a negative integer.
        DTypeError: Both operands are bool.

    Gradient:
        For input: $dy\, b\, a^{b-1}$, 0 where b = 0. For exponent: $dy\, y \ln a$, 0 where a = 0 and b >= 0.

    Example:
        >>> nbdl.ops.pow(nbdl.tensor([1.0, 2.0, 3.0]), 2)
        tensor([1., 4., 9.])
    """
    exponent = as_operand("exponent", exponent)
    if not isinstance(exponent, Tensor):
        tensor = as_tensor_operand("input", input)
        kind = tensor._array.dtype.kind
        if kind == "f":
            short = _SHORT.get(exponent)
            if short is not None:
                return short.apply(tensor)
        if exponent == 1 and (kind == "f" or exponent is True):
            return CloneOp.apply(tensor, True)
        if kind != "f" and isinstance(exponent, int) and exponent < 0:
            raise ArgumentError(f"exponent: expected a non-negative power of integers, got {exponent}")
    return apply_pair(PowOp, input, exponent, allow_bool=False)


def square(input: Tensor) -> Tensor:
    """The square, $y = x^2$.

    Args:
        input: [*], any dtype.

    Returns:
        [*], dtype of the input; int64 for bool.

    Gradient:
        For input: $2x\\, dy$.

    Example:
        >>> nbdl.ops.square(nbdl.tensor([1.0, -2.0]))
        tensor([1., 4.])
    """
    tensor = as_tensor_operand("input", input)
    dtype = tensor._array.dtype
    if dtype.kind == "f":
        return SquareOp.apply(tensor)
    result = SquareOp.apply(to_dtype(tensor, INT64))
    return result if dtype == BOOL else to_dtype(result, dtype)


def sqrt(input: Tensor) -> Tensor:
    r"""The square root; NaN for negative elements.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy / (2y)$, infinite at 0.

    Example:
        >>> nbdl.ops.sqrt(nbdl.tensor([4.0, 2.0]))
        tensor([2.0000, 1.4142])
    """
    return apply_float(SqrtOp, input)


def rsqrt(input: Tensor) -> Tensor:
    r"""The reciprocal of the square root, $y = x^{-1/2}$.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $-\tfrac12\, dy\, y^3$.

    Example:
        >>> nbdl.ops.rsqrt(nbdl.tensor([4.0]))
        tensor([0.5000])
    """
    return apply_float(RsqrtOp, input)


def hypot(input: Tensor, other: Tensor) -> Tensor:
    r"""The long side of a right triangle, $y = \sqrt{a^2 + b^2}$, without overflow.

    Args:
        input: [*], a, floating point.
        other: [*], b, floating point; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: Neither operand is floating point.

    Gradient:
        For input: $dy\, a / y$. For other: $dy\, b / y$. NaN at the origin.

    Example:
        >>> nbdl.ops.hypot(nbdl.tensor([3.0]), nbdl.tensor([4.0]))
        tensor([5.])
    """
    a, b = as_tensor_operand("input", input), as_tensor_operand("other", other)
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        raise DTypeError(f"input: expected float32 or float64, got {a.dtype}")
    return apply_pair(HypotOp, a, b)


def float_power(input: Tensor | float, exponent: Tensor | float) -> Tensor:
    """The power in float64, whatever the dtypes of the operands.

    Args:
        input: [*], a: a tensor or a number.
        exponent: [*], b: a tensor or a number; the shapes broadcast to each other.

    Returns:
        [*], the common shape, float64.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        As for `pow`, in the dtype of each operand.

    Example:
        >>> nbdl.ops.float_power(nbdl.tensor([2, 3]), -1)
        tensor([0.5000, 0.3333], dtype=float64)
    """
    a, b = (as_operand(name, value) for name, value in (("input", input), ("exponent", exponent)))
    a, b = (to_dtype(value, FLOAT64) if isinstance(value, Tensor) else float(value) for value in (a, b))
    return pow(a, b)


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    r"""A number times a power of two, $y = a \, 2^b$.

    Args:
        input: [*], a, any dtype.
        other: [*], b, any dtype; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to, floating point.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        For input: $dy \, 2^b$. For other: $dy\, y \ln 2$.

    Example:
        >>> nbdl.ops.ldexp(nbdl.tensor([1.5]), nbdl.tensor([2]))
        tensor([6.])
    """
    names, operands = ("input", "other"), (as_tensor_operand("input", input), as_tensor_operand("other", other))
    dtype, (a, b) = meet(names, operands)
    if dtype.kind != "f":
        dtype, (a, b) = meet(names, operands, get_default_dtype())
    return to_dtype(mul(a, exp2(b)), dtype)
