r"""Elements by number along one dimension: gather, scatter and their reductions.

A tensor is read as $x$ of shape [O, M, I], M the dimension, and an index $n$ of shape [O, K, I] has one number for
each element of the result:

$$
\text{gather:}\quad y_{o,k,i} = x_{o,\,n_{oki},\,i}, \qquad
\text{scatter:}\quad y_{o,\,n_{oki},\,i} = v_{o,k,i} \text{ or } y_{o,\,n_{oki},\,i} \mathrel{+}= v_{o,k,i}.
$$

Each is the other's gradient. Where several k hit one place, one task owns the column (o, i) and goes through k in
order: writing, the last wins; adding, the sum is the same to the last bit for any number of threads.

The references are loops over all elements.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.indexing.rows import row_numbers
from nbdl.ops.shape.views import expand
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_choice, check_dim, check_same_dtype
from nbdl.runtime.errors import DTypeError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- references


def gather_reference(input, dim, index):
    """Take_along_axis on the part of the input that the index covers."""
    part = input[tuple(slice(None) if d == dim % input.ndim else slice(size) for d, size in enumerate(index.shape))]
    return np.take_along_axis(part, index, dim)


def scatter_reference(input, dim, index, src):
    """One element after another, in row-major order of the index."""
    result = input.copy()
    for place in np.ndindex(index.shape):
        target = list(place)
        target[dim] = index[place]
        result[tuple(target)] = src[place] if np.ndim(src) else src
    return result


def scatter_add_reference(input, dim, index, src):
    """One element after another."""
    result = input.copy()
    for place in np.ndindex(index.shape):
        target = list(place)
        target[dim] = index[place]
        result[tuple(target)] += src[place]
    return result


# ---------------------------------------------------------------- gather


@cpu_kernel
def _gather_cpu(x, ids, y, start, stop):
    """x [O, M, I]; ids, y [O, K, I]. One task a row of y."""
    _, count, size = y.shape
    if size == 1:  # no division for each element
        for o in range(start // count, (stop - 1) // count + 1):
            for k in range(max(start - o * count, 0), min(stop - o * count, count)):
                y[o, np.uint64(k), 0] = x[o, np.uint64(ids[o, np.uint64(k), 0]), 0]
    else:
        for task in range(start, stop):
            o, k = task // count, task % count
            for i in range(size):
                y[o, k, i] = x[o, ids[o, k, i], i]


@cuda_kernel
def _gather_cuda(x, ids, y):
    """As the CPU twin. One thread an element of y."""
    _, count, size = y.shape
    element = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if element < y.size:
        o, k, i = element // (count * size), element // size % count, element % size
        y[o, k, i] = x[o, ids[o, k, i], i]


gather_elements = Kernel(
    cpu=_gather_cpu,
    cuda=_gather_cuda,
    tasks=lambda x, ids, y: y.shape[0] * y.shape[1],
    work=lambda x, ids, y: y.size,
    blocks=lambda x, ids, y: -(-y.size // BLOCK),
)

# ---------------------------------------------------------------- scatter

COLUMNS = 32
"""Neighbouring columns of a task: two cache lines of float32."""


@cpu_kernel
def _put_cpu(values, ids, y, start, stop):
    """values, ids [O, K, I], values of any strides; y [O, M, I]. One task a block of columns of one of the O tables."""
    blocks = (y.shape[2] + COLUMNS - 1) // COLUMNS
    for task in range(start, stop):
        o, first = task // blocks, task % blocks * COLUMNS
        last = min(first + COLUMNS, y.shape[2])
        for k in range(ids.shape[1]):
            for i in range(first, last):
                column = np.uint64(i)  # never negative: no place is counted from the end
                y[o, np.uint64(ids[o, k, column]), column] = values[o, k, column]


@cuda_kernel
def _put_cuda(values, ids, y):
    """As the CPU twin. One thread a column."""
    column = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if column < y.shape[0] * y.shape[2]:
        o, i = column // y.shape[2], column % y.shape[2]
        for k in range(ids.shape[1]):
            y[o, ids[o, k, i], i] = values[o, k, i]


@cpu_kernel
def _add_cpu(values, ids, y, start, stop):
    """values, ids [O, K, I]; y [O, M, I]. One task a block of columns of one of the O tables."""
    blocks = (y.shape[2] + COLUMNS - 1) // COLUMNS
    for task in range(start, stop):
        o, first = task // blocks, task % blocks * COLUMNS
        last = min(first + COLUMNS, y.shape[2])
        if y.shape[2] == 1:
            for k in range(ids.shape[1]):
                y[o, np.uint64(ids[o, k, 0]), 0] += values[o, k, 0]
            continue
        for k in range(ids.shape[1]):
            for i in range(first, last):
                column = np.uint64(i)
                y[o, np.uint64(ids[o, k, column]), column] += values[o, k, column]


@cuda_kernel
def _add_cuda(values, ids, y):
    """As the CPU twin. One thread a column."""
    column = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if column < y.shape[0] * y.shape[2]:
        o, i = column // y.shape[2], column % y.shape[2]
        for k in range(ids.shape[1]):
            y[o, ids[o, k, i], i] += values[o, k, i]


def column_kernel(cpu: Any, cuda: Any) -> Kernel:
    """The pair of a kernel over columns of [O, M, I] arrays, its first two arguments [O, K, I]."""
    return Kernel(
        cpu=cpu,
        cuda=cuda,
        tasks=lambda values, ids, y, *_: y.shape[0] * -(-y.shape[2] // COLUMNS),
        work=lambda values, *_: values.size,
        blocks=lambda values, ids, y, *_: -(-y.shape[0] * y.shape[2] // BLOCK),
    )


put_elements = column_kernel(_put_cpu, _put_cuda)
add_elements = column_kernel(_add_cpu, _add_cuda)

# ---------------------------------------------------------------- arguments


class Columns:
    """An index along a dimension, read for one shape.

    Attributes:
        ids: [O, K, I] the numbers.
        shape: The index's shape.
    """

    __slots__ = ("_part", "_split", "ids", "shape")

    def __init__(self, x: Any, dim: int, index: Any) -> None:
        self.shape = index.shape
        # Along the other dimensions the index may be shorter than the tensor: then it works on a part of it.
        covered = index.shape[:dim] + x.shape[dim : dim + 1] + index.shape[dim + 1 :]
        self._part = None if covered == x.shape else tuple(slice(size) for size in covered)
        self._split = math.prod(index.shape[:dim]), math.prod(index.shape[dim + 1 :])
        self.ids = self.tables(row_numbers("index", index, x.shape[dim] if x.ndim else 1))

    def tables(self, array: Any) -> Any:
        """A contiguous array as [O, -, I]."""
        outer, inner = self._split
        return array.reshape(outer, array.size // max(outer * inner, 1), inner)

    def covered(self, x: Any) -> Any:
        """The part of an array that the index covers, as [O, M, I]."""
        return self.tables(arrays.contiguous(x if self._part is None else x[self._part]))

    def gather(self, x: Any) -> Any:
        """The elements of x that the index names."""
        y = memory.empty(self.shape, x.dtype)
        if y.size:
            gather_elements(self.covered(x), self.ids, self.tables(y))
        return y

    def scatter(self, kernel: Kernel, values: Any, y: Any) -> None:
        """Runs a scatter kernel on the covered part of the contiguous array y; values have the index's shape."""
        if self.ids.size == 0:
            return
        values = self.tables(arrays.contiguous(values))
        if self._part is None:
            kernel(values, self.ids, self.tables(y))
            return
        part = self.covered(y)
        kernel(values, self.ids, part)
        self.place(part, y)

    def place(self, part: Any, y: Any) -> None:
        """Writes the covered part, [O, M, I], back into the array y."""
        target = y if self._part is None else y[self._part]
        arrays.copy_into(target, part.reshape(target.shape))


