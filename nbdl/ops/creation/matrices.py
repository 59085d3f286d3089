"""Matrices: the identity, triangles, and grids of coordinates. The references are NumPy's eye, tril, triu, meshgrid."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.creation.data import finished
from nbdl.ops.creation.values import zeros
from nbdl.ops.shape.views import expand, reshape
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_choice, check_int
from nbdl.runtime.dtypes import INT64, as_dtype
from nbdl.runtime.errors import DTypeError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- kernels


@cpu_kernel
def _diagonal_cpu(y, value, start, stop):
    """y [N, M]: the main diagonal becomes value [1]. One task an element of it."""
    for i in range(start, stop):
        y[i, i] = value[0]


@cuda_kernel
def _diagonal_cuda(y, value):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < min(y.shape[0], y.shape[1]):
        y[i, i] = value[0]


fill_diagonal = Kernel(
    cpu=_diagonal_cpu,
    cuda=_diagonal_cuda,
    tasks=lambda y, value: min(y.shape),
    blocks=lambda y, value: max(1, -(-min(y.shape) // BLOCK)),
)


@cpu_kernel
def _triangle_cpu(x, y, diagonal, lower, start, stop):
    """x, y [R, N, M]: y = x on one side of a diagonal, 0 on the other. One task a row of M."""
    _, n, m = x.shape
    for row in range(start, stop):
        r, i = row // n, row % n
        for j in range(m):
            kept = j - i <= diagonal if lower else j - i >= diagonal
            y[r, i, j] = x[r, i, j] if kept else y.dtype.type(0)


@cuda_kernel
def _triangle_cuda(x, y, diagonal, lower):
    """As the CPU twin. One block a row."""
    _, n, m = x.shape
    r, i = cuda.blockIdx.x // n, cuda.blockIdx.x % n
    for j in range(cuda.threadIdx.x, m, BLOCK):
        kept = j - i <= diagonal if lower else j - i >= diagonal
        y[r, i, j] = x[r, i, j] if kept else y.dtype.type(0)


triangle = Kernel(
    cpu=_triangle_cpu,
    cuda=_triangle_cuda,
    tasks=lambda x, y, *_: x.shape[0] * x.shape[1],
    work=lambda x, y, *_: x.size,
)

# ---------------------------------------------------------------- autograd


class TriangleOp(Op):
    """y = x on one side of a diagonal, 0 on the other."""

    @staticmethod
    def forward(ctx: Context, x, diagonal, lower):
        ctx.options = diagonal, lower
        return TriangleOp.cut(x, diagonal, lower)

    @staticmethod
    def backward(ctx: Context, dy):
        return TriangleOp.cut(dy, *ctx.options), None, None

    @staticmethod
    def cut(x: Any, diagonal: int, lower: bool) -> Any:
        """The triangle of the last two dimensions."""
        y = memory.empty(x.shape, x.dtype)
        if y.size:
            matrices = (-1, *x.shape[-2:])
            triangle(arrays.contiguous(x).reshape(matrices), y.reshape(matrices), diagonal, lower)
        return y


# ---------------------------------------------------------------- public


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A matrix with ones on its diagonal and zeros elsewhere.

    Args:
        n: Number of rows.
        m: Number of columns; n when None.
        dtype: The dtype; the default dtype when None.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        [n, m].

    Raises:
        ArgumentError: A size is negative.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.eye(2)
        tensor([[1., 0.],
                [0., 1.]])
    """
    rows, columns = check_int("n", n, 0), check_int("m", n if m is None else m, 0)
    result = zeros(rows, columns, dtype=dtype)
    fill_diagonal(result._array, np.ones(1, result.dtype))
    return finished(result._array, device, requires_grad)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of matrices; the rest becomes 0.

    Args:
        input: [*, N, M], any dtype.
        diagonal: The diagonal up to which elements stay: 0 the main one, positive ones above it.

    Returns:
        [*, N, M], dtype of the input.

    Raises:
        ShapeError: The input has fewer than two dimensions.

    Gradient:
        For input: the lower triangle of dy.

    Example:
        >>> nbdl.tril(nbdl.ones(2, 2))
        tensor([[1., 0.],
                [1., 1.]])
    """
    return _triangle(input, diagonal, lower=True)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of matrices; the rest becomes 0.

    Args:
        input: [*, N, M], any dtype.
        diagonal: The diagonal from which elements stay: 0 the main one, positive ones above it.

    Returns:
        [*, N, M], dtype of the input.

    Raises:
        ShapeError: The input has fewer than two dimensions.

    Gradient:
        For input: the upper triangle of dy.

    Example:
        >>> nbdl.triu(nbdl.ones(2, 2))
        tensor([[1., 1.],
                [0., 1.]])
    """
    return _triangle(input, diagonal, lower=False)


