"""Angles in degrees and radians, and the normalized sinc. The references are NumPy's functions of the same names."""

from __future__ import annotations

import math

from nbdl.autograd import Tensor
from nbdl.ops.elementwise.arithmetic import mul
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.elementwise.operands import UnaryOp, apply_float, float_operand
from nbdl.runtime.circular import cosine, sine
from nbdl.runtime.jit import exact

PI = math.pi


@exact
def _sinc(x):
    t = type(x)(PI) * x
    return sine(t) / t if x != type(x)(0) else type(x)(1)


@exact
def _sinc_slope(dy, x):
    pi = type(x)(PI)
    t = pi * x
    t2 = t * t
    # near 0 both terms of the quotient are nearly equal: there the first terms of its series
    inner = type(x)(1 / 840) - t2 * (type(x)(1 / 45360) - t2 * type(x)(1 / 3991680))
    series = -dy * pi * t * (type(x)(1 / 3) - t2 * (type(x)(1 / 30) - t2 * inner))
    return series if abs(t) < type(x)(0.5) else dy * pi * (t * cosine(t) - sine(t)) / t2


class SincOp(UnaryOp):
    """y = sin(pi x) / (pi x)."""

    value = Map1(_sinc)
    slope = Map2(_sinc_slope)


def sinc(input: Tensor) -> Tensor:
    r"""The normalized sinc, $y = \sin(\pi x) / (\pi x)$, 1 at 0.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy\, (\pi x \cos(\pi x) - \sin(\pi x)) / (\pi x^2)$, 0 at 0.

    Example:
        >>> nbdl.ops.sinc(nbdl.tensor([0.0, 0.5]))
        tensor([1.0000, 0.6366])
    """
    return apply_float(SincOp, input)


def deg2rad(input: Tensor) -> Tensor:
    r"""Angles in degrees, in radians: $y = \pi x / 180$.

    Args:
        input: [*], degrees; integers and bools are converted to the default dtype.

    Returns:
        [*], radians; dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $\pi\, dy / 180$.

    Example:
        >>> nbdl.ops.deg2rad(nbdl.tensor([180.0]))
        tensor([3.1416])
    """
    return mul(float_operand("input", input), PI / 180)


def rad2deg(input: Tensor) -> Tensor:
    r"""Angles in radians, in degrees: $y = 180\, x / \pi$.

    Args:
        input: [*], radians; integers and bools are converted to the default dtype.

    Returns:
        [*], degrees; dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $180\, dy / \pi$.

    Example:
        >>> nbdl.ops.rad2deg(nbdl.tensor([1.0]))
        tensor([57.2958])
    """
    return mul(float_operand("input", input), 180 / PI)
