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

import functools
import math
from typing import Any, ClassVar

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.arithmetic import MulOp
from nbdl.ops.elementwise.in_place import overwrite
from nbdl.ops.elementwise.layout import dense_order, inverse
from nbdl.ops.elementwise.maps import Map1, Place
from nbdl.ops.elementwise.operands import typed_number
from nbdl.runtime import arrays, memory, vecmath
from nbdl.runtime.checks import check_choice, check_float, check_number
from nbdl.runtime.circular import is_float32
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.gemm import ProductCurve
from nbdl.runtime.jit import BLOCK, Kernel, cpu_map, cuda, cuda_kernel, exact, scalar
from nbdl.runtime.short_exp import LOG2_E, short_two_to

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


# ---------------------------------------------------------------- the normal distribution in float32

_TAIL_POLE = 0.4 * _SQRT_HALF
_TAIL = (0.033991575, -0.1819091, 0.31081167, -0.15222746, 0.18190968, 0.078302518, 0.1165017, 0.11261941)
"""Minimax coefficients of the tail below, found with Lawson's algorithm."""


@exact
def _density_and_tail(x):
    """e^(-x^2 / 2), and half of what the complementary error function of |x| / sqrt(2) is, for float32.

    Their errors are 2e-7 and 4e-7 of the result, growing to 2e-6 in the far tail, with half of the multiplications of
    `vecmath.exp` and `erfcx`, which float64 needs.
    """
    e = short_two_to(x * x * type(x)(-LOG2_E / 2))
    share = type(x)(1) / vecmath.fma(abs(x), type(x)(_TAIL_POLE), type(x)(1))
    total = type(x)(_TAIL[0])
    for coefficient in _TAIL[1:]:
        total = vecmath.fma(total, share, type(x)(coefficient))
    return e, e * share * total


# ---------------------------------------------------------------- scalar functions: value and derivative
# Both sides of a corner are computed and one is selected: a branch would keep LLVM from using vectors.


@scalar
def _elu(x, alpha):
    positive = x > type(x)(0)
    # The slope is the value plus alpha too, but that leaves few digits of a small one.
    return x if positive else alpha * vecmath.expm1(x), type(x)(1) if positive else alpha * vecmath.exp(x)


@scalar
def _celu(x, alpha):
    positive = x > type(x)(0)
    z = x / alpha
    return x if positive else alpha * vecmath.expm1(z), type(x)(1) if positive else vecmath.exp(z)


@scalar
def _selu(x):
    value, slope = _elu(x, type(x)(SELU_ALPHA))
    return type(x)(SELU_SCALE) * value, type(x)(SELU_SCALE) * slope


@scalar
def _gelu(x):
    if is_float32(x):
        e, tail = _density_and_tail(x)
    else:
        z = abs(x) * type(x)(_SQRT_HALF)
        e = vecmath.exp(-z * z)
        tail = type(x)(0.5) * e * vecmath.erfcx(z)
    probability = type(x)(1) - tail if x > type(x)(0) else tail
    return x * probability, probability + x * e * type(x)(_NORMAL_DENSITY)


@scalar
def _gelu_tanh(x):
    cube = type(x)(_TANH_CUBE) * x * x
    # (1 + tanh u) / 2 is the sigmoid of 2 u
    s = type(x)(1) / (type(x)(1) + vecmath.exp(-type(x)(_TANH_SCALE) * x * (type(x)(1) + cube)))
    inner = type(x)(_TANH_SCALE) * (type(x)(1) + type(x)(3) * cube)
    return x * s, s * (type(x)(1) + x * (type(x)(1) - s) * inner)


@scalar
def _silu(x):
    s = type(x)(1) / (type(x)(1) + vecmath.exp(-x))
    return x * s, s * (type(x)(1) + x * (type(x)(1) - s))


@scalar
def _mish(x):
    # tanh(ln(1 + e^x)) and the sigmoid from e^-|x|: no logarithm, no overflow
    e = vecmath.exp(-abs(x))
    positive = x > type(x)(0)
    numerator = type(x)(1) + type(x)(2) * e if positive else e * (e + type(x)(2))
    rest = type(x)(2) * e * e if positive else type(x)(2)
    t = numerator / (numerator + rest)
    s = (type(x)(1) if positive else e) / (type(x)(1) + e)
    return x * t, t + x * s * (type(x)(1) - t * t)


@scalar
def _softplus(x, beta, threshold):
    z = x * beta
    e = vecmath.exp(-abs(z))
    positive = z > type(x)(0)
    soft = ((z if positive else type(x)(0)) + vecmath.log1p(e)) / beta
    s = (type(x)(1) if positive else e) / (type(x)(1) + e)
    linear = z > threshold
    return x if linear else soft, type(x)(1) if linear else s


