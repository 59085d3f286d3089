r"""Root mean square normalization: each row divided by the root of the mean of its squares, then scaled.

Forward, for a row $x$ of $D$ features:

$$
r = \Big( \tfrac1D \sum_j x_j^2 + \varepsilon \Big)^{-1/2}, \qquad
\hat x_j = x_j\, r, \qquad
y_j = w_j \hat x_j
$$

Backward, with $g_j = w_j\, dy_j$:

$$
dx_j = r \Big( g_j - \hat x_j \tfrac1D \sum_i g_i \hat x_i \Big), \qquad
dw_j = \sum_{\text{rows}} dy_j\, \hat x_j
$$

It is layer normalization without the mean: the scale of a row is removed, its shift stays.

Letters: N rows, D features. Source: Zhang and Sennrich (2019), "Root Mean Square Layer Normalization", equation 4.
"""

from __future__ import annotations

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.normalization.fetching import fetch_row
from nbdl.ops.normalization.layer_norm import ROWS, as_rows, check_row
from nbdl.ops.normalization.layout import check_parameters, given_or, zeros
from nbdl.ops.normalization.scalars import reciprocal_root
from nbdl.ops.reduction.fold import unsigned
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_number
from nbdl.runtime.cuda.primitives import block_sum, clear_row4, fetch4, fetch_row4, put_row4, rows_are_wide
from nbdl.runtime.cuda.vectors import is_aligned
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_device, cuda_kernel, scalar

# ---------------------------------------------------------------- reference


def rms_norm_reference(input, normalized_shape, weight=None, eps=None):
    """The definition, in float64: input [*, D], weight [D] -> [*, D], D any trailing dimensions."""
    axes = tuple(range(input.ndim - len(normalized_shape), input.ndim))
    eps = np.finfo(input.dtype).eps if eps is None else eps
    normal = input / np.sqrt((input**2).mean(axis=axes, keepdims=True) + eps)
    return normal * (1 if weight is None else weight)


# ---------------------------------------------------------------- forward


@scalar
def scale_row(x, row, weight, eps, y, rstd):
    """y and rstd for a row of x [N, D]."""
    d = unsigned(x.shape[1])
    squares = x.dtype.type(0)
    for j in range(d):
        squares += x[row, j] * x[row, j]
    r = reciprocal_root(squares / x.dtype.type(x.shape[1]) + eps)
    for j in range(d):
        y[row, j] = x[row, j] * r * weight[j]
    rstd[row] = r


@cuda_device
def scale_row_cuda(x, row, weight, eps, y, rstd):
    """As the CPU's, by the threads of a block, each four elements at a time."""
    d, first, zero = x.shape[1], 4 * cuda.threadIdx.x, x.dtype.type(0)
    wide, wide_y, wide_weight = rows_are_wide(x), rows_are_wide(y), d % 4 == 0 and is_aligned(weight)
    squares = zero
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, zero)
        squares += a * a + b * b + c * c + e * e
    r = reciprocal_root(block_sum(squares) / x.dtype.type(d) + eps)
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, zero)
        wa, wb, wc, we = fetch4(weight, j, wide_weight, zero)
        put_row4(y, row, j, wide_y, a * r * wa, b * r * wb, c * r * wc, e * r * we)
    if cuda.threadIdx.x == 0:
        rstd[row] = r


@cpu_kernel
def _rms_norm_forward_cpu(x, weight, eps, y, rstd, start, stop):
    """x, y [N, D]; weight [D]; rstd [N]. One task a row."""
    for row in range(start, stop):
        fetch_row(x, row)
        scale_row(x, row, weight, eps, y, rstd)


@cuda_kernel
def _rms_norm_forward_cuda(x, weight, eps, y, rstd):
    """As the CPU twin. One block a row."""
    scale_row_cuda(x, cuda.blockIdx.x, weight, eps, y, rstd)


rms_norm_forward = Kernel(
    cpu=_rms_norm_forward_cpu,
    cuda=_rms_norm_forward_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: 2 * x.size,
)

# ---------------------------------------------------------------- backward


@scalar
def _write_row(dtotal, dy, x, row, weight, r, back, dx):
    if dtotal is None:
        for j in range(unsigned(x.shape[1])):
            dx[row, j] = r * (dy[row, j] * weight[j] - x[row, j] * back)
    else:
        for j in range(unsigned(x.shape[1])):
            dx[row, j] = dtotal[row, j] + r * (dy[row, j] * weight[j] - x[row, j] * back)


@scalar
def unscale_row(dtotal, dy, x, row, weight, rstd, dx, chunk, dweight):
    """dx for a row, and what the row adds to the gradient of weight, [K, D] by chunks of rows.

    What arrived for x on another way, dtotal, is added, if it is not None.
    """
    d = unsigned(x.shape[1])
    r = rstd[row]
    products = x.dtype.type(0)
    for j in range(d):
        normal = x[row, j] * r
        products += dy[row, j] * weight[j] * normal
        dweight[chunk, j] += dy[row, j] * normal
    share = x.dtype.type(1) / x.dtype.type(x.shape[1])
    back = products * (r * share)
    _write_row(dtotal, dy, x, row, weight, r, back, dx)


