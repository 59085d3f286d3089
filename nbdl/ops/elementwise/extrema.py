r"""Extrema: of two values the greater or the lesser, and values kept in an interval.

The gradient goes to the operand that was picked. Where `maximum` or `minimum` meet a tie, each operand gets half of it;
NaN wins over every number. `fmax` and `fmin` prefer numbers to NaN and give a tie's gradient to the first operand.

The references are NumPy's functions of the same names.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor, wrap
from nbdl.ops.elementwise.arithmetic import mul
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.ops.elementwise.layout import sum_to
from nbdl.ops.elementwise.maps import Map1, Map2, MapN
from nbdl.ops.elementwise.operands import BinaryOp, UnaryOp, apply_pair, as_tensor_operand, meet
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- scalar functions


@exact
def _maximum(a, b):
    return a if a > b or a != a else b


@exact
def _minimum(a, b):
    return a if a < b or a != a else b


@exact
def _maximum_left(dy, a, b):
    return dy * (type(a)(0.5) if a == b else type(a)(0) if a < b else type(a)(1))


@exact
def _minimum_left(dy, a, b):
    return dy * (type(a)(0.5) if a == b else type(a)(0) if a > b else type(a)(1))


@exact
def _fmax(a, b):
    return a if a >= b or b != b else b


@exact
def _fmin(a, b):
    return a if a <= b or b != b else b


@exact
def _fmax_left(dy, a, b):
    return dy if a >= b or b != b else type(a)(0)


@exact
def _fmin_left(dy, a, b):
    return dy if a <= b or b != b else type(a)(0)


@exact
def _fmax_right(dy, a, b):
    return type(a)(0) if a >= b or b != b else dy


@exact
def _fmin_right(dy, a, b):
    return type(a)(0) if a <= b or b != b else dy


@exact
def _clamp(x, low, high):
    y = low if x < low else x
    return high if y > high else y


@exact
def _clamp_between(x, low, high):
    """As `_clamp`; a bound that is NaN gives NaN."""
    y = _clamp(x, low, high)
    y = low if low != low else y
    return high if high != high else y


@exact
def _clamp_slope(dy, x, low, high):
    return dy if low <= x <= high else type(dy)(0)


@exact
def _clamp_low(dy, x, low, high):
    return dy if x < low and low < high else type(dy)(0)


@exact
def _clamp_high(dy, x, low, high):
    return dy if x > high or high < low else type(dy)(0)


# ---------------------------------------------------------------- autograd


class ExtremumOp(BinaryOp):
    """y = the greater or the lesser operand."""

    from_left: MapN
    from_right: MapN

    @classmethod
    def left(cls, dy: Any, a: Any, b: Any) -> Any:
        return cls.from_left(dy, a, b)

    @classmethod
    def right(cls, dy: Any, a: Any, b: Any) -> Any:
        return cls.from_right(dy, a, b)


class MaximumOp(ExtremumOp):
    """y = max(a, b)."""

    value = Map2(_maximum)
    from_left = MapN(_maximum_left)

    @classmethod
    def right(cls, dy: Any, a: Any, b: Any) -> Any:
        return cls.from_left(dy, b, a)


class MinimumOp(MaximumOp):
    """y = min(a, b)."""

    value = Map2(_minimum)
    from_left = MapN(_minimum_left)


class FmaxOp(ExtremumOp):
    """y = max(a, b), the number where one is NaN."""

    value = Map2(_fmax)
    from_left, from_right = MapN(_fmax_left), MapN(_fmax_right)


class FminOp(ExtremumOp):
    """y = min(a, b), the number where one is NaN."""

    value = Map2(_fmin)
    from_left, from_right = MapN(_fmin_left), MapN(_fmin_right)


class ClampOp(UnaryOp):
    """y = x brought into [low, high]."""

    value = Map1(_clamp)
    slope = Map2(_clamp_slope)


class ClampTensorsOp(Op):
    """y = x brought into [low, high], bounds element by element."""

    value = MapN(_clamp_between)
    slopes = MapN(_clamp_slope), MapN(_clamp_low), MapN(_clamp_high)

    @classmethod
    def forward(cls, ctx: Context, x, low, high):
        ctx.save(x, low, high)
        return cls.value(x, low, high)

    @classmethod
    def backward(cls, ctx: Context, dy):
        x, low, high = ctx.saved
        return tuple(
            sum_to(slope(dy, x, low, high), operand.shape) if wanted else None
            for slope, operand, wanted in zip(cls.slopes, ctx.saved, ctx.needs_input_grad, strict=True)
        )


# ---------------------------------------------------------------- public


def maximum(input: Tensor, other: Tensor) -> Tensor:
    r"""The greater of two elements; NaN if one of them is.

    Args:
        input: [*], a.
        other: [*], b; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        dy for the operand that was picked; half of it for each where they are equal.

    Example:
        >>> nbdl.ops.maximum(nbdl.tensor([1.0, 5.0]), nbdl.tensor([3.0, 4.0]))
        tensor([3., 5.])
    """
    return _extremum(MaximumOp, input, other)


def minimum(input: Tensor, other: Tensor) -> Tensor:
    r"""The lesser of two elements; NaN if one of them is.

    Args:
        input: [*], a.
        other: [*], b; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        dy for the operand that was picked; half of it for each where they are equal.

    Example:
        >>> nbdl.ops.minimum(nbdl.tensor([1.0, 5.0]), nbdl.tensor([3.0, 4.0]))
        tensor([1., 4.])
    """
    return _extremum(MinimumOp, input, other)


def fmax(input: Tensor, other: Tensor) -> Tensor:
    r"""The greater of two elements; the number where the other is NaN.

    Args:
        input: [*], a.
        other: [*], b; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        dy for the operand that was picked; the input where they are equal.

    Example:
        >>> nbdl.ops.fmax(nbdl.tensor([1.0, 5.0]), nbdl.tensor([3.0, math.nan]))
        tensor([3., 5.])
    """
    return _extremum(FmaxOp, input, other)


def fmin(input: Tensor, other: Tensor) -> Tensor:
    r"""The lesser of two elements; the number where the other is NaN.

    Args:
        input: [*], a.
        other: [*], b; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        dy for the operand that was picked; the input where they are equal.

    Example:
        >>> nbdl.ops.fmin(nbdl.tensor([1.0, 5.0]), nbdl.tensor([3.0, math.nan]))
        tensor([1., 5.])
    """
    return _extremum(FminOp, input, other)


def _extremum(op: type[BinaryOp], input: Any, other: Any) -> Tensor:
    return apply_pair(op, as_tensor_operand("input", input), as_tensor_operand("other", other))


def clamp(input: Tensor, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    r"""Brings elements into an interval, $y = \min(\max(x, \mathrm{min}), \mathrm{max})$.

    Args:
        input: [*], x, any dtype.
        min: The lower bound: a number, a tensor whose shape broadcasts with the input's, or None.
        max: The upper bound, likewise. Where min exceeds max, max is the result.

    Returns:
        [*], the common shape; the dtype that the three promote to.

    Raises:
        ArgumentError: Neither bound is given.
        ShapeError: The shapes do not broadcast.

    Gradient:
        For input: dy inside of the closed interval, else 0. For a bound that is a tensor: dy where it took effect.

    Example:
        >>> nbdl.ops.clamp(nbdl.tensor([-2.0, 0.5, 9.0]), 0, 1)
        tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise ArgumentError("min, max: expected at least one of them, got None twice")
    names = [name for name, bound in (("min", min), ("max", max)) if bound is not None]
    given = [bound for bound in (min, max) if bound is not None]
    dtype, (x, *bounds) = meet(("input", *names), (as_tensor_operand("input", input), *given))
    low = bounds[0] if min is not None else _lowest(x._array.dtype)
    high = bounds[-1] if max is not None else _highest(x._array.dtype)
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        low, high = (bound if isinstance(bound, Tensor) else wrap(np.asarray(bound)) for bound in (low, high))
        return to_dtype(ClampTensorsOp.apply(x, low, high), dtype)
    if low != low or high != high:
        return to_dtype(mul(x, math.nan), dtype)
    return to_dtype(ClampOp.apply(x, low, high), dtype)


def clip(input: Tensor, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """`clamp` under NumPy's name."""
    return clamp(input, min, max)


def _lowest(dtype: np.dtype) -> Any:
    return dtype.type(-math.inf) if dtype.kind == "f" else dtype.type(np.iinfo(dtype).min)


def _highest(dtype: np.dtype) -> Any:
    return dtype.type(math.inf) if dtype.kind == "f" else dtype.type(np.iinfo(dtype).max)
