r"""Smooth activations, and the exponential units with one corner.

$$
\begin{aligned}
\mathrm{elu}(x) &= x \text{ if } x > 0 \text{ else } \alpha (e^x - 1) &
\mathrm{celu}(x) &= x \text{ if } x > 0 \text{ else } \alpha (e^{x/\alpha} - 1) \\
\mathrm{selu}(x) &= \lambda\, \mathrm{elu}_\alpha(x) &
\mathrm{gelu}(x) &= x\, \Phi(x) = \tfrac12 x \big(1 + \mathrm{erf}(x/\sqrt2)\big) \\
\mathrm{silu}(x) &= x\, \sigma(x) &
\mathrm{mish}(x) &= x \tanh(\ln(1 + e^x)) \\
\mathrm{softplus}(x) &= \tfrac1\beta \ln(1 + e^{\beta x}) &
\mathrm{softsign}(x) &= x / (1 + |x|) \\
\mathrm{tanhshrink}(x) &= x - \tanh x &
\mathrm{logsigmoid}(x) &= -\ln(1 + e^{-x})
\end{aligned}
$$

Derivatives, with $\sigma$ the logistic function and $\varphi$ the normal density:
$\mathrm{gelu}' = \Phi(x) + x \varphi(x)$;
$\mathrm{silu}' = \sigma(x)(1 + x(1 - \sigma(x)))$;
$\mathrm{mish}' = t + x\, \sigma(x) (1 - t^2)$ with $t = \tanh(\ln(1 + e^x))$;
$\mathrm{softplus}' = \sigma(\beta x)$;
$\mathrm{softsign}' = (1 + |x|)^{-2}$;
$\mathrm{tanhshrink}' = \tanh^2 x$;
$\mathrm{logsigmoid}' = \sigma(-x)$.

Sources: Clevert, Unterthiner and Hochreiter (2016) for elu; Barron (2017) for celu; Klambauer et al. (2017) for selu;
Hendrycks and Gimpel (2016) for gelu and silu; Misra (2019) for mish; Dugas et al. (2001) for softplus.
"""

from __future__ import annotations

import math

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.elementwise.in_place import overwrite
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.elementwise.operands import UnaryOp, typed_number
from nbdl.runtime import vecmath
from nbdl.runtime.checks import check_choice, check_float, check_number
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import scalar

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
"""The constants for which a layer of normal activations keeps mean 0 and variance 1 (Klambauer et al., equation 14)."""

_SQRT_HALF = math.sqrt(0.5)
_NORMAL_DENSITY = 1 / math.sqrt(2 * math.pi)
_TANH_SCALE = 2 * math.sqrt(2 / math.pi)
_TANH_CUBE = 0.044715

# ---------------------------------------------------------------- reference


def elu_reference(input, alpha=1.0):
    """x, or alpha (e^x - 1) where it is negative."""
    return np.where(input > 0, input, alpha * np.expm1(np.minimum(input, 0)))


def celu_reference(input, alpha=1.0):
    """x, or alpha (e^(x / alpha) - 1) where it is negative."""
    return np.maximum(input, 0) + np.minimum(0, alpha * np.expm1(np.minimum(input / alpha, 700)))


def selu_reference(input):
    """A scaled elu."""
    return SELU_SCALE * elu_reference(input, SELU_ALPHA)


def gelu_reference(input, approximate="none"):
    """The input times the chance that a standard normal number is smaller."""
    if approximate == "tanh":
        return 0.5 * input * (1 + np.tanh(math.sqrt(2 / math.pi) * (input + _TANH_CUBE * input**3)))
    return 0.5 * input * (1 + np.vectorize(math.erf, otypes=[np.float64])(input / math.sqrt(2)))


def silu_reference(input):
    """The input times its sigmoid."""
    return input / (1 + np.exp(-input))


def mish_reference(input):
    """The input times the tanh of its softplus."""
    return input * np.tanh(np.logaddexp(0, input))


def softplus_reference(input, beta=1.0, threshold=20.0):
    """ln(1 + e^(beta x)) / beta, or x where beta x exceeds the threshold."""
    return np.where(input * beta > threshold, input, np.logaddexp(0, input * beta) / beta)


def softsign_reference(input):
    """The input divided by one more than its magnitude."""
    return input / (1 + np.abs(input))


