"""Rounding: down, up, towards zero, to the nearest, and the fraction that is left.

These functions are constant between integers, so their gradient is zero wherever it exists, and zero is what they give.
The references are NumPy's functions of the same names.
"""

from __future__ import annotations

import math
from typing import Any

from nbdl.autograd import Context, Tensor
from nbdl.ops.elementwise.maps import Map1
from nbdl.ops.elementwise.operands import UnaryOp, apply_any, as_tensor_operand, typed_number
from nbdl.runtime import vecmath
from nbdl.runtime.checks import check_float, check_int
from nbdl.runtime.circular import is_float32
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import exact

WHOLE = 2.0**52
"""From here on every number is an integer, and soon too large for one of 64 bits."""

# ---------------------------------------------------------------- scalar functions


@exact
def floor_of(x):
    """The greatest integer that is not greater, as a number of the type of x."""
    return vecmath.copysign(type(x)(math.floor(x)), x) if abs(x) < type(x)(WHOLE) else x


@exact
def ceil_of(x):
    """The least integer that is not less."""
    return vecmath.copysign(type(x)(math.ceil(x)), x) if abs(x) < type(x)(WHOLE) else x


@exact
def trunc_of(x):
    """The number without its fraction."""
    return vecmath.copysign(type(x)(math.trunc(x)), x) if abs(x) < type(x)(WHOLE) else x


@exact
def shift_of(x):
    """1.5 * 2^23 for float32, 1.5 * 2^52 for float64: beside it a number has no fraction, so adding it rounds."""
    return type(x)(1.5 * 2.0**23) if is_float32(x) else type(x)(1.5 * 2.0**52)


@exact
def round_of(x):
    """To the nearest integer, of two equally near ones to the even one."""
    shift = shift_of(x)
    return vecmath.copysign((x + shift) - shift, x) if abs(x) < shift * type(x)(0.25) else x


@exact
def _round_at(x, scale):
    return round_of(x * scale) / scale


@exact
def _round_above(x, scale):
    return round_of(x / scale) * scale


@exact
def _fraction(x):
    return x - trunc_of(x)


# ---------------------------------------------------------------- autograd


class FloorOp(UnaryOp):
    """y = the greatest integer that is not greater than x."""

    value = Map1(floor_of)
    slope = None


class CeilOp(UnaryOp):
    """y = the least integer that is not less than x."""

    value = Map1(ceil_of)
    slope = None


class TruncOp(UnaryOp):
    """y = x without its fraction."""

    value = Map1(trunc_of)
    slope = None


class RoundOp(UnaryOp):
    """y = the integer nearest to x."""

    value = Map1(round_of)
    slope = None


class RoundDecimalsOp(UnaryOp):
    """y = x rounded behind the decimal point; scale is a power of ten."""

    value = Map1(_round_at)
    slope = None


class RoundTensOp(UnaryOp):
    """y = x rounded before the decimal point; scale is a power of ten."""

    value = Map1(_round_above)
    slope = None


class FracOp(UnaryOp):
    """y = x - trunc(x)."""

    value = Map1(_fraction)

    @classmethod
    def forward(cls, ctx: Context, x):
        return cls.value(x)

    @classmethod
    def backward(cls, ctx: Context, dy):
        return dy


# ---------------------------------------------------------------- public


def floor(input: Tensor) -> Tensor:
    """The greatest integer that is not greater than x.

    Args:
        input: [*], floating point or integers.

    Returns:
        [*], dtype of the input.

    Raises:
        DTypeError: The input is bool.

    Gradient:
        For input: 0.

    Example:
        >>> nbdl.ops.floor(nbdl.tensor([1.7, -1.2]))
        tensor([ 1., -2.])
    """
    return _rounded(FloorOp, input)


def ceil(input: Tensor) -> Tensor:
    """The least integer that is not less than x.

    Args:
        input: [*], floating point or integers.

    Returns:
        [*], dtype of the input.

    Raises:
        DTypeError: The input is bool.

    Gradient:
        For input: 0.

    Example:
        >>> nbdl.ops.ceil(nbdl.tensor([1.2, -1.7]))
        tensor([ 2., -1.])
    """
    return _rounded(CeilOp, input)


def trunc(input: Tensor) -> Tensor:
    """The number without its fraction: rounded towards zero.

    Args:
        input: [*], floating point or integers.

    Returns:
        [*], dtype of the input.

    Raises:
        DTypeError: The input is bool.

    Gradient:
        For input: 0.

    Example:
        >>> nbdl.ops.trunc(nbdl.tensor([1.7, -1.7]))
        tensor([ 1., -1.])
    """
    return _rounded(TruncOp, input)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Rounds to the nearest integer, of two equally near ones to the even one.

    Args:
        input: [*], floating point or integers.
        decimals: Digits kept behind the decimal point; negative ones are dropped before it.

    Returns:
        [*], dtype of the input.

    Raises:
        DTypeError: The input is bool.
        ArgumentError: decimals is given for integers.

    Gradient:
        For input: 0.

    Example:
        >>> nbdl.ops.round(nbdl.tensor([0.5, 1.5, 2.4]))
        tensor([0., 2., 2.])
    """
    check_int("decimals", decimals, -300, 300)
    tensor = as_tensor_operand("input", input)
    if decimals == 0:
        return _rounded(RoundOp, tensor)
    if tensor.dtype.kind in "iu":
        raise ArgumentError(f"decimals: expected 0 for integers, got {decimals}")
    check_float("input", tensor)
    scale = typed_number("decimals", 10.0 ** (decimals if decimals > 0 else -decimals), tensor.dtype)
    return (RoundDecimalsOp if decimals > 0 else RoundTensOp).apply(tensor, scale)


def frac(input: Tensor) -> Tensor:
    """The fraction, $y = x - \\mathrm{trunc}(x)$, with the sign of x.

    Args:
        input: [*], float32 or float64.

    Returns:
        [*], dtype of the input.

    Raises:
        DTypeError: The input is not floating point.

    Gradient:
        For input: dy.

    Example:
        >>> nbdl.ops.frac(nbdl.tensor([1.25, -1.25]))
        tensor([ 0.2500, -0.2500])
    """
    return FracOp.apply(check_float("input", as_tensor_operand("input", input)))


def _rounded(op: type[UnaryOp], input: Any) -> Tensor:
    tensor = as_tensor_operand("input", input)
    return tensor if tensor._array.dtype.kind in "iu" else apply_any(op, tensor)
