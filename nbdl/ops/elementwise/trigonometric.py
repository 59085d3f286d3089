"""Circular and hyperbolic functions and their inverses. The references are NumPy's functions of the same names."""

from __future__ import annotations

import math

from nbdl.autograd import Tensor
from nbdl.ops.elementwise.maps import Map1, Map2, MapN
from nbdl.ops.elementwise.operands import BinaryOp, UnaryOp, apply_float, apply_pair, as_tensor_operand
from nbdl.runtime import vecmath
from nbdl.runtime.circular import angle, arc_cosine, arc_sine, arc_tangent, cosine, sine, tangent
from nbdl.runtime.jit import exact

LN2 = math.log(2)
NAN = math.nan

# ---------------------------------------------------------------- circular functions


@exact
def _sin(x):
    return sine(x)


@exact
def _sin_slope(dy, x):
    return dy * cosine(x)


class SinOp(UnaryOp):
    """y = sin(x)."""

    value = Map1(_sin)
    slope = Map2(_sin_slope)


def sin(input: Tensor) -> Tensor:
    r"""The sine; x in radians.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy \cos x$.

    Example:
        >>> nbdl.ops.sin(nbdl.tensor([0.0, 1.0]))
        tensor([0.0000, 0.8415])
    """
    return apply_float(SinOp, input)


@exact
def _cos(x):
    return cosine(x)


@exact
def _cos_slope(dy, x):
    return -dy * sine(x)


class CosOp(UnaryOp):
    """y = cos(x)."""

    value = Map1(_cos)
    slope = Map2(_cos_slope)


def cos(input: Tensor) -> Tensor:
    r"""The cosine; x in radians.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $-dy \sin x$.

    Example:
        >>> nbdl.ops.cos(nbdl.tensor([0.0, 1.0]))
        tensor([1.0000, 0.5403])
    """
    return apply_float(CosOp, input)


@exact
def _tan(x):
    return tangent(x)


@exact
def _tan_slope(dy, y):
    return dy * (type(y)(1) + y * y)


class TanOp(UnaryOp):
    """y = tan(x)."""

    value = Map1(_tan)
    slope = Map2(_tan_slope)
    keeps = "y"


def tan(input: Tensor) -> Tensor:
    r"""The tangent; x in radians.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy \, (1 + y^2)$.

    Example:
        >>> nbdl.ops.tan(nbdl.tensor([0.0, 1.0]))
        tensor([0.0000, 1.5574])
    """
    return apply_float(TanOp, input)


# ---------------------------------------------------------------- their inverses


@exact
def _asin(x):
    return arc_sine(x)


@exact
def _asin_slope(dy, x):
    return dy / math.sqrt((type(x)(1) - x) * (type(x)(1) + x))


class AsinOp(UnaryOp):
    """y = asin(x)."""

    value = Map1(_asin)
    slope = Map2(_asin_slope)


def asin(input: Tensor) -> Tensor:
    r"""The inverse of the sine, in radians; NaN outside of [-1, 1].

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy / \sqrt{1 - x^2}$.

    Example:
        >>> nbdl.ops.asin(nbdl.tensor([0.0, 1.0]))
        tensor([0.0000, 1.5708])
    """
    return apply_float(AsinOp, input)


@exact
def _acos(x):
    return arc_cosine(x)


@exact
def _acos_slope(dy, x):
    return -dy / math.sqrt((type(x)(1) - x) * (type(x)(1) + x))


class AcosOp(UnaryOp):
    """y = acos(x)."""

    value = Map1(_acos)
    slope = Map2(_acos_slope)


def acos(input: Tensor) -> Tensor:
    r"""The inverse of the cosine, in radians; NaN outside of [-1, 1].

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $-dy / \sqrt{1 - x^2}$.

    Example:
        >>> nbdl.ops.acos(nbdl.tensor([0.0, 1.0]))
        tensor([1.5708, 0.0000])
    """
    return apply_float(AcosOp, input)


@exact
def _atan(x):
    return arc_tangent(x)


@exact
def _atan_slope(dy, x):
    return dy / (type(x)(1) + x * x)


class AtanOp(UnaryOp):
    """y = atan(x)."""

    value = Map1(_atan)
    slope = Map2(_atan_slope)


def atan(input: Tensor) -> Tensor:
    """The inverse of the tangent, in radians.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy / (1 + x^2)$.

    Example:
        >>> nbdl.ops.atan(nbdl.tensor([0.0, 1.0]))
        tensor([0.0000, 0.7854])
    """
    return apply_float(AtanOp, input)


@exact
def _atan2(a, b):
    return angle(a, b)


@exact
def _atan2_left(dy, a, b):
    square = a * a + b * b
    return dy * b / square if square != type(a)(0) else type(a)(0)


@exact
def _atan2_right(dy, a, b):
    square = a * a + b * b
    return -dy * a / square if square != type(a)(0) else type(a)(0)


class Atan2Op(BinaryOp):
    """y = the angle of the point (b, a)."""

    value = Map2(_atan2)
    left = MapN(_atan2_left)  # type: ignore[assignment]
    right = MapN(_atan2_right)  # type: ignore[assignment]


def atan2(input: Tensor, other: Tensor) -> Tensor:
    r"""The angle of the point (other, input) to the first axis, in radians, in $(-\pi, \pi]$.

    Args:
        input: [*], the ordinates a; integers and bools are converted to the default dtype.
        other: [*], the abscissas b; the shapes broadcast to each other.

    Returns:
        [*], the common shape.

    Raises:
        ShapeError: The shapes do not broadcast.

    Gradient:
        For input: $dy \, b / (a^2 + b^2)$. For other: $-dy \, a / (a^2 + b^2)$. Both are 0 at the origin.

    Example:
        >>> nbdl.ops.atan2(nbdl.tensor([1.0]), nbdl.tensor([-1.0]))
        tensor([2.3562])
    """
    return apply_pair(Atan2Op, as_tensor_operand("input", input), as_tensor_operand("other", other), floating=True)


