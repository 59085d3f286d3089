r"""Exponentials, logarithms and what is made of them: sigmoid and logit, the error function and its inverse.

Each op is a scalar function, its chain rule dx = slope(dy, x or y) as one more scalar function, and an Op that binds
them. The references are the functions of the same names in NumPy and SciPy.

Source of the inverse error function: Giles (2010), "Approximating the erfinv function".
"""

from __future__ import annotations

import math

from nbdl.autograd import Tensor
from nbdl.ops.elementwise.arithmetic import divide_map, multiply_map
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.elementwise.operands import UnaryOp, apply_float, float_operand, typed_number
from nbdl.ops.elementwise.rounding import round_of, shift_of
from nbdl.runtime import vecmath
from nbdl.runtime.checks import check_number
from nbdl.runtime.circular import is_float32
from nbdl.runtime.jit import exact

LN2 = math.log(2)
LN10 = math.log(10)
TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
FAR = 16.0  # -log(1 - x^2) of the largest float32 under 1
NO_TAIL = 28.0  # beyond it erfc is 0 in float64 too
INFINITY = math.inf
NAN = math.nan

# ---------------------------------------------------------------- exponentials


@exact
def _exp(x):
    return vecmath.exp(x)


class ExpOp(UnaryOp):
    """y = exp(x)."""

    value = Map1(_exp)
    slope = multiply_map
    keeps = "y"


def exp(input: Tensor) -> Tensor:
    r"""The exponential, $y = e^x$.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy \cdot y$.

    Example:
        >>> nbdl.ops.exp(nbdl.tensor([0.0, 1.0]))
        tensor([1.0000, 2.7183])
    """
    return apply_float(ExpOp, input)


@exact
def _expm1(x):
    return vecmath.expm1(x)


@exact
def _expm1_slope(dy, y):
    return dy * (y + type(y)(1))


class Expm1Op(UnaryOp):
    """y = expm1(x)."""

    value = Map1(_expm1)
    slope = Map2(_expm1_slope)
    keeps = "y"


def expm1(input: Tensor) -> Tensor:
    r"""$y = e^x - 1$, accurate near 0.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy \, (y + 1)$.

    Example:
        >>> nbdl.ops.expm1(nbdl.tensor([1e-8]))
        tensor([1.0000e-08])
    """
    return apply_float(Expm1Op, input)


@exact
def _exp2(x):
    """2^n e^((x - n) ln 2), n the nearest integer. The factor 2^n is taken in two steps: alone it may be infinite."""
    most = type(x)(160) if is_float32(x) else type(x)(1080)  # out here it is infinite or 0
    limited = most if x > most else x
    limited = -most if x < -most else limited
    n = round_of(limited)
    first = type(x)(64) if x > type(x)(0) else type(x)(-64)
    y = vecmath.times_two_to(vecmath.exp((limited - n) * type(x)(LN2)), (n - first) + shift_of(x))
    y = y * (type(x)(2.0**64) if x > type(x)(0) else type(x)(2.0**-64))
    return y if x == x else x


@exact
def _exp2_slope(dy, y):
    return dy * y * type(y)(LN2)


class Exp2Op(UnaryOp):
    """y = exp2(x)."""

    value = Map1(_exp2)
    slope = Map2(_exp2_slope)
    keeps = "y"


def exp2(input: Tensor) -> Tensor:
    r"""$y = 2^x$.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy \cdot y \ln 2$.

    Example:
        >>> nbdl.ops.exp2(nbdl.tensor([3.0, -1.0]))
        tensor([8.0000, 0.5000])
    """
    return apply_float(Exp2Op, input)


# ---------------------------------------------------------------- logarithms


@exact
def _log(x):
    return vecmath.log(x)


class LogOp(UnaryOp):
    """y = log(x)."""

    value = Map1(_log)
    slope = divide_map


def log(input: Tensor) -> Tensor:
    r"""The natural logarithm, $y = \ln x$; NaN for negative elements.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy / x$.

    Example:
        >>> nbdl.ops.log(nbdl.tensor([1.0, 10.0]))
        tensor([0.0000, 2.3026])
    """
    return apply_float(LogOp, input)


@exact
def _log2(x):
    """k + ln(x / 2^k) / ln 2: exact for powers of two."""
    k = vecmath.binary_exponent(x)
    rest = vecmath.times_two_to(x, shift_of(x) - k)
    y = k + vecmath.log(rest) * type(x)(1 / LN2)
    plain = vecmath.log(x) * type(x)(1 / LN2)  # zero, negative and subnormal numbers, infinity and NaN
    smallest = type(x)(2.0**-126) if is_float32(x) else type(x)(2.0**-1022)
    return y if smallest <= x < type(x)(INFINITY) else plain


