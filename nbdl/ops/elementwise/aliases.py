"""Other names that PyTorch gives to elementwise functions."""

from __future__ import annotations

from nbdl.autograd import Tensor
from nbdl.ops.elementwise import arithmetic, comparison, extrema, rounding, trigonometric

absolute = arithmetic.abs
arccos = trigonometric.acos
arccosh = trigonometric.acosh
arcsin = trigonometric.asin
arcsinh = trigonometric.asinh
arctan = trigonometric.atan
arctan2 = trigonometric.atan2
arctanh = trigonometric.atanh
divide = arithmetic.div
fix = rounding.trunc
greater = comparison.gt
greater_equal = comparison.ge
less = comparison.lt
less_equal = comparison.le
multiply = arithmetic.mul
negative = arithmetic.neg
not_equal = comparison.ne
sgn = arithmetic.sign
subtract = arithmetic.sub


def clamp_min(input: Tensor, min: Tensor | float) -> Tensor:
    """`clamp` with a lower bound alone."""
    return extrema.clamp(input, min=min)


def clamp_max(input: Tensor, max: Tensor | float) -> Tensor:
    """`clamp` with an upper bound alone."""
    return extrema.clamp(input, max=max)


def rsub(input: Tensor, other: Tensor | float, *, alpha: float = 1) -> Tensor:
    """`sub` with its operands exchanged: other - alpha input."""
    return arithmetic.sub(other, input, alpha=alpha)
