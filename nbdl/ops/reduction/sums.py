r"""Sums and means over any dimensions.

Forward, over the set $R$ of reduced elements: $s = \sum_{r \in R} x_r$ and $m = s / |R|$.

Backward: $\partial s / \partial x_r = 1$, so every element receives the gradient of its sum: a view that repeats it,
no arithmetic at all. For the mean it is divided by $|R|$ first.

The order of the additions, and with it the error, is that of `Fold`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.casting import to_dtype, widened
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.reduction.arguments import Dims, float_input, with_dtype
from nbdl.ops.reduction.arrangement import expand, insert_dims
from nbdl.ops.reduction.fold import Fold, add, divide, plain
from nbdl.runtime.checks import check_dims
from nbdl.runtime.dtypes import INT64
from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- reference


def axes_of(dim):
    """A `dim` argument as NumPy's `axis`."""
    return dim if dim is None or isinstance(dim, int) else tuple(dim)


def sum_reference(input, dim=None, keepdim=False):
    """The definition, in float64."""
    return np.sum(input, axis=axes_of(dim), keepdims=keepdim)


def mean_reference(input, dim=None, keepdim=False):
    """The definition, in float64."""
    count = np.sum(np.ones(input.shape), axis=axes_of(dim), keepdims=keepdim)
    with np.errstate(invalid="ignore"):
        return np.sum(input, axis=axes_of(dim), keepdims=keepdim) / count


def nansum_reference(input, dim=None, keepdim=False):
    """The definition, in float64."""
    return np.nansum(input, axis=axes_of(dim), keepdims=keepdim)


def nanmean_reference(input, dim=None, keepdim=False):
    """The definition, in float64; over nothing it is NaN."""
    count = np.sum(~np.isnan(input), axis=axes_of(dim), keepdims=keepdim)
    with np.errstate(invalid="ignore"):
        return nansum_reference(input, dim, keepdim) / count


def count_nonzero_reference(input, dim=None):
    """The definition."""
    return np.count_nonzero(input, axis=axes_of(dim))


# ---------------------------------------------------------------- forward


ZERO = np.float32(0)  # of the narrowest type: float64 numbers stay float64, float32 numbers float32


@exact
def zero_if_nan(x):
    return x if x == x else ZERO


@exact
def one_if_nonzero(x):
    return 1 if x != 0 else 0


sum_fold = Fold("sum", plain, add, 0, finish=divide)  # by a count of 1 for sums
integer_sum_fold = Fold("integer_sum", plain, add, 0)
count_fold = Fold("count_nonzero", one_if_nonzero, add, 0, merge=integer_sum_fold)
zero_if_nan_map = Map1(zero_if_nan)

# ---------------------------------------------------------------- backward


quotient_map = Map1(divide)


@exact
def gradient_unless_nan(x, dy):
    return dy if x == x else ZERO


nansum_gradient_map = Map2(gradient_unless_nan)

# ---------------------------------------------------------------- autograd


class SumOp(Op):
    """y = sum of x: backward repeats the gradient."""

    @staticmethod
    def forward(ctx: Context, x, dims, keepdim):
        ctx.shape, ctx.dims, ctx.keepdim = x.shape, dims, keepdim
        fold = sum_fold if x.dtype.kind == "f" else integer_sum_fold
        return fold.over(x, dims, keepdim)

    @staticmethod
    def backward(ctx: Context, dy):
        return expand(dy, ctx.shape, ctx.dims, ctx.keepdim), None, None


class MeanOp(Op):
    """y = mean of x: backward divides the gradient by the count and repeats it."""

    @staticmethod
    def forward(ctx: Context, x, dims, keepdim):
        ctx.shape, ctx.dims, ctx.keepdim = x.shape, dims, keepdim
        ctx.count = math.prod([x.shape[dim] for dim in dims])
        return sum_fold.over(x, dims, keepdim, ctx.count)

    @staticmethod
    def backward(ctx: Context, dy):
        return expand(quotient_map(dy, dy.dtype.type(ctx.count)), ctx.shape, ctx.dims, ctx.keepdim), None, None


class NansumOp(Op):
    """y = sum of the x that are no NaN: only they receive the gradient."""

    @staticmethod
    def forward(ctx: Context, x, dims, keepdim):
        ctx.dims, ctx.keepdim = dims, keepdim
        ctx.save(x)
        return sum_fold.over(zero_if_nan_map(x), dims, keepdim)

    @staticmethod
    def backward(ctx: Context, dy):
        (x,) = ctx.saved
        return nansum_gradient_map(x, dy if ctx.keepdim else insert_dims(dy, ctx.dims)), None, None


