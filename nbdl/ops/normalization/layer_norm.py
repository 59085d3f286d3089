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
from nbdl.runtime.cuda.primitives import block_sum, clear_row4, fetch4, fetch_row4, put_row4, rows_are_wide
from nbdl.runtime.cuda.vectors import is_aligned
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_device, cuda_kernel, scalar

ROWS = 64
"""Rows whose gradients of weight and bias are summed into one partial result: fixed, so that the order is, and even."""

# ---------------------------------------------------------------- reference


def layer_norm_reference(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """The definition, in float64: input [*, D], weight and bias [D] -> [*, D], D any trailing dimensions."""
    axes = tuple(range(input.ndim - len(normalized_shape), input.ndim))
    mean = input.mean(axis=axes, keepdims=True)
    variance = ((input - mean) ** 2).mean(axis=axes, keepdims=True)
    normal = (input - mean) / np.sqrt(variance + eps)
    return normal * (1 if weight is None else weight) + (0 if bias is None else bias)


# ---------------------------------------------------------------- forward


@scalar
def normalize_row(x, row, weight, bias, eps, y, mean, rstd):
    """y, mean and rstd for a row of x [N, D].

    Both moments come from one pass, around the row's first element: around 0, a large mean would leave no digits of
    the variance. No element is further from the mean than sqrt(D - 1) deviations, so at most a factor D is lost.
    """
    d = unsigned(x.shape[1])
    share = x.dtype.type(1) / x.dtype.type(x.shape[1])
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


@cuda_device
def normalize_row_cuda(x, row, weight, bias, eps, y, mean, rstd):
    """As the CPU's, by the threads of a block, each four elements at a time."""
    d, first, zero = x.shape[1], 4 * cuda.threadIdx.x, x.dtype.type(0)
    wide, wide_y = rows_are_wide(x), rows_are_wide(y)
    wide_parameters = d % 4 == 0 and is_aligned(weight) and is_aligned(bias)
    share = x.dtype.type(1) / x.dtype.type(d)
    shift = x[row, 0]
    total, squares = zero, zero
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, shift)
        a, b, c, e = a - shift, b - shift, c - shift, e - shift
        total += a + b + c + e
        squares += a * a + b * b + c * c + e * e
    near = block_sum(total) * share
    mu = shift + near
    r = reciprocal_root(max(block_sum(squares) * share - near * near, zero) + eps)
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, zero)
        wa, wb, wc, we = fetch4(weight, j, wide_parameters, zero)
        ba, bb, bc, be = fetch4(bias, j, wide_parameters, zero)
        a, b = (a - mu) * r * wa + ba, (b - mu) * r * wb + bb
        c, e = (c - mu) * r * wc + bc, (e - mu) * r * we + be
        put_row4(y, row, j, wide_y, a, b, c, e)
    if cuda.threadIdx.x == 0:
        mean[row] = mu
        rstd[row] = r


@cpu_kernel
def _layer_norm_forward_cpu(x, weight, bias, eps, y, mean, rstd, start, stop):
    """x, y [N, D]; weight, bias [D]; mean, rstd [N]. One task a row."""
    for row in range(start, stop):
        fetch_row(x, row)
        normalize_row(x, row, weight, bias, eps, y, mean, rstd)


@cuda_kernel
def _layer_norm_forward_cuda(x, weight, bias, eps, y, mean, rstd):
    """As the CPU twin. One block a row."""
    normalize_row_cuda(x, cuda.blockIdx.x, weight, bias, eps, y, mean, rstd)


layer_norm_forward = Kernel(
    cpu=_layer_norm_forward_cpu,
    cuda=_layer_norm_forward_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: 4 * x.size,
)

# ---------------------------------------------------------------- backward


@scalar
def _write_row(dtotal, dy, x, row, weight, mu, r, mean_g, mean_gx, dx):
    if dtotal is None:
        for j in range(unsigned(x.shape[1])):
            dx[row, j] = r * (dy[row, j] * weight[j] - mean_g - (x[row, j] - mu) * (r * mean_gx))
    else:
        for j in range(unsigned(x.shape[1])):
            back = r * (dy[row, j] * weight[j] - mean_g - (x[row, j] - mu) * (r * mean_gx))
            dx[row, j] = dtotal[row, j] + back


@scalar
def denormalize_row(dtotal, dy, x, row, weight, mean, rstd, dx, chunk, dweight, dbias):
    """dx for a row, and what the row adds to the gradients of weight and bias, [K, D] by chunks of rows.

    All that is summed is summed while the row is read for the first time. What arrived for x on another way, dtotal, is
    added, if it is not None.
    """
    share = x.dtype.type(1) / x.dtype.type(x.shape[1])
    mu, r = mean[row], rstd[row]
    sum_g = x.dtype.type(0)
    sum_gx = x.dtype.type(0)
    for j in range(unsigned(x.shape[1])):
        normal = (x[row, j] - mu) * r
        g = dy[row, j] * weight[j]
        sum_g += g
        sum_gx += g * normal
        dweight[chunk, j] += dy[row, j] * normal
        dbias[chunk, j] += dy[row, j]
    _write_row(dtotal, dy, x, row, weight, mu, r, sum_g * share, sum_gx * share, dx)


