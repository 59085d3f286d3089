r"""Matrix products added to a tensor: addmm, addmv, addr, addbmm and baddbmm.

$$Y = \beta X + \alpha\, A B, \qquad dX = \beta\, dY, \quad dA = \alpha\, dY B^\top, \quad dB = \alpha\, A^\top dY$$

X broadcasts to the shape of the product, and its gradient is summed over what was repeated. With $\beta = 0$ X is not
read: NaN and infinities in it do not reach Y.

Each is made of `matmul`, a product by $\alpha$ where it is not 1, and one sum; so are the gradients.
"""

from __future__ import annotations

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.elementwise.arithmetic import add, mul
from nbdl.ops.elementwise.selection import masked_fill
from nbdl.ops.matmul.products import bmm, mm, mv, outer
from nbdl.ops.shape.views import permute, reshape
from nbdl.runtime.checks import check_number, check_rank, check_same_dtype
from nbdl.runtime.errors import ShapeError

# ---------------------------------------------------------------- reference


def addmm_reference(input, mat1, mat2, beta=1, alpha=1):
    """The definition, in float64; also of addmv and baddbmm."""
    product = alpha * np.matmul(mat1, mat2)
    return product + (beta * input if beta != 0 else 0)


def addr_reference(input, vec1, vec2, beta=1, alpha=1):
    """The definition, in float64."""
    return addmm_reference(input, vec1[:, None], vec2[None, :], beta, alpha)


def addbmm_reference(input, batch1, batch2, beta=1, alpha=1):
    """The definition, in float64."""
    product = alpha * np.matmul(batch1, batch2).sum(0)
    return product + (beta * input if beta != 0 else 0)


# ---------------------------------------------------------------- public


def _checked(left_name: str, left: Tensor, right_name: str, right: Tensor, left_rank: int, right_rank: int) -> None:
    """Raises ShapeError unless the two can be multiplied, matrix by matrix."""
    check_rank(left_name, left, left_rank)
    check_rank(right_name, right, right_rank)
    wanted = (*left.shape[: left_rank - 2], left.shape[-1])  # the batch and the inner size
    if tuple(right.shape[: len(wanted)]) != wanted:
        raise ShapeError(
            f"{right_name}: expected {list(wanted)} for its first sizes, to multiply {left_name} of shape "
            f"{list(left.shape)}, got shape {list(right.shape)}"
        )


