r"""Selection: of several values the one that a condition picks. The gradient goes to the one picked.

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
    typed_number,
    zeros_like,
)
from nbdl.runtime import arrays
from nbdl.runtime.dtypes import BOOL, result_type
from nbdl.runtime.errors import ArgumentTypeError, DTypeError, ShapeError
from nbdl.runtime.jit import exact
from nbdl.runtime.vecmath import copysign as with_sign

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
def _nan_to_num(x, nan, posinf, neginf):
    y = nan if x != x else x
    y = posinf if x == type(x)(math.inf) else y
    return neginf if x == type(x)(-math.inf) else y


@exact
def _nan_to_num_slope(dy, x, nan, posinf, neginf):
    return dy if abs(x) < type(x)(math.inf) else type(dy)(0)


@exact
def _copysign(a, b):
    return with_sign(a, b)


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
    known = arrays.on_host(truth)
    found = np.nonzero(known) if known.ndim else np.nonzero(known.reshape(1))
    return tuple(wrap(arrays.sent_beside(truth, indices)) for indices in found)


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


# ---------------------------------------------------------------- numbers that are none


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