def tanhshrink_reference(input):
    """The input less its tanh."""
    return input - np.tanh(input)


def logsigmoid_reference(input):
    """The logarithm of the sigmoid."""
    return -np.logaddexp(0, -input)


# ---------------------------------------------------------------- scalar functions: value, then slope
# Both sides of a corner are computed and one is selected: a branch would keep LLVM from using vectors.


@scalar
def _elu(x, alpha):
    negative = alpha * vecmath.expm1(x)
    return x if x > type(x)(0) else negative


@scalar
def _elu_slope(dy, x, alpha):
    negative = dy * alpha * vecmath.exp(x)
    return dy if x > type(x)(0) else negative


@scalar
def _celu(x, alpha):
    negative = alpha * vecmath.expm1(x / alpha)
    return x if x > type(x)(0) else negative


@scalar
def _celu_slope(dy, x, alpha):
    negative = dy * vecmath.exp(x / alpha)
    return dy if x > type(x)(0) else negative


@scalar
def _selu(x):
    return type(x)(SELU_SCALE) * _elu(x, type(x)(SELU_ALPHA))


@scalar
def _selu_slope(dy, x):
    return _elu_slope(dy * type(x)(SELU_SCALE), x, type(x)(SELU_ALPHA))


@scalar
def _gelu(x):
    return type(x)(0.5) * x * (type(x)(1) + vecmath.erf(x * type(x)(_SQRT_HALF)))


@scalar
def _gelu_slope(dy, x):
    probability = type(x)(0.5) * (type(x)(1) + vecmath.erf(x * type(x)(_SQRT_HALF)))
    density = type(x)(_NORMAL_DENSITY) * vecmath.exp(type(x)(-0.5) * x * x)
    return dy * (probability + x * density)


@scalar
def _gelu_tanh(x):
    # (1 + tanh u) / 2 is the sigmoid of 2 u
    return x / (type(x)(1) + vecmath.exp(-type(x)(_TANH_SCALE) * x * (type(x)(1) + type(x)(_TANH_CUBE) * x * x)))


@scalar
def _gelu_tanh_slope(dy, x):
    cube = type(x)(_TANH_CUBE) * x * x
    s = type(x)(1) / (type(x)(1) + vecmath.exp(-type(x)(_TANH_SCALE) * x * (type(x)(1) + cube)))
    inner = type(x)(_TANH_SCALE) * (type(x)(1) + type(x)(3) * cube)
    return dy * s * (type(x)(1) + x * (type(x)(1) - s) * inner)


@scalar
def _silu(x):
    return x / (type(x)(1) + vecmath.exp(-x))


@scalar
def _silu_slope(dy, x):
    s = type(x)(1) / (type(x)(1) + vecmath.exp(-x))
    return dy * s * (type(x)(1) + x * (type(x)(1) - s))


@scalar
def _tanh_softplus(x, e):
    """tanh(ln(1 + e^x)) from e = e^-|x|: one division, no logarithm."""
    numerator = type(x)(1) + type(x)(2) * e if x > type(x)(0) else e * (e + type(x)(2))
    rest = type(x)(2) * e * e if x > type(x)(0) else type(x)(2)
    return numerator / (numerator + rest)


@scalar
def _mish(x):
    return x * _tanh_softplus(x, vecmath.exp(-abs(x)))


@scalar
def _mish_slope(dy, x):
    e = vecmath.exp(-abs(x))
    t = _tanh_softplus(x, e)
    s = (type(x)(1) if x > type(x)(0) else e) / (type(x)(1) + e)
    return dy * (t + x * s * (type(x)(1) - t * t))


@scalar
def _softplus(x, beta, threshold):
    z = x * beta
    soft = vecmath.softplus(z) / beta
    return x if z > threshold else soft


@scalar
def _softplus_slope(dy, x, beta, threshold):
    z = x * beta
    soft = dy / (type(x)(1) + vecmath.exp(-z))
    return dy if z > threshold else soft


@scalar
def _softsign(x):
    return x / (type(x)(1) + abs(x))


@scalar
def _softsign_slope(dy, x):
    whole = type(x)(1) + abs(x)
    return dy / (whole * whole)


