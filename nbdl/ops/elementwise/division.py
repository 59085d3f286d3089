r"""Division with a rest: rounded quotients, remainder and fmod.

For every rounding $r$ the rest is $a - b\, r(a / b)$: with floor it has the sign of b (`remainder`, Python's %), with
trunc the sign of a (`fmod`, C's). Rounded quotients are constant between jumps and have the gradient 0; the rests have
$da = dy$ and $db = -dy\, r(a / b)$.

The references are NumPy's floor_divide, remainder and fmod.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Context, Tensor
from nbdl.ops.elementwise.maps import Map2, MapN
from nbdl.ops.elementwise.operands import BinaryOp, apply_pair, zeros_like
from nbdl.ops.elementwise.rounding import floor_of, trunc_of
from nbdl.runtime import arrays, vecmath
from nbdl.runtime.errors import NumericalError
from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- scalar functions


@exact
def _fmod(a, b):
    return vecmath.copysign(abs(a) % abs(b), a)


@exact
def _remainder(a, b):
    rest = _fmod(a, b)
    return rest + b if rest != type(a)(0) and (b < type(a)(0)) != (rest < type(a)(0)) else rest


@exact
def _divide_floor(a, b):
    """floor(a / b), from the exact rest: a / b itself may round up to an integer."""
    rest = _fmod(a, b)
    quotient = (a - rest) / b
    quotient = quotient - type(a)(1) if rest != type(a)(0) and (b < type(a)(0)) != (rest < type(a)(0)) else quotient
    whole = floor_of(quotient)
    whole = whole + type(a)(1) if quotient - whole > type(a)(0.5) else whole
    whole = whole if quotient != type(a)(0) else vecmath.copysign(type(a)(0), a / b)
    return whole if b != type(a)(0) else a / b


@exact
def _divide_trunc(a, b):
    return trunc_of(a / b)


@exact
def _integer_divide_floor(a, b):
    return a // b


@exact
def _integer_remainder(a, b):
    return a - a // b * b


@exact
def _integer_divide_trunc(a, b):
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


@exact
def _integer_fmod(a, b):
    rest = abs(a) - abs(a) // abs(b) * abs(b)
    return -rest if a < 0 else rest


@exact
def _remainder_right(dy, a, b):
    return -dy * _divide_floor(a, b)


@exact
def _fmod_right(dy, a, b):
    return -dy * trunc_of(a / b)


# ---------------------------------------------------------------- autograd


class RoundedDivisionOp(BinaryOp):
    """y = a rounded quotient or rest; integers have maps of their own."""

    integer: Map2

    @classmethod
    def forward(cls, ctx: Context, a, b):
        if a.dtype.kind != "f":
            return cls.integer(a, b)
        ctx.save(a, b)
        return cls.value(a, b)

    @classmethod
    def left(cls, dy: Any, a: Any, b: Any) -> Any:
        return zeros_like(dy)

    @classmethod
    def right(cls, dy: Any, a: Any, b: Any) -> Any:
        return zeros_like(dy)


class DivideFloorOp(RoundedDivisionOp):
    """y = floor(a / b)."""

    value = Map2(_divide_floor)
    integer = Map2(_integer_divide_floor)


class DivideTruncOp(RoundedDivisionOp):
    """y = trunc(a / b)."""

    value = Map2(_divide_trunc)
    integer = Map2(_integer_divide_trunc)


class RemainderOp(RoundedDivisionOp):
    """y = a - b floor(a / b)."""

    value = Map2(_remainder)
    integer = Map2(_integer_remainder)
    rounded = MapN(_remainder_right)

    @classmethod
    def left(cls, dy: Any, a: Any, b: Any) -> Any:
        return dy

    @classmethod
    def right(cls, dy: Any, a: Any, b: Any) -> Any:
        return cls.rounded(dy, a, b)


class FmodOp(RemainderOp):
    """y = a - b trunc(a / b)."""

    value = Map2(_fmod)
    integer = Map2(_integer_fmod)
    rounded = MapN(_fmod_right)


# ---------------------------------------------------------------- public


def divide_rounded(input: Tensor | float, other: Tensor | float, rounding_mode: str) -> Tensor:
    """`div` with rounding_mode "trunc" or "floor"."""
    _check_divisor(input, other)
    op = DivideFloorOp if rounding_mode == "floor" else DivideTruncOp
    return apply_pair(op, input, other, allow_bool=False)


def floor_divide(input: Tensor | float, other: Tensor | float) -> Tensor:
    r"""The quotient rounded down, $y = \lfloor a / b \rfloor$.

    Args:
        input: [*], a: a tensor or a number.
        other: [*], b: a tensor or a number; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        NumericalError: Integers are divided by 0.
        DTypeError: Both operands are bool.

    Gradient:
        0.

    Example:
        >>> nbdl.ops.floor_divide(nbdl.tensor([7, -7]), 2)
        tensor([ 3, -4])
    """
    return divide_rounded(input, other, "floor")


def remainder(input: Tensor | float, other: Tensor | float) -> Tensor:
    r"""The rest of the division rounded down, $y = a - b \lfloor a / b \rfloor$, with the sign of b.

    Args:
        input: [*], a: a tensor or a number.
        other: [*], b: a tensor or a number; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        NumericalError: Integers are divided by 0.
        DTypeError: Both operands are bool.

    Gradient:
        For input: dy. For other: $-dy \lfloor a / b \rfloor$.

    Example:
        >>> nbdl.ops.remainder(nbdl.tensor([7.0, -7.0]), 4)
        tensor([3., 1.])
    """
    _check_divisor(input, other)
    return apply_pair(RemainderOp, input, other, allow_bool=False)


def fmod(input: Tensor, other: Tensor | float) -> Tensor:
    r"""The rest of the division rounded towards zero, with the sign of a.

    Args:
        input: [*], a.
        other: [*], b: a tensor or a number; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        NumericalError: Integers are divided by 0.
        DTypeError: Both operands are bool.

    Gradient:
        For input: dy. For other: $-dy\, \mathrm{trunc}(a / b)$.

    Example:
        >>> nbdl.ops.fmod(nbdl.tensor([7.0, -7.0]), 4)
        tensor([ 3., -3.])
    """
    _check_divisor(input, other)
    return apply_pair(FmodOp, input, other, allow_bool=False)


def _check_divisor(input: Any, other: Any) -> None:
    """Raises NumericalError if integers would be divided by 0."""
    values = [value._array if isinstance(value, Tensor) else np.asarray(value) for value in (input, other)]
    kinds = {value.dtype.kind for value in values}
    if "f" not in kinds and kinds != {"b"} and not arrays.on_host(values[1]).all():
        raise NumericalError("other: expected integers other than 0 to divide by, got 0")
