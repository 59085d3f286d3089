r"""Rectifiers: activations made of straight pieces.

$$
\begin{aligned}
\mathrm{relu}(x) &= \max(0, x) & \mathrm{relu6}(x) &= \min(\max(0, x), 6) \\
\mathrm{leaky\_relu}(x) &= \max(0, x) + s \min(0, x) & \mathrm{hardtanh}(x) &= \min(\max(l, x), h) \\
\mathrm{hardsigmoid}(x) &= \mathrm{relu6}(x + 3) / 6 & \mathrm{hardswish}(x) &= x\, \mathrm{relu6}(x + 3) / 6 \\
\mathrm{hardshrink}(x) &= x \,[\,|x| > \lambda\,] & \mathrm{softshrink}(x) &= \mathrm{sign}(x) \max(0, |x| - \lambda) \\
\mathrm{threshold}(x) &= x \text{ if } x > t \text{ else } v
\end{aligned}
$$

Backward: dy times the slope of the piece that x lies on. At a kink the slope is one of its two sides', as in PyTorch:
0 for relu at 0, for hardtanh at both ends.

The slope is a function of dy and not a factor for it: where an activation is flat, an infinite dy gives 0, not NaN.

Sources: Nair and Hinton (2010), "Rectified Linear Units Improve Restricted Boltzmann Machines"; Maas, Hannun and Ng
(2013), "Rectifier Nonlinearities Improve Neural Network Acoustic Models"; Howard et al. (2019), "Searching for
MobileNetV3", for the hard sigmoid and swish.
"""

from __future__ import annotations

import math

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.elementwise.in_place import in_place, overwrite
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.elementwise.operands import UnaryOp, apply_any, typed_number
from nbdl.runtime.checks import check_float, check_number
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import exact, scalar

# ---------------------------------------------------------------- reference


def relu_reference(input):
    """max(0, x)."""
    return np.maximum(input, 0)


def relu6_reference(input):
    """The input limited to [0, 6]."""
    return np.clip(input, 0, 6)


def leaky_relu_reference(input, negative_slope=0.01):
    """The input where it is positive, else x times the slope."""
    return np.where(input > 0, input, input * negative_slope)


def hardtanh_reference(input, min_val=-1.0, max_val=1.0):
    """The input limited to an interval."""
    return np.clip(input, min_val, max_val)


def hardsigmoid_reference(input):
    """A line from 0 at -3 to 1 at 3."""
    return np.clip(input + 3, 0, 6) / 6


def hardswish_reference(input):
    """The input times its hard sigmoid."""
    return input * np.clip(input + 3, 0, 6) / 6


def hardshrink_reference(input, lambd=0.5):
    """x, or 0 where it is small."""
    return np.where(np.abs(input) <= lambd, 0, input)


def softshrink_reference(input, lambd=0.5):
    """The input moved towards 0 by at most lambd."""
    return np.sign(input) * np.maximum(np.abs(input) - lambd, 0)


def threshold_reference(input, threshold, value):
    """The input where it exceeds the threshold, else the value."""
    return np.where(input > threshold, input, value)


# ---------------------------------------------------------------- scalar functions: value, then slope


@scalar
def _relu(x):
    return type(x)(0) if x <= type(x)(0) else x  # a NaN stays NaN


@scalar
def _relu_slope(dy, x):
    return type(x)(0) if x <= type(x)(0) else dy


@scalar
def _leaky_relu(x, slope):
    return x if x > type(x)(0) else x * slope


@scalar
def leaky_relu_slope(dy, x, slope):
    return dy if x > type(x)(0) else dy * slope


@scalar
def _hardtanh(x, low, high):
    limited = low if x < low else x
    return high if limited > high else limited


@scalar
def _hardtanh_slope(dy, x, low, high):
    raised = dy if x > low else type(x)(0)
    return raised if x < high else type(x)(0)


@exact  # hardsigmoid(3) is 1, which 6 times the rounded sixth is not
def _hardsigmoid(x):
    return _hardtanh(x + type(x)(3), type(x)(0), type(x)(6)) / type(x)(6)


@scalar
def _hardsigmoid_slope(dy, x):
    return _hardtanh_slope(dy / type(x)(6), x, type(x)(-3), type(x)(3))


