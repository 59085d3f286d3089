"""Comparisons: bool tensors that say where two operands are equal, ordered or near, or where one is no number.

A comparison with NaN is false, except `ne`. Comparisons have no gradient.
The references are NumPy's equal, not_equal, less, less_equal, greater, greater_equal, isnan, isinf, isfinite, isclose.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor, wrap
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.elementwise.operands import BinaryOp, apply_pair, as_tensor_operand, typed_number
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_number
from nbdl.runtime.dtypes import BOOL, FLOAT64
from nbdl.runtime.errors import DTypeError
from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- scalar functions


@exact
def _eq(a, b):
    return a == b


@exact
def _ne(a, b):
    return a != b


@exact
def _lt(a, b):
    return a < b


@exact
def _le(a, b):
    return a <= b


@exact
def _gt(a, b):
    return a > b


@exact
def _ge(a, b):
    return a >= b


@exact
def _isnan(x):
    return x != x


@exact
def _isinf(x):
    return abs(x) == type(x)(math.inf)


@exact
def _isfinite(x):
    return abs(x) < type(x)(math.inf)


@exact
def _isposinf(x):
    return x == type(x)(math.inf)


@exact
def _isneginf(x):
    return x == type(x)(-math.inf)


@exact
def _signbit(x):
    return math.copysign(type(x)(1), x) < type(x)(0)


@exact
def _isclose(a, b, rtol, atol, equal_nan):
    near = abs(a - b) <= atol + rtol * abs(b) and abs(b) < type(a)(math.inf)
    return a == b or near or (equal_nan and a != a and b != b)


# ---------------------------------------------------------------- autograd


class ComparisonOp(BinaryOp):
    """y = whether the relation holds."""

    result = BOOL

    @classmethod
    def forward(cls, ctx: Context, a, b):
        return cls.value(a, b, dtype=BOOL)


class EqOp(ComparisonOp):
    """y = (a == b)."""

    value = Map2(_eq)


class NeOp(ComparisonOp):
    """y = (a != b)."""

    value = Map2(_ne)


class LtOp(ComparisonOp):
    """y = (a < b)."""

    value = Map2(_lt)


class LeOp(ComparisonOp):
    """y = (a <= b)."""

    value = Map2(_le)


class GtOp(ComparisonOp):
    """y = (a > b)."""

    value = Map2(_gt)


class GeOp(ComparisonOp):
    """y = (a >= b)."""

    value = Map2(_ge)


EqOp.of_number, NeOp.of_number = EqOp, NeOp
LtOp.of_number, GtOp.of_number = GtOp, LtOp
LeOp.of_number, GeOp.of_number = GeOp, LeOp


class ClassOp(Op):
    """y = whether x is of a class of numbers."""

    value: Map1

    @classmethod
    def forward(cls, ctx: Context, x):
        return cls.value(x, dtype=BOOL)


class IsNanOp(ClassOp):
    """y = (x is NaN)."""

    value = Map1(_isnan)


class IsInfOp(ClassOp):
    """y = (x is an infinity)."""

    value = Map1(_isinf)


class IsFiniteOp(ClassOp):
    """y = (x is neither NaN nor an infinity)."""

    value = Map1(_isfinite)


class IsPosInfOp(ClassOp):
    """y = (x is plus infinity)."""

    value = Map1(_isposinf)


class IsNegInfOp(ClassOp):
    """y = (x is minus infinity)."""

    value = Map1(_isneginf)


class SignBitOp(ClassOp):
    """y = (x has a minus sign)."""

    value = Map1(_signbit)


class IsCloseOp(Op):
    """y = |a - b| <= atol + rtol |b|."""

    value = Map2(_isclose)

    @classmethod
    def forward(cls, ctx: Context, a, b, rtol, atol, equal_nan):
        return cls.value(a, b, rtol, atol, equal_nan, dtype=BOOL)


# ---------------------------------------------------------------- order


def eq(input: Tensor | float, other: Tensor | float) -> Tensor:
    """Where elements of a equal b.

    Args:
        input: [*], a: a tensor or a number.
        other: [*], b: a tensor or a number; the shapes broadcast to each other.

    Returns:
        [*], bool.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        None.

    Example:
        >>> nbdl.ops.eq(nbdl.tensor([1.0, 2.0, 3.0]), 2)
        tensor([False,  True, False])
    """
    return apply_pair(EqOp, input, other)


def ne(input: Tensor | float, other: Tensor | float) -> Tensor:
    """Where elements of a differ from b. Arguments as for `eq`.

    Example:
        >>> nbdl.ops.ne(nbdl.tensor([1.0, 2.0, 3.0]), 2)
        tensor([ True, False,  True])
    """
    return apply_pair(NeOp, input, other)


def lt(input: Tensor | float, other: Tensor | float) -> Tensor:
    """Where elements of a are less than b. Arguments as for `eq`.

    Example:
        >>> nbdl.ops.lt(nbdl.tensor([1.0, 2.0, 3.0]), 2)
        tensor([ True, False, False])
    """
    return apply_pair(LtOp, input, other)


def le(input: Tensor | float, other: Tensor | float) -> Tensor:
    """Where elements of a are at most b. Arguments as for `eq`.

    Example:
        >>> nbdl.ops.le(nbdl.tensor([1.0, 2.0, 3.0]), 2)
        tensor([ True,  True, False])
    """
    return apply_pair(LeOp, input, other)


def gt(input: Tensor | float, other: Tensor | float) -> Tensor:
    """Where elements of a are greater than b. Arguments as for `eq`.

    Example:
        >>> nbdl.ops.gt(nbdl.tensor([1.0, 2.0, 3.0]), 2)
        tensor([False, False,  True])
    """
    return apply_pair(GtOp, input, other)


def ge(input: Tensor | float, other: Tensor | float) -> Tensor:
    """Where elements of a are at least b. Arguments as for `eq`.

    Example:
        >>> nbdl.ops.ge(nbdl.tensor([1.0, 2.0, 3.0]), 2)
        tensor([False,  True,  True])
    """
    return apply_pair(GeOp, input, other)


# ---------------------------------------------------------------- numbers that are none


def isnan(input: Tensor) -> Tensor:
    """Where elements are NaN.

    Args:
        input: [*], any dtype.

    Returns:
        [*], bool.

    Gradient:
        None.

    Example:
        >>> nbdl.ops.isnan(nbdl.tensor([1.0, -math.inf, math.nan]))
        tensor([False, False,  True])
    """
    return _classify(IsNanOp, input)


def isinf(input: Tensor) -> Tensor:
    """Where elements are infinite. Arguments as for `isnan`.

    Example:
        >>> nbdl.ops.isinf(nbdl.tensor([1.0, -math.inf, math.nan]))
        tensor([False,  True, False])
    """
    return _classify(IsInfOp, input)


def isfinite(input: Tensor) -> Tensor:
    """Where elements are neither NaN nor infinite. Arguments as for `isnan`.

    Example:
        >>> nbdl.ops.isfinite(nbdl.tensor([1.0, -math.inf, math.nan]))
        tensor([ True, False, False])
    """
    return _classify(IsFiniteOp, input)


def isposinf(input: Tensor) -> Tensor:
    """Where elements are plus infinity. Arguments as for `isnan`.

    Example:
        >>> nbdl.ops.isposinf(nbdl.tensor([math.inf, -math.inf]))
        tensor([ True, False])
    """
    return _classify(IsPosInfOp, input)


def isneginf(input: Tensor) -> Tensor:
    """Where elements are minus infinity. Arguments as for `isnan`.

    Example:
        >>> nbdl.ops.isneginf(nbdl.tensor([math.inf, -math.inf]))
        tensor([False,  True])
    """
    return _classify(IsNegInfOp, input)


def signbit(input: Tensor) -> Tensor:
    """Where elements carry a minus sign, -0.0 too. Arguments as for `isnan`.

    Example:
        >>> nbdl.ops.signbit(nbdl.tensor([1.0, -0.0, -3.0]))
        tensor([False,  True,  True])
    """
    return _classify(SignBitOp, input)


def _classify(op: type[ClassOp], input: Any) -> Tensor:
    tensor = as_tensor_operand("input", input)
    return op.apply(tensor if tensor.dtype.kind == "f" else to_dtype(tensor, FLOAT64))


# ---------------------------------------------------------------- nearness


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    r"""Whether elements are nearly equal: $|a - b| \le \mathrm{atol} + \mathrm{rtol} \cdot |b|$.

    Args:
        input: [*], a.
        other: [*], b, of the same dtype; the shapes broadcast to each other.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        equal_nan: Whether two NaNs are near each other.

    Returns:
        [*], bool.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: The dtypes differ.
        ArgumentError: A tolerance is negative.

    Gradient:
        None.

    Example:
        >>> nbdl.ops.isclose(nbdl.tensor([1.0, 2.0]), nbdl.tensor([1.000001, 2.1]))
        tensor([ True, False])
    """
    check_number("rtol", rtol, 0)
    check_number("atol", atol, 0)
    a, b = as_tensor_operand("input", input), as_tensor_operand("other", other)
    if a.dtype != b.dtype:
        raise DTypeError(f"other: expected {a.dtype}, the dtype of input, got {b.dtype}")
    if a.dtype.kind != "f":
        return eq(a, b) if rtol == 0 and atol == 0 else isclose(a.double(), b.double(), rtol, atol, equal_nan)
    tolerances = typed_number("rtol", rtol, a.dtype), typed_number("atol", atol, a.dtype)
    return IsCloseOp.apply(a, b, *tolerances, bool(equal_nan))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are nearly equal, as `isclose` defines it."""
    return bool(arrays.on_host(isclose(input, other, rtol, atol, equal_nan)._array).all())


PIECE = 1 << 16
"""Elements that `equal` compares at once: the first piece that differs is the last one it looks at."""


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and the same elements; NaN equals nothing.

    Args:
        input: [*], any dtype.
        other: A tensor of any shape and dtype.

    Example:
        >>> nbdl.equal(nbdl.tensor([1, 2]), nbdl.tensor([1.0, 2.0]))
        True
    """
    a, b = as_tensor_operand("input", input), as_tensor_operand("other", other)
    if a.shape != b.shape:
        return False
    x, y = a._array, b._array
    if type(x) is not np.ndarray or type(y) is not np.ndarray or not (x.flags.c_contiguous and y.flags.c_contiguous):
        return bool(arrays.on_host(eq(a, b)._array).all())
    x, y = x.reshape(-1), y.reshape(-1)
    pieces = (slice(first, first + PIECE) for first in range(0, x.size, PIECE))
    return all(bool(eq(wrap(x[piece]), wrap(y[piece]))._array.all()) for piece in pieces)