@exact
def _log2_slope(dy, x):
    return dy / (x * type(x)(LN2))


class Log2Op(UnaryOp):
    """y = log2(x)."""

    value = Map1(_log2)
    slope = Map2(_log2_slope)


def log2(input: Tensor) -> Tensor:
    r"""The logarithm to base 2.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy / (x \ln 2)$.

    Example:
        >>> nbdl.ops.log2(nbdl.tensor([1.0, 10.0]))
        tensor([0.0000, 3.3219])
    """
    return apply_float(Log2Op, input)


@exact
def _log10(x):
    return vecmath.log(x) * type(x)(1 / LN10)


@exact
def _log10_slope(dy, x):
    return dy / (x * type(x)(LN10))


class Log10Op(UnaryOp):
    """y = log10(x)."""

    value = Map1(_log10)
    slope = Map2(_log10_slope)


def log10(input: Tensor) -> Tensor:
    r"""The logarithm to base 10.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy / (x \ln 10)$.

    Example:
        >>> nbdl.ops.log10(nbdl.tensor([1.0, 20.0]))
        tensor([0.0000, 1.3010])
    """
    return apply_float(Log10Op, input)


@exact
def _log1p(x):
    return vecmath.log1p(x)


@exact
def _log1p_slope(dy, x):
    return dy / (x + type(x)(1))


class Log1POp(UnaryOp):
    """y = log1p(x)."""

    value = Map1(_log1p)
    slope = Map2(_log1p_slope)


def log1p(input: Tensor) -> Tensor:
    r"""$y = \ln(1 + x)$, accurate near 0.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy / (1 + x)$.

    Example:
        >>> nbdl.ops.log1p(nbdl.tensor([1e-8]))
        tensor([1.0000e-08])
    """
    return apply_float(Log1POp, input)


# ---------------------------------------------------------------- sigmoid and logit


@exact
def _sigmoid(x):
    return type(x)(1) / (type(x)(1) + vecmath.exp(-x))


@exact
def _sigmoid_slope(dy, y):
    return dy * (type(y)(1) - y) * y


class SigmoidOp(UnaryOp):
    """y = sigmoid(x)."""

    value = Map1(_sigmoid)
    slope = Map2(_sigmoid_slope)
    keeps = "y"


def sigmoid(input: Tensor) -> Tensor:
    r"""The logistic function, $y = 1 / (1 + e^{-x})$.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy \cdot y (1 - y)$.

    Example:
        >>> nbdl.ops.sigmoid(nbdl.tensor([0.0, 2.0]))
        tensor([0.5000, 0.8808])
    """
    return apply_float(SigmoidOp, input)


@exact
def _logit(x):
    return vecmath.log(x / (type(x)(1) - x))


@exact
def _logit_slope(dy, x):
    inside = type(x)(0) <= x <= type(x)(1)
    return dy / (x * (type(x)(1) - x)) if inside else x * type(x)(NAN)


@exact
def _logit_limited(x, eps):
    limited = eps if x < eps else x
    limited = type(x)(1) - eps if limited > type(x)(1) - eps else limited
    return vecmath.log(limited / (type(x)(1) - limited))


@exact
def _logit_limited_slope(dy, x, eps):
    return dy / (x * (type(x)(1) - x)) if eps <= x <= type(x)(1) - eps else type(x)(0)


class LogitOp(UnaryOp):
    """y = ln(x / (1 - x))."""

    value = Map1(_logit)
    slope = Map2(_logit_slope)


class LogitLimitedOp(UnaryOp):
    """y = logit(x), x first brought into [eps, 1 - eps]."""

    value = Map1(_logit_limited)
    slope = Map2(_logit_limited_slope)


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    r"""The inverse of sigmoid, $y = \ln \frac{x}{1 - x}$.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.
        eps: x is first brought into [eps, 1 - eps]; None leaves it, and x outside of [0, 1] gives NaN.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Raises:
        ArgumentError: eps lies outside of [0, 0.5].

    Gradient:
        For input: $dy / (x (1 - x))$, 0 where eps took effect.

    Example:
        >>> nbdl.ops.logit(nbdl.tensor([0.5, 0.9]))
        tensor([0.0000, 2.1972])
    """
    input = float_operand("input", input)
    if eps is None:
        return LogitOp.apply(input)
    return LogitLimitedOp.apply(input, typed_number("eps", check_number("eps", eps, 0, 0.5), input.dtype))


# ---------------------------------------------------------------- error function


@exact
def _erf(x):
    return vecmath.erf(x)


@exact
def _erf_slope(dy, x):
    return dy * type(x)(TWO_OVER_ROOT_PI) * vecmath.exp(-x * x)