@exact
def _hardswish(x):
    return x * _hardtanh(x + type(x)(3), type(x)(0), type(x)(6)) / type(x)(6)


@scalar
def _hardswish_slope(dy, x):
    middle = dy * (x / type(x)(3) + type(x)(0.5))
    raised = type(x)(0) if x <= type(x)(-3) else middle
    return dy if x >= type(x)(3) else raised


@scalar
def _hardshrink(x, limit):
    return type(x)(0) if abs(x) <= limit else x


@scalar
def _hardshrink_slope(dy, x, limit):
    return dy if abs(x) > limit else type(x)(0)


@scalar
def _softshrink(x, limit):
    shrunk = x - limit if x > type(x)(0) else x + limit
    return type(x)(0) if abs(x) <= limit else shrunk


@scalar
def _threshold(x, threshold, value):
    return value if x <= threshold else x


@scalar
def _threshold_slope(dy, x, threshold, value):
    return type(x)(0) if x <= threshold else dy


# ---------------------------------------------------------------- autograd


class ReluOp(UnaryOp):
    """y = relu(x). Keeps y: it is positive exactly where x is."""

    value = Map1(_relu)
    slope = Map2(_relu_slope)
    keeps = "y"


class LeakyReluOp(UnaryOp):
    """y = leaky_relu(x)."""

    value = Map1(_leaky_relu)
    slope = Map2(leaky_relu_slope)


class HardtanhOp(UnaryOp):
    """y = hardtanh(x). relu6 is the case [0, 6]. Keeps y: it is between the limits exactly where x is."""

    value = Map1(_hardtanh)
    slope = Map2(_hardtanh_slope)
    keeps = "y"


class HardsigmoidOp(UnaryOp):
    """y = hardsigmoid(x)."""

    value = Map1(_hardsigmoid)
    slope = Map2(_hardsigmoid_slope)


class HardswishOp(UnaryOp):
    """y = hardswish(x)."""

    value = Map1(_hardswish)
    slope = Map2(_hardswish_slope)


class HardshrinkOp(UnaryOp):
    """y = hardshrink(x)."""

    value = Map1(_hardshrink)
    slope = Map2(_hardshrink_slope)


class SoftshrinkOp(UnaryOp):
    """y = softshrink(x), whose slope is hardshrink's."""

    value = Map1(_softshrink)
    slope = Map2(_hardshrink_slope)


class ThresholdOp(UnaryOp):
    """y = threshold(x)."""

    value = Map1(_threshold)
    slope = Map2(_threshold_slope)


