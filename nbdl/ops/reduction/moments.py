r"""Variance and standard deviation over any dimensions.

Forward, for n elements with mean $\mu$ and a correction $c$ (Bessel's correction is 1):

$$v = \frac{1}{n - c} \sum_r (x_r - \mu)^2, \qquad s = \sqrt v.$$

The mean is taken first and the squares of the deviations in a second pass: $\mathrm{E}[x^2] - \mu^2$ loses every
digit when $|\mu| \gg s$. Before that the first element is subtracted from all, so that equal elements have the
deviation 0, not a rounding error. With $n \le c$ the divisor is 0.

Backward: the derivative of $\mu$ drops out, because the deviations add up to 0:

$$dx_r = \frac{2\, dv}{n - c} (x_r - \mu), \qquad dx_r = \frac{ds}{s\,(n - c)} (x_r - \mu),$$

and 0 where s is 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.reduction.arguments import Dims
from nbdl.ops.reduction.arrangement import arrange
from nbdl.ops.reduction.fold import Fold, add
from nbdl.ops.reduction.spread import Spread
from nbdl.ops.reduction.sums import ZERO, axes_of, mean, mean_reference, quotient_map, sum_fold
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_dims, check_float, check_number
from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- reference


def var_reference(input, dim=None, unbiased=None, *, correction=None, keepdim=False):
    """The definition, in float64."""
    axis = axes_of(dim)
    count = np.sum(np.ones(input.shape), axis=axis, keepdims=keepdim)
    c = correction if correction is not None else 1 if unbiased is None else int(unbiased)
    deviations = input - mean_reference(input, dim, True)
    with np.errstate(all="ignore"):
        return np.sum(deviations**2, axis=axis, keepdims=keepdim) / np.maximum(count - c, 0.0)


def std_reference(input, dim=None, unbiased=None, *, correction=None, keepdim=False):
    """The definition, in float64."""
    return np.sqrt(var_reference(input, dim, unbiased, correction=correction, keepdim=keepdim))


def var_mean_reference(input, dim=None, unbiased=None, *, correction=None, keepdim=False):
    """The definition, in float64."""
    variance = var_reference(input, dim, unbiased, correction=correction, keepdim=keepdim)
    return variance, mean_reference(input, dim, keepdim)


def std_mean_reference(input, dim=None, unbiased=None, *, correction=None, keepdim=False):
    """The definition, in float64."""
    variance, average = var_mean_reference(input, dim, unbiased, correction=correction, keepdim=keepdim)
    return np.sqrt(variance), average


# ---------------------------------------------------------------- forward


@exact
def _deviation(x, mu, unused):
    return x - mu


@exact
def square(x):
    return x * x


@exact
def _root(x):
    return math.sqrt(x)


deviation_spread = Spread("deviation", _deviation)
square_fold = Fold("square_sum", square, add, 0, merge=sum_fold)
root_map = Map1(_root)

# ---------------------------------------------------------------- backward


@exact
def _var_factor(dy, divisor):
    return (dy + dy) / divisor


@exact
def _std_factor(dy, y, divisor):
    return dy / (y * divisor) if y != 0 else ZERO


@exact
def _scaled(deviation, factor, unused):
    return deviation * factor


var_factor_map = Map1(_var_factor)
std_factor_map = Map2(_std_factor)
scaled_spread = Spread("scaled_deviation", _scaled)

# ---------------------------------------------------------------- autograd


class VarOp(Op):
    """y = variance of x, or its root: saves the deviations."""

    @staticmethod
    def forward(ctx: Context, x, dims, correction, keepdim, root):
        lines, arrangement = arrange(x, dims)
        count = arrangement.sizes[1]
        if count:
            first = arrays.contiguous(lines[:, 0])
            lines = deviation_spread(lines, first, first)
        average = sum_fold(lines, count)
        deviations = deviation_spread(lines, average, average)
        divisor = x.dtype.type(count - correction)
        y = quotient_map(square_fold(deviations), x.dtype.type(max(count - correction, 0)))
        if root:
            y = root_map(y)
        ctx.save(deviations, y)
        ctx.options = arrangement, divisor, keepdim, root
        return arrangement.reduced(y, keepdim)

    @staticmethod
    def backward(ctx: Context, dy):
        deviations, y = ctx.saved
        arrangement, divisor, keepdim, root = ctx.options
        dy = arrangement.flat(dy, keepdim)
        factor = std_factor_map(dy, y, divisor) if root else var_factor_map(dy, divisor)
        return arrangement.full(scaled_spread(deviations, factor, factor)), None, None, None, None


# ---------------------------------------------------------------- public


def _moment(
    input: Tensor, dim: Dims | bool, unbiased: bool | None, correction: Any, keepdim: bool, root: bool
) -> Tensor:
    if isinstance(dim, bool):  # var(input, unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    check_number("correction", correction)
    check_float("input", input)
    return VarOp.apply(input, check_dims("dim", dim, input.ndim), correction, keepdim, root)


def var(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    r"""The variance over the given dimensions: $\frac{1}{n - c} \sum_r (x_r - \mu)^2$.

    Args:
        input: [*], float32 or float64.
        dim: One dimension or several, counted from the front or the back; all when None.
        unbiased: PyTorch's older name for a correction of 1 (True) or 0 (False).
        keepdim: Leave the reduced dimensions in the result with size 1.
        correction: What is subtracted from the number of elements; 1 when None.

    Returns:
        The variances, dtype of the input. One element with correction 1 gives NaN.

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.var(nbdl.tensor([1.0, 2.0, 3.0]))
        tensor(1.)
    """
    return _moment(input, dim, unbiased, correction, keepdim, root=False)


def std(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    r"""The standard deviation over the given dimensions, the root of the variance.

    Args:
        input: [*], float32 or float64.
        dim: One dimension or several, counted from the front or the back; all when None.
        unbiased: PyTorch's older name for a correction of 1 (True) or 0 (False).
        keepdim: Leave the reduced dimensions in the result with size 1.
        correction: What is subtracted from the number of elements; 1 when None.

    Returns:
        The standard deviations, dtype of the input. One element with correction 1 gives NaN.

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input; 0 where all elements are equal.

    Example:
        >>> nbdl.ops.std(nbdl.tensor([1.0, 2.0, 3.0]))
        tensor(1.)
    """
    return _moment(input, dim, unbiased, correction, keepdim, root=True)


def var_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Variance and mean over the given dimensions; the arguments of `var`.

    Returns:
        `(var(...), mean(...))`.

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.var_mean(nbdl.tensor([1.0, 2.0, 3.0]))
        (tensor(1.), tensor(2.))
    """
    variance = var(input, dim, unbiased, keepdim, correction=correction)
    return variance, mean(input, None if isinstance(dim, bool) else dim, keepdim)


def std_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean over the given dimensions; the arguments of `std`.

    Returns:
        `(std(...), mean(...))`.

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.std_mean(nbdl.tensor([1.0, 2.0, 3.0]))
        (tensor(1.), tensor(2.))
    """
    deviation = std(input, dim, unbiased, keepdim, correction=correction)
    return deviation, mean(input, None if isinstance(dim, bool) else dim, keepdim)