@scalar
def denormalize_two_rows(dtotal, dy, x, row, weight, mean, rstd, dx, chunk, dweight, dbias):
    """The same for a row and the next: the sums over rows are read and written half as often."""
    below = row + 1
    share = x.dtype.type(1) / x.dtype.type(x.shape[1])
    mu, r = mean[row], rstd[row]
    mu_below, r_below = mean[below], rstd[below]
    sum_g = x.dtype.type(0)
    sum_gx = x.dtype.type(0)
    sum_g_below = x.dtype.type(0)
    sum_gx_below = x.dtype.type(0)
    for j in range(unsigned(x.shape[1])):
        normal = (x[row, j] - mu) * r
        normal_below = (x[below, j] - mu_below) * r_below
        g = dy[row, j] * weight[j]
        g_below = dy[below, j] * weight[j]
        sum_g += g
        sum_gx += g * normal
        sum_g_below += g_below
        sum_gx_below += g_below * normal_below
        dweight[chunk, j] += dy[row, j] * normal + dy[below, j] * normal_below
        dbias[chunk, j] += dy[row, j] + dy[below, j]
    _write_row(dtotal, dy, x, row, weight, mu, r, sum_g * share, sum_gx * share, dx)
    _write_row(dtotal, dy, x, below, weight, mu_below, r_below, sum_g_below * share, sum_gx_below * share, dx)


@cuda_device
def denormalize_row_cuda(dtotal, dy, x, row, weight, mean, rstd, dx, chunk, dweight, dbias):
    """As the CPU's, by the threads of a block; a thread owns four neighbouring columns, 4 BLOCK further four, ..."""
    d, first, zero = x.shape[1], 4 * cuda.threadIdx.x, x.dtype.type(0)
    wide = rows_are_wide(x) and is_aligned(dy) and is_aligned(dx)
    wide_parameters = d % 4 == 0 and is_aligned(weight) and is_aligned(dweight) and is_aligned(dbias)
    share = x.dtype.type(1) / x.dtype.type(d)
    mu, r = mean[row], rstd[row]
    sum_g, sum_gx = zero, zero
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, mu)
        ga, gb, gc, ge = fetch_row4(dy, row, j, wide, zero)
        a, b, c, e = (a - mu) * r, (b - mu) * r, (c - mu) * r, (e - mu) * r
        sa, sb, sc, se = fetch_row4(dweight, chunk, j, wide_parameters, zero)
        put_row4(dweight, chunk, j, wide_parameters, sa + ga * a, sb + gb * b, sc + gc * c, se + ge * e)
        sa, sb, sc, se = fetch_row4(dbias, chunk, j, wide_parameters, zero)
        put_row4(dbias, chunk, j, wide_parameters, sa + ga, sb + gb, sc + gc, se + ge)
        wa, wb, wc, we = fetch4(weight, j, wide_parameters, zero)
        ga, gb, gc, ge = ga * wa, gb * wb, gc * wc, ge * we
        sum_g += ga + gb + gc + ge
        sum_gx += ga * a + gb * b + gc * c + ge * e
    mean_g = block_sum(sum_g) * share
    back = block_sum(sum_gx) * share * r
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, mu)
        ga, gb, gc, ge = fetch_row4(dy, row, j, wide, zero)
        wa, wb, wc, we = fetch4(weight, j, wide_parameters, zero)
        a, b = r * (ga * wa - mean_g - (a - mu) * back), r * (gb * wb - mean_g - (b - mu) * back)
        c, e = r * (gc * wc - mean_g - (c - mu) * back), r * (ge * we - mean_g - (e - mu) * back)
        if dtotal is not None:
            ta, tb, tc, te = fetch_row4(dtotal, row, j, wide and is_aligned(dtotal), zero)
            a, b, c, e = ta + a, tb + b, tc + c, te + e
        put_row4(dx, row, j, wide, a, b, c, e)


@cpu_kernel
def _layer_norm_backward_cpu(dy, x, weight, mean, rstd, dx, dweight, dbias, start, stop):
    """dy, x, dx [N, D]; weight [D]; mean, rstd [N]; dweight, dbias [K, D], sums over ROWS rows each.

    One task a chunk of rows: the chunks do not depend on the number of threads, so neither do the sums.
    """
    n, features = x.shape
    for chunk in range(start, stop):
        for j in range(unsigned(features)):
            dweight[chunk, j] = 0
            dbias[chunk, j] = 0
        last = min(n, (chunk + 1) * ROWS) - 1
        for row in range(chunk * ROWS, last, 2):
            for each in range(row, row + 2):
                fetch_row(dy, each)
                fetch_row(x, each)
            denormalize_two_rows(None, dy, x, row, weight, mean, rstd, dx, chunk, dweight, dbias)
        if last % 2 == 0:
            denormalize_row(None, dy, x, last, weight, mean, rstd, dx, chunk, dweight, dbias)


