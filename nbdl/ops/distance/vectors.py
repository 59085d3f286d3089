r"""Similarity and distance of vectors along a dimension.

Cosine similarity, with norms under $\varepsilon$ counted as $\varepsilon$:

$$y = \frac{x_1 \cdot x_2}{n_1 n_2}, \qquad n_i = \max(\lVert x_i \rVert, \varepsilon), \qquad
  dx_1 = \frac{dy}{n_1} \Big( \frac{x_2}{n_2} - y \frac{x_1}{\lVert x_1 \rVert} \Big),$$

and $dx_2$ likewise. As in PyTorch, the gradient takes the norm for what it is even where $\varepsilon$ replaced it, and
the last term for 0 where the vector is. Pairwise distance:

$$y = \lVert x_1 - x_2 + \varepsilon \rVert_p.$$

Letters: R rows, D the size of a vector.
"""

from __future__ import annotations

import math

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.arithmetic import sub
from nbdl.ops.elementwise.layout import broadcast_shape
from nbdl.ops.reduction.norms import vector_norm
from nbdl.ops.shape.views import expand
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_dim, check_float, check_number, check_same_dtype
from nbdl.runtime.cuda.primitives import block_sum
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar

__all__ = ["cosine_similarity", "dist", "pairwise_distance"]

# ---------------------------------------------------------------- reference


def cosine_similarity_reference(x1, x2, dim=1, eps=1e-8):
    """The definition, in float64."""
    x1, x2 = np.broadcast_arrays(x1, x2)
    n1 = np.maximum(np.linalg.norm(x1, axis=dim), eps)
    n2 = np.maximum(np.linalg.norm(x2, axis=dim), eps)
    return (x1 * x2).sum(dim) / (n1 * n2)


