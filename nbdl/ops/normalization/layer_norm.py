r"""Layer normalization: each row brought to mean 0 and variance 1, then scaled and shifted.

Forward, for a row $x$ of $D$ features:

$$
\mu = \tfrac1D \sum_j x_j, \qquad
\sigma^2 = \tfrac1D \sum_j (x_j - \mu)^2, \qquad
r = (\sigma^2 + \varepsilon)^{-1/2}, \qquad
\hat x_j = (x_j - \mu)\, r, \qquad
y_j = w_j \hat x_j + b_j
$$

Backward, with $g_j = w_j\, dy_j$:

$$
dx_j = r \Big( g_j - \tfrac1D \sum_i g_i - \hat x_j \tfrac1D \sum_i g_i \hat x_i \Big), \qquad
dw_j = \sum_{\text{rows}} dy_j\, \hat x_j, \qquad
db_j = \sum_{\text{rows}} dy_j
$$

The two subtracted means are what is left of $d\mu$ and $d\sigma^2$: the gradient along the two directions that the
forward pass removed, a shift and a scale of the row, is zero.

Letters: N rows, D features. Source: Ba, Kiros and Hinton (2016), "Layer Normalization", equations 3 and 4.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.normalization.fetching import fetch_row
from nbdl.ops.normalization.layout import check_parameters, given_or, zeros
from nbdl.ops.normalization.scalars import reciprocal_root
from nbdl.ops.reduction.fold import unsigned
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_float, check_int, check_number, check_shape
from nbdl.runtime.cuda.primitives import block_sum
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

ROWS = 64
"""Rows whose gradients of weight and bias are summed into one partial result: fixed, so that the order is."""

# ---------------------------------------------------------------- reference


def layer_norm_reference(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """The definition, in float64: input [*, D], weight and bias [D] -> [*, D], D any trailing dimensions."""
    axes = tuple(range(input.ndim - len(normalized_shape), input.ndim))
    mean = input.mean(axis=axes, keepdims=True)
    variance = ((input - mean) ** 2).mean(axis=axes, keepdims=True)
    normal = (input - mean) / np.sqrt(variance + eps)
    return normal * (1 if weight is None else weight) + (0 if bias is None else bias)


# ---------------------------------------------------------------- forward


@cpu_kernel
def _layer_norm_forward_cpu(x, weight, bias, eps, y, mean, rstd, start, stop):
    """x, y [N, D]; weight, bias [D]; mean, rstd [N]. One task a row.

    Both moments come from one pass, around the row's first element: around 0, a large mean would leave no digits of
    the variance. No element is further from the mean than sqrt(D - 1) deviations, so at most a factor D is lost.
    """
    d = unsigned(x.shape[1])
    share = x.dtype.type(1) / x.dtype.type(x.shape[1])
    for row in range(start, stop):
        fetch_row(x, row)
        shift = x[row, 0]
        total = x.dtype.type(0)
        squares = x.dtype.type(0)
        for j in range(d):
            apart = x[row, j] - shift
            total += apart
            squares += apart * apart
        near = total * share
        mu = shift + near
        r = reciprocal_root(max(squares * share - near * near, x.dtype.type(0)) + eps)
        for j in range(d):
            y[row, j] = (x[row, j] - mu) * r * weight[j] + bias[j]
        mean[row] = mu
        rstd[row] = r


@cuda_kernel
def _layer_norm_forward_cuda(x, weight, bias, eps, y, mean, rstd):
    """As the CPU twin. One block a row."""
    row = cuda.blockIdx.x
    d = x.shape[1]
    share = x.dtype.type(1) / x.dtype.type(d)
    shift = x[row, 0]
    total = x.dtype.type(0)
    squares = x.dtype.type(0)
    for j in range(cuda.threadIdx.x, d, BLOCK):
        apart = x[row, j] - shift
        total += apart
        squares += apart * apart
    near = block_sum(total) * share
    mu = shift + near
    r = reciprocal_root(max(block_sum(squares) * share - near * near, x.dtype.type(0)) + eps)
    for j in range(cuda.threadIdx.x, d, BLOCK):
        y[row, j] = (x[row, j] - mu) * r * weight[j] + bias[j]
    if cuda.threadIdx.x == 0:
        mean[row] = mu
        rstd[row] = r


layer_norm_forward = Kernel(
    cpu=_layer_norm_forward_cpu,
    cuda=_layer_norm_forward_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: 4 * x.size,
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _layer_norm_backward_cpu(dy, x, weight, mean, rstd, dx, dweight, dbias, start, stop):
    """dy, x, dx [N, D]; weight [D]; mean, rstd [N]; dweight, dbias [K, D], sums over ROWS rows each.

    One task a chunk of rows: the chunks do not depend on the number of threads, so neither do the sums.
    """
    n, features = x.shape
    d = unsigned(features)
    share = x.dtype.type(1) / x.dtype.type(features)
    for chunk in range(start, stop):
        for j in range(d):
            dweight[chunk, j] = 0
            dbias[chunk, j] = 0
        for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
            fetch_row(dy, row)
            fetch_row(x, row)
            mu, r = mean[row], rstd[row]
            sum_g = x.dtype.type(0)
            sum_gx = x.dtype.type(0)
            for j in range(d):
                g = dy[row, j] * weight[j]
                sum_g += g
                sum_gx += g * ((x[row, j] - mu) * r)
            mean_g = sum_g * share
            mean_gx = sum_gx * share
            for j in range(d):
                normal = (x[row, j] - mu) * r
                dweight[chunk, j] += dy[row, j] * normal
                dbias[chunk, j] += dy[row, j]
                dx[row, j] = r * (dy[row, j] * weight[j] - mean_g - normal * mean_gx)


@cuda_kernel
def _layer_norm_backward_cuda(dy, x, weight, mean, rstd, dx, dweight, dbias):
    """As the CPU twin. One block a chunk of rows; a thread owns the columns j = threadIdx.x, + BLOCK, ..."""
    n, d = x.shape
    chunk = cuda.blockIdx.x
    share = x.dtype.type(1) / x.dtype.type(d)
    for j in range(cuda.threadIdx.x, d, BLOCK):
        dweight[chunk, j] = 0
        dbias[chunk, j] = 0
    for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
        mu, r = mean[row], rstd[row]
        sum_g = x.dtype.type(0)
        sum_gx = x.dtype.type(0)
        for j in range(cuda.threadIdx.x, d, BLOCK):
            g = dy[row, j] * weight[j]
            sum_g += g
            sum_gx += g * ((x[row, j] - mu) * r)
        mean_g = block_sum(sum_g) * share
        mean_gx = block_sum(sum_gx) * share
        for j in range(cuda.threadIdx.x, d, BLOCK):
            normal = (x[row, j] - mu) * r
            dweight[chunk, j] += dy[row, j] * normal
            dbias[chunk, j] += dy[row, j]
            dx[row, j] = r * (dy[row, j] * weight[j] - mean_g - normal * mean_gx)


layer_norm_backward = Kernel(
    cpu=_layer_norm_backward_cpu,
    cuda=_layer_norm_backward_cuda,
    tasks=lambda dy, x, weight, mean, rstd, dx, dweight, dbias: dweight.shape[0],
    work=lambda dy, x, *_: 8 * x.size,
)

# ---------------------------------------------------------------- autograd


class LayerNormOp(Op):
    """y = layer_norm(x) over the last dimensions, of the shape `row`: saves x, weight and two numbers a row."""

    @staticmethod
    def forward(ctx: Context, x, weight, bias, row, eps):
        ctx.row = row
        y = ctx.empty_like(x)
        if not x.size:
            return y
        features = math.prod(row)
        x = arrays.contiguous(x).reshape(-1, features)
        weight, bias = given_or(weight, 1, features, x.dtype), given_or(bias, 0, features, x.dtype)
        mean, rstd = memory.empty((2, x.shape[0]), x.dtype)
        layer_norm_forward(x, weight, bias, x.dtype.type(eps), y.reshape(x.shape), mean, rstd)
        ctx.save(x, weight, mean, rstd)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        dx = ctx.empty_like(dy)
        if not dy.size:
            return dx, zeros(*ctx.row, dtype=dy.dtype), zeros(*ctx.row, dtype=dy.dtype), None, None
        x, weight, mean, rstd = ctx.saved
        dy = arrays.contiguous(dy).reshape(x.shape)
        chunks = -(-x.shape[0] // ROWS)
        dweight, dbias = memory.empty((2, chunks, x.shape[1]), x.dtype)
        layer_norm_backward(dy, x, weight, mean, rstd, dx.reshape(x.shape), dweight, dbias)
        return dx, arrays.sum_rows(dweight).reshape(ctx.row), arrays.sum_rows(dbias).reshape(ctx.row), None, None


# ---------------------------------------------------------------- public


def check_row(normalized_shape: Any, input: Tensor) -> tuple[int, ...]:
    """`normalized_shape` as a tuple, if the input is floating point and its shape ends so."""
    sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    row = tuple(check_int("normalized_shape", size, low=0) for size in sizes)
    if not row:
        raise ArgumentError("normalized_shape: expected at least one dimension, got ()")
    check_shape("input", check_float("input", input), (..., *row))
    return row


def layer_norm(
    input: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    r"""Brings the last dimensions, as one row, to mean 0 and variance 1, then scales and shifts them.

    $y = \frac{x - \mathrm{E}[x]}{\sqrt{\mathrm{Var}[x] + \varepsilon}} \cdot w + b$, the moments taken over the
    dimensions named by `normalized_shape`, the variance biased.

    Args:
        input: [*, *normalized_shape], float32 or float64.
        normalized_shape: Sizes of the last dimensions, which form one row.
        weight: [*normalized_shape], the scale; ones when None.
        bias: [*normalized_shape], the shift; zeros when None.
        eps: Added to the variance.

    Returns:
        [*, *normalized_shape], dtype of the input.

    Raises:
        ShapeError: The last dimensions of the input, or all of weight or bias, are not `normalized_shape`.
        DTypeError: The input is not floating point, or weight or bias is of another dtype.
        ArgumentError: `normalized_shape` is empty.

    Gradient:
        For input, weight and bias. Rows of one repeated value give zero, not NaN, because of eps.

    Example:
        >>> nbdl.ops.layer_norm(nbdl.tensor([[1.0, 2.0, 3.0]]), (3,))
        tensor([[-1.2247,  0.0000,  1.2247]])

    Source:
        Ba, Kiros and Hinton (2016), "Layer Normalization", equations 3 and 4.
    """
    row = check_row(normalized_shape, input)
    check_parameters(input, row, weight=weight, bias=bias)
    return LayerNormOp.apply(input, weight, bias, row, check_number("eps", eps))