@scalar
def _tanhshrink(x):
    return x - vecmath.tanh(x)


@scalar
def _tanhshrink_slope(dy, x):
    t = vecmath.tanh(x)
    return dy * t * t


@scalar
def _logsigmoid(x):
    return -vecmath.softplus(-x)


@scalar
def _logsigmoid_slope(dy, x):
    return dy / (type(x)(1) + vecmath.exp(x))


# ---------------------------------------------------------------- autograd


class EluOp(UnaryOp):
    """y = elu(x)."""

    value = Map1(_elu)
    slope = Map2(_elu_slope)


class CeluOp(UnaryOp):
    """y = celu(x)."""

    value = Map1(_celu)
    slope = Map2(_celu_slope)


class SeluOp(UnaryOp):
    """y = selu(x)."""

    value = Map1(_selu)
    slope = Map2(_selu_slope)


class GeluOp(UnaryOp):
    """y = gelu(x)."""

    value = Map1(_gelu)
    slope = Map2(_gelu_slope)


class GeluTanhOp(UnaryOp):
    """y = gelu(x) by the tanh formula."""

    value = Map1(_gelu_tanh)
    slope = Map2(_gelu_tanh_slope)


class SiluOp(UnaryOp):
    """y = silu(x)."""

    value = Map1(_silu)
    slope = Map2(_silu_slope)


class MishOp(UnaryOp):
    """y = mish(x)."""

    value = Map1(_mish)
    slope = Map2(_mish_slope)


class SoftplusOp(UnaryOp):
    """y = softplus(x)."""

    value = Map1(_softplus)
    slope = Map2(_softplus_slope)


class SoftsignOp(UnaryOp):
    """y = softsign(x)."""

    value = Map1(_softsign)
    slope = Map2(_softsign_slope)


class TanhshrinkOp(UnaryOp):
    """y = tanhshrink(x)."""

    value = Map1(_tanhshrink)
    slope = Map2(_tanhshrink_slope)


class LogsigmoidOp(UnaryOp):
    """y = logsigmoid(x)."""

    value = Map1(_logsigmoid)
    slope = Map2(_logsigmoid_slope)


