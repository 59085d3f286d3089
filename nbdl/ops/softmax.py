r"""Softmax and its logarithm along a dimension: scores become probabilities.

Forward, for a line $x$ of D scores with $m = \max_j x_j$ (subtracting it keeps every exponential at most 1):

$$
y_i = \frac{e^{x_i - m}}{\sum_j e^{x_j - m}}, \qquad
\log y_i = x_i - m - \log \sum_j e^{x_j - m}
$$

Backward, with the incoming gradient $dy$; from $\partial y_i / \partial x_k = y_i (\delta_{ik} - y_k)$:

$$
\text{softmax:}\quad dx_i = y_i \Big( dy_i - \sum_k dy_k\, y_k \Big), \qquad
\text{log-softmax:}\quad dx_i = dy_i - e^{y_i} \sum_k dy_k
$$

Scores of minus infinity get probability 0; a line of nothing else gives NaN. Lines along the last dimension are rows
[N, D]; along another one they are the columns of [O, D, I], worked on 256 at a time, row by row, so that memory is
read in order.

Source: Bridle (1990), "Probabilistic Interpretation of Feedforward Classification Network Outputs".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.reduction.arguments import float_input
from nbdl.ops.reduction.arrangement import arrange
from nbdl.ops.reduction.fold import COLUMNS, maximum, unsigned
from nbdl.runtime import memory
from nbdl.runtime.checks import check_dim, check_rank
from nbdl.runtime.cuda.primitives import WARP, block_max, block_sum, fetch_row4, larger, put_row4, rows_are_wide
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, exact
from nbdl.runtime.short_exp import short_exp
from nbdl.runtime.vecmath import exp, log

GROUP = 2048
"""Elements of short rows that are worked on together: they stay in the nearest cache."""

LONG_ROW = 512
"""Elements of a row from which on the half vector at its end does not count."""

WHOLE_VECTORS = 16
"""Rows of a multiple of so many elements consist of whole vectors."""

# ---------------------------------------------------------------- reference


def softmax_reference(input, dim):
    """The definition, in float64; NaN where infinities leave no difference."""
    with np.errstate(invalid="ignore"):
        e = np.exp(input - np.max(input, axis=dim, keepdims=True, initial=-np.inf))
    return e / np.sum(e, axis=dim, keepdims=True)


def log_softmax_reference(input, dim):
    """The definition, in float64; NaN where infinities leave no difference."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shifted = input - np.max(input, axis=dim, keepdims=True, initial=-np.inf)
        return shifted - np.log(np.sum(np.exp(shifted), axis=dim, keepdims=True))


def softmin_reference(input, dim):
    """The definition, in float64."""
    return softmax_reference(-input, dim)


# ---------------------------------------------------------------- forward


@exact
def _log_probability(x, highest, logarithm):
    """In this order: to large scores a small logarithm could not be added."""
    return (x - highest) - logarithm


@cpu_kernel
def _softmax_rows_cpu(x, y, start, stop):
    """x, y [N, D]. One task a row. Where an infinity or NaN is the highest score, the sum is 0 or NaN, and so y NaN."""
    d = unsigned(x.shape[1])
    for row in range(start, stop):
        highest = x.dtype.type(-np.inf)
        for j in range(d):
            highest = maximum(highest, x[row, j])
        total = x.dtype.type(0)
        for j in range(d):
            e = short_exp(x[row, j] - highest)
            y[row, j] = e
            total += e
        scale = x.dtype.type(1) / total
        for j in range(d):
            y[row, j] *= scale


