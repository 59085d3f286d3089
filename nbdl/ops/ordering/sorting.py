r"""Order: sort, argsort, msort, topk, kthvalue and median.

Everything starts from the stable order $\pi$ of a row, $y_i = x_{\pi(i)}$. A permutation's transpose is its inverse,
so each gradient goes back to the place that its value came from:

$$dx_{\pi(i)} = dy_i, \qquad \text{and } 0 \text{ for elements that were not chosen.}$$

The median of everything names no place: k elements equal to it share the gradient, $1/k$ each.

A NaN counts as greater than every number.

Letters: N rows, R elements along the dimension, K of them chosen.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.casting import widened
from nbdl.ops.elementwise.maps import Map2
from nbdl.ops.indexing.elements import gather_elements
from nbdl.ops.ordering.stable_order import stable_order
from nbdl.ops.reduction.arrangement import arrange_rows
from nbdl.ops.reduction.extreme_places import find_extremes, put_back
from nbdl.ops.reduction.extremes import shared_among_extremes
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_dim, check_int
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.jit import exact

# ---------------------------------------------------------------- reference


def sort_reference(input, dim=-1, descending=False, stable=False):
    """The definition: values and indices, equal values in their old order."""
    order = argsort_reference(input, dim, descending)
    return (np.take_along_axis(input, order, axis=dim) if input.ndim else input), order


def argsort_reference(input, dim=-1, descending=False, stable=False):
    """The definition: the stable order."""
    if input.ndim == 0:
        return np.zeros((), np.int64)
    return np.argsort(-input if descending else input, axis=dim, kind="stable")


def topk_reference(input, k, dim=-1, largest=True, sorted=True):
    """The definition: the first k of the order."""
    if input.ndim == 0:
        return input, np.zeros((), np.int64)
    order = np.take(argsort_reference(input, dim, largest), np.arange(k), axis=dim)
    return np.take_along_axis(input, order, axis=dim), order


# ---------------------------------------------------------------- elements at places


def pick(rows: Any, places: Any) -> Any:
    """[N, R], places [N, K] -> the elements there, [N, K]."""
    y = arrays.empty_beside(rows, places.shape)
    if y.size:
        gather_elements(rows[:, :, None], places[:, :, None], y[:, :, None])
    return y


# ---------------------------------------------------------------- autograd


class ChooseOp(Op):
    """The elements at places [first, first + count) of the order along a dimension, and those places."""

    @staticmethod
    def forward(ctx: Context, x, dim, descending, first, count):
        rows, ctx.arrangement = arrange_rows(x, dim)
        order = stable_order(rows, descending)
        if first or count != rows.shape[1]:
            order = arrays.contiguous(order[:, first : first + count])
        ctx.save(order)
        return ctx.arrangement.resized(pick(rows, order)), ctx.arrangement.resized(order)

    @staticmethod
    def backward(ctx: Context, dy, _):
        (order,) = ctx.saved
        return put_back(ctx.arrangement.like(dy), order[:, :, None], ctx.arrangement), None, None, None, None


@exact
def _nan_or(a, b):
    return a if a != a else b


nan_or = Map2(_nan_or)


class MedianOp(Op):
    """The middle element of all, NaN if there is one; elements equal to it share the gradient."""

    @staticmethod
    def forward(ctx: Context, x):
        row = arrays.contiguous(x).reshape(1, -1)
        size = row.shape[1]
        if size == 0:
            y = arrays.full((1, 1), np.nan, x.dtype)
        else:
            y = pick(row, arrays.contiguous(stable_order(row)[:, (size - 1) // 2 :][:, :1]))
            if x.dtype.kind == "f":
                y = nan_or(find_extremes(row[:, :, None], True)[0], y)
        ctx.shape = x.shape
        ctx.save(row, y)
        return y.reshape(())

    @staticmethod
    def backward(ctx: Context, dy):
        row, y = ctx.saved
        return shared_among_extremes(row[:, :, None], y, dy.reshape(1, 1)).reshape(ctx.shape)


# ---------------------------------------------------------------- public: sorting


class OrderResult(NamedTuple):
    """Elements chosen by their order, and where they stood."""

    values: Tensor
    indices: Tensor


def _length(input: Tensor, dim: int) -> int:
    return input.shape[dim] if input.ndim else 1


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> OrderResult:
    """Sorts along a dimension. Equal elements keep their order, whether `stable` is asked for or not.

    Args:
        input: [*].
        dim: The dimension.
        descending: From the greatest to the least.
        stable: Accepted for PyTorch's sake: the sort always is.

    Returns:
        values: [*], and indices: [*], int64: where they stood.

    Raises:
        IndexRangeError: There is no such dimension.

    Gradient:
        For input: each gradient goes back to where its value came from.

    Example:
        >>> nbdl.sort(nbdl.tensor([3.0, 1.0, 2.0])).values
        tensor([1., 2., 3.])
    """
    dim = check_dim("dim", dim, input.ndim)
    return OrderResult(*ChooseOp.apply(input, dim, bool(descending), 0, _length(input, dim)))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort along a dimension. Arguments as for `sort`."""
    dim = check_dim("dim", dim, input.ndim)
    rows, arrangement = arrange_rows(widened(input._array), dim)
    return Tensor(arrangement.resized(stable_order(rows, bool(descending))))