@scalar
def _softsign(x):
    share = type(x)(1) / (type(x)(1) + abs(x))
    return x * share, share * share


@scalar
def _tanhshrink(x):
    t = vecmath.tanh(x)
    return x - t, t * t


@scalar
def _logsigmoid(x):
    e = vecmath.exp(-abs(x))
    negative = x < type(x)(0)
    return (x if negative else type(x)(0)) - vecmath.log1p(e), (type(x)(1) if negative else e) / (type(x)(1) + e)


# ---------------------------------------------------------------- kernels


class Curve:
    """The kernels of an activation, from the scalar function that gives its value and its derivative.

    Without gradients only the value is stored, and LLVM leaves the derivative out.
    """

    def __init__(self, function: Any) -> None:
        @scalar
        def value(x, *numbers):
            return function(x, *numbers)[0]

        value.py_func.__name__ = function.py_func.__name__
        self._function = function
        self.value = Map1(value)

    @functools.cached_property
    def _kernel(self) -> Kernel:
        return _with_slope_kernel(self._function)

    @functools.cached_property
    def of_product(self) -> ProductCurve:
        """The curve for results of matrix products."""
        return ProductCurve(self._function)

    def value_and_slope(self, x: Any, *numbers: Any, over: bool = False) -> tuple[Any, Any]:
        """The values, written over x if told so, and the derivatives; both of the shape and memory order of x."""
        if not x.flags.c_contiguous:
            order = dense_order(x)
            if order is None:
                return self.value_and_slope(arrays.contiguous(x), *numbers)
            y, slope = self.value_and_slope(x.transpose(order), *numbers, over=over)
            return y.transpose(inverse(order)), slope.transpose(inverse(order))
        y, slope = x if over else memory.empty(x.shape, x.dtype), memory.empty(x.shape, x.dtype)
        self._kernel(x.ravel(), y.ravel(), slope.ravel(), numbers)
        return y, slope


def _with_slope_kernel(function: Any) -> Kernel:
    def with_slope_cpu(x, y, slope, numbers, start, stop):
        """x, y, slope [N]; a tuple of numbers. One task an element."""
        for i in range(start, stop):
            y[i], slope[i] = function(x[i], *numbers)

    def with_slope_cuda(x, y, slope, numbers):
        """As the CPU twin. One thread an element."""
        i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
        if i < y.size:
            y[i], slope[i] = function(x[i], *numbers)

    stem = function.py_func.__name__ + "_with_slope"
    with_slope_cpu.__name__, with_slope_cuda.__name__ = f"{stem}_cpu", f"{stem}_cuda"
    return Kernel(
        cpu=cpu_map(with_slope_cpu),
        cuda=cuda_kernel(with_slope_cuda),
        tasks=lambda x, *_: x.size,
        blocks=lambda x, *_: max(1, -(-x.size // BLOCK)),
    )


# ---------------------------------------------------------------- autograd


class CurveOp(Op):
    """y = f(x), dx = dy f'(x). The forward pass computes both f and f' and saves f', where a gradient is wanted."""

    curve: ClassVar[Curve]
    over = "always"

    @classmethod
    def forward(cls, ctx: Context, x, *numbers):
        if not ctx.needs_input_grad[0]:
            return cls.curve.value(x, *numbers)
        over = x is Place.recorded
        y, slope = cls.curve.value_and_slope(x, *numbers, over=over)
        ctx.save(slope)
        return x if over else y

    @classmethod
    def backward(cls, ctx: Context, dy):
        (slope,) = ctx.saved
        return (MulOp.value(dy, slope),) + (None,) * (len(ctx.needs_input_grad) - 1)


class EluOp(CurveOp):
    """y = elu(x)."""

    curve = Curve(_elu)


class CeluOp(CurveOp):
    """y = celu(x)."""

    curve = Curve(_celu)


class SeluOp(CurveOp):
    """y = selu(x)."""

    curve = Curve(_selu)


class GeluOp(CurveOp):
    """y = gelu(x)."""

    curve = Curve(_gelu)


class GeluTanhOp(CurveOp):
    """y = gelu(x) by the tanh formula."""

    curve = Curve(_gelu_tanh)


class SiluOp(CurveOp):
    """y = silu(x)."""

    curve = Curve(_silu)


class MishOp(CurveOp):
    """y = mish(x)."""

    curve = Curve(_mish)


class SoftplusOp(CurveOp):
    """y = softplus(x)."""

    curve = Curve(_softplus)


class SoftsignOp(CurveOp):
    """y = softsign(x)."""

    curve = Curve(_softsign)


class TanhshrinkOp(CurveOp):
    """y = tanhshrink(x)."""

    curve = Curve(_tanhshrink)


class LogsigmoidOp(CurveOp):
    """y = logsigmoid(x)."""

    curve = Curve(_logsigmoid)


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
