r"""Diagonals: read from two dimensions of a tensor, or written into matrices of zeros.

Reading: $y_k = x_{k - \min(o, 0),\; k + \max(o, 0)}$ with the offset o. Writing is its transpose, so each is the
other's gradient.

The references are NumPy's diagonal and diag.
"""

from __future__ import annotations

import operator

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.shape.views import movedim, ravel
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_dim, check_int
from nbdl.runtime.errors import ArgumentError, IndexRangeError, ShapeError

# ---------------------------------------------------------------- autograd


class DiagonalOp(Op):
    """y = the diagonal of two dimensions, as the last dimension."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x, offset, dim1, dim2):
        ctx.options = x.shape, offset, dim1, dim2
        return _diagonal(x, offset, dim1, dim2)

    @staticmethod
    def backward(ctx: Context, dy):
        shape, *options = ctx.options
        dx = arrays.full(shape, 0, dy.dtype)
        arrays.copy_into(_diagonal(dx, *options), dy)
        return dx, None, None, None


def _diagonal(x, offset, dim1, dim2):
    """A writable view of the diagonal; NumPy's own is read-only."""
    shown = x.diagonal(offset, dim1, dim2)
    if shown.size:
        shown.flags.writeable = x.flags.writeable
    return shown


class DiagonalMatrixOp(Op):
    """Y = matrices with the last dimension of x on a diagonal and zero elsewhere."""

    @staticmethod
    def forward(ctx: Context, x, offset):
        ctx.offset = offset
        size = x.shape[-1] + abs(offset)
        y = arrays.full((*x.shape[:-1], size, size), 0, x.dtype)
        arrays.copy_into(_diagonal(y, offset, -2, -1), x)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        return dy.diagonal(ctx.offset, -2, -1), None


# ---------------------------------------------------------------- public


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of two dimensions, as a last dimension.

    Args:
        input: [*], at least two dimensions, any dtype.
        offset: 0 the main diagonal, above it when positive, below when negative.
        dim1: The rows.
        dim2: The columns.

    Returns:
        A view of the input: its other dimensions, then the diagonal.

    Raises:
        ArgumentError: dim1 and dim2 are the same.
        IndexRangeError: A dimension is out of range.

    Gradient:
        For input: dy on the diagonal, zero elsewhere.

    Example:
        >>> nbdl.ops.diagonal(nbdl.tensor([[1, 2], [3, 4]]))
        tensor([1, 4])
    """
    rank = input._array.ndim
    first, second = check_dim("dim1", dim1, rank), check_dim("dim2", dim2, rank)
    if first == second:
        raise ArgumentError(f"dim2: expected another dimension than dim1, got {dim1} and {dim2}")
    if rank < 2:
        raise IndexRangeError(f"input: expected at least 2 dimensions, got shape {list(input.shape)}")
    return DiagonalOp.apply(input, operator.index(offset), first, second)


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last dimension of a tensor on a diagonal, and zero elsewhere.

    Args:
        input: [*, N], any dtype.
        offset: 0 the main diagonal, above it when positive, below when negative.
        dim1: The rows' dimension in the result.
        dim2: The columns'.

    Returns:
        The input's leading dimensions with two more, of size N + |offset|.

    Raises:
        ShapeError: The input has no dimension.
        ArgumentError: dim1 and dim2 are the same.
        IndexRangeError: A dimension is out of range.

    Gradient:
        For input: the diagonal of dy.

    Example:
        >>> nbdl.ops.diag_embed(nbdl.tensor([[1, 2]]), 1).shape
        (1, 3, 3)
    """
    rank = input._array.ndim + 1
    if rank == 1:
        raise ShapeError("input: expected at least 1 dimension, got shape []")
    first, second = check_dim("dim1", dim1, rank), check_dim("dim2", dim2, rank)
    if first == second:
        raise ArgumentError(f"dim2: expected another dimension than dim1, got {dim1} and {dim2}")
    matrices = DiagonalMatrixOp.apply(input, check_int("offset", offset))
    return matrices if (first, second) == (rank - 2, rank - 1) else movedim(matrices, (-2, -1), (first, second))


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix with all elements of a tensor, row by row, on a diagonal.

    Args:
        input: [*] of N elements, any dtype.
        offset: 0 the main diagonal, above it when positive, below when negative.

    Returns:
        [N + |offset|, N + |offset|].

    Gradient:
        For input: the diagonal of dy.

    Example:
        >>> nbdl.ops.diagflat(nbdl.tensor([[1], [2]]))
        tensor([[1, 0],
                [0, 2]])
    """
    return DiagonalMatrixOp.apply(ravel(input), check_int("offset", offset))


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix with a vector on its diagonal, or the diagonal of a matrix.

    Args:
        input: [N], or [N, M], any dtype.
        diagonal: 0 the main diagonal, above it when positive, below when negative.

    Returns:
        [N + |diagonal|, N + |diagonal|] for a vector, else the diagonal, one dimension.

    Raises:
        ShapeError: The input has neither one nor two dimensions.

    Gradient:
        For input: the diagonal of dy for a vector; dy on the diagonal, zero elsewhere, for a matrix.

    Example:
        >>> nbdl.ops.diag(nbdl.tensor([1, 2]))
        tensor([[1, 0],
                [0, 2]])
    """
    offset = operator.index(diagonal)
    rank = input._array.ndim
    if rank == 1:
        return DiagonalMatrixOp.apply(input, offset)
    if rank != 2:
        raise ShapeError(f"input: expected 1 or 2 dimensions, got shape {list(input.shape)}")
    return DiagonalOp.apply(input, offset, 0, 1)