def msort(input: Tensor) -> Tensor:
    """The values of `sort` along the first dimension."""
    return sort(input, 0).values


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> OrderResult:
    """The k greatest, or least, elements along a dimension, in order.

    Args:
        input: [*].
        k: How many.
        dim: The dimension.
        largest: The greatest, else the least.
        sorted: Accepted for PyTorch's sake: they always come in order.

    Returns:
        values and indices, with size k along the dimension.

    Raises:
        ArgumentError: k is more than there are.

    Gradient:
        For input.
    """
    dim = check_dim("dim", dim, input.ndim)
    k = check_int("k", k, 0, _length(input, dim))
    return OrderResult(*ChooseOp.apply(input, dim, bool(largest), 0, k))


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> OrderResult:
    """The k-th least element along a dimension, counted from 1.

    Args:
        input: [*].
        k: Which, from 1 to the size of the dimension.
        dim: The dimension.
        keepdim: Keep the dimension with size 1.

    Returns:
        values, dtype of the input, and indices, int64; both without the dimension, or with size 1 there.

    Raises:
        ArgumentError: There is no k-th element.
        IndexRangeError: dim is out of range.

    Gradient:
        For input: to the element chosen.

    Example:
        >>> nbdl.kthvalue(nbdl.tensor([3.0, 1.0, 2.0]), 2).values
        tensor(2.)
    """
    dim = check_dim("dim", dim, input.ndim)
    k = check_int("k", k, 1, _length(input, dim))
    return _one_of_order(input, dim, k - 1, keepdim)


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower of two: of everything, or along a dimension with its index. NaN if there is one.

    Args:
        input: [*].
        dim: The dimension; None for all elements, and then the value alone is returned.
        keepdim: Keep the dimension with size 1.

    Returns:
        The median of everything, NaN where there is nothing; with a dimension the values and indices without it, of
        NaNs the first.

    Raises:
        ShapeError: There are no elements along the dimension, or no integers at all.
        IndexRangeError: There is no such dimension.

    Gradient:
        For input: along a dimension to the element chosen; of everything shared evenly by elements equal to it.

    Example:
        >>> nbdl.median(nbdl.tensor([3.0, 1.0, 2.0, 5.0]))
        tensor(2.)
    """
    if dim is None:
        if input.numel() == 0 and input.dtype.kind != "f":
            raise ShapeError(f"input: expected elements, got shape {list(input.shape)}")
        return MedianOp.apply(input)
    dim = check_dim("dim", dim, input.ndim)
    size = _length(input, dim)
    if size == 0:
        raise ShapeError(f"input: expected elements along dimension {dim}, got shape {list(input.shape)}")
    middle = _one_of_order(input, dim, (size - 1) // 2, keepdim)
    if input.dtype.kind != "f":
        return middle
    greatest = input.max(dim, keepdim)  # a NaN, and the first of several, if there is one
    missing = greatest.values.isnan()
    return OrderResult(greatest.values.where(missing, middle.values), greatest.indices.where(missing, middle.indices))


def _one_of_order(input: Tensor, dim: int, place: int, keepdim: bool) -> OrderResult:
    result = OrderResult(*ChooseOp.apply(input, dim, False, place, 1))
    if keepdim or input.ndim == 0:
        return result
    return OrderResult(result.values.squeeze(dim), result.indices.squeeze(dim))
