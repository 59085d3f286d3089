"""Python's operators. An operand that is no tensor, array or number is left to the other operand's type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.elementwise import arithmetic, comparison, division, in_place, logic, power

_KNOWN = (Tensor, int, float, np.ndarray, np.generic)


def operator(function: Callable[[Any, Any], Tensor]) -> Callable[[Tensor, Any], Any]:
    """The special method of an operator whose left operand is the tensor."""

    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, _KNOWN):
            return function(self, other)
        return NotImplemented

    return method


def reflected(function: Callable[[Any, Any], Tensor]) -> Callable[[Tensor, Any], Any]:
    """The special method of an operator whose right operand is the tensor."""

    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, _KNOWN):
            return function(other, self)
        return NotImplemented

    return method


_ARITHMETIC = {
    "add": arithmetic.add,
    "sub": arithmetic.sub,
    "mul": arithmetic.mul,
    "truediv": arithmetic.div,
    "floordiv": division.floor_divide,
    "mod": division.remainder,
    "pow": power.pow,
    "and": logic.bitwise_and,
    "or": logic.bitwise_or,
    "xor": logic.bitwise_xor,
    "lshift": logic.bitwise_left_shift,
    "rshift": logic.bitwise_right_shift,
}

_QUICK_IN_PLACE = {"add": in_place.add_, "sub": in_place.sub_, "mul": in_place.mul_, "truediv": in_place.div_}

OPERATORS: dict[str, Any] = {
    **{f"__{name}__": operator(function) for name, function in _ARITHMETIC.items()},
    **{f"__r{name}__": reflected(function) for name, function in _ARITHMETIC.items()},
    **{
        f"__i{name}__": _QUICK_IN_PLACE.get(name) or in_place.in_place(function)
        for name, function in _ARITHMETIC.items()
    },
    **{f"__{name}__": operator(getattr(comparison, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
}
"""Name of the special method: what it does."""