@cpu_kernel
def _softmax_short_rows_cpu(x, y, start, stop):
    """x, y [N, D]. One task a row.

    As above, for rows too short for a vector or ending in half of one: the exponentials of several in one flat loop.
    """
    d = x.shape[1]
    flat = y.reshape(y.size)
    rows = max(GROUP // max(d, 1), 1)
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        for row in range(first, last):
            highest = x.dtype.type(-np.inf)
            for j in range(unsigned(d)):
                highest = maximum(highest, x[row, j])
            for j in range(unsigned(d)):
                y[row, j] = x[row, j] - highest
        for i in range(unsigned(first * d), unsigned(last * d)):
            flat[i] = short_exp(flat[i])
        for row in range(first, last):
            total = x.dtype.type(0)
            for j in range(unsigned(d)):
                total += y[row, j]
            scale = x.dtype.type(1) / total
            for j in range(unsigned(d)):
                y[row, j] *= scale


@cuda_kernel
def _softmax_rows_cuda(x, y):
    """x, y [N, D]. One block a row; a thread takes four elements at a time."""
    row, first = cuda.blockIdx.x, 4 * cuda.threadIdx.x
    d, lowest = x.shape[1], x.dtype.type(-np.inf)
    wide, wide_y = rows_are_wide(x), rows_are_wide(y)
    highest = lowest
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, lowest)
        highest = larger(highest, larger(larger(a, b), larger(c, e)))
    highest = block_max(highest)
    total = x.dtype.type(0)
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, lowest)
        total += short_exp(a - highest) + short_exp(b - highest) + short_exp(c - highest) + short_exp(e - highest)
    scale = x.dtype.type(1) / block_sum(total)
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, lowest)
        a, b = short_exp(a - highest) * scale, short_exp(b - highest) * scale
        c, e = short_exp(c - highest) * scale, short_exp(e - highest) * scale
        put_row4(y, row, j, wide_y, a, b, c, e)


@cpu_kernel
def _softmax_columns_cpu(x, y, highest, total, start, stop):
    """x, y [O, D, I]; highest, total [O, I], room for the lines' maxima and sums. One task a block of columns."""
    _, d, inner = x.shape
    blocks = (inner + COLUMNS - 1) // COLUMNS
    for task in range(start, stop):
        o = task // blocks
        left = unsigned(task % blocks * COLUMNS)
        right = unsigned(min(task % blocks * COLUMNS + COLUMNS, inner))
        for i in range(left, right):
            highest[o, i] = -np.inf
            total[o, i] = 0
        for j in range(d):
            for i in range(left, right):
                highest[o, i] = maximum(highest[o, i], x[o, j, i])
        for j in range(d):
            for i in range(left, right):
                e = exp(x[o, j, i] - highest[o, i])
                y[o, j, i] = e
                total[o, i] += e
        for i in range(left, right):
            total[o, i] = x.dtype.type(1) / total[o, i]
        for j in range(d):
            for i in range(left, right):
                y[o, j, i] *= total[o, i]


@cuda_kernel
def _softmax_columns_cuda(x, y, highest, total):
    """As the CPU twin. One thread a column; the rooms are not used."""
    _, d, inner = x.shape
    blocks = (inner + WARP - 1) // WARP
    o = cuda.blockIdx.x // blocks
    i = cuda.blockIdx.x % blocks * WARP + cuda.threadIdx.x
    if i < inner:
        largest = x.dtype.type(-np.inf)
        for j in range(d):
            if x[o, j, i] > largest or x[o, j, i] != x[o, j, i]:
                largest = x[o, j, i]
        amount = x.dtype.type(0)
        for j in range(d):
            e = exp(x[o, j, i] - largest)
            y[o, j, i] = e
            amount += e
        scale = x.dtype.type(1) / amount
        for j in range(d):
            y[o, j, i] *= scale


