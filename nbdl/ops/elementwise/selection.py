r"""Selection: of several values the one that a condition or an order picks. The gradient goes to the one picked.

Where maximum or minimum meet a tie, each operand gets half of the gradient; NaN wins over every number. fmax and fmin
prefer numbers to NaN and give a tie's gradient to the first operand.

The references are NumPy's functions of the same names.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor, wrap
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.ops.elementwise.comparison import ne
from nbdl.ops.elementwise.layout import sum_to
from nbdl.ops.elementwise.maps import Map1, Map2, MapN
from nbdl.ops.elementwise.operands import (
    BinaryOp,
    UnaryOp,
    apply_pair,
    as_operand,
    as_tensor_operand,
    meet,
    typed_number,
    zeros_like,
)
from nbdl.runtime import vecmath
from nbdl.runtime.dtypes import BOOL, result_type
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- scalar functions


@exact
def _where(condition, a, b):
    return a if condition else b


@exact
def _keep_true(dy, condition):
    return dy if condition else type(dy)(0)


@exact
def _keep_false(dy, condition):
    return type(dy)(0) if condition else dy


@exact
def _fill_true(x, condition, number):
    return number if condition else x


@exact
def _fill_false(x, condition, number):
    return x if condition else number


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
    y = high if y > high else y
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


@exact
def _nan_to_num(x, nan, posinf, neginf):
    y = nan if x != x else x
    y = posinf if x == type(x)(math.inf) else y
    return neginf if x == type(x)(-math.inf) else y


@exact
def _nan_to_num_slope(dy, x, nan, posinf, neginf):
    return dy if abs(x) < type(x)(math.inf) else type(dy)(0)


@exact
def _copysign(a, b):
    return vecmath.copysign(a, b)


@exact
def _copysign_left(dy, a, y):
    ratio = y / a
    return dy * ratio if a != type(a)(0) else type(a)(0)


@exact
def _heaviside(a, b):
    y = type(a)(1) if a > type(a)(0) else type(a)(0)
    y = b if a == type(a)(0) else y
    return a if a != a else y


# ---------------------------------------------------------------- autograd


class WhereOp(Op):
    """y = a where the condition holds, else b."""

    value = MapN(_where)
    left = Map2(_keep_true)
    right = Map2(_keep_false)

    @classmethod
    def forward(cls, ctx: Context, condition, a, b):
        ctx.save(condition)
        ctx.shapes = a.shape, b.shape
        return cls.value(condition, a, b)

    @classmethod
    def backward(cls, ctx: Context, dy):
        (condition,) = ctx.saved
        _, wants_a, wants_b = ctx.needs_input_grad
        a_shape, b_shape = ctx.shapes
        da = sum_to(cls.left(dy, condition), a_shape) if wants_a else None
        db = sum_to(cls.right(dy, condition), b_shape) if wants_b else None
        return None, da, db


class FillTrueOp(Op):
    """y = number where the condition holds, else x."""

    value = Map2(_fill_true)
    slope = WhereOp.right

    @classmethod
    def forward(cls, ctx: Context, x, condition, number):
        ctx.save(condition)
        ctx.shape = x.shape
        return cls.value(x, condition, number)

    @classmethod
    def backward(cls, ctx: Context, dy):
        return sum_to(cls.slope(dy, *ctx.saved), ctx.shape), None, None


class FillFalseOp(FillTrueOp):
    """y = x where the condition holds, else number."""

    value = Map2(_fill_false)
    slope = WhereOp.left


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

    value = MapN(_clamp)
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


class NanToNumOp(UnaryOp):
    """y = x, numbers in place of NaN and infinities."""

    value = Map1(_nan_to_num)
    slope = Map2(_nan_to_num_slope)


class CopysignOp(BinaryOp):
    """y = |a| with the sign of b."""

    value = Map2(_copysign)
    _left = MapN(_copysign_left)

    @classmethod
    def forward(cls, ctx: Context, a, b):
        y = cls.value(a, b)
        ctx.save(a, y)
        ctx.shapes = a.shape, b.shape
        return y

    @classmethod
    def backward(cls, ctx: Context, dy):
        a, y = ctx.saved
        wants_a, wants_b = ctx.needs_input_grad
        a_shape, b_shape = ctx.shapes
        da = sum_to(cls._left(dy, a, y), a_shape) if wants_a else None
        return da, sum_to(zeros_like(dy), b_shape) if wants_b else None


class HeavisideOp(BinaryOp):
    """y = 0 for a < 0, b for a = 0, 1 for a > 0. No gradient."""

    value = Map2(_heaviside)

    @classmethod
    def left(cls, dy: Any, a: Any, b: Any) -> Any:
        return zeros_like(dy)

    right = left


# ---------------------------------------------------------------- conditions


def where(condition: Tensor, input: Tensor | float | None = None, other: Tensor | float | None = None) -> Any:
    r"""Picks elements of `input` where the condition holds, of `other` elsewhere.

    Args:
        condition: [*], bool.
        input: [*], a: a tensor or a number.
        other: [*], b: a tensor or a number; the three shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to. With the condition alone: the indices of its true
        elements, a tensor for each dimension.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: The condition is not bool.

    Gradient:
        For input: dy where the condition holds, else 0. For other: the opposite.

    Example:
        >>> nbdl.ops.where(nbdl.tensor([True, False]), nbdl.tensor([1.0, 2.0]), 0.0)
        tensor([1., 0.])
    """
    if input is None and other is None:
        return _true_indices(as_tensor_operand("condition", condition))
    condition = as_tensor_operand("condition", condition)
    if condition.dtype != BOOL:
        raise DTypeError(f"condition: expected bool, got {condition.dtype}")
    if input is None or other is None:
        raise ArgumentTypeError("input, other: expected both or neither")
    a, b = as_operand("input", input), as_operand("other", other)
    tensors = [value._array for value in (a, b) if isinstance(value, Tensor)]
    dtype = result_type(tensors, [value for value in (a, b) if not isinstance(value, Tensor)])
    a, b = (_in_dtype(name, value, dtype) for name, value in (("input", a), ("other", b)))
    if not isinstance(b, Tensor) and isinstance(a, Tensor):
        return FillFalseOp.apply(a, condition, b)
    if not isinstance(a, Tensor) and isinstance(b, Tensor):
        return FillTrueOp.apply(b, condition, a)
    if not isinstance(a, Tensor):
        a, b = wrap(np.asarray(a)), wrap(np.asarray(b))
    return WhereOp.apply(condition, a, b)


def _in_dtype(name: str, value: Any, dtype: np.dtype) -> Any:
    return to_dtype(value, dtype) if isinstance(value, Tensor) else typed_number(name, value, dtype)


def _true_indices(condition: Tensor) -> tuple[Tensor, ...]:
    """The indices of the elements that are not 0, one tensor a dimension."""
    truth = condition._array if condition.dtype == BOOL else ne(condition, 0)._array
    return tuple(wrap(indices) for indices in (np.nonzero(truth) if truth.ndim else np.nonzero(truth.reshape(1))))


def masked_fill(input: Tensor, mask: Tensor, value: Tensor | float) -> Tensor:
    r"""Puts one value in the places where the mask is true.

    Args:
        input: [*], any dtype.
        mask: [*], bool; the shapes broadcast to each other.
        value: A number, or a tensor of no dimension; it is converted to the dtype of the input.

    Returns:
        [*], the common shape, dtype of the input.

    Raises:
        ShapeError: The shapes do not broadcast, or value has dimensions.
        DTypeError: The mask is not bool.

    Gradient:
        For input: dy, 0 where the mask is true. For value: the sum of dy there.

    Example:
        >>> nbdl.ops.masked_fill(nbdl.tensor([1.0, 2.0]), nbdl.tensor([False, True]), -1)
        tensor([ 1., -1.])
    """
    tensor, mask, filling = (
        as_tensor_operand("input", input),
        as_tensor_operand("mask", mask),
        as_operand("value", value),
    )
    if mask.dtype != BOOL:
        raise DTypeError(f"mask: expected bool, got {mask.dtype}")
    if isinstance(filling, Tensor):
        if filling.ndim:
            raise ShapeError(f"value: expected a number or a tensor of no dimension, got shape {list(filling.shape)}")
        return WhereOp.apply(mask, to_dtype(filling, tensor.dtype), tensor)
    if tensor.dtype.kind != "f":
        filling = int(filling)
    return FillTrueOp.apply(tensor, mask, typed_number("value", filling, tensor.dtype))


# ---------------------------------------------------------------- extrema


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
    return to_dtype(ClampOp.apply(x, low, high), dtype)


def clip(input: Tensor, min: Tensor | float | None = None, max: Tensor | float | None = None) -> Tensor:
    """`clamp` under NumPy's name."""
    return clamp(input, min, max)