def columns_of(input: Tensor, dim: int, index: Any, src: Tensor | None = None) -> Columns:
    """The index of a call along a dimension, checked."""
    if not isinstance(index, Tensor) or index._array.dtype.kind not in "iu":
        raise DTypeError(f"index: expected a tensor of integers, got {getattr(index, 'dtype', type(index).__name__)}")
    x, ids = input._array, index._array
    dim = check_dim("dim", dim, x.ndim)
    if ids.size == 0 and ids.ndim != x.ndim:  # nothing is nothing in any rank
        ids = ids.reshape((0,) * max(x.ndim, 1))
    if max(ids.ndim, 1) != max(x.ndim, 1):
        raise ShapeError(f"index: expected {x.ndim} dimensions as in input, got shape {list(ids.shape)}")
    if any(size > x.shape[d] for d, size in enumerate(ids.shape) if d != dim):
        raise ShapeError(
            f"index: expected sizes of at most {list(x.shape)} except in dimension {dim}, got {list(ids.shape)}"
        )
    if src is not None:
        if max(src.ndim, 1) != max(x.ndim, 1):
            raise ShapeError(f"src: expected {x.ndim} dimensions as in input, got shape {list(src.shape)}")
        if any(size > limit for size, limit in zip(ids.shape, src.shape or (1,), strict=False)):
            raise ShapeError(f"index: expected sizes of at most {list(src.shape)}, those of src, got {list(ids.shape)}")
    if ids.ndim != x.ndim:  # one element with or without a dimension is the same here
        return _scalar_columns(x, ids)
    return Columns(x, dim, ids)


