"""Logic: and, or, exclusive or and not, of truth values and of the bits of integers. None of them has a gradient.

A number is true if it is not 0; NaN is true. The references are NumPy's functions of the same names.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.casting import is_nonzero, to_dtype
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.elementwise.operands import as_operand, as_tensor_operand, meet
from nbdl.runtime.dtypes import BOOL, INT64, result_type
from nbdl.runtime.errors import ArgumentTypeError, DTypeError
from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- scalar functions


@exact
def _and(a, b):
    return a & b


@exact
def _or(a, b):
    return a | b


@exact
def _xor(a, b):
    return a ^ b


@exact
def _not(x):
    return not x


@exact
def _invert(x):
    return ~x


@exact
def _shift_left(a, b):
    return a << b if 0 <= b < 64 else a - a


@exact
def _shift_right(a, b):
    return a >> (b if 0 <= b < 63 else 63)


AND, OR, XOR, NOT = Map2(_and), Map2(_or), Map2(_xor), Map1(_not)
INVERT, SHIFT_LEFT, SHIFT_RIGHT = Map1(_invert), Map2(_shift_left), Map2(_shift_right)

# ---------------------------------------------------------------- autograd


class LogicOp(Op):
    """y = the map of two arrays of one dtype, bool or int64."""

    @staticmethod
    def forward(ctx: Context, a, b, function):
        return function(a, b)


class NotOp(Op):
    """y = the map of one array, bool or int64."""

    @staticmethod
    def forward(ctx: Context, x, function):
        return function(x)


def _truth(name: str, value: Any) -> Any:
    """The operand as bool."""
    operand = as_operand(name, value)
    if not isinstance(operand, Tensor):
        return np.bool_(operand)
    return operand if operand._array.dtype == BOOL else NotOp.apply(operand, _nonzero)


def _nonzero(x: Any) -> Any:
    return is_nonzero(x, dtype=BOOL)


def _of_truths(function: Map2, input: Any, other: Any) -> Tensor:
    return LogicOp.apply(_truth("input", as_tensor_operand("input", input)), _truth("other", other), function)


def _of_bits(function: Map2, input: Any, other: Any, name: str) -> Tensor:
    """The function of two integer or bool operands, in the dtype that both promote to."""
    operands = [as_operand("input", input), as_operand("other", other)]
    tensors = [value._array for value in operands if isinstance(value, Tensor)]
    if not tensors:
        raise ArgumentTypeError(f"input: expected a Tensor, got {type(input).__name__}")
    dtype = result_type(tensors, [value for value in operands if not isinstance(value, Tensor)])
    if dtype.kind == "f":
        raise DTypeError(f"input, other: expected integers or bools, got {dtype}; {name} works on bits")
    if dtype == BOOL and function not in (SHIFT_LEFT, SHIFT_RIGHT):
        a, b = (_truth("", value) for value in operands)
        return LogicOp.apply(a, b, function) if isinstance(a, Tensor) else LogicOp.apply(b, a, function)
    _, (a, b) = meet(("input", "other"), (input, other))
    if not isinstance(a, Tensor):
        a = Tensor(np.asarray(a))
    return to_dtype(LogicOp.apply(a, b, function), INT64 if dtype == BOOL else dtype)


# ---------------------------------------------------------------- truth values


def logical_and(input: Tensor, other: Tensor | bool) -> Tensor:
    """Where a and b are both true.

    Args:
        input: [*], a, any dtype.
        other: [*], b, any dtype; the shapes broadcast to each other.

    Returns:
        [*], bool.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        None.

    Example:
        >>> nbdl.ops.logical_and(nbdl.tensor([True, True, False]), nbdl.tensor([True, False, False]))
        tensor([ True, False, False])
    """
    return _of_truths(AND, input, other)


def logical_or(input: Tensor, other: Tensor | bool) -> Tensor:
    """Where a or b, or both, are true. Arguments as for `logical_and`.

    Example:
        >>> nbdl.ops.logical_or(nbdl.tensor([True, True, False]), nbdl.tensor([True, False, True]))
        tensor([ True,  True,  True])
    """
    return _of_truths(OR, input, other)


def logical_xor(input: Tensor, other: Tensor | bool) -> Tensor:
    """Where exactly one of a and b is true. Arguments as for `logical_and`.

    Example:
        >>> nbdl.ops.logical_xor(nbdl.tensor([True, True, False]), nbdl.tensor([True, False, True]))
        tensor([False,  True,  True])
    """
    return _of_truths(XOR, input, other)


def logical_not(input: Tensor) -> Tensor:
    """Where elements are false, or 0.

    Args:
        input: [*], any dtype.

    Returns:
        [*], bool.

    Gradient:
        None.

    Example:
        >>> nbdl.ops.logical_not(nbdl.tensor([0.0, 2.0]))
        tensor([ True, False])
    """
    return NotOp.apply(_truth("input", as_tensor_operand("input", input)), NOT)


# ---------------------------------------------------------------- bits


def bitwise_and(input: Tensor | int, other: Tensor | int) -> Tensor:
    """Of each pair of elements the bits that both have.

    Args:
        input: [*], a, integers or bools: a tensor or a number.
        other: [*], b, integers or bools: a tensor or a number; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: An operand is floating point.

    Gradient:
        None.

    Example:
        >>> nbdl.ops.bitwise_and(nbdl.tensor([6]), 3)
        tensor([2])
    """
    return _of_bits(AND, input, other, "bitwise_and")


def bitwise_or(input: Tensor | int, other: Tensor | int) -> Tensor:
    """Of each pair of elements the bits that one or both have. Arguments as for `bitwise_and`.

    Example:
        >>> nbdl.ops.bitwise_or(nbdl.tensor([6]), 3)
        tensor([7])
    """
    return _of_bits(OR, input, other, "bitwise_or")


def bitwise_xor(input: Tensor | int, other: Tensor | int) -> Tensor:
    """Of each pair of elements the bits that exactly one has. Arguments as for `bitwise_and`.

    Example:
        >>> nbdl.ops.bitwise_xor(nbdl.tensor([6]), 3)
        tensor([5])
    """
    return _of_bits(XOR, input, other, "bitwise_xor")


def bitwise_not(input: Tensor) -> Tensor:
    """All bits turned round; for bool the opposite.

    Args:
        input: [*], integers or bools.

    Returns:
        [*], dtype of the input.

    Raises:
        DTypeError: The input is floating point.

    Gradient:
        None.

    Example:
        >>> nbdl.ops.bitwise_not(nbdl.tensor([0, 5]))
        tensor([-1, -6])
    """
    tensor = as_tensor_operand("input", input)
    dtype = tensor._array.dtype
    if dtype.kind == "f":
        raise DTypeError(f"input: expected integers or bools, got {dtype}; bitwise_not works on bits")
    if dtype == BOOL:
        return NotOp.apply(tensor, NOT)
    return to_dtype(NotOp.apply(to_dtype(tensor, INT64), INVERT), dtype)


def bitwise_left_shift(input: Tensor | int, other: Tensor | int) -> Tensor:
    """The bits of a moved by b places to the left: a times $2^b$.

    Args:
        input: [*], a, integers: a tensor or a number.
        other: [*], b, integers: a tensor or a number; the shapes broadcast to each other.

    Returns:
        [*], the common shape; the dtype that both promote to.

    Raises:
        ShapeError: The shapes do not broadcast.
        DTypeError: An operand is floating point.

    Gradient:
        None.

    Example:
        >>> nbdl.ops.bitwise_left_shift(nbdl.tensor([3]), 1)
        tensor([6])
    """
    return _of_bits(SHIFT_LEFT, input, other, "bitwise_left_shift")


def bitwise_right_shift(input: Tensor | int, other: Tensor | int) -> Tensor:
    """The bits of a moved by b places to the right: a divided by $2^b$, rounded down.

    Arguments as for `bitwise_left_shift`.

    Example:
        >>> nbdl.ops.bitwise_right_shift(nbdl.tensor([3]), 1)
        tensor([1])
    """
    return _of_bits(SHIFT_RIGHT, input, other, "bitwise_right_shift")
