r"""A sum and its normalization in one pass: the seam between two layers of a Transformer.

A residual block adds its result $x$ to the stream of activations $h$, and the next block begins by normalizing it:

$$s = x + h, \qquad y = \mathrm{norm}(s)$$

Both are wanted: s goes on along the stream, y into the next block. Backward, with the gradients $ds$ and $dy$ that
arrive at the two,

$$dx = dh = ds + \Big(\frac{\partial\, \mathrm{norm}}{\partial s}\Big)^\top dy$$

with the gradients of layer normalization (`layer_norm`) or root mean square normalization (`rms_norm`), whose work on
a row is shared. Apart, the sum would be written, read, and its gradient added to another in two more passes.

Letters: N rows, D features. Sources: Vaswani et al. (2017), "Attention Is All You Need", section 3.1, for the norm
after the sum; Xiong et al. (2020), "On Layer Normalization in the Transformer Architecture", for the norm before the
next layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.normalization.fetching import fetch_row
from nbdl.ops.normalization.layer_norm import (
    ROWS,
    as_rows,
    check_row,
    denormalize_row,
    denormalize_row_cuda,
    denormalize_two_rows,
    layer_norm_reference,
    normalize_row,
    normalize_row_cuda,
    summed_chunks,
)
from nbdl.ops.normalization.layout import check_parameters, given_or, zeros
from nbdl.ops.normalization.rms_norm import rms_norm_reference, scale_row, scale_row_cuda, unscale_row, unscale_row_cuda
from nbdl.ops.reduction.fold import unsigned
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_number, check_same_dtype, check_shape
from nbdl.runtime.cuda.primitives import clear_row4, fetch_row4, put_row4, rows_are_wide
from nbdl.runtime.cuda.vectors import is_aligned
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_device, cuda_kernel, scalar

# ---------------------------------------------------------------- reference


def residual_layer_norm_reference(x, residual, normalized_shape, weight=None, bias=None, eps=1e-5):
    """The definition, in float64: the sum, and its layer norm."""
    return x + residual, layer_norm_reference(x + residual, normalized_shape, weight, bias, eps)


def residual_rms_norm_reference(x, residual, normalized_shape, weight=None, eps=None):
    """The definition, in float64: the sum, and its root mean square norm."""
    return x + residual, rms_norm_reference(x + residual, normalized_shape, weight, eps)


# ---------------------------------------------------------------- forward


@scalar
def _add_row(a, b, row, total):
    for j in range(unsigned(total.shape[1])):
        total[row, j] = a[row, j] + b[row, j]


@cuda_device
def _add_row_cuda(a, b, row, total):
    """As the CPU's, by the threads of a block, each of which reads what it has written."""
    d, zero = total.shape[1], total.dtype.type(0)
    wide = rows_are_wide(a) and is_aligned(b) and is_aligned(total)
    for j in range(4 * cuda.threadIdx.x, d, 4 * BLOCK):
        p, q, r, s = fetch_row4(a, row, j, wide, zero)
        t, u, v, w = fetch_row4(b, row, j, wide, zero)
        put_row4(total, row, j, wide, p + t, q + u, r + v, s + w)


@cpu_kernel
def _residual_layer_norm_forward_cpu(x, residual, weight, bias, eps, total, y, mean, rstd, start, stop):
    """x, residual, total, y [N, D]; weight, bias [D]; mean, rstd [N]. One task a row."""
    for row in range(start, stop):
        fetch_row(x, row)
        fetch_row(residual, row)
        _add_row(x, residual, row, total)
        normalize_row(total, row, weight, bias, eps, y, mean, rstd)


@cuda_kernel
def _residual_layer_norm_forward_cuda(x, residual, weight, bias, eps, total, y, mean, rstd):
    """As the CPU twin. One block a row."""
    _add_row_cuda(x, residual, cuda.blockIdx.x, total)
    cuda.syncthreads()  # every thread reads the row's first element
    normalize_row_cuda(total, cuda.blockIdx.x, weight, bias, eps, y, mean, rstd)


residual_layer_norm_forward = Kernel(
    cpu=_residual_layer_norm_forward_cpu,
    cuda=_residual_layer_norm_forward_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: 5 * x.size,
)


@cpu_kernel
def _residual_rms_norm_forward_cpu(x, residual, weight, eps, total, y, rstd, start, stop):
    """x, residual, total, y [N, D]; weight [D]; rstd [N]. One task a row."""
    for row in range(start, stop):
        fetch_row(x, row)
        fetch_row(residual, row)
        _add_row(x, residual, row, total)
        scale_row(total, row, weight, eps, y, rstd)


@cuda_kernel
def _residual_rms_norm_forward_cuda(x, residual, weight, eps, total, y, rstd):
    """As the CPU twin. One block a row."""
    _add_row_cuda(x, residual, cuda.blockIdx.x, total)
    scale_row_cuda(total, cuda.blockIdx.x, weight, eps, y, rstd)