def pairwise_distance_reference(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The definition, in float64."""
    return np.linalg.norm(x1 - x2 + eps, p, -1, keepdim)


# ---------------------------------------------------------------- forward


@cpu_kernel
def _cosine_forward_cpu(x1, x2, eps, y, norm1, norm2, start, stop):
    """x1, x2 [R, D]; y, norm1, norm2 [R]. One task a row."""
    for row in range(start, stop):
        product = x1.dtype.type(0)
        squares1 = x1.dtype.type(0)
        squares2 = x1.dtype.type(0)
        for j in range(x1.shape[1]):
            product += x1[row, j] * x2[row, j]
            squares1 += x1[row, j] * x1[row, j]
            squares2 += x2[row, j] * x2[row, j]
        norm1[row] = math.sqrt(squares1)
        norm2[row] = math.sqrt(squares2)
        y[row] = product / max(norm1[row], eps) / max(norm2[row], eps)


@cuda_kernel
def _cosine_forward_cuda(x1, x2, eps, y, norm1, norm2):
    """As the CPU twin. One block a row."""
    row = cuda.blockIdx.x
    product = x1.dtype.type(0)
    squares1 = x1.dtype.type(0)
    squares2 = x1.dtype.type(0)
    for j in range(cuda.threadIdx.x, x1.shape[1], BLOCK):
        product += x1[row, j] * x2[row, j]
        squares1 += x1[row, j] * x1[row, j]
        squares2 += x2[row, j] * x2[row, j]
    product, squares1, squares2 = block_sum(product), block_sum(squares1), block_sum(squares2)
    if cuda.threadIdx.x == 0:
        norm1[row] = math.sqrt(squares1)
        norm2[row] = math.sqrt(squares2)
        y[row] = product / max(norm1[row], eps) / max(norm2[row], eps)


cosine_forward = Kernel(
    cpu=_cosine_forward_cpu,
    cuda=_cosine_forward_cuda,
    tasks=lambda x1, *_: x1.shape[0],
    work=lambda x1, *_: x1.size,
)

# ---------------------------------------------------------------- backward


@scalar
def _cosine_factors(dy, y, norm, other_norm, eps):
    """The factors of the other vector and of the vector itself in its gradient."""
    outer = dy / max(norm, eps)
    return outer / max(other_norm, eps), outer * y / norm if norm > type(y)(0) else type(y)(0)


@cpu_kernel
def _cosine_backward_cpu(dy, x1, x2, y, norm1, norm2, eps, dx1, dx2, start, stop):
    """dy, y, norm1, norm2 [R]; x1, x2, dx1, dx2 [R, D]. One task a row."""
    for row in range(start, stop):
        a1, b1 = _cosine_factors(dy[row], y[row], norm1[row], norm2[row], eps)
        a2, b2 = _cosine_factors(dy[row], y[row], norm2[row], norm1[row], eps)
        for j in range(x1.shape[1]):
            dx1[row, j] = a1 * x2[row, j] - b1 * x1[row, j]
            dx2[row, j] = a2 * x1[row, j] - b2 * x2[row, j]


@cuda_kernel
def _cosine_backward_cuda(dy, x1, x2, y, norm1, norm2, eps, dx1, dx2):
    """As the CPU twin. One block a row."""
    row = cuda.blockIdx.x
    a1, b1 = _cosine_factors(dy[row], y[row], norm1[row], norm2[row], eps)
    a2, b2 = _cosine_factors(dy[row], y[row], norm2[row], norm1[row], eps)
    for j in range(cuda.threadIdx.x, x1.shape[1], BLOCK):
        dx1[row, j] = a1 * x2[row, j] - b1 * x1[row, j]
        dx2[row, j] = a2 * x1[row, j] - b2 * x2[row, j]


cosine_backward = Kernel(
    cpu=_cosine_backward_cpu,
    cuda=_cosine_backward_cuda,
    tasks=lambda dy, *_: dy.shape[0],
    work=lambda dy, x1, *_: x1.size,
)

# ---------------------------------------------------------------- autograd


class CosineSimilarityOp(Op):
    """y = cosine_similarity(x1, x2) of vectors along one dimension. Saves both, y and the norms."""

    @staticmethod
    def forward(ctx: Context, x1, x2, dim, eps):
        ctx.dim, ctx.eps = dim, x1.dtype.type(eps)
        x1, x2 = _rows(x1, dim), _rows(x2, dim)
        shape, d = x1.shape[:-1], x1.shape[-1]
        rows = math.prod(shape)
        x1, x2 = x1.reshape(rows, d), x2.reshape(rows, d)
        y = ctx.empty(*shape, dtype=x1.dtype)
        norm1, norm2 = ctx.empty(rows, dtype=x1.dtype), ctx.empty(rows, dtype=x1.dtype)
        if rows:
            cosine_forward(x1, x2, ctx.eps, y.reshape(-1), norm1, norm2)
        ctx.save(x1, x2, y, norm1, norm2)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        x1, x2, y, norm1, norm2 = ctx.saved
        dx1, dx2 = ctx.empty_like(x1), ctx.empty_like(x2)
        if x1.size:
            dy_rows = arrays.contiguous(dy).reshape(-1)
            cosine_backward(dy_rows, x1, x2, y.reshape(-1), norm1, norm2, ctx.eps, dx1, dx2)
        dx1, dx2 = (dx.reshape(*dy.shape, x1.shape[1]) for dx in (dx1, dx2))
        return np.moveaxis(dx1, -1, ctx.dim), np.moveaxis(dx2, -1, ctx.dim), None, None


def _rows(x, dim):
    """The array with its vectors in the last dimension, contiguous."""
    return arrays.contiguous(np.moveaxis(x, dim, -1))


# ---------------------------------------------------------------- public


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    r"""The cosine of the angle between vectors.

    $y = x_1 \cdot x_2 / (\max(\lVert x_1 \rVert, \varepsilon) \max(\lVert x_2 \rVert, \varepsilon))$

    Args:
        x1: [*, D, *], float32 or float64.
        x2: A shape that broadcasts with x1, and its dtype.
        dim: The dimension of the vectors, in the common shape.
        eps: Norms under this count as this; positive.

    Returns:
        [*, *], the common shape without `dim`; numbers in [-1, 1].

    Raises:
        DTypeError: The dtypes differ, or are not floating point.
        ShapeError: The shapes do not broadcast.
        IndexRangeError: There is no such dimension.

    Gradient:
        For x1 and x2.

    Example:
        >>> nbdl.ops.cosine_similarity(nbdl.tensor([[3.0, 0.0]]), nbdl.tensor([[1.0, 1.0]]))
        tensor([0.7071])
    """
    check_float("x1", x1)
    check_same_dtype("x2", x2, "x1", x1)
    check_number("eps", eps, low=0, open_low=True)
    shape = broadcast_shape(x1.shape, x2.shape)
    dim = check_dim("dim", dim, len(shape))
    x1, x2 = (x if x.shape == shape else expand(x, shape) for x in (x1, x2))
    if not shape:
        x1, x2 = expand(x1, (1,)), expand(x2, (1,))
    return CosineSimilarityOp.apply(x1, x2, dim, eps)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    r"""The distance of vectors along the last dimension: $y = \lVert x_1 - x_2 + \varepsilon \rVert_p$.

    Args:
        x1: [N, D] or [D], float32 or float64.
        x2: A shape that broadcasts with x1.
        p: The exponent of the norm.
        eps: Added to every difference, so that the gradient exists at distance 0.
        keepdim: Keep the last dimension with size 1.

    Returns:
        [N] or [], or with a last dimension of 1.

    Raises:
        DTypeError: The dtypes differ, or are not floating point.
        ShapeError: The shapes do not broadcast.

    Gradient:
        For x1 and x2.

    Example:
        >>> nbdl.ops.pairwise_distance(nbdl.tensor([[0.0, 0.0]]), nbdl.tensor([[3.0, 4.0]]))
        tensor([5.0000])
    """
    check_float("x1", x1)
    check_same_dtype("x2", x2, "x1", x1)
    check_number("eps", eps)
    return vector_norm(sub(x1, x2) + eps, p, -1, keepdim)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    r"""The distance of two tensors as wholes: $y = \lVert x_1 - x_2 \rVert_p$.

    Args:
        input: [*], float32 or float64.
        other: A shape that broadcasts with the input's.
        p: The exponent of the norm.

    Returns:
        [].

    Raises:
        DTypeError: The dtypes differ, or are not floating point.
        ShapeError: The shapes do not broadcast.

    Gradient:
        For input and other; 0 where they are equal.

    Example:
        >>> nbdl.dist(nbdl.tensor([0.0, 0.0]), nbdl.tensor([3.0, 4.0]))
        tensor(5.)
    """
    check_same_dtype("other", other, "input", check_float("input", input))
    return vector_norm(sub(input, other), p)