def _scalar_columns(x: Any, ids: Any) -> Columns:
    columns = Columns(x.reshape(-1), 0, ids.reshape(-1))
    columns.shape = ids.shape
    return columns


def part_of(src: Any, shape: tuple[int, ...]) -> Any:
    """The part of src that an index of this shape uses."""
    if src.shape == shape:
        return src
    return src[tuple(slice(size) for size in shape)] if src.ndim else src.reshape(shape)


def spread_part(values: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of `part_of`: the values, and zeros around them to the shape."""
    if values.shape == shape:
        return values
    if not shape or not values.shape:
        return values.reshape(shape)
    result = arrays.full(shape, 0, values.dtype)
    arrays.copy_into(result[tuple(slice(size) for size in values.shape)], values)
    return result


def copied(x: Any) -> Any:
    """A contiguous copy."""
    y = memory.empty(x.shape, x.dtype)
    arrays.copy_into(y, x)
    return y


# ---------------------------------------------------------------- autograd


class GatherOp(Op):
    """y = the elements that the index names."""

    @staticmethod
    def forward(ctx: Context, x, columns):
        ctx.shape, ctx.columns = x.shape, columns
        return columns.gather(x)

    @staticmethod
    def backward(ctx: Context, dy):
        dx = arrays.full(ctx.shape, 0, dy.dtype)
        ctx.columns.scatter(add_elements, dy, dx)
        return dx, None


class ScatterOp(Op):
    """y = x with src written where the index says."""

    @staticmethod
    def forward(ctx: Context, x, src, columns):
        ctx.shape, ctx.columns = src.shape, columns
        y = copied(x)
        columns.scatter(put_elements, part_of(src, columns.shape), y)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        dx = dsrc = None
        if ctx.needs_input_grad[0]:
            dx = copied(dy)
            ctx.columns.scatter(put_elements, arrays.full(ctx.columns.shape, 0, dy.dtype), dx)
        if ctx.needs_input_grad[1]:
            dsrc = spread_part(ctx.columns.gather(dy), ctx.shape)
        return dx, dsrc, None


class ScatterAddOp(Op):
    """y = x plus src where the index says."""

    @staticmethod
    def forward(ctx: Context, x, src, columns):
        ctx.shape, ctx.columns = src.shape, columns
        y = copied(x)
        columns.scatter(add_elements, part_of(src, columns.shape), y)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        dsrc = spread_part(ctx.columns.gather(dy), ctx.shape) if ctx.needs_input_grad[1] else None
        return dy, dsrc, None


# ---------------------------------------------------------------- public


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    r"""Picks elements along a dimension: `y[i][j][k] = input[i][index[i][j][k]][k]` for dim 1.

    Args:
        input: [*], any dtype.
        dim: The dimension.
        index: [*] integers in [0, size of dim), as many dimensions as the input, not longer in the others.
        sparse_grad: Accepted, without effect: gradients are dense.

    Returns:
        The shape of the index, dtype of the input.

    Raises:
        DTypeError: The index has no integer dtype.
        ShapeError: The index has another rank or is longer than the input.
        IndexRangeError: A number of the index or dim is out of range.

    Gradient:
        For input: dy added where its elements came from.

    Example:
        >>> nbdl.ops.gather(nbdl.tensor([[1, 2], [3, 4]]), 1, nbdl.tensor([[0, 0], [1, 0]]))
        tensor([[1, 1],
                [4, 3]])
    """
    columns = columns_of(input, dim, index)
    return GatherOp.apply(input, columns)


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` with the shapes broadcast to each other in the other dimensions; the flattened input when dim is None.

    Args:
        input: [*], any dtype.
        indices: [*] integers in [-size of dim, size of dim).
        dim: The dimension.

    Returns:
        The broadcast shape, with the size of the indices along dim.

    Raises:
        ShapeError: The shapes do not broadcast.
        IndexRangeError: An index or dim is out of range.

    Gradient:
        For input: dy added where its elements came from.

    Example:
        >>> x = nbdl.tensor([[30, 10, 20]])
        >>> nbdl.ops.take_along_dim(x, nbdl.tensor([[1, 2, 0]]), 1)
        tensor([[10, 20, 30]])
    """
    if not isinstance(indices, Tensor) or indices._array.dtype.kind not in "iu":
        raise DTypeError(f"indices: expected integers, got {getattr(indices, 'dtype', type(indices).__name__)}")
    if dim is None:
        return take_along_dim(input.reshape(-1), indices.reshape(-1), 0)
    if input.ndim != indices.ndim:
        raise ShapeError(f"indices: expected {input.ndim} dimensions as in input, got shape {list(indices.shape)}")
    dim = check_dim("dim", dim, input.ndim)
    mine = [size if d != dim else 1 for d, size in enumerate(input.shape)]
    theirs = [size if d != dim else 1 for d, size in enumerate(indices.shape)]
    try:
        shape = list(np.broadcast_shapes(mine, theirs))
    except ValueError:
        raise ShapeError(
            f"indices: shape {list(indices.shape)} does not broadcast to {list(input.shape)} except in dimension {dim}"
        ) from None
    source = expand(input, (*shape[:dim], input.shape[dim], *shape[dim + 1 :])) if input.ndim else input
    wanted = indices._array
    if wanted.ndim:
        wanted = np.broadcast_to(wanted, (*shape[:dim], wanted.shape[dim], *shape[dim + 1 :]))
    flat = row_numbers("indices", wanted, input.shape[dim] if input.ndim else 1, negative=True)
    return gather(source, dim, Tensor(flat.reshape(wanted.shape)))


def scatter(input: Tensor, dim: int, index: Tensor, src: Tensor | float, *, reduce: str | None = None) -> Tensor:
    """Writes elements along a dimension: `y[i][index[i][j]] = src[i][j]` for dim 1, elsewhere y = input.

    Args:
        input: [*], any dtype.
        dim: The dimension.
        index: [*] integers in [0, size of dim), not longer than src, nor than input in the other dimensions.
        src: [*] of the input's dtype, or one number.
        reduce: "add" or "multiply" instead of writing; see `scatter_reduce` for gradients of products.

    Returns:
        The shape and dtype of the input. Where the index names a place twice, the last in row-major order wins.

    Raises:
        DTypeError: The index has no integer dtype, or src another than the input.
        ShapeError: The ranks differ or the index is too long.
        IndexRangeError: A number of the index or dim is out of range.

    Gradient:
        For input: dy, zero where it was overwritten. For src: dy where it was written (every writer of a place that
        was written twice gets it, as in PyTorch).

    Example:
        >>> nbdl.ops.scatter(nbdl.zeros(2, 3), 1, nbdl.tensor([[2], [0]]), 1.0)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    if not isinstance(src, Tensor):
        src = Tensor(arrays.sent_beside(input._array, np.asarray(src, input.dtype)))
        if isinstance(index, Tensor):
            src = expand(src, index.shape)
    if reduce is not None:
        from nbdl.ops.indexing.reductions import scatter_reduce  # which stands on this module

        name = {"add": "sum", "multiply": "prod"}[check_choice("reduce", reduce, ("add", "multiply"))]
        return scatter_reduce(input, dim, index, src, name)
    check_same_dtype("src", src, "input", input)
    columns = columns_of(input, dim, index, src)
    return ScatterOp.apply(input, src, columns)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Adds elements along a dimension: `y[i][index[i][j]] += src[i][j]` for dim 1, starting from y = input.

    Args:
        input: [*], any dtype.
        dim: The dimension.
        index: [*] integers in [0, size of dim), not longer than src, nor than input in the other dimensions.
        src: [*] of the input's dtype.

    Returns:
        The shape and dtype of the input; the same to the last bit in every run.

    Raises:
        DTypeError: The index has no integer dtype, or src another than the input.
        ShapeError: The ranks differ or the index is too long.
        IndexRangeError: A number of the index or dim is out of range.

    Gradient:
        For input: dy. For src: dy at the places where it was added.

    Example:
        >>> nbdl.ops.scatter_add(nbdl.zeros(3), 0, nbdl.tensor([0, 2, 0]), nbdl.tensor([1.0, 2.0, 3.0]))
        tensor([4., 0., 2.])
    """
    check_same_dtype("src", src, "input", input)
    columns = columns_of(input, dim, index, src)
    return ScatterAddOp.apply(input, src, columns)
