r"""Matrix products in all ranks.

Forward, for each matrix of the batch:

$$Y_{ij} = \sum_k A_{ik} B_{kj}, \qquad Y = A B$$

Backward: the loss depends on $A_{ik}$ through row i of Y, on $B_{kj}$ through column j:

$$dA = dY\, B^\top, \qquad dB = A^\top dY$$

Where a matrix was broadcast over batch dimensions, its gradient is the sum over them. When B is one matrix for a
whole batch of A, the batch is nothing but more rows: one product, and dB needs no sum of its own.

The kernels are `runtime/gemm`: every transposition is a matter of strides. Letters: M rows, K inner, N columns.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.operands import as_tensor_operand
from nbdl.ops.shape.views import sum_to_shape, view_or_none
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_float, check_rank, check_same_dtype
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.gemm import gemm

# ---------------------------------------------------------------- reference


def matmul_reference(input, other):
    """The definition, in float64: NumPy's rules for ranks are PyTorch's."""
    return np.matmul(input, other)


def dot_reference(input, tensor):
    """The definition, in float64."""
    return np.sum(input * tensor)


def outer_reference(input, vec2):
    """The definition, in float64."""
    return input[:, None] * vec2[None, :]


# ---------------------------------------------------------------- products of arrays


def as_shape(x: Any, shape: tuple[int, ...]) -> Any:
    """The array in another shape: a view where its strides allow it, else a contiguous copy."""
    shown = view_or_none(x, shape)
    return arrays.contiguous(x).reshape(shape) if shown is None else shown


def product(a: Any, b: Any) -> Any:
    """A new array a @ b: [..., M, K] by [..., K, N], batch dimensions broadcast."""
    if a.ndim == b.ndim == 2:
        y = memory.empty((a.shape[0], b.shape[1]), a.dtype)
        gemm(a, b, y)
        return y
    m, k = a.shape[-2:]
    n = b.shape[-1]
    if b.ndim == 2:  # a batch of A by one B: more rows
        rows = math.prod(a.shape[:-1])
        y = memory.empty((*a.shape[:-1], n), a.dtype)
        gemm(as_shape(a, (rows, k)), b, y.reshape(rows, n))
        return y
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = memory.empty((*batch, m, n), a.dtype)
    gemm(_stack(a, batch), _stack(b, batch), y.reshape(math.prod(batch), m, n))
    return y


def _stack(x: Any, batch: tuple[int, ...]) -> Any:
    """The array's matrices, broadcast to the batch, as [batch, rows, columns]."""
    lead = x.shape[:-2]
    if lead != batch:
        missing = len(batch) - len(lead)
        steps = [
            0 if have != size else step for have, size, step in zip(lead, batch[missing:], x.strides, strict=False)
        ]
        x = arrays.strided(x, (*batch, *x.shape[-2:]), ((0,) * missing + tuple(steps) + x.strides[-2:]))
    return x if x.ndim == 3 else as_shape(x, (math.prod(batch), *x.shape[-2:]))


# ---------------------------------------------------------------- autograd


class MatmulOp(Op):
    """y = a @ b for arrays of at least one dimension; a vector is a matrix of one row (a) or one column (b)."""

    @staticmethod
    def forward(ctx: Context, a, b):
        ctx.save(a, b)
        if a.ndim > 1 and b.ndim > 1:
            return product(a, b)
        y = product(a.reshape(1, -1) if a.ndim == 1 else a, b.reshape(-1, 1) if b.ndim == 1 else b)
        if a.ndim == 1:
            y = y.reshape(*y.shape[:-2], y.shape[-1])
        return y.reshape(y.shape[:-1]) if b.ndim == 1 else y

    @staticmethod
    def backward(ctx: Context, dy):
        a, b = ctx.saved
        left = a.reshape(1, -1) if a.ndim == 1 else a
        right = b.reshape(-1, 1) if b.ndim == 1 else b
        if b.ndim == 1:
            dy = arrays.strided(dy, (*dy.shape, 1), (*dy.strides, dy.itemsize))
        if a.ndim == 1:
            dy = arrays.strided(dy, (*dy.shape[:-1], 1, dy.shape[-1]), (*dy.strides[:-1], dy.itemsize, dy.strides[-1]))
        da = db = None
        if ctx.needs_input_grad[0]:
            da = sum_to_shape(product(dy, right.swapaxes(-1, -2)), left.shape).reshape(a.shape)
        if ctx.needs_input_grad[1]:
            if right.ndim == 2 and left.ndim > 2:
                rows = math.prod(left.shape[:-1])
                left, dy = as_shape(left, (rows, left.shape[-1])), as_shape(dy, (rows, dy.shape[-1]))
            db = sum_to_shape(product(left.swapaxes(-1, -2), dy), right.shape).reshape(b.shape)
        return da, db


# ---------------------------------------------------------------- public


