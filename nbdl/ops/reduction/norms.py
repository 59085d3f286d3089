r"""Vector norms over any dimensions.

Forward, for an order p:

$$
\|x\|_p = \Big( \sum_r |x_r|^p \Big)^{1/p}, \qquad
\|x\|_\infty = \max_r |x_r|, \qquad \|x\|_{-\infty} = \min_r |x_r|, \qquad \|x\|_0 = \sum_r [x_r \ne 0]
$$

Backward, with $y = \|x\|_p$:

$$dx_r = dy\, \mathrm{sgn}(x_r) \Big( \frac{|x_r|}{y} \Big)^{p-1}$$

and 0 where y is 0. For the infinite orders the elements that attain the norm share the gradient; order 0 has none.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise import clamp
from nbdl.ops.elementwise.casting import cast
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.reduction.arguments import Dims, check_elements, float_input
from nbdl.ops.reduction.arrangement import arrange
from nbdl.ops.reduction.extremes import max_fold, min_fold, shared_among_extremes
from nbdl.ops.reduction.moments import root_map, scaled_spread, square_fold
from nbdl.ops.reduction.spread import Spread
from nbdl.ops.reduction.sums import ZERO, axes_of, count_fold, sum_fold
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_dims
from nbdl.runtime.dtypes import INT64
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError
from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- reference


def vector_norm_reference(input, ord=2.0, dim=None, keepdim=False):
    """The definition, in float64."""
    axis = axes_of(dim)
    size = np.abs(input)
    if ord == math.inf:
        return np.max(size, axis=axis, keepdims=keepdim)
    if ord == -math.inf:
        return np.min(size, axis=axis, keepdims=keepdim)
    if ord == 0:
        return np.sum(size != 0, axis=axis, keepdims=keepdim).astype(np.float64)
    return np.sum(size**ord, axis=axis, keepdims=keepdim) ** (1 / ord)


def norm_reference(input, p="fro", dim=None, keepdim=False):
    """The definition, in float64."""
    return vector_norm_reference(input, 2.0 if p == "fro" else p, dim, keepdim)


def normalize_reference(input, p=2.0, dim=1, eps=1e-12):
    """The definition, in float64."""
    return input / np.maximum(vector_norm_reference(input, p, dim, True), eps)


# ---------------------------------------------------------------- forward


@exact
def _magnitude(x):
    return abs(x)


@exact
def _power(x, p):
    return abs(x) ** p


@exact
def _raised(x, exponent):
    return x**exponent


magnitude_map = Map1(_magnitude)
power_map = Map1(_power)
raised_map = Map1(_raised)


def norm_of(x: Any, order: float, dims: tuple[int, ...], keepdim: bool) -> Any:
    """The norm of an array over the dimensions."""
    if order == 2:
        return root_map(square_fold.over(x, dims, keepdim))
    if order == 1:
        return sum_fold.over(magnitude_map(x), dims, keepdim)
    if order == 0:
        return cast(count_fold.over(x, dims, keepdim, dtype=INT64), x.dtype)
    if math.isinf(order):
        return (max_fold if order > 0 else min_fold).over(magnitude_map(x), dims, keepdim)
    total = sum_fold.over(power_map(x, x.dtype.type(order)), dims, keepdim)
    return raised_map(total, x.dtype.type(1 / order))


# ---------------------------------------------------------------- backward


@exact
def _signed(x, g):
    return g if x > 0 else -g if x < 0 else ZERO


@exact
def _norm_factor(dy, y, exponent):
    return dy / y**exponent if y != 0 else ZERO


@exact
def _norm_gradient(x, exponent, factor):
    return _signed(x, factor) * abs(x) ** exponent if x != 0 else ZERO


signed_map = Map2(_signed)
norm_factor_map = Map2(_norm_factor)
norm_spread = Spread("norm_backward", _norm_gradient)

# ---------------------------------------------------------------- autograd


class NormOp(Op):
    """y = norm of x: saves x and y."""

    @staticmethod
    def forward(ctx: Context, x, order, dims, keepdim):
        y = norm_of(x, order, dims, keepdim)
        ctx.save(x, y)
        ctx.options = order, dims, keepdim
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        x, y = ctx.saved
        order, dims, keepdim = ctx.options
        lines, arrangement = arrange(x, dims)
        y, dy = arrangement.flat(y, keepdim), arrangement.flat(dy, keepdim)
        exponent = x.dtype.type(order - 1)
        if order == 0:
            dx = arrays.full(arrangement.sizes, 0, x.dtype)
        elif order == 1:
            dx = signed_map(lines, dy[:, None, :])
        elif order == 2:
            factor = norm_factor_map(dy, y, exponent)
            dx = scaled_spread(lines, factor, factor)
        elif math.isinf(order):
            dx = signed_map(lines, shared_among_extremes(magnitude_map(lines), y, dy))
        else:
            dx = norm_spread(lines, arrays.full(y.shape, exponent, y.dtype), norm_factor_map(dy, y, exponent))
        return arrangement.full(dx), None, None, None


# ---------------------------------------------------------------- public


def vector_norm(
    input: Tensor, ord: float = 2.0, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    r"""The p-norm over the given dimensions: $\big( \sum_r |x_r|^p \big)^{1/p}$.

    Args:
        input: [*], float32 or float64.
        ord: The order p: any number; infinity for the greatest magnitude, minus infinity for the least, 0 for the
            number of elements that are not 0.
        dim: One dimension or several, counted from the front or the back; all when None.
        keepdim: Leave the reduced dimensions in the result with size 1.
        dtype: Dtype to compute in and to return; None for the input's.

    Returns:
        The norms.

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: The input has no such dimension.
        ShapeError: The dimension is empty and the order is infinite or negative.
        ArgumentTypeError: The order is no number.

    Gradient:
        For input; 0 where the norm is 0.

    Example:
        >>> nbdl.ops.vector_norm(nbdl.tensor([3.0, 4.0]))
        tensor(5.)
    """
    if isinstance(ord, bool) or not isinstance(ord, Real):
        raise ArgumentTypeError(f"ord: expected a number, got {ord!r}")
    if math.isnan(ord):
        raise ArgumentError("ord: expected a number, got NaN")
    input = float_input(input, dtype)
    dims = check_dims("dim", dim, input.ndim)
    if ord < 0 or ord == math.inf:
        check_elements(input, dims)
    return NormOp.apply(input, float(ord), dims, keepdim)


def norm(
    input: Tensor, p: float | str | None = "fro", dim: Dims = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The norm of the elements over the given dimensions, taken as one vector.

    Args:
        input: [*], float32 or float64.
        p: The order, a number; 'fro' or None for 2.
        dim: One dimension or several, counted from the front or the back; all when None.
        keepdim: Leave the reduced dimensions in the result with size 1.
        dtype: Dtype to compute in and to return; None for the input's.

    Returns:
        The norms.

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: The input has no such dimension.
        ArgumentError: p is a name other than 'fro'.

    Gradient:
        For input; 0 where the norm is 0.

    Example:
        >>> nbdl.ops.norm(nbdl.tensor([[3.0, 0.0], [0.0, 4.0]]))
        tensor(5.)
    """
    if isinstance(p, str) and p != "fro":
        raise ArgumentError(f"p: expected a number or 'fro', got {p!r}")
    return vector_norm(input, 2.0 if p is None or isinstance(p, str) else p, dim, keepdim, dtype=dtype)


def normalize(input: Tensor, p: float = 2.0, dim: Dims = 1, eps: float = 1e-12) -> Tensor:
    r"""Divides vectors by their norms: $x / \max(\|x\|_p, \varepsilon)$.

    Args:
        input: [*], float32 or float64.
        p: The order of the norm.
        dim: The dimension of the vectors, or several.
        eps: Lower bound of the norm, so that a vector of zeros stays one.

    Returns:
        [*], dtype of the input.

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.normalize(nbdl.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """
    return input / clamp(vector_norm(input, p, dim, keepdim=True), min=eps)