@cpu_kernel
def _log_softmax_rows_cpu(x, y, highest, total, start, stop):
    """x, y [N, D]; highest, total [N], room for the rows' maxima and sums. One task a row.

    The exponentials of several short rows are taken in one flat loop: a vector has no room for half a row.
    """
    d = x.shape[1]
    flat = y.reshape(y.size)
    rows = max(GROUP // max(d, 1), 1)
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        for row in range(first, last):
            high = x.dtype.type(-np.inf)
            for j in range(unsigned(d)):
                high = maximum(high, x[row, j])
            for j in range(unsigned(d)):
                y[row, j] = x[row, j] - high
            highest[row] = high
        for i in range(unsigned(first * d), unsigned(last * d)):
            flat[i] = exp(flat[i])
        for row in range(first, last):
            amount = x.dtype.type(0)
            for j in range(unsigned(d)):
                amount += y[row, j]
            total[row] = amount
        for row in range(unsigned(first), unsigned(last)):
            total[row] = log(total[row])
        for row in range(first, last):
            high, logarithm = highest[row], total[row]
            for j in range(unsigned(d)):
                y[row, j] = _log_probability(x[row, j], high, logarithm)


@cuda_kernel
def _log_softmax_rows_cuda(x, y, highest, total):
    """As the CPU twin. One block a row, four elements a thread at a time; the rooms are not used."""
    row, first = cuda.blockIdx.x, 4 * cuda.threadIdx.x
    d, lowest = x.shape[1], x.dtype.type(-np.inf)
    wide, wide_y = rows_are_wide(x), rows_are_wide(y)
    largest = lowest
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, lowest)
        largest = larger(largest, larger(larger(a, b), larger(c, e)))
    largest = block_max(largest)
    amount = x.dtype.type(0)
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, lowest)
        amount += exp(a - largest) + exp(b - largest) + exp(c - largest) + exp(e - largest)
    logarithm = log(block_sum(amount))
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(x, row, j, wide, lowest)
        a, b = _log_probability(a, largest, logarithm), _log_probability(b, largest, logarithm)
        c, e = _log_probability(c, largest, logarithm), _log_probability(e, largest, logarithm)
        put_row4(y, row, j, wide_y, a, b, c, e)


@cpu_kernel
def _log_softmax_columns_cpu(x, y, highest, total, start, stop):
    """x, y [O, D, I]; highest, total [O, I], room for the lines' maxima and sums. One task a block of columns."""
    _, d, inner = x.shape
    blocks = (inner + COLUMNS - 1) // COLUMNS
    for task in range(start, stop):
        o = task // blocks
        left = unsigned(task % blocks * COLUMNS)
        right = unsigned(min(task % blocks * COLUMNS + COLUMNS, inner))
        for i in range(left, right):
            highest[o, i] = -np.inf
            total[o, i] = 0
        for j in range(d):
            for i in range(left, right):
                highest[o, i] = maximum(highest[o, i], x[o, j, i])
        for j in range(d):
            for i in range(left, right):
                total[o, i] += exp(x[o, j, i] - highest[o, i])
        for i in range(left, right):
            total[o, i] = log(total[o, i])
        for j in range(d):
            for i in range(left, right):
                y[o, j, i] = _log_probability(x[o, j, i], highest[o, i], total[o, i])


@cuda_kernel
def _log_softmax_columns_cuda(x, y, highest, total):
    """As the CPU twin. One thread a column; the rooms are not used."""
    _, d, inner = x.shape
    blocks = (inner + WARP - 1) // WARP
    o = cuda.blockIdx.x // blocks
    i = cuda.blockIdx.x % blocks * WARP + cuda.threadIdx.x
    if i < inner:
        largest = x.dtype.type(-np.inf)
        for j in range(d):
            if x[o, j, i] > largest or x[o, j, i] != x[o, j, i]:
                largest = x[o, j, i]
        amount = x.dtype.type(0)
        for j in range(d):
            amount += exp(x[o, j, i] - largest)
        logarithm = log(amount)
        for j in range(d):
            y[o, j, i] = _log_probability(x[o, j, i], largest, logarithm)


EXP_WORK = 8
"""Scalar operations that an element costs, about."""


def _row_kernel(cpu: Any, cuda: Any) -> Kernel:
    return Kernel(
        cpu=cpu,
        cuda=cuda,
        tasks=lambda x, *_: x.shape[0],
        work=lambda x, *_: EXP_WORK * x.size,
    )