def matmul(input: Tensor, other: Tensor) -> Tensor:
    r"""The matrix product $Y = A B$, in all ranks.

    Two vectors give their dot product, a matrix and a vector their product, and with more dimensions the leading
    ones are a batch, broadcast against each other.

    Args:
        input: [K], [M, K] or [*, M, K], float32 or float64.
        other: [K], [K, N] or [*, K, N], dtype of the input.

    Returns:
        [], [M], [N], [M, N] or [*, M, N]: the dimension that a vector lacks is left out.

    Raises:
        ShapeError: An operand has no dimension, the inner sizes differ, or the batch dimensions do not broadcast.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For both: $dA = dY B^\top$ and $dB = A^\top dY$, summed over broadcast dimensions.

    Example:
        >>> nbdl.matmul(nbdl.tensor([[1.0, 2.0], [3.0, 4.0]]), nbdl.tensor([1.0, 1.0]))
        tensor([3., 7.])
    """
    a, b = input._array.shape, other._array.shape
    _check_floats(input, "other", other)
    if len(a) == len(b) == 2 and a[1] == b[0]:
        return MatmulOp.apply(input, other)
    if not a or not b:
        name, shape = ("other", b) if a else ("input", a)
        raise ShapeError(f"{name}: expected at least 1 dimension, got shape {list(shape)}")
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] != inner:
        raise ShapeError(
            f"other: expected {a[-1]} inner elements, as input of shape {list(a)} has, got shape {list(b)}"
        )
    if len(a) > 2 and len(b) > 2 and a[:-2] != b[:-2]:
        try:
            np.broadcast_shapes(a[:-2], b[:-2])
        except ValueError:
            raise ShapeError(
                f"other: expected batch dimensions that broadcast with {list(a[:-2])}, got {list(b[:-2])}"
            ) from None
    return MatmulOp.apply(input, other)


def at(input: Any, other: Any) -> Tensor:
    """Python's `@`: `matmul`, also of a tensor and a NumPy array."""
    return matmul(as_tensor_operand("input", input), as_tensor_operand("other", other))


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices: `matmul` for exactly two dimensions.

    Args:
        input: [M, K], float32 or float64.
        mat2: [K, N], dtype of the input.

    Returns:
        [M, N].

    Raises:
        ShapeError: An operand is no matrix, or the inner sizes differ.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For both.

    Example:
        >>> nbdl.mm(nbdl.ones(1, 2), nbdl.ones(2, 1))
        tensor([[2.]])
    """
    check_rank("input", input, 2)
    _check_inner("mat2", check_rank("mat2", mat2, 2), input)
    return MatmulOp.apply(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices, pair by pair, without broadcasting.

    Args:
        input: [B, M, K], float32 or float64.
        mat2: [B, K, N], dtype of the input.

    Returns:
        [B, M, N].

    Raises:
        ShapeError: An operand has not three dimensions, or the batch or inner sizes differ.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For both.

    Example:
        >>> nbdl.bmm(nbdl.ones(1, 2, 3), nbdl.ones(1, 3, 1)).shape
        (1, 2, 1)
    """
    check_rank("input", input, 3)
    _check_inner("mat2", check_rank("mat2", mat2, 3), input)
    if input.shape[0] != mat2.shape[0]:
        raise ShapeError(f"mat2: expected {input.shape[0]} matrices, as many as input, got shape {list(mat2.shape)}")
    return MatmulOp.apply(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector.

    Args:
        input: [M, K], float32 or float64.
        vec: [K], dtype of the input.

    Returns:
        [M].

    Raises:
        ShapeError: The ranks are others, or the inner sizes differ.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For both.

    Example:
        >>> nbdl.mv(nbdl.ones(2, 3), nbdl.ones(3))
        tensor([3., 3.])
    """
    check_rank("input", input, 2)
    _check_inner("vec", check_rank("vec", vec, 1), input)
    return MatmulOp.apply(input, vec)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    r"""The dot product of two vectors, $\sum_k a_k b_k$.

    Args:
        input: [K], float32 or float64.
        tensor: [K], dtype of the input.

    Returns:
        [], the sum of the products.

    Raises:
        ShapeError: An operand is no vector, or the sizes differ.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For both.

    Example:
        >>> nbdl.dot(nbdl.tensor([1.0, 2.0]), nbdl.tensor([3.0, 4.0]))
        tensor(11.)
    """
    return _dot(input, "tensor", tensor)


def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The dot product of two vectors: for real numbers the same as `dot`. Arguments as for `dot`.

    Example:
        >>> nbdl.vdot(nbdl.tensor([1.0, 2.0]), nbdl.tensor([3.0, 4.0]))
        tensor(11.)
    """
    return _dot(input, "other", other)


def _dot(input: Tensor, name: str, other: Tensor) -> Tensor:
    check_rank("input", input, 1)
    _check_inner(name, check_rank(name, other, 1), input)
    return MatmulOp.apply(input, other)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of an element of one vector and an element of the other.

    Args:
        input: [M], float32 or float64.
        vec2: [N], dtype of the input.

    Returns:
        [M, N].

    Raises:
        ShapeError: An operand is no vector.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For both.

    Example:
        >>> nbdl.outer(nbdl.tensor([1.0, 2.0]), nbdl.tensor([3.0, 4.0]))
        tensor([[3., 4.],
                [6., 8.]])
    """
    check_rank("input", input, 1)
    _check_floats(input, "vec2", check_rank("vec2", vec2, 1))
    return MatmulOp.apply(input.reshape(-1, 1), vec2.reshape(1, -1))


ger = outer
"""BLAS's name of `outer`."""


def _check_floats(input: Tensor, name: str, other: Tensor) -> None:
    """Checks that both are of one floating-point dtype."""
    dtype = input._array.dtype
    if dtype is not other._array.dtype or dtype.char not in "fd":  # different, or the same but another object
        check_same_dtype(name, other, "input", check_float("input", input))


def _check_inner(name: str, other: Tensor, input: Tensor) -> None:
    """Checks the dtypes, and that the inner sizes agree."""
    _check_floats(input, name, other)
    inner = other.shape[-2] if other.ndim > 1 else other.shape[0]
    if input.shape[-1] != inner:
        raise ShapeError(
            f"{name}: expected {input.shape[-1]} inner elements, as in input of shape {list(input.shape)}, "
            f"got {list(other.shape)}"
        )
