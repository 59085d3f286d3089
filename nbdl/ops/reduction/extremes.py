r"""The greatest and the least element: amax, amin, max, min and their indices argmax and argmin.

Forward: $y = \max_r x_r$, and the first $r$ that attains it. A NaN counts as greater than everything for the maximum
and as less for the minimum, so that it is not lost.

Backward: the derivative is 1 for the element that was chosen and 0 for the others. `max` and `min` with a dimension
choose the element at the index they return. `amax`, `amin`, and `max` and `min` over everything name no index: k equal
extremes share the gradient, $1/k$ each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.casting import cast, to_dtype
from nbdl.ops.elementwise.maps import Map2
from nbdl.ops.elementwise.operands import computing_dtype
from nbdl.ops.reduction.arguments import Dims, check_elements
from nbdl.ops.reduction.arrangement import arrange
from nbdl.ops.reduction.extreme_places import GREATEST_INTEGER, LEAST_INTEGER, find_extremes, put_back
from nbdl.ops.reduction.fold import Fold, greater, lesser, maximum, minimum, plain
from nbdl.ops.reduction.sums import ZERO, axes_of, sum_fold
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_dim, check_dims
from nbdl.runtime.dtypes import INT64
from nbdl.runtime.jit import exact


class LeastAndGreatest(NamedTuple):
    """What `aminmax` returns."""

    min: Tensor
    max: Tensor


class ValuesAndIndices(NamedTuple):
    """The elements chosen along a dimension, and where they stood."""

    values: Tensor
    indices: Tensor


# ---------------------------------------------------------------- reference


def amax_reference(input, dim=None, keepdim=False):
    """The definition, in float64."""
    return np.max(input, axis=axes_of(dim), keepdims=keepdim)


def amin_reference(input, dim=None, keepdim=False):
    """The definition, in float64."""
    return np.min(input, axis=axes_of(dim), keepdims=keepdim)


def aminmax_reference(input, dim=None, keepdim=False):
    """The definition, in float64."""
    return amin_reference(input, dim, keepdim), amax_reference(input, dim, keepdim)


def argmax_reference(input, dim=None, keepdim=False):
    """The definition, in float64."""
    return np.argmax(input, axis=dim, keepdims=keepdim)


def argmin_reference(input, dim=None, keepdim=False):
    """The definition, in float64."""
    return np.argmin(input, axis=dim, keepdims=keepdim)


def max_reference(input, dim=None, keepdim=False, other=None):
    """The definition, in float64."""
    if dim is None:
        return np.max(input) if other is None else np.maximum(input, other)
    return np.max(input, axis=dim, keepdims=keepdim), np.argmax(input, axis=dim, keepdims=keepdim)


def min_reference(input, dim=None, keepdim=False, other=None):
    """The definition, in float64."""
    if dim is None:
        return np.min(input) if other is None else np.minimum(input, other)
    return np.min(input, axis=dim, keepdims=keepdim), np.argmin(input, axis=dim, keepdims=keepdim)


# ---------------------------------------------------------------- forward

max_fold = Fold("max", plain, maximum, -np.inf, combine_cuda=greater)
min_fold = Fold("min", plain, minimum, np.inf, combine_cuda=lesser)
max_integer_fold = Fold("max_integer", plain, greater, LEAST_INTEGER)
min_integer_fold = Fold("min_integer", plain, lesser, GREATEST_INTEGER)

# ---------------------------------------------------------------- backward


@exact
def _is_extreme(x, y):
    return x == y or (x != x and y != y)


@exact
def _share(is_extreme, share):
    return share if is_extreme else ZERO


@exact
def _quotient(dy, ties):
    return dy / ties


extreme_map = Map2(_is_extreme)
share_map = Map2(_share)
tie_quotient = Map2(_quotient)


def shared_among_extremes(x: Any, extreme: Any, dy: Any) -> Any:
    """x [O, R, I], its extremes and their gradients [O, I] -> dx: equal extremes share the gradient evenly."""
    chosen = extreme_map(x, extreme[:, None, :])
    share = tie_quotient(dy, sum_fold(chosen))
    return share_map(chosen, share[:, None, :])


# ---------------------------------------------------------------- autograd


class ExtremeOp(Op):
    """y = the extreme over dimensions; equal extremes share the gradient."""

    @staticmethod
    def forward(ctx: Context, x, dims, keepdim, greatest):
        if x.dtype.kind == "f":
            fold = max_fold if greatest else min_fold
        else:
            fold = max_integer_fold if greatest else min_integer_fold
        y = fold.over(x, dims, keepdim)
        ctx.save(x, y)
        ctx.dims, ctx.keepdim = dims, keepdim
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        x, y = ctx.saved
        lines, arrangement = arrange(x, ctx.dims)
        extreme, dy = arrangement.flat(y, ctx.keepdim), arrangement.flat(dy, ctx.keepdim)
        return arrangement.full(shared_among_extremes(lines, extreme, dy)), None, None, None


class ExtremeAlongOp(Op):
    """(values, indices) of the extremes along one dimension: backward puts the gradient where they stood."""

    @staticmethod
    def forward(ctx: Context, x, dims, keepdim, greatest):
        lines, arrangement = arrange(x, dims)
        y, index = find_extremes(lines, greatest)
        ctx.arrangement, ctx.keepdim, ctx.index = arrangement, keepdim, index
        return arrangement.reduced(y, keepdim), arrangement.reduced(index, keepdim)

    @staticmethod
    def backward(ctx: Context, dy, _):
        outer, _, inner = ctx.arrangement.sizes
        sizes = (outer, 1, inner)
        dy = ctx.arrangement.flat(dy, ctx.keepdim).reshape(sizes)
        return put_back(dy, ctx.index.reshape(sizes), ctx.arrangement), None, None, None


# ---------------------------------------------------------------- public


def _comparable(input: Tensor) -> Tensor:
    """Integers and bool as int64: one kernel compares them all."""
    return input if input.dtype.kind == "f" else to_dtype(input, INT64)


def _extreme(input: Tensor, dim: Dims, keepdim: bool, greatest: bool) -> Tensor:
    dims = check_dims("dim", dim, input.ndim)
    check_elements(input, dims)
    return to_dtype(ExtremeOp.apply(_comparable(input), dims, keepdim, greatest), input.dtype)


def _extreme_along(input: Tensor, dim: int, keepdim: bool, greatest: bool) -> ValuesAndIndices:
    dims = (check_dim("dim", dim, input.ndim),) if input.ndim else check_dims("dim", dim, 0)
    check_elements(input, dims)
    values, indices = ExtremeAlongOp.apply(_comparable(input), dims, keepdim, greatest)
    return ValuesAndIndices(to_dtype(values, input.dtype), indices)


def _place(input: Tensor, dim: int | None, keepdim: bool, greatest: bool) -> Tensor:
    array = cast(input._array, computing_dtype(input.dtype))
    if dim is None:
        check_elements(input, tuple(range(input.ndim)))
        index = find_extremes(arrays.contiguous(array).reshape(1, -1, 1), greatest)[1]
        return Tensor(index.reshape((1,) * input.ndim if keepdim else ()))
    dims = check_dims("dim", dim, input.ndim)
    check_elements(input, dims)
    lines, arrangement = arrange(array, dims)
    return Tensor(arrangement.reduced(find_extremes(lines, greatest)[1], keepdim))


def amax(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    r"""The greatest element over the given dimensions: $y = \max_r x_r$.

    Args:
        input: [*], any dtype.
        dim: One dimension or several, counted from the front or the back; all when None.
        keepdim: Leave the reduced dimensions in the result with size 1.

    Returns:
        The maxima, dtype of the input; NaN where an element is NaN.

    Raises:
        ShapeError: A dimension to reduce is empty.
        IndexRangeError: The input has no such dimension.
        ArgumentError: A dimension is named twice.

    Gradient:
        For input: equal maxima share it evenly.

    Example:
        >>> nbdl.ops.amax(nbdl.tensor([[1.0, 4.0], [3.0, 2.0]]), dim=1)
        tensor([4., 3.])
    """
    return _extreme(input, dim, keepdim, greatest=True)


def amin(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    r"""The least element over the given dimensions: $y = \min_r x_r$.

    Args:
        input: [*], any dtype.
        dim: One dimension or several, counted from the front or the back; all when None.
        keepdim: Leave the reduced dimensions in the result with size 1.

    Returns:
        The minima, dtype of the input; NaN where an element is NaN.

    Raises:
        ShapeError: A dimension to reduce is empty.
        IndexRangeError: The input has no such dimension.
        ArgumentError: A dimension is named twice.

    Gradient:
        For input: equal minima share it evenly.

    Example:
        >>> nbdl.ops.amin(nbdl.tensor([[1.0, 4.0], [3.0, 2.0]]), dim=1)
        tensor([1., 2.])
    """
    return _extreme(input, dim, keepdim, greatest=False)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> LeastAndGreatest:
    """The least and the greatest element, over everything or along a dimension: `(amin(...), amax(...))`.

    Args:
        input: [*], any dtype.
        dim: The dimension; everything when None.
        keepdim: Leave the reduced dimension in the results with size 1.

    Returns:
        The minima and the maxima, as a tuple with the names min and max.

    Raises:
        ShapeError: The dimension is empty.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input: equal extremes share it evenly.

    Example:
        >>> nbdl.ops.aminmax(nbdl.tensor([3.0, 1.0, 2.0]))
        LeastAndGreatest(min=tensor(1.), max=tensor(3.))
    """
    return LeastAndGreatest(amin(input, dim, keepdim), amax(input, dim, keepdim))


def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    """The greatest element, the greatest elements along a dimension, or those of two tensors.

    Called as `max(input)`, `max(input, dim)` or `max(input, other)`.

    Args:
        input: [*], any dtype.
        dim: The dimension, or another tensor to compare element by element; everything when None.
        keepdim: Leave the reduced dimension in the results with size 1.
        other: Another tensor: `maximum(input, other)`.

    Returns:
        The maximum; `(values, indices)` with a dimension, the first index of equal maxima; the greater elements with
        another tensor.

    Raises:
        ShapeError: The dimension is empty.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input: to the elements at the indices; without a dimension equal maxima share it evenly.

    Example:
        >>> nbdl.ops.max(nbdl.tensor([[1.0, 4.0], [3.0, 2.0]]), dim=1).indices
        tensor([1, 0])
    """
    if isinstance(dim, Tensor) or other is not None:
        from nbdl.ops.elementwise import maximum as elementwise_maximum

        return elementwise_maximum(input, dim if other is None else other)
    return _extreme(input, None, False, True) if dim is None else _extreme_along(input, dim, keepdim, True)


def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Tensor | None = None) -> Any:
    """The least element, the least elements along a dimension, or those of two tensors.

    Called as `min(input)`, `min(input, dim)` or `min(input, other)`.

    Args:
        input: [*], any dtype.
        dim: The dimension, or another tensor to compare element by element; everything when None.
        keepdim: Leave the reduced dimension in the results with size 1.
        other: Another tensor: `minimum(input, other)`.

    Returns:
        The minimum; `(values, indices)` with a dimension, the first index of equal minima; the lesser elements with
        another tensor.

    Raises:
        ShapeError: The dimension is empty.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input: to the elements at the indices; without a dimension equal minima share it evenly.

    Example:
        >>> nbdl.ops.min(nbdl.tensor([[1.0, 4.0], [3.0, 2.0]]), dim=1).indices
        tensor([0, 1])
    """
    if isinstance(dim, Tensor) or other is not None:
        from nbdl.ops.elementwise import minimum as elementwise_minimum

        return elementwise_minimum(input, dim if other is None else other)
    return _extreme(input, None, False, False) if dim is None else _extreme_along(input, dim, keepdim, False)


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the greatest element; the first of equal ones.

    Args:
        input: [*], any dtype.
        dim: The dimension; the index into the flattened input when None.
        keepdim: Leave the reduced dimension in the result with size 1.

    Returns:
        The indices, int64. A NaN counts as the greatest element.

    Raises:
        ShapeError: The dimension is empty.
        IndexRangeError: The input has no such dimension.

    Example:
        >>> nbdl.ops.argmax(nbdl.tensor([1.0, 3.0, 3.0]))
        tensor(1)
    """
    return _place(input, dim, keepdim, greatest=True)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the least element; the first of equal ones.

    Args:
        input: [*], any dtype.
        dim: The dimension; the index into the flattened input when None.
        keepdim: Leave the reduced dimension in the result with size 1.

    Returns:
        The indices, int64. A NaN counts as the least element.

    Raises:
        ShapeError: The dimension is empty.
        IndexRangeError: The input has no such dimension.

    Example:
        >>> nbdl.ops.argmin(nbdl.tensor([1.0, 3.0, 1.0]))
        tensor(0)
    """
    return _place(input, dim, keepdim, greatest=False)