def _triangle(input: Tensor, diagonal: int, lower: bool) -> Tensor:
    if input.ndim < 2:
        raise ShapeError(f"input: expected shape [*, N, M], got {list(input.shape)}")
    return TriangleOp.apply(input, check_int("diagonal", diagonal), lower)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Where the elements of a lower triangle stand, row by row; `x[*nbdl.tril_indices(n, m)]` are these elements.

    Args:
        row: Number of rows, N.
        col: Number of columns, M.
        offset: The diagonal up to which elements belong to it: 0 the main one, positive ones above it.
        dtype: int64 or int32; int64 when None.
        device: Where the tensor lives.

    Returns:
        [2, K]: the rows and the columns of the K elements.

    Raises:
        ArgumentError: A size is negative.
        DTypeError: The dtype is another one.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.tril_indices(3, 2)
        tensor([[0, 1, 1, 2, 2],
                [0, 0, 1, 0, 1]])
    """
    return _triangle_indices(row, col, offset, True, dtype, device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Where the elements of an upper triangle stand, row by row; `x[*nbdl.triu_indices(n, m)]` are these elements.

    Args:
        row: Number of rows, N.
        col: Number of columns, M.
        offset: The diagonal from which elements belong to it: 0 the main one, positive ones above it.
        dtype: int64 or int32; int64 when None.
        device: Where the tensor lives.

    Returns:
        [2, K]: the rows and the columns of the K elements.

    Raises:
        ArgumentError: A size is negative.
        DTypeError: The dtype is another one.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.triu_indices(3, 2)
        tensor([[0, 0, 1],
                [0, 1, 1]])
    """
    return _triangle_indices(row, col, offset, False, dtype, device)


def _triangle_indices(row: int, col: int, offset: int, lower: bool, dtype: Any, device: Any) -> Tensor:
    """Counts instead of looking at all N M elements."""
    rows, columns = check_int("row", row, 0), check_int("col", col, 0)
    wanted = INT64 if dtype is None else as_dtype(dtype)
    if wanted not in (INT64, np.dtype(np.int32)):
        raise DTypeError(f"dtype: expected int64 or int32, got {wanted}")
    reach = max(rows, columns)  # where a diagonal has left the matrix
    diagonal = min(max(check_int("offset", offset), -reach), reach)
    edge = np.clip(np.arange(rows) + (diagonal + lower), 0, columns)
    first, counts = (np.zeros_like(edge), edge) if lower else (edge, columns - edge)
    places = np.empty((2, counts.sum()), wanted)
    places[0] = np.repeat(np.arange(rows), counts)
    places[1] = np.arange(places.shape[1]) - np.repeat(np.cumsum(counts) - counts - first, counts)
    return finished(places, device, False)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of a grid: each tensor of coordinates, spread over the dimensions of the others.

    Args:
        tensors: [N_1], [N_2], ...: coordinates along each dimension.
        indexing: "ij": dimension k belongs to tensor k; "xy": the first two are exchanged.

    Returns:
        A tensor [N_1, N_2, ...] for each, views of them.

    Raises:
        ShapeError: A tensor has more than one dimension.

    Gradient:
        For each tensor: dy summed over the other dimensions.

    Example:
        >>> nbdl.meshgrid(nbdl.arange(2), nbdl.arange(3))[0]
        tensor([[0, 0, 0],
                [1, 1, 1]])
    """
    check_choice("indexing", indexing, ("ij", "xy"))
    listed = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else list(tensors)
    for position, coordinates in enumerate(listed):
        if coordinates.ndim > 1:
            raise ShapeError(f"tensors[{position}]: expected at most 1 dimension, got {list(coordinates.shape)}")
    rank = len(listed)
    axes = list(range(rank))
    if indexing == "xy" and rank > 1:
        axes[:2] = 1, 0
    shape = [1] * rank
    for coordinates, axis in zip(listed, axes, strict=True):
        shape[axis] = coordinates.numel()
    return tuple(
        expand(reshape(coordinates, [-1 if place == axis else 1 for place in range(rank)]), shape)
        for coordinates, axis in zip(listed, axes, strict=True)
    )