residual_rms_norm_forward = Kernel(
    cpu=_residual_rms_norm_forward_cpu,
    cuda=_residual_rms_norm_forward_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: 3 * x.size,
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _residual_layer_norm_backward_cpu(dtotal, dy, total, weight, mean, rstd, dx, dweight, dbias, start, stop):
    """dtotal, dy, total, dx [N, D]; weight [D]; mean, rstd [N]; dweight, dbias [K, D], sums over ROWS rows each.

    One task a chunk of rows: the chunks do not depend on the number of threads, so neither do the sums.
    """
    n, features = total.shape
    for chunk in range(start, stop):
        for j in range(unsigned(features)):
            dweight[chunk, j] = 0
            dbias[chunk, j] = 0
        last = min(n, (chunk + 1) * ROWS) - 1
        for row in range(chunk * ROWS, last, 2):
            for each in range(row, row + 2):
                fetch_row(dtotal, each)
                fetch_row(dy, each)
                fetch_row(total, each)
            denormalize_two_rows(dtotal, dy, total, row, weight, mean, rstd, dx, chunk, dweight, dbias)
        if last % 2 == 0:
            denormalize_row(dtotal, dy, total, last, weight, mean, rstd, dx, chunk, dweight, dbias)


@cuda_kernel
def _residual_layer_norm_backward_cuda(dtotal, dy, total, weight, mean, rstd, dx, dweight, dbias):
    """As the CPU twin. One block a chunk of rows."""
    n = total.shape[0]
    chunk = cuda.blockIdx.x
    clear_row4(dweight, chunk)
    clear_row4(dbias, chunk)
    for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
        denormalize_row_cuda(dtotal, dy, total, row, weight, mean, rstd, dx, chunk, dweight, dbias)


residual_layer_norm_backward = Kernel(
    cpu=_residual_layer_norm_backward_cpu,
    cuda=_residual_layer_norm_backward_cuda,
    tasks=lambda dtotal, dy, total, weight, mean, rstd, dx, dweight, dbias: dweight.shape[0],
    work=lambda dtotal, dy, total, *_: 9 * total.size,
)


@cpu_kernel
def _residual_rms_norm_backward_cpu(dtotal, dy, total, weight, rstd, dx, dweight, start, stop):
    """dtotal, dy, total, dx [N, D]; weight [D]; rstd [N]; dweight [K, D], sums over ROWS rows each.

    One task a chunk of rows.
    """
    n, features = total.shape
    for chunk in range(start, stop):
        for j in range(unsigned(features)):
            dweight[chunk, j] = 0
        for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
            fetch_row(dtotal, row)
            fetch_row(dy, row)
            fetch_row(total, row)
            unscale_row(dtotal, dy, total, row, weight, rstd, dx, chunk, dweight)


@cuda_kernel
def _residual_rms_norm_backward_cuda(dtotal, dy, total, weight, rstd, dx, dweight):
    """As the CPU twin. One block a chunk of rows."""
    n = total.shape[0]
    chunk = cuda.blockIdx.x
    clear_row4(dweight, chunk)
    for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):
        unscale_row_cuda(dtotal, dy, total, row, weight, rstd, dx, chunk, dweight)


residual_rms_norm_backward = Kernel(
    cpu=_residual_rms_norm_backward_cpu,
    cuda=_residual_rms_norm_backward_cuda,
    tasks=lambda dtotal, dy, total, weight, rstd, dx, dweight: dweight.shape[0],
    work=lambda dtotal, dy, total, *_: 7 * total.size,
)

# ---------------------------------------------------------------- autograd


