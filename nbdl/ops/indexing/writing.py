r"""Copies of a tensor with some elements written: what `x[index] = value` does, out of place.

Number the elements 0, 1, ... row by row and take the numbers $n_k$ that an index, a slice or a diagonal chooses. Then
each of these functions is `index_copy` or, adding, `index_add` on the elements in one row:

$$y_{n_k} = v_k \quad\text{or}\quad y_{n_k} = x_{n_k} + v_k, \qquad dv_k = dy_{n_k}.$$

The references are NumPy's assignments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.creation.data import device_of
from nbdl.ops.creation.lines import arange
from nbdl.ops.elementwise.in_place import overwrite
from nbdl.ops.indexing.selection import index_add, index_copy, index_fill, select
from nbdl.ops.indexing.subscript import getitem
from nbdl.ops.shape.diagonals import diagonal
from nbdl.ops.shape.views import expand, ravel, reshape
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_dim, check_int, check_integer, check_number, check_same_dtype, check_shape
from nbdl.runtime.dtypes import INT64
from nbdl.runtime.errors import ArgumentTypeError, ShapeError


def _numbers(input: Tensor) -> Tensor:
    """The numbers of the elements, row by row, in the tensor's shape."""
    return reshape(arange(input.numel(), dtype=INT64, device=device_of(input)), input.shape)


def _written(input: Tensor, places: Tensor, values: Tensor, accumulate: bool) -> Tensor:
    """The tensor with values at the numbered places, which have their shape."""
    change = index_add if accumulate else index_copy
    return reshape(change(ravel(input), 0, ravel(places), ravel(values)), input.shape)


def index_put(
    input: Tensor, indices: Sequence[Tensor | None], values: Tensor | float, accumulate: bool = False
) -> Tensor:
    """Writes values to the elements that index tensors choose, as `x[indices] = values` does, in a copy.

    Args:
        input: [*], any dtype.
        indices: For each leading dimension integers or a boolean mask; None for all of a dimension.
        values: What broadcasts to the shape of `input[indices]`, of the input's dtype.
        accumulate: Add the values instead; those for one place are added in order.

    Returns:
        The shape and dtype of the input.

    Raises:
        ArgumentTypeError: indices is no tuple or list.
        IndexRangeError: A number is out of range.
        ShapeError: The values do not broadcast.
        DTypeError: The values have another dtype.

    Gradient:
        For input and values.

    Example:
        >>> nbdl.index_put(nbdl.zeros(3), (nbdl.tensor([0, 0]),), nbdl.tensor([1.0, 2.0]), accumulate=True)
        tensor([3., 0., 0.])
    """
    if not isinstance(indices, (tuple, list)):
        raise ArgumentTypeError(f"indices: expected a tuple of tensors, got {type(indices).__name__}")
    index = tuple(slice(None) if item is None else item for item in indices)
    places = getitem(_numbers(input), index)
    if not isinstance(values, Tensor):
        values = Tensor(arrays.sent_beside(input._array, np.array(values, input.dtype)))
    check_same_dtype("values", values, "input", input)
    return _written(input, places, expand(values, places.shape), accumulate)