# ---------------------------------------------------------------- public


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Sets negative elements to 0: $y = \max(0, x)$.

    Args:
        input: [*], any dtype but bool.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy where x > 0, else 0.

    Example:
        >>> nbdl.ops.relu(nbdl.tensor([-1.0, 0.0, 2.0]))
        tensor([0., 0., 2.])
    """
    if inplace:
        return relu_(input)
    if isinstance(input, Tensor) and input._array.dtype.kind == "f":
        return ReluOp.apply(input)
    return apply_any(ReluOp, input)


relu_ = in_place(relu, over="always")


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Limits elements to [0, 6]: $y = \min(\max(0, x), 6)$.

    Args:
        input: [*], float32 or float64.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy where 0 < x < 6, else 0.

    Example:
        >>> nbdl.ops.relu6(nbdl.tensor([-1.0, 2.0, 7.0]))
        tensor([0., 2., 6.])
    """
    return hardtanh(input, 0.0, 6.0, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    r"""Shrinks negative elements: $y = \max(0, x) + s \min(0, x)$.

    Args:
        input: [*], float32 or float64.
        negative_slope: The factor s.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy where x > 0, else s dy.

    Example:
        >>> nbdl.ops.leaky_relu(nbdl.tensor([-2.0, 3.0]), 0.5)
        tensor([-1.,  3.])
    """
    check_float("input", input)
    slope = typed_number("negative_slope", check_number("negative_slope", negative_slope), input.dtype)
    if inplace:
        return overwrite(input, LeakyReluOp.apply, slope)
    return LeakyReluOp.apply(input, slope)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    r"""Limits elements to an interval: $y = \min(\max(l, x), h)$.

    Args:
        input: [*], float32 or float64.
        min_val: The lower end l.
        max_val: The upper end h, at least l.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Raises:
        ArgumentError: min_val exceeds max_val.

    Gradient:
        For input: dy where l < x < h, else 0.

    Example:
        >>> nbdl.ops.hardtanh(nbdl.tensor([-3.0, 0.0, 3.0]))
        tensor([-1.,  0.,  1.])
    """
    check_float("input", input)
    if check_number("min_val", min_val) > check_number("max_val", max_val):
        raise ArgumentError(f"min_val: expected at most max_val = {max_val}, got {min_val}")
    ends = typed_number("min_val", min_val, input.dtype), typed_number("max_val", max_val, input.dtype)
    if inplace:
        return overwrite(input, HardtanhOp.apply, *ends)
    return HardtanhOp.apply(input, *ends)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    r"""A sigmoid of three lines: $y = \min(\max(0, x + 3), 6) / 6$.

    Args:
        input: [*], float32 or float64.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy / 6 where -3 < x < 3, else 0.

    Example:
        >>> nbdl.ops.hardsigmoid(nbdl.tensor([-4.0, 0.0, 4.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    check_float("input", input)
    return overwrite(input, HardsigmoidOp.apply) if inplace else HardsigmoidOp.apply(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    r"""Elements times their hard sigmoid: $y = x \min(\max(0, x + 3), 6) / 6$.

    Args:
        input: [*], float32 or float64.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: (x / 3 + 1 / 2) dy between -3 and 3; 0 up to -3; dy from 3.

    Example:
        >>> nbdl.ops.hardswish(nbdl.tensor([-4.0, 1.5, 4.0]))
        tensor([-0.0000,  1.1250,  4.0000])
    """
    check_float("input", input)
    return overwrite(input, HardswishOp.apply) if inplace else HardswishOp.apply(input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    r"""Sets small elements to 0: $y = x$ where $|x| > \lambda$, else 0.

    Args:
        input: [*], float32 or float64.
        lambd: The limit.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy where |x| > lambd, else 0.

    Example:
        >>> nbdl.ops.hardshrink(nbdl.tensor([-1.0, 0.25, 2.0]))
        tensor([-1.,  0.,  2.])
    """
    check_float("input", input)
    return HardshrinkOp.apply(input, typed_number("lambd", check_number("lambd", lambd), input.dtype))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    r"""Moves elements towards 0: $y = \mathrm{sign}(x) \max(0, |x| - \lambda)$.

    Args:
        input: [*], float32 or float64.
        lambd: How far, at least 0.

    Returns:
        [*], dtype of the input.

    Raises:
        ArgumentError: lambd is negative.

    Gradient:
        For input: dy where |x| > lambd, else 0.

    Example:
        >>> nbdl.ops.softshrink(nbdl.tensor([-1.0, 0.25, 2.0]))
        tensor([-0.5000,  0.0000,  1.5000])
    """
    check_float("input", input)
    return SoftshrinkOp.apply(input, typed_number("lambd", check_number("lambd", lambd, low=0), input.dtype))


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    r"""Replaces elements up to a threshold: $y = x$ where $x > t$, else $v$.

    Args:
        input: [*], float32 or float64.
        threshold: The threshold t.
        value: The replacement v.
        inplace: Write the result into the input's memory.

    Returns:
        [*], dtype of the input.

    Gradient:
        For input: dy where x > threshold, else 0.

    Example:
        >>> nbdl.ops.threshold(nbdl.tensor([0.0, 1.0, 2.0]), 1.0, -5.0)
        tensor([-5., -5.,  2.])
    """
    check_float("input", input)
    numbers = (
        typed_number("threshold", check_number("threshold", threshold), input.dtype),
        typed_number("value", _replacement(value), input.dtype),
    )
    if inplace:
        return overwrite(input, ThresholdOp.apply, *numbers)
    return ThresholdOp.apply(input, *numbers)


def _replacement(value: float) -> float:
    """The number, which may be infinite: scores are masked so."""
    return value if isinstance(value, float) and math.isinf(value) else check_number("value", value)