def _weighted_sum(input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """beta input + alpha product."""
    check_number("beta", beta)
    check_number("alpha", alpha)
    check_same_dtype("input", input, "the product", product)
    tail = product.shape[max(product.ndim - input.ndim, 0) :]
    if len(tail) != input.ndim or any(n not in (1, size) for n, size in zip(input.shape, tail, strict=True)):
        raise ShapeError(f"input: expected a shape that broadcasts to {list(product.shape)}, got {list(input.shape)}")
    if beta == 0:
        input = masked_fill(input, Tensor(np.ones((), np.bool_)), 0.0)
    return add(product if alpha == 1 else mul(product, alpha), input, alpha=beta)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    r"""A product of two matrices, added to a tensor: $Y = \beta X + \alpha\, A B$.

    Args:
        input: [N, M], or a shape that broadcasts to it, float32 or float64.
        mat1: [N, K], dtype of the input.
        mat2: [K, M], dtype of the input.
        beta: The factor of the input; with 0 it is not read.
        alpha: The factor of the product.

    Returns:
        [N, M].

    Raises:
        ShapeError: An operand is no matrix, the inner sizes differ, or the input does not broadcast.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For input, mat1 and mat2.

    Example:
        >>> nbdl.addmm(nbdl.ones(2), nbdl.ones(2, 3), nbdl.ones(3, 2), beta=0.5)
        tensor([[3.5000, 3.5000],
                [3.5000, 3.5000]])
    """
    _checked("mat1", mat1, "mat2", mat2, 2, 2)
    return _weighted_sum(input, mm(mat1, mat2), beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    r"""A product of a matrix and a vector, added to a tensor: $y = \beta x + \alpha\, A v$.

    Args:
        input: [N] or what broadcasts to it, float32 or float64.
        mat: [N, K], dtype of the input.
        vec: [K], dtype of the input.
        beta: The factor of the input; with 0 it is not read.
        alpha: The factor of the product.

    Returns:
        [N].

    Raises:
        ShapeError: The ranks are others, the inner sizes differ, or the input does not broadcast.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For input, mat and vec.

    Example:
        >>> nbdl.addmv(nbdl.tensor([1.0]), nbdl.ones(1, 2), nbdl.ones(2))
        tensor([3.])
    """
    _checked("mat", mat, "vec", vec, 2, 1)
    return _weighted_sum(input, mv(mat, vec), beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    r"""All products of elements of two vectors, added to a tensor: $Y = \beta X + \alpha\, a b^\top$.

    Args:
        input: [N, M] or what broadcasts to it, float32 or float64.
        vec1: [N], dtype of the input.
        vec2: [M], dtype of the input.
        beta: The factor of the input; with 0 it is not read.
        alpha: The factor of the product.

    Returns:
        [N, M].

    Raises:
        ShapeError: An operand is no vector, or the input does not broadcast.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For input, vec1 and vec2.

    Example:
        >>> nbdl.addr(nbdl.zeros(2, 2), nbdl.tensor([1.0, 2.0]), nbdl.tensor([3.0, 4.0]))
        tensor([[3., 4.],
                [6., 8.]])
    """
    check_rank("vec1", vec1, 1)
    return _weighted_sum(input, outer(vec1, vec2), beta, alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    r"""Products of two batches of matrices, added to a tensor: $Y_b = \beta X_b + \alpha\, A_b B_b$.

    Args:
        input: [B, N, M] or what broadcasts to it, float32 or float64.
        batch1: [B, N, K], dtype of the input.
        batch2: [B, K, M], dtype of the input.
        beta: The factor of the input; with 0 it is not read.
        alpha: The factor of the products.

    Returns:
        [B, N, M].

    Raises:
        ShapeError: The ranks are others, the batch or inner sizes differ, or the input does not broadcast.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For input, batch1 and batch2.

    Example:
        >>> nbdl.baddbmm(nbdl.ones(1, 1), nbdl.ones(2, 1, 3), nbdl.ones(2, 3, 1)).shape
        (2, 1, 1)
    """
    _checked("batch1", batch1, "batch2", batch2, 3, 3)
    return _weighted_sum(input, bmm(batch1, batch2), beta, alpha)


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    r"""The sum of products of two batches of matrices, added to a tensor: $Y = \beta X + \alpha \sum_b A_b B_b$.

    Args:
        input: [N, M] or what broadcasts to it, float32 or float64.
        batch1: [B, N, K], dtype of the input.
        batch2: [B, K, M], dtype of the input.
        beta: The factor of the input; with 0 it is not read.
        alpha: The factor of the sum.

    Returns:
        [N, M].

    Raises:
        ShapeError: The ranks are others, the batch or inner sizes differ, or the input does not broadcast.
        DTypeError: An operand is not floating point, or the dtypes differ.

    Gradient:
        For input, batch1 and batch2.

    Example:
        >>> nbdl.addbmm(nbdl.zeros(1, 1), nbdl.ones(2, 1, 3), nbdl.ones(2, 3, 1))
        tensor([[6.]])
    """
    _checked("batch1", batch1, "batch2", batch2, 3, 3)
    (b, n, k), m = batch1.shape, batch2.shape[2]
    # the batch and the inner dimension are summed alike: together they are the inner dimension of one product
    left, right = reshape(permute(batch1, (1, 0, 2)), (n, b * k)), reshape(batch2, (b * k, m))
    return _weighted_sum(input, mm(left, right), beta, alpha)