# ---------------------------------------------------------------- public


def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    r"""Adds elements: $y = \sum_r x_r$ over the given dimensions.

    Args:
        input: [*], any dtype.
        dim: One dimension or several, counted from the front or the back; all when None.
        keepdim: Leave the reduced dimensions in the result with size 1.
        dtype: Dtype to add in and to return; None for the input's, int64 for integers and bool.

    Returns:
        The sums. Over no elements the sum is 0.

    Raises:
        IndexRangeError: The input has no such dimension.
        ArgumentError: A dimension is named twice.

    Gradient:
        For input: the gradient of its sum, for every element.

    Example:
        >>> nbdl.ops.sum(nbdl.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1)
        tensor([3., 7.])
    """
    input = with_dtype(input, dtype)
    dims = check_dims("dim", dim, input.ndim)
    if input.dtype.kind != "f" and dtype is None:
        input = to_dtype(input, INT64)
    return SumOp.apply(input, dims, keepdim)


def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    r"""Averages elements: $y = \frac{1}{|R|} \sum_{r \in R} x_r$ over the given dimensions.

    Args:
        input: [*], float32 or float64, or any dtype if `dtype` is given.
        dim: One dimension or several, counted from the front or the back; all when None.
        keepdim: Leave the reduced dimensions in the result with size 1.
        dtype: Dtype to add in and to return, float32 or float64; None for the input's.

    Returns:
        The means. Over no elements the mean is NaN.

    Raises:
        DTypeError: The input is not floating point and no dtype is given.
        IndexRangeError: The input has no such dimension.
        ArgumentError: A dimension is named twice.

    Gradient:
        For input: the gradient of its mean divided by the number of elements.

    Example:
        >>> nbdl.ops.mean(nbdl.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0)
        tensor([2., 3.])
    """
    input = float_input(input, dtype)
    return MeanOp.apply(input, check_dims("dim", dim, input.ndim), keepdim)


def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Adds the elements that are not NaN.

    Args:
        input: [*], any dtype.
        dim: One dimension or several, counted from the front or the back; all when None.
        keepdim: Leave the reduced dimensions in the result with size 1.
        dtype: Dtype to add in and to return; None for the input's, int64 for integers and bool.

    Returns:
        The sums. Over no elements the sum is 0.

    Raises:
        IndexRangeError: The input has no such dimension.
        ArgumentError: A dimension is named twice.

    Gradient:
        For input: the gradient of its sum, for every element that is not NaN; 0 for the others.

    Example:
        >>> nbdl.ops.nansum(nbdl.tensor([1.0, float("nan"), 2.0]))
        tensor(3.)
    """
    input = with_dtype(input, dtype)
    if input.dtype.kind != "f":
        return sum(input, dim, keepdim, dtype=dtype)
    return NansumOp.apply(input, check_dims("dim", dim, input.ndim), keepdim)


def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Averages the elements that are not NaN.

    Args:
        input: [*], float32 or float64.
        dim: One dimension or several, counted from the front or the back; all when None.
        keepdim: Leave the reduced dimensions in the result with size 1.
        dtype: Dtype to add in and to return; None for the input's.

    Returns:
        The means; NaN over no elements.

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: The input has no such dimension.
        ArgumentError: A dimension is named twice.

    Gradient:
        For input: the gradient of its mean by the number of elements, for every element that is not NaN; 0 for the
        others.

    Example:
        >>> nbdl.ops.nanmean(nbdl.tensor([1.0, float("nan"), 2.0]))
        tensor(1.5000)
    """
    input = float_input(input, dtype)
    return nansum(input, dim, keepdim) / input.isnan().logical_not().sum(dim, keepdim)


def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """Counts the elements that are not 0; NaN counts.

    Args:
        input: [*], any dtype.
        dim: One dimension or several, counted from the front or the back; all when None.

    Returns:
        The counts, int64.

    Raises:
        IndexRangeError: The input has no such dimension.
        ArgumentError: A dimension is named twice.

    Example:
        >>> nbdl.ops.count_nonzero(nbdl.tensor([[0.0, 1.0], [2.0, 3.0]]), dim=0)
        tensor([1, 2])
    """
    array = widened(input._array)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    return Tensor(count_fold.over(array, check_dims("dim", dim, input.ndim), False, dtype=INT64))