def _lowest(dtype: np.dtype) -> Any:
    return dtype.type(-math.inf) if dtype.kind == "f" else dtype.type(np.iinfo(dtype).min)


def _highest(dtype: np.dtype) -> Any:
    return dtype.type(math.inf) if dtype.kind == "f" else dtype.type(np.iinfo(dtype).max)


def nan_to_num(
    input: Tensor, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    r"""Puts numbers in the place of NaN and infinities.

    Args:
        input: [*], any dtype; integers have none of them.
        nan: In place of NaN; 0 when None.
        posinf: In place of infinity; the greatest finite number when None.
        neginf: In place of minus infinity; the least finite number when None.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy where x is finite, else 0.

    Example:
        >>> nbdl.ops.nan_to_num(nbdl.tensor([math.nan, math.inf, 1.0]), posinf=9.0)
        tensor([0., 9., 1.])
    """
    tensor = as_tensor_operand("input", input)
    dtype = tensor._array.dtype
    if dtype.kind != "f":
        return tensor
    limits = np.finfo(dtype)
    numbers = (
        ("nan", 0.0 if nan is None else nan),
        ("posinf", limits.max if posinf is None else posinf),
        ("neginf", limits.min if neginf is None else neginf),
    )
    return NanToNumOp.apply(tensor, *[typed_number(name, float(number), dtype) for name, number in numbers])


# ---------------------------------------------------------------- signs and steps


def copysign(input: Tensor, other: Tensor | float) -> Tensor:
    r"""The magnitude of a with the sign of b.

    Args:
        input: [*], a; integers and bools are converted to the default dtype.
        other: [*], b: a tensor or a number; the shapes broadcast to each other.

    Returns:
        [*], the common shape.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        For input: $dy \cdot y / a$, 0 where a = 0. For other: 0.

    Example:
        >>> nbdl.ops.copysign(nbdl.tensor([1.0, -2.0]), -1.0)
        tensor([-1., -2.])
    """
    return apply_pair(CopysignOp, as_tensor_operand("input", input), other, floating=True)


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    r"""The unit step: 0 for a < 0, b for a = 0, 1 for a > 0.

    Args:
        input: [*], a.
        values: [*], b, of the same dtype; the shapes broadcast to each other.

    Returns:
        [*], the common shape.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: The dtypes differ.

    Gradient:
        0.

    Example:
        >>> nbdl.ops.heaviside(nbdl.tensor([-1.0, 0.0, 2.0]), nbdl.tensor([0.5]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    a, b = as_tensor_operand("input", input), as_tensor_operand("values", values)
    if a.dtype != b.dtype:
        raise DTypeError(f"values: expected {a.dtype}, the dtype of input, got {b.dtype}")
    return apply_pair(HeavisideOp, a, b)