class ErfOp(UnaryOp):
    """y = erf(x)."""

    value = Map1(_erf)
    slope = Map2(_erf_slope)


def erf(input: Tensor) -> Tensor:
    r"""The error function, $y = \frac{2}{\sqrt\pi} \int_0^x e^{-t^2} dt$.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy \cdot \frac{2}{\sqrt\pi} e^{-x^2}$.

    Example:
        >>> nbdl.ops.erf(nbdl.tensor([0.0, 1.0]))
        tensor([0.0000, 0.8427])
    """
    return apply_float(ErfOp, input)


@exact
def _erfc(x):
    """exp(-x^2) erfcx(|x|), with what the rounding of the square takes; 2 minus that left of 0."""
    a = abs(x)
    a = type(x)(NO_TAIL) if a > type(x)(NO_TAIL) else a
    square = a * a
    lost = vecmath.fma(a, a, -square)
    tail = vecmath.exp(-square) * (type(x)(1) - lost) * vecmath.erfcx(a)
    return type(x)(2) - tail if x < type(x)(0) else tail


@exact
def _erfc_slope(dy, x):
    return -dy * type(x)(TWO_OVER_ROOT_PI) * vecmath.exp(-x * x)


class ErfcOp(UnaryOp):
    """y = erfc(x)."""

    value = Map1(_erfc)
    slope = Map2(_erfc_slope)


def erfc(input: Tensor) -> Tensor:
    r"""The complementary error function, $y = 1 - \mathrm{erf}(x)$, accurate where it is small.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $-dy \cdot \frac{2}{\sqrt\pi} e^{-x^2}$.

    Example:
        >>> nbdl.ops.erfc(nbdl.tensor([0.0, 3.0]))
        tensor([1.0000e+00, 2.2090e-05])
    """
    return apply_float(ErfcOp, input)


@exact
def _erfinv(x):
    """Giles's approximation (2010), then steps of Newton's method on erf(y) = x with the second derivative."""
    a = abs(x)
    w = -vecmath.log((type(x)(1) - a) * (type(x)(1) + a))
    near = w < type(x)(5)
    t = w - type(x)(2.5) if near else math.sqrt(w) - type(x)(3)
    p = type(x)(2.81022636e-08) if near else type(x)(-0.000200214257)
    p = (type(x)(3.43273939e-07) if near else type(x)(0.000100950558)) + p * t
    p = (type(x)(-3.5233877e-06) if near else type(x)(0.00134934322)) + p * t
    p = (type(x)(-4.39150654e-06) if near else type(x)(-0.00367342844)) + p * t
    p = (type(x)(0.00021858087) if near else type(x)(0.00573950773)) + p * t
    p = (type(x)(-0.00125372503) if near else type(x)(-0.0076224613)) + p * t
    p = (type(x)(-0.00417768164) if near else type(x)(0.00943887047)) + p * t
    p = (type(x)(0.246640727) if near else type(x)(1.00167406)) + p * t
    p = (type(x)(1.50140941) if near else type(x)(2.83297682)) + p * t
    # Beyond what that was made for, from erfc(y) = exp(-y^2) / (y sqrt(pi)), nearly.
    far = math.sqrt(w + type(x)(LN2) - type(x)(0.5) * vecmath.log(type(x)(math.pi) * w))
    y = p * a if w < type(x)(FAR) else far
    for _ in range(1 if is_float32(x) else 2):
        # The difference of the complements keeps its digits where erf is nearly 1.
        error = (type(x)(1) - a) - _erfc(y) if a > type(x)(0.5) else vecmath.erf(y) - a
        step = error / (type(x)(TWO_OVER_ROOT_PI) * vecmath.exp(-y * y))
        y = y - step / (type(x)(1) + y * step)
    y = type(x)(INFINITY) if a == type(x)(1) else y
    y = y if a <= type(x)(1) else type(x)(NAN)
    return vecmath.copysign(y, x)


@exact
def _erfinv_slope(dy, y):
    return dy * type(y)(1 / TWO_OVER_ROOT_PI) * vecmath.exp(y * y)


class ErfinvOp(UnaryOp):
    """y = erfinv(x)."""

    value = Map1(_erfinv)
    slope = Map2(_erfinv_slope)
    keeps = "y"


def erfinv(input: Tensor) -> Tensor:
    r"""The inverse of erf.

    Args:
        input: [*], float32 or float64; integers and bools are converted to the default dtype.

    Returns:
        [*], dtype of the input, or the default dtype for integers.

    Gradient:
        For input: $dy \cdot \frac{\sqrt\pi}{2} e^{y^2}$.

    Example:
        >>> nbdl.ops.erfinv(nbdl.tensor([0.0, 0.5]))
        tensor([0.0000, 0.4769])
    """
    return apply_float(ErfinvOp, input)