@cuda_kernel
def _layer_norm_backward_cuda(dy, x, weight, mean, rstd, dx, dweight, dbias):
    """As the CPU twin. One block a chunk of rows."""
    n = x.shape[0]
    chunk = cuda.blockIdx.x
    clear_row4(dweight, chunk)
    clear_row4(dbias, chunk)
    for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
        denormalize_row_cuda(None, dy, x, row, weight, mean, rstd, dx, chunk, dweight, dbias)


layer_norm_backward = Kernel(
    cpu=_layer_norm_backward_cpu,
    cuda=_layer_norm_backward_cuda,
    tasks=lambda dy, x, weight, mean, rstd, dx, dweight, dbias: dweight.shape[0],
    work=lambda dy, x, *_: 8 * x.size,
)

# ---------------------------------------------------------------- sum of the chunks


@cpu_kernel
def _sum_chunks_cpu(weights, biases, dweight, dbias, start, stop):
    """weights, biases [K, D], added in the order of the chunks to dweight and dbias [D]. One task a column."""
    for j in range(start, stop):
        dweight[j] = weights[0, j]
        dbias[j] = biases[0, j]
    for chunk in range(1, weights.shape[0]):
        for j in range(start, stop):
            dweight[j] += weights[chunk, j]
            dbias[j] += biases[chunk, j]


@cuda_kernel
def _sum_chunks_cuda(weights, biases, dweight, dbias):
    """As the CPU twin. One thread a column."""
    j = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if j < dweight.shape[0]:
        of_weight, of_bias = weights[0, j], biases[0, j]
        for chunk in range(1, weights.shape[0]):
            of_weight += weights[chunk, j]
            of_bias += biases[chunk, j]
        dweight[j] = of_weight
        dbias[j] = of_bias


sum_chunks = Kernel(
    cpu=_sum_chunks_cpu,
    cuda=_sum_chunks_cuda,
    tasks=lambda weights, *_: weights.shape[1],
    work=lambda weights, *_: 2 * weights.size,
    blocks=lambda weights, *_: -(-weights.shape[1] // BLOCK),
)

# ---------------------------------------------------------------- autograd


def as_rows(x: Any, row: tuple[int, ...]) -> Any:
    """[*, *row] as contiguous [N, D]; x itself if it is that."""
    if x.ndim == 2 and len(row) == 1 and x.flags.c_contiguous:
        return x
    return arrays.contiguous(x).reshape(-1, math.prod(row))


def summed_chunks(chunks: Any, row: tuple[int, ...]) -> tuple[Any, Any]:
    """The gradients of weight and bias, both of the shape `row`, from [2, K, D]."""
    dweight, dbias = memory.empty(row, chunks.dtype), memory.empty(row, chunks.dtype)
    sum_chunks(chunks[0], chunks[1], dweight.reshape(-1), dbias.reshape(-1))
    return dweight, dbias


class LayerNormOp(Op):
    """y = layer_norm(x) over the last dimensions, of the shape `row`: saves x, weight and two numbers a row."""

    @staticmethod
    def forward(ctx: Context, x, weight, bias, row, eps):
        y = memory.empty(x.shape, x.dtype)
        ctx.row = row
        if not x.size:
            return y
        rows = as_rows(x, row)
        n, features = rows.shape
        ctx.statistics = memory.empty((2, n), x.dtype)
        layer_norm_forward(
            rows,
            given_or(weight, 1, features, x.dtype),
            given_or(bias, 0, features, x.dtype),
            x.dtype.type(eps),
            y.reshape(n, features),
            *ctx.statistics,
        )
        ctx.save(x, weight)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        row = ctx.row
        dx = memory.empty(dy.shape, dy.dtype)
        if not dy.size:
            return dx, zeros(*row, dtype=dy.dtype), zeros(*row, dtype=dy.dtype), None, None
        x, weight = ctx.saved
        rows = as_rows(x, row)
        n, features = rows.shape
        chunks = memory.empty((2, -(-n // ROWS), features), x.dtype)
        layer_norm_backward(
            as_rows(dy, row),
            rows,
            given_or(weight, 1, features, x.dtype),
            *ctx.statistics,
            dx.reshape(n, features),
            *chunks,
        )
        return dx, *summed_chunks(chunks, row), None, None


# ---------------------------------------------------------------- public


def check_row(normalized_shape: Any, input: Tensor, name: str = "input") -> tuple[int, ...]:
    """`normalized_shape` as a tuple, if the input is floating point and its shape ends so."""
    tail = check_float(name, input).shape[-1:]
    if tail and normalized_shape == tail and type(normalized_shape[0]) is int:
        return normalized_shape  # as it nearly always is
    sizes = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    row = tuple(check_int("normalized_shape", size, low=0) for size in sizes)
    if not row:
        raise ArgumentError("normalized_shape: expected at least one dimension, got ()")
    check_shape(name, input, (..., *row))
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