def _column_kernel(cpu: Any, cuda: Any) -> Kernel:
    return Kernel(
        cpu=cpu,
        cuda=cuda,
        tasks=lambda x, *_: x.shape[0] * (-(-x.shape[2] // COLUMNS)),
        work=lambda x, *_: EXP_WORK * x.size,
        blocks=lambda x, *_: x.shape[0] * (-(-x.shape[2] // WARP)),
        threads=WARP,
    )


softmax_rows = _row_kernel(_softmax_rows_cpu, _softmax_rows_cuda)
softmax_short_rows = _row_kernel(_softmax_short_rows_cpu, _softmax_rows_cuda)
softmax_columns = _column_kernel(_softmax_columns_cpu, _softmax_columns_cuda)
log_softmax_rows = _row_kernel(_log_softmax_rows_cpu, _log_softmax_rows_cuda)
log_softmax_columns = _column_kernel(_log_softmax_columns_cpu, _log_softmax_columns_cuda)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _softmax_backward_rows_cpu(dy, y, dx, start, stop):
    """dy, y, dx [N, D]. One task a row."""
    d = unsigned(y.shape[1])
    for row in range(start, stop):
        total = y.dtype.type(0)
        for j in range(d):
            total += dy[row, j] * y[row, j]
        for j in range(d):
            dx[row, j] = y[row, j] * (dy[row, j] - total)


@cuda_kernel
def _softmax_backward_rows_cuda(dy, y, dx):
    """dy, y, dx [N, D]. One block a row; a thread takes four elements at a time."""
    row, first = cuda.blockIdx.x, 4 * cuda.threadIdx.x
    d, zero = y.shape[1], y.dtype.type(0)
    wide = rows_are_wide(dy) and rows_are_wide(y) and rows_are_wide(dx)
    total = zero
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(dy, row, j, wide, zero)
        p, q, r, s = fetch_row4(y, row, j, wide, zero)
        total += a * p + b * q + c * r + e * s
    total = block_sum(total)
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(dy, row, j, wide, zero)
        p, q, r, s = fetch_row4(y, row, j, wide, zero)
        put_row4(dx, row, j, wide, p * (a - total), q * (b - total), r * (c - total), s * (e - total))


@cpu_kernel
def _softmax_backward_columns_cpu(dy, y, dx, total, start, stop):
    """dy, y, dx [O, D, I]; total [O, I], room for the lines' sums. One task a block of columns."""
    _, d, inner = y.shape
    blocks = (inner + COLUMNS - 1) // COLUMNS
    for task in range(start, stop):
        o = task // blocks
        left = unsigned(task % blocks * COLUMNS)
        right = unsigned(min(task % blocks * COLUMNS + COLUMNS, inner))
        for i in range(left, right):
            total[o, i] = 0
        for j in range(d):
            for i in range(left, right):
                total[o, i] += dy[o, j, i] * y[o, j, i]
        for j in range(d):
            for i in range(left, right):
                dx[o, j, i] = y[o, j, i] * (dy[o, j, i] - total[o, i])


@cuda_kernel
def _softmax_backward_columns_cuda(dy, y, dx, total):
    """As the CPU twin. One thread a column; the room is not used."""
    _, d, inner = y.shape
    blocks = (inner + WARP - 1) // WARP
    o = cuda.blockIdx.x // blocks
    i = cuda.blockIdx.x % blocks * WARP + cuda.threadIdx.x
    if i < inner:
        amount = y.dtype.type(0)
        for j in range(d):
            amount += dy[o, j, i] * y[o, j, i]
        for j in range(d):
            dx[o, j, i] = y[o, j, i] * (dy[o, j, i] - amount)


@cpu_kernel
def _log_softmax_backward_rows_cpu(dy, y, dx, start, stop):
    """dy, y, dx [N, D]. One task a row."""
    d = unsigned(y.shape[1])
    for row in range(start, stop):
        total = y.dtype.type(0)
        for j in range(d):
            total += dy[row, j]
        for j in range(d):
            dx[row, j] = dy[row, j] - exp(y[row, j]) * total


@cuda_kernel
def _log_softmax_backward_rows_cuda(dy, y, dx):
    """dy, y, dx [N, D]. One block a row; a thread takes four elements at a time."""
    row, first = cuda.blockIdx.x, 4 * cuda.threadIdx.x
    d, zero = y.shape[1], y.dtype.type(0)
    wide = rows_are_wide(dy) and rows_are_wide(y) and rows_are_wide(dx)
    total = zero
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(dy, row, j, wide, zero)
        total += a + b + c + e
    total = block_sum(total)
    for j in range(first, d, 4 * BLOCK):
        a, b, c, e = fetch_row4(dy, row, j, wide, zero)
        p, q, r, s = fetch_row4(y, row, j, wide, zero)
        a, b = a - exp(p) * total, b - exp(q) * total
        c, e = c - exp(r) * total, e - exp(s) * total
        put_row4(dx, row, j, wide, a, b, c, e)


@cpu_kernel
def _log_softmax_backward_columns_cpu(dy, y, dx, total, start, stop):
    """dy, y, dx [O, D, I]; total [O, I], room for the lines' sums. One task a block of columns."""
    _, d, inner = y.shape
    blocks = (inner + COLUMNS - 1) // COLUMNS
    for task in range(start, stop):
        o = task // blocks
        left = unsigned(task % blocks * COLUMNS)
        right = unsigned(min(task % blocks * COLUMNS + COLUMNS, inner))
        for i in range(left, right):
            total[o, i] = 0
        for j in range(d):
            for i in range(left, right):
                total[o, i] += dy[o, j, i]
        for j in range(d):
            for i in range(left, right):
                dx[o, j, i] = dy[o, j, i] - exp(y[o, j, i]) * total[o, i]


@cuda_kernel
def _log_softmax_backward_columns_cuda(dy, y, dx, total):
    """As the CPU twin. One thread a column; the room is not used."""
    _, d, inner = y.shape
    blocks = (inner + WARP - 1) // WARP
    o = cuda.blockIdx.x // blocks
    i = cuda.blockIdx.x % blocks * WARP + cuda.threadIdx.x
    if i < inner:
        amount = y.dtype.type(0)
        for j in range(d):
            amount += dy[o, j, i]
        for j in range(d):
            dx[o, j, i] = dy[o, j, i] - exp(y[o, j, i]) * amount


softmax_backward_rows = _row_kernel(_softmax_backward_rows_cpu, _softmax_backward_rows_cuda)
softmax_backward_columns = _column_kernel(_softmax_backward_columns_cpu, _softmax_backward_columns_cuda)
log_softmax_backward_rows = _row_kernel(_log_softmax_backward_rows_cpu, _log_softmax_backward_rows_cuda)
log_softmax_backward_columns = _column_kernel(_log_softmax_backward_columns_cpu, _log_softmax_backward_columns_cuda)

# ---------------------------------------------------------------- autograd


class SoftmaxOp(Op):
    """y = softmax(x) along one dimension: saves y."""

    columns = softmax_columns
    backward_rows, backward_columns = softmax_backward_rows, softmax_backward_columns

    @staticmethod
    def rows(x, y):
        d = x.shape[1]
        (softmax_rows if d >= LONG_ROW or d % WHOLE_VECTORS == 0 else softmax_short_rows)(x, y)

    @classmethod
    def forward(cls, ctx: Context, x, dim):
        x, ctx.arrangement = arrange(x, (dim,) if x.ndim else ())
        y = ctx.empty_like(x)
        outer, length, inner = x.shape
        if inner == 1:
            cls.rows(x.reshape(outer, length), y.reshape(outer, length))
        else:
            room = memory.empty((2, outer, inner), x.dtype)
            cls.columns(x, y, room[0], room[1])
        ctx.save(y)
        return ctx.arrangement.full(y)

    @classmethod
    def backward(cls, ctx: Context, dy):
        (y,) = ctx.saved
        dy = ctx.arrangement.like(dy)
        dx = ctx.empty_like(y)
        outer, length, inner = y.shape
        if inner == 1:
            rows = (outer, length)
            cls.backward_rows(dy.reshape(rows), y.reshape(rows), dx.reshape(rows))
        else:
            cls.backward_columns(dy, y, dx, memory.empty((outer, inner), y.dtype))
        return ctx.arrangement.full(dx), None


class LogSoftmaxOp(SoftmaxOp):
    """y = log(softmax(x)) along one dimension: saves y."""

    columns = log_softmax_columns
    backward_rows, backward_columns = log_softmax_backward_rows, log_softmax_backward_columns

    @staticmethod
    def rows(x, y):
        room = memory.empty((2, x.shape[0]), x.dtype)
        log_softmax_rows(x, y, room[0], room[1])


# ---------------------------------------------------------------- public


def _chosen_dim(input: Tensor, dim: int | None) -> int:
    """The dimension counted from the front; when None, PyTorch's old choice for the rank."""
    if dim is None:
        return 0 if input.ndim in (0, 1, 3) else 1
    return check_dim("dim", dim, input.ndim)


def softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    r"""Turns scores into probabilities: $y_i = e^{x_i} / \sum_j e^{x_j}$ along a dimension.

    Args:
        input: [*], float32 or float64.
        dim: The dimension along which the probabilities add up to 1. None means 0 for inputs of 0, 1 or 3 dimensions
            and 1 for others.
        dtype: Dtype to compute in and to return; None for the input's.

    Returns:
        [*], numbers in [0, 1]. A line of nothing but minus infinity gives NaN.

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.softmax(nbdl.tensor([0.0, 0.0, 0.0, 0.0]), dim=0)
        tensor([0.2500, 0.2500, 0.2500, 0.2500])

    Source:
        Bridle (1990), "Probabilistic Interpretation of Feedforward Classification Network Outputs".
    """
    input = float_input(input, dtype)
    return SoftmaxOp.apply(input, _chosen_dim(input, dim))


def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    r"""The logarithm of softmax: $y_i = x_i - \log \sum_j e^{x_j}$ along a dimension, without under- or overflow.

    Args:
        input: [*], float32 or float64.
        dim: The dimension along which the probabilities add up to 1. None means 0 for inputs of 0, 1 or 3 dimensions
            and 1 for others.
        dtype: Dtype to compute in and to return; None for the input's.

    Returns:
        [*], log-probabilities in nats, at most 0.

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.log_softmax(nbdl.tensor([0.0, 0.0]), dim=0)
        tensor([-0.6931, -0.6931])
    """
    input = float_input(input, dtype)
    return LogSoftmaxOp.apply(input, _chosen_dim(input, dim))


def softmin(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    r"""Softmax of the negated scores: $y_i = e^{-x_i} / \sum_j e^{-x_j}$ along a dimension.

    Args:
        input: [*], float32 or float64.
        dim: The dimension along which the probabilities add up to 1. None means 0 for inputs of 0, 1 or 3 dimensions
            and 1 for others.
        dtype: Dtype to compute in and to return; None for the input's.

    Returns:
        [*], numbers in [0, 1].

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.softmin(nbdl.tensor([1.0, 1.0]), dim=0)
        tensor([0.5000, 0.5000])
    """
    return softmax(-float_input(input, dtype), dim)


def softmax2d(input: Tensor) -> Tensor:
    """Softmax over the channels of images, at each place by itself.

    Args:
        input: [N, C, H, W] or [C, H, W], float32 or float64.

    Returns:
        The shape of the input; the channels of each place add up to 1.

    Raises:
        ShapeError: The input has neither 3 nor 4 dimensions.
        DTypeError: The input is not floating point.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.softmax2d(nbdl.zeros(1, 4, 1, 1)).flatten()
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    check_rank("input", input, 3, 4)
    return softmax(input, -3)