# ---------------------------------------------------------------- hyperbolic functions


@exact
def _sinh(x):
    e = vecmath.expm1(abs(x))
    small = type(x)(0.5) * (e + e / (e + type(x)(1)))
    half = vecmath.exp(type(x)(0.5) * abs(x))  # e^|x| overflows before sinh does
    return vecmath.copysign(small if e < type(x)(1e18) else type(x)(0.5) * half * half, x)


@exact
def _cosh(x):
    half = vecmath.exp(type(x)(0.5) * abs(x))  # e^|x| overflows before cosh does
    return type(x)(0.5) * half * half + type(x)(0.5) / half / half


@exact
def _sinh_slope(dy, x):
    return dy * _cosh(x)


class SinhOp(UnaryOp):
    """y = sinh(x)."""

    value = Map1(_sinh)
    slope = Map2(_sinh_slope)


def sinh(input: Tensor) -> Tensor:
    r"""The hyperbolic sine, $y = (e^x - e^{-x}) / 2$.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy \cosh x$.

    Example:
        >>> nbdl.ops.sinh(nbdl.tensor([0.0, 1.0]))
        tensor([0.0000, 1.1752])
    """
    return apply_float(SinhOp, input)


@exact
def _cosh_slope(dy, x):
    return dy * _sinh(x)


class CoshOp(UnaryOp):
    """y = cosh(x)."""

    value = Map1(_cosh)
    slope = Map2(_cosh_slope)


def cosh(input: Tensor) -> Tensor:
    r"""The hyperbolic cosine, $y = (e^x + e^{-x}) / 2$.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy \sinh x$.

    Example:
        >>> nbdl.ops.cosh(nbdl.tensor([0.0, 1.0]))
        tensor([1.0000, 1.5431])
    """
    return apply_float(CoshOp, input)


@exact
def _tanh(x):
    return vecmath.tanh(x)


@exact
def _tanh_slope(dy, y):
    return dy * (type(y)(1) - y * y)


class TanhOp(UnaryOp):
    """y = tanh(x)."""

    value = Map1(_tanh)
    slope = Map2(_tanh_slope)
    keeps = "y"


def tanh(input: Tensor) -> Tensor:
    r"""The hyperbolic tangent.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy \, (1 - y^2)$.

    Example:
        >>> nbdl.ops.tanh(nbdl.tensor([0.0, 1.0]))
        tensor([0.0000, 0.7616])
    """
    return apply_float(TanhOp, input)


# ---------------------------------------------------------------- inverses of hyperbolic functions


@exact
def _asinh(x):
    a = abs(x)
    small = vecmath.log1p(a + a * a / (type(x)(1) + math.sqrt(type(x)(1) + a * a)))
    large = vecmath.log(a) + type(x)(LN2)  # a^2 would overflow
    return vecmath.copysign(small if a < type(x)(1e9) else large, x)


@exact
def _asinh_slope(dy, x):
    return dy / math.sqrt(x * x + type(x)(1))


class AsinhOp(UnaryOp):
    """y = asinh(x)."""

    value = Map1(_asinh)
    slope = Map2(_asinh_slope)


def asinh(input: Tensor) -> Tensor:
    r"""The inverse of the hyperbolic sine.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy / \sqrt{x^2 + 1}$.

    Example:
        >>> nbdl.ops.asinh(nbdl.tensor([0.0, 1.0]))
        tensor([0.0000, 0.8814])
    """
    return apply_float(AsinhOp, input)


@exact
def _acosh(x):
    t = x - type(x)(1)
    small = vecmath.log1p(t + math.sqrt(t * (t + type(x)(2))))
    y = small if x < type(x)(1e9) else vecmath.log(x) + type(x)(LN2)
    return y if x >= type(x)(1) else x * type(x)(NAN)


@exact
def _acosh_slope(dy, x):
    return dy / math.sqrt((x - type(x)(1)) * (x + type(x)(1)))


class AcoshOp(UnaryOp):
    """y = acosh(x)."""

    value = Map1(_acosh)
    slope = Map2(_acosh_slope)


def acosh(input: Tensor) -> Tensor:
    r"""The inverse of the hyperbolic cosine; NaN under 1.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy / \sqrt{x^2 - 1}$.

    Example:
        >>> nbdl.ops.acosh(nbdl.tensor([1.0, 2.0]))
        tensor([0.0000, 1.3170])
    """
    return apply_float(AcoshOp, input)


@exact
def _atanh(x):
    a = abs(x)
    return vecmath.copysign(type(x)(0.5) * vecmath.log1p((a + a) / (type(x)(1) - a)), x)


@exact
def _atanh_slope(dy, x):
    return dy / ((type(x)(1) - x) * (type(x)(1) + x))


class AtanhOp(UnaryOp):
    """y = atanh(x)."""

    value = Map1(_atanh)
    slope = Map2(_atanh_slope)


def atanh(input: Tensor) -> Tensor:
    """The inverse of the hyperbolic tangent; NaN outside of [-1, 1].

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy / (1 - x^2)$.

    Example:
        >>> nbdl.ops.atanh(nbdl.tensor([0.0, 0.5]))
        tensor([0.0000, 0.5493])
    """
    return apply_float(AtanhOp, input)