# ---------------------------------------------------------------- public


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    r"""The exponential linear unit: $y = x$ where $x > 0$, else $\alpha (e^x - 1)$.

    Args:
        input: [*], float32 or float64.
        alpha: How far below 0 large negative elements go.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy where x > 0, else alpha e^x dy.

    Example:
        >>> nbdl.ops.elu(nbdl.tensor([-1.0, 2.0]))
        tensor([-0.6321,  2.0000])
    """
    check_float("input", input)
    number = typed_number("alpha", check_number("alpha", alpha), input.dtype)
    return overwrite(input, EluOp.apply, number) if inplace else EluOp.apply(input, number)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    r"""The continuously differentiable elu: $y = x$ where $x > 0$, else $\alpha (e^{x/\alpha} - 1)$.

    Args:
        input: [*], float32 or float64.
        alpha: How far below 0 large negative elements go; not 0.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Raises:
        ArgumentError: alpha is 0.

    Gradient:
        For input: dy where x > 0, else e^(x / alpha) dy.

    Example:
        >>> nbdl.ops.celu(nbdl.tensor([-1.0, 2.0]), alpha=0.5)
        tensor([-0.4323,  2.0000])
    """
    check_float("input", input)
    number = typed_number("alpha", check_number("alpha", alpha), input.dtype)
    if number == 0:
        raise ArgumentError("alpha: expected a number other than 0")
    return overwrite(input, CeluOp.apply, number) if inplace else CeluOp.apply(input, number)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""The self-normalizing elu: $y = \lambda x$ where $x > 0$, else $\lambda \alpha (e^x - 1)$.

    Args:
        input: [*], float32 or float64.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: lambda dy where x > 0, else lambda alpha e^x dy, with lambda = 1.0507 and alpha = 1.6733.

    Example:
        >>> nbdl.ops.selu(nbdl.tensor([-1.0, 2.0]))
        tensor([-1.1113,  2.1014])
    """
    check_float("input", input)
    return overwrite(input, SeluOp.apply) if inplace else SeluOp.apply(input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    r"""The Gaussian error linear unit: $y = x\, \Phi(x)$, $\Phi$ the normal distribution.

    Args:
        input: [*], float32 or float64.
        approximate: "none", or "tanh" for $\tfrac12 x (1 + \tanh(\sqrt{2/\pi} (x + 0.044715 x^3)))$.

    Returns:
        [*], dtype of the input.

    Raises:
        ArgumentError: approximate is something else.

    Gradient:
        For input: (Phi(x) + x phi(x)) dy, phi the normal density; the approximation's own derivative for "tanh".

    Example:
        >>> nbdl.ops.gelu(nbdl.tensor([-1.0, 0.0, 2.0]))
        tensor([-0.1587,  0.0000,  1.9545])
    """
    check_float("input", input)
    check_choice("approximate", approximate, ("none", "tanh"))
    return GeluOp.apply(input) if approximate == "none" else GeluTanhOp.apply(input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""The sigmoid linear unit, or swish: $y = x\, \sigma(x)$.

    Args:
        input: [*], float32 or float64.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: s (1 + x (1 - s)) dy with s the sigmoid of x.

    Example:
        >>> nbdl.ops.silu(nbdl.tensor([-1.0, 0.0, 2.0]))
        tensor([-0.2689,  0.0000,  1.7616])
    """
    check_float("input", input)
    return overwrite(input, SiluOp.apply) if inplace else SiluOp.apply(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Elements times the tanh of their softplus: $y = x \tanh(\ln(1 + e^x))$.

    Args:
        input: [*], float32 or float64.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: (t + x s (1 - t^2)) dy with s the sigmoid of x and t the tanh above.

    Example:
        >>> nbdl.ops.mish(nbdl.tensor([-1.0, 0.0, 2.0]))
        tensor([-0.3034,  0.0000,  1.9440])
    """
    check_float("input", input)
    return overwrite(input, MishOp.apply) if inplace else MishOp.apply(input)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    r"""A smooth relu: $y = \tfrac1\beta \ln(1 + e^{\beta x})$.

    Args:
        input: [*], float32 or float64.
        beta: The sharpness of the bend; not 0.
        threshold: Where beta x exceeds it, y is x.

    Returns:
        [*], dtype of the input.

    Raises:
        ArgumentError: beta is 0.

    Gradient:
        For input: the sigmoid of beta x times dy; dy where beta x exceeds the threshold.

    Example:
        >>> nbdl.ops.softplus(nbdl.tensor([-1.0, 0.0, 2.0]))
        tensor([0.3133, 0.6931, 2.1269])
    """
    check_float("input", input)
    number = typed_number("beta", check_number("beta", beta), input.dtype)
    if number == 0:
        raise ArgumentError("beta: expected a number other than 0")
    return SoftplusOp.apply(input, number, typed_number("threshold", check_number("threshold", threshold), input.dtype))


def softsign(input: Tensor) -> Tensor:
    r"""A sigmoid with slow tails: $y = x / (1 + |x|)$.

    Args:
        input: [*], float32 or float64.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy / (1 + |x|)^2.

    Example:
        >>> nbdl.ops.softsign(nbdl.tensor([-1.0, 0.0, 3.0]))
        tensor([-0.5000,  0.0000,  0.7500])
    """
    return SoftsignOp.apply(check_float("input", input))


def tanhshrink(input: Tensor) -> Tensor:
    r"""Elements less their tanh: $y = x - \tanh x$.

    Args:
        input: [*], float32 or float64.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy tanh^2(x).

    Example:
        >>> nbdl.ops.tanhshrink(nbdl.tensor([-1.0, 0.0, 2.0]))
        tensor([-0.2384,  0.0000,  1.0360])
    """
    return TanhshrinkOp.apply(check_float("input", input))


def logsigmoid(input: Tensor) -> Tensor:
    r"""The logarithm of the sigmoid: $y = -\ln(1 + e^{-x})$, without overflow.

    Args:
        input: [*], float32 or float64.

    Returns:
        [*], dtype of the input; in nats.

    Gradient:
        For input: the sigmoid of -x times dy.

    Example:
        >>> nbdl.ops.logsigmoid(nbdl.tensor([-1.0, 0.0, 2.0]))
        tensor([-1.3133, -0.6931, -0.1269])
    """
    return LogsigmoidOp.apply(check_float("input", input))