@cuda_device
def unscale_row_cuda(dtotal, dy, x, row, weight, rstd, dx, chunk, dweight):
    """As the CPU's, by the threads of a block; a thread owns four neighbouring columns, 4 BLOCK further four, ..."""
    d, first, zero = x.shape[1], 4 * cuda.threadIdx.x, x.dtype.type(0)
    wide = rows_are_wide(x) and is_aligned(dy) and is_aligned(dx)
    wide_weight = d % 4 == 0 and is_aligned(weight) and is_aligned(dweight)
    r = rstd[row]
    products = zero
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, zero)
        ga, gb, gc, ge = fetch_row4(dy, row, j, wide, zero)
        wa, wb, wc, we = fetch4(weight, j, wide_weight, zero)
        products += ga * wa * a + gb * wb * b + gc * wc * c + ge * we * e
        sa, sb, sc, se = fetch_row4(dweight, chunk, j, wide_weight, zero)
        sa, sb, sc, se = sa + ga * (a * r), sb + gb * (b * r), sc + gc * (c * r), se + ge * (e * r)
        put_row4(dweight, chunk, j, wide_weight, sa, sb, sc, se)
    back = block_sum(products) * r * r / x.dtype.type(d)
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, zero)
        ga, gb, gc, ge = fetch_row4(dy, row, j, wide, zero)
        wa, wb, wc, we = fetch4(weight, j, wide_weight, zero)
        a, b = r * (ga * wa - a * back), r * (gb * wb - b * back)
        c, e = r * (gc * wc - c * back), r * (ge * we - e * back)
        if dtotal is not None:
            ta, tb, tc, te = fetch_row4(dtotal, row, j, wide and is_aligned(dtotal), zero)
            a, b, c, e = ta + a, tb + b, tc + c, te + e
        put_row4(dx, row, j, wide, a, b, c, e)


@cpu_kernel
def _rms_norm_backward_cpu(dy, x, weight, rstd, dx, dweight, start, stop):
    """dy, x, dx [N, D]; weight [D]; rstd [N]; dweight [K, D], sums over ROWS rows each. One task a chunk of rows."""
    n, features = x.shape
    for chunk in range(start, stop):
        for j in range(unsigned(features)):
            dweight[chunk, j] = 0
        for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
            fetch_row(dy, row)
            fetch_row(x, row)
            unscale_row(None, dy, x, row, weight, rstd, dx, chunk, dweight)


@cuda_kernel
def _rms_norm_backward_cuda(dy, x, weight, rstd, dx, dweight):
    """As the CPU twin. One block a chunk of rows."""
    n = x.shape[0]
    chunk = cuda.blockIdx.x
    clear_row4(dweight, chunk)
    for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
        unscale_row_cuda(None, dy, x, row, weight, rstd, dx, chunk, dweight)


rms_norm_backward = Kernel(
    cpu=_rms_norm_backward_cpu,
    cuda=_rms_norm_backward_cuda,
    tasks=lambda dy, x, weight, rstd, dx, dweight: dweight.shape[0],
    work=lambda dy, x, *_: 6 * x.size,
)

# ---------------------------------------------------------------- autograd


class RMSNormOp(Op):
    """y = rms_norm(x) over the last dimensions, of the shape `row`: saves x, weight and one number a row."""

    @staticmethod
    def forward(ctx: Context, x, weight, row, eps):
        y = memory.empty(x.shape, x.dtype)
        ctx.row = row
        if not x.size:
            return y
        rows = as_rows(x, row)
        n, features = rows.shape
        ctx.rstd = memory.empty((n,), x.dtype)
        rms_norm_forward(
            rows, given_or(weight, 1, features, x.dtype), x.dtype.type(eps), y.reshape(n, features), ctx.rstd
        )
        ctx.save(x, weight)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        row = ctx.row
        dx = memory.empty(dy.shape, dy.dtype)
        if not dy.size:
            return dx, zeros(*row, dtype=dy.dtype), None, None
        x, weight = ctx.saved
        rows = as_rows(x, row)
        n, features = rows.shape
        chunks = memory.empty((-(-n // ROWS), features), x.dtype)
        rms_norm_backward(
            as_rows(dy, row),
            rows,
            given_or(weight, 1, features, x.dtype),
            ctx.rstd,
            dx.reshape(n, features),
            chunks,
        )
        return dx, arrays.sum_rows(chunks).reshape(row), None, None


# ---------------------------------------------------------------- public


def rms_norm(
    input: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    r"""Divides the last dimensions, as one row, by the root of the mean of their squares, then scales them.

    $y = \frac{x}{\sqrt{\mathrm{E}[x^2] + \varepsilon}} \cdot w$, the mean taken over the dimensions named by
    `normalized_shape`.

    Args:
        input: [*, *normalized_shape], float32 or float64.
        normalized_shape: Sizes of the last dimensions, which form one row.
        weight: [*normalized_shape], the scale; ones when None.
        eps: Added to the mean of the squares; the dtype's machine epsilon when None.

    Returns:
        [*, *normalized_shape], dtype of the input.

    Raises:
        ShapeError: The last dimensions of the input, or all of weight, are not `normalized_shape`.
        DTypeError: The input is not floating point, or weight is of another dtype.
        ArgumentError: `normalized_shape` is empty.

    Gradient:
        For input and weight.

    Example:
        >>> nbdl.ops.rms_norm(nbdl.tensor([[1.0, 7.0]]), (2,))
        tensor([[0.2000, 1.4000]])

    Source:
        Zhang and Sennrich (2019), "Root Mean Square Layer Normalization", equation 4.
    """
    row = check_row(normalized_shape, input)
    check_parameters(input, row, weight=weight)
    number = float(np.finfo(input.dtype).eps) if eps is None else check_number("eps", eps)
    return RMSNormOp.apply(input, weight, row, number)