def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Writes elements by their numbers, counted row by row, in a copy.

    Args:
        input: [*], any dtype.
        index: [*K] integers in [-numel, numel).
        source: [*K] values of the input's dtype.
        accumulate: Add the values instead.

    Returns:
        The shape and dtype of the input.

    Raises:
        ShapeError: Index and source differ in their number of elements.
        IndexRangeError: A number is out of range.
        DTypeError: The index is not of integers, or the source of another dtype.

    Gradient:
        For input and source.

    Example:
        >>> nbdl.put(nbdl.zeros(2, 2), nbdl.tensor([3, 0]), nbdl.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 1.]])
    """
    check_integer("index", index)
    check_same_dtype("source", source, "input", input)
    if source.numel() != index.numel():
        raise ShapeError(f"source: expected {index.numel()} elements, as many as index, got {list(source.shape)}")
    places = getitem(arange(input.numel(), dtype=INT64, device=device_of(input)), ravel(index))
    return _written(input, places, source, accumulate)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """Writes one slice, what `select` would show, in a copy.

    Args:
        input: [*], any dtype.
        src: The shape of the slice, of the input's dtype.
        dim: The dimension.
        index: The slice's number.

    Returns:
        The shape and dtype of the input.

    Raises:
        ShapeError: src has another shape.
        IndexRangeError: The index or dim is out of range.
        DTypeError: src has another dtype.

    Gradient:
        For input and src.

    Example:
        >>> nbdl.select_scatter(nbdl.zeros(2, 2), nbdl.ones(2), 0, 1)
        tensor([[0., 0.],
                [1., 1.]])
    """
    return _scattered(input, select(_numbers(input), dim, index), src)


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """Writes slices at even steps, what `x[start:end:step]` would show along a dimension, in a copy.

    Args:
        input: [*], any dtype.
        src: The shape of the part, of the input's dtype.
        dim: The dimension.
        start: The first slice; 0 when None.
        end: Behind the last slice; the dimension's size when None.
        step: At least 1.

    Returns:
        The shape and dtype of the input.

    Raises:
        ShapeError: src has another shape.
        ArgumentError: The step is less than 1.
        IndexRangeError: dim is out of range.
        DTypeError: src has another dtype.

    Gradient:
        For input and src.

    Example:
        >>> nbdl.slice_scatter(nbdl.zeros(4), nbdl.ones(2), 0, 1, None, 2)
        tensor([0., 1., 0., 1.])
    """
    if input.ndim == 0:
        raise ShapeError("input: expected at least 1 dimension, got shape []")
    dim = check_dim("dim", dim, input.ndim)
    part = slice(start, end, check_int("step", step, 1))
    return _scattered(input, getitem(_numbers(input), (*(slice(None),) * dim, part)), src)


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Writes a diagonal, what `diagonal` would show, in a copy.

    Args:
        input: [*], at least two dimensions, any dtype.
        src: The shape of the diagonal, of the input's dtype.
        offset: 0 the main diagonal, above it when positive, below when negative.
        dim1: The rows.
        dim2: The columns.

    Returns:
        The shape and dtype of the input.

    Raises:
        ShapeError: src has another shape.
        ArgumentError: dim1 and dim2 are the same.
        IndexRangeError: A dimension is out of range.
        DTypeError: src has another dtype.

    Gradient:
        For input and src.

    Example:
        >>> nbdl.diagonal_scatter(nbdl.zeros(2, 2), nbdl.tensor([1.0, 2.0]))
        tensor([[1., 0.],
                [0., 2.]])
    """
    return _scattered(input, diagonal(_numbers(input), offset, dim1, dim2), src)


def _scattered(input: Tensor, places: Tensor, src: Tensor) -> Tensor:
    check_shape("src", check_same_dtype("src", src, "input", input), places.shape)
    return _written(input, places, src, accumulate=False)


def fill_diagonal_(input: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Writes one number to the main diagonal, in place.

    Args:
        input: [N, M], or more dimensions of one size.
        fill_value: The number.
        wrap: In a matrix of more rows than columns, begin again below each full diagonal.

    Raises:
        ShapeError: The input has one dimension, or several of different sizes.
    """
    check_number("fill_value", fill_value)
    shape = tuple(input.shape)
    if len(shape) < 2 or (len(shape) > 2 and len(set(shape)) > 1):
        raise ShapeError(f"input: expected a matrix, or dimensions of one size, got shape {list(shape)}")
    return overwrite(input, _with_diagonal, fill_value, bool(wrap))


def _with_diagonal(input: Tensor, value: float, wrap: bool) -> Tensor:
    shape = tuple(input.shape)
    step = int(sum(np.prod(shape[axis + 1 :], dtype=np.int64) for axis in range(len(shape))))
    last = input.numel() if wrap and len(shape) == 2 else min(shape) * step
    places = arange(0, min(last, input.numel()), step, dtype=INT64)
    return reshape(index_fill(ravel(input), 0, places, value), input.shape)