class ResidualLayerNormOp(Op):
    """total = x + residual and y = layer_norm(total): saves the total, weight and two numbers a row."""

    @staticmethod
    def forward(ctx: Context, x, residual, weight, bias, row, eps):
        total, y = memory.empty(x.shape, x.dtype), memory.empty(x.shape, x.dtype)
        ctx.row = row
        if not x.size:
            return total, y
        rows = as_rows(total, row)
        n, features = rows.shape
        ctx.statistics = memory.empty((2, n), x.dtype)
        residual_layer_norm_forward(
            as_rows(x, row),
            as_rows(residual, row),
            given_or(weight, 1, features, x.dtype),
            given_or(bias, 0, features, x.dtype),
            x.dtype.type(eps),
            rows,
            y.reshape(n, features),
            *ctx.statistics,
        )
        ctx.save(total, weight)
        return total, y

    @staticmethod
    def backward(ctx: Context, dtotal, dy):
        row = ctx.row
        dx = memory.empty(dy.shape, dy.dtype)
        if not dy.size:
            return dx, dx, zeros(*row, dtype=dy.dtype), zeros(*row, dtype=dy.dtype), None, None
        total, weight = ctx.saved
        rows = as_rows(total, row)
        n, features = rows.shape
        chunks = memory.empty((2, -(-n // ROWS), features), total.dtype)
        residual_layer_norm_backward(
            as_rows(dtotal, row),
            as_rows(dy, row),
            rows,
            given_or(weight, 1, features, total.dtype),
            *ctx.statistics,
            dx.reshape(n, features),
            *chunks,
        )
        return dx, dx, *summed_chunks(chunks, row), None, None


class ResidualRMSNormOp(Op):
    """total = x + residual and y = rms_norm(total): saves the total, weight and one number a row."""

    @staticmethod
    def forward(ctx: Context, x, residual, weight, row, eps):
        total, y = memory.empty(x.shape, x.dtype), memory.empty(x.shape, x.dtype)
        ctx.row = row
        if not x.size:
            return total, y
        rows = as_rows(total, row)
        n, features = rows.shape
        ctx.rstd = memory.empty((n,), x.dtype)
        residual_rms_norm_forward(
            as_rows(x, row),
            as_rows(residual, row),
            given_or(weight, 1, features, x.dtype),
            x.dtype.type(eps),
            rows,
            y.reshape(n, features),
            ctx.rstd,
        )
        ctx.save(total, weight)
        return total, y

    @staticmethod
    def backward(ctx: Context, dtotal, dy):
        row = ctx.row
        dx = memory.empty(dy.shape, dy.dtype)
        if not dy.size:
            return dx, dx, zeros(*row, dtype=dy.dtype), None, None
        total, weight = ctx.saved
        rows = as_rows(total, row)
        n, features = rows.shape
        chunks = memory.empty((-(-n // ROWS), features), total.dtype)
        residual_rms_norm_backward(
            as_rows(dtotal, row),
            as_rows(dy, row),
            rows,
            given_or(weight, 1, features, total.dtype),
            ctx.rstd,
            dx.reshape(n, features),
            chunks,
        )
        return dx, dx, arrays.sum_rows(chunks).reshape(row), None, None


# ---------------------------------------------------------------- public


def _checked_row(x: Tensor, residual: Tensor, normalized_shape: Any) -> tuple[int, ...]:
    """`normalized_shape` as a tuple, if x ends so and the residual is of its shape and dtype."""
    row = check_row(normalized_shape, x, "x")
    check_same_dtype("residual", check_shape("residual", residual, x.shape), "x", x)
    return row


def residual_layer_norm(
    x: Tensor,
    residual: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    r"""Adds two tensors and normalizes the sum: $s = x + h$ and $y = \mathrm{layer\_norm}(s)$.

    Args:
        x: [*, *normalized_shape], float32 or float64: what a block adds to the stream.
        residual: The shape and dtype of x: the stream.
        normalized_shape: Sizes of the last dimensions, which form one row.
        weight: [*normalized_shape], the scale; ones when None.
        bias: [*normalized_shape], the shift; zeros when None.
        eps: Added to the variance.

    Returns:
        The sum and its normalization, both of the shape and dtype of x.

    Raises:
        ShapeError: The shapes of x and residual differ, or do not end in `normalized_shape`, or weight or bias is not
            of that shape.
        DTypeError: x is not floating point, or another dtype differs from its.
        ArgumentError: `normalized_shape` is empty.

    Gradient:
        For x, residual, weight and bias, from the gradients of both results.

    Example:
        >>> total, y = nbdl.ops.residual_layer_norm(nbdl.tensor([[1.0, 1.0]]), nbdl.tensor([[0.0, 2.0]]), (2,))
        >>> total, y
        (tensor([[1., 3.]]), tensor([[-1.0000,  1.0000]]))

    Source:
        Vaswani et al. (2017), "Attention Is All You Need", section 3.1; Ba, Kiros and Hinton (2016), "Layer
        Normalization", equations 3 and 4.
    """
    row = _checked_row(x, residual, normalized_shape)
    check_parameters(x, row, weight=weight, bias=bias)
    return ResidualLayerNormOp.apply(x, residual, weight, bias, row, check_number("eps", eps))


def residual_rms_norm(
    x: Tensor,
    residual: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Adds two tensors and divides the sum by its root mean square: $s = x + h$ and $y = \mathrm{rms\_norm}(s)$.

    Args:
        x: [*, *normalized_shape], float32 or float64: what a block adds to the stream.
        residual: The shape and dtype of x: the stream.
        normalized_shape: Sizes of the last dimensions, which form one row.
        weight: [*normalized_shape], the scale; ones when None.
        eps: Added to the mean of the squares; the dtype's machine epsilon when None.

    Returns:
        The sum and its normalization, both of the shape and dtype of x.

    Raises:
        ShapeError: The shapes of x and residual differ, or do not end in `normalized_shape`, or weight is not of that
            shape.
        DTypeError: x is not floating point, or another dtype differs from its.
        ArgumentError: `normalized_shape` is empty.

    Gradient:
        For x, residual and weight, from the gradients of both results.

    Example:
        >>> total, y = nbdl.ops.residual_rms_norm(nbdl.tensor([[1.0, 3.0]]), nbdl.tensor([[0.0, 4.0]]), (2,))
        >>> total, y
        (tensor([[1., 7.]]), tensor([[0.2000, 1.4000]]))

    Source:
        Zhang and Sennrich (2019), "Root Mean Square Layer Normalization", equation 4.
    """
    row = _checked_row(x, residual, normalized_shape)
    check_parameters(x, row, weight=weight)
    number = float(np.finfo(x.dtype).eps) if eps is None else check_number("eps", eps)
    return ResidualRMSNormOp.apply(x, residual, weight, row, number)
