r"""Batch normalization of columns: the steps of a batch whose channels lie last in memory, [R, C] with R = N S rows.

Rows are taken in chunks of 128. A chunk's moments are summed around its first row $s$,

$$
\mu_p = s + \tfrac1n \sum (x - s), \qquad M_p = \sum (x - s)^2 - n (\mu_p - s)^2,
$$

and then joined (Chan, Golub and LeVeque, 1979): $\mu = \sum n_p \mu_p / \sum n_p$ and
$M = \sum M_p + n_p (\mu_p - \mu)^2$.
No row is further from the mean than $\sqrt{n - 1}$ standard deviations of its chunk, so the difference in $M_p$ costs
at most a factor n = 128 in its error, however large the mean is. Chunks depend on the shape alone.

Fewer than 32 channels would leave vectors half empty: then k rows lie side by side as one of k C columns.

Letters: R rows, C columns, K chunks, k rows side by side. The equations are those of `batch_norm`.
"""

from __future__ import annotations

import math
from typing import Any

from nbdl.ops.normalization.fetching import fetch_row
from nbdl.ops.normalization.scalars import reciprocal_root
from nbdl.ops.reduction.fold import unsigned
from nbdl.runtime import arrays, memory
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar

ROWS = 128
"""Rows of a chunk."""

NARROW = 32
"""Columns under which rows are laid side by side."""


# ---------------------------------------------------------------- forward: moments of chunks


@cpu_kernel
def _chunk_moments_cpu(x, mean, squares, start, stop):
    """x [R, C]; mean, squares [K, C], the moments of each chunk. One task a chunk."""
    columns = unsigned(x.shape[1])
    for p in range(start, stop):
        first = p * ROWS
        last = min(first + ROWS, x.shape[0])
        fours = first + (last - first) // 4 * 4
        for j in range(columns):
            mean[p, j] = 0
            squares[p, j] = 0
        for row in range(first, fours, 4):
            for ahead in range(row, row + 4):
                fetch_row(x, ahead)
            for j in range(columns):
                shift = x[first, j]
                a, b = x[row, j] - shift, x[row + 1, j] - shift
                c, d = x[row + 2, j] - shift, x[row + 3, j] - shift
                mean[p, j] += (a + b) + (c + d)
                squares[p, j] += (a * a + b * b) + (c * c + d * d)
        for row in range(fours, last):
            for j in range(columns):
                a = x[row, j] - x[first, j]
                mean[p, j] += a
                squares[p, j] += a * a
        share = x.dtype.type(1) / x.dtype.type(last - first)
        for j in range(columns):
            total = mean[p, j]
            squares[p, j] = max(squares[p, j] - total * total * share, x.dtype.type(0))
            mean[p, j] = x[first, j] + total * share


@cuda_kernel
def _chunk_moments_cuda(x, mean, squares):
    """As the CPU twin. One block a chunk; a thread owns the columns j = threadIdx.x, + BLOCK, ..."""
    p = cuda.blockIdx.x
    first = p * ROWS
    last = min(first + ROWS, x.shape[0])
    share = x.dtype.type(1) / x.dtype.type(last - first)
    for j in range(cuda.threadIdx.x, x.shape[1], BLOCK):
        shift = x[first, j]
        total = x.dtype.type(0)
        total_squares = x.dtype.type(0)
        for row in range(first, last):
            a = x[row, j] - shift
            total += a
            total_squares += a * a
        squares[p, j] = max(total_squares - total * total * share, x.dtype.type(0))
        mean[p, j] = shift + total * share


chunk_moments = Kernel(
    cpu=_chunk_moments_cpu,
    cuda=_chunk_moments_cuda,
    tasks=lambda x, mean, squares: mean.shape[0],
    work=lambda x, *_: 2 * x.size,
)

# ---------------------------------------------------------------- forward: moments of the batch


@scalar
def _rows_of(part, side, rows):
    """The rows behind a partial result: the chunks have `side` of them each, and all but the last are full."""
    return min(ROWS, rows - part // side * ROWS)


@cpu_kernel
def _join_moments_cpu(
    means, squares, side, rows, weight, eps, momentum, mean, rstd, scale, running_mean, running_var, start, stop
):
    """means, squares [K k, C], of chunks of `rows` rows in all; the others [C]. One task a channel.

    The running moments move by the momentum towards the batch's, the variance to the unbiased one.
    """
    number = means.dtype.type
    count = number(rows * side)
    for c in range(start, stop):
        mean[c] = 0
        scale[c] = 0
    for p in range(means.shape[0]):
        n = number(_rows_of(p, side, rows))
        for c in range(start, stop):  # around the first chunk's mean: the sum stays small, and loses nothing
            mean[c] += n * (means[p, c] - means[0, c])
    for c in range(start, stop):
        mean[c] = means[0, c] + mean[c] / count
    for p in range(means.shape[0]):
        n = number(_rows_of(p, side, rows))
        for c in range(start, stop):
            scale[c] += squares[p, c] + n * (means[p, c] - mean[c]) * (means[p, c] - mean[c])
    for c in range(start, stop):
        spread = scale[c]
        r = reciprocal_root(spread / count + eps)
        rstd[c] = r
        scale[c] = r * weight[c]
        running_mean[c] += momentum * (mean[c] - running_mean[c])
        running_var[c] += momentum * (spread / max(count - number(1), number(1)) - running_var[c])


@cuda_kernel
def _join_moments_cuda(means, squares, side, rows, weight, eps, momentum, mean, rstd, scale, running_mean, running_var):
    """As the CPU twin. One thread a channel."""
    c = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if c < mean.shape[0]:
        number = means.dtype.type
        count = number(rows * side)
        total = number(0)
        for p in range(means.shape[0]):
            total += number(_rows_of(p, side, rows)) * (means[p, c] - means[0, c])
        mu = means[0, c] + total / count
        spread = number(0)
        for p in range(means.shape[0]):
            apart = means[p, c] - mu
            spread += squares[p, c] + apart * apart * number(_rows_of(p, side, rows))
        r = reciprocal_root(spread / count + eps)
        mean[c] = mu
        rstd[c] = r
        scale[c] = r * weight[c]
        running_mean[c] += momentum * (mu - running_mean[c])
        running_var[c] += momentum * (spread / number(max(rows * side - 1, 1)) - running_var[c])


join_moments = Kernel(
    cpu=_join_moments_cpu,
    cuda=_join_moments_cuda,
    tasks=lambda means, squares, side, rows, weight, *_: weight.shape[0],
    work=lambda means, *_: 4 * means.size,
    blocks=lambda means, squares, side, rows, weight, *_: -(-weight.shape[0] // BLOCK),
)

# ---------------------------------------------------------------- forward: scale and shift


@cpu_kernel
def _scale_columns_cpu(x, mean, scale, bias, y, start, stop):
    """x, y [R, C]; mean, scale, bias [C]: y = (x - mean) scale + bias. One task a row."""
    for row in range(start, stop):
        fetch_row(x, row)
        fetch_row(y, row)
        for j in range(unsigned(x.shape[1])):
            y[row, j] = (x[row, j] - mean[j]) * scale[j] + bias[j]


@cuda_kernel
def _scale_columns_cuda(x, mean, scale, bias, y):
    """As the CPU twin. One block ROWS rows; a thread owns the columns j = threadIdx.x, + BLOCK, ..."""
    first = cuda.blockIdx.x * ROWS
    for row in range(first, min(first + ROWS, x.shape[0])):
        for j in range(cuda.threadIdx.x, x.shape[1], BLOCK):
            y[row, j] = (x[row, j] - mean[j]) * scale[j] + bias[j]


scale_columns_kernel = Kernel(
    cpu=_scale_columns_cpu,
    cuda=_scale_columns_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: x.size,
    blocks=lambda x, *_: -(-x.shape[0] // ROWS),
)

# ---------------------------------------------------------------- backward: sums of chunks


@cpu_kernel
def _chunk_products_cpu(dy, x, mean, sums, products, start, stop):
    """dy, x [R, C]; mean [C]; sums, products [K, C]: of dy and dy (x - mean). One task a chunk."""
    columns = unsigned(x.shape[1])
    for p in range(start, stop):
        first = p * ROWS
        last = min(first + ROWS, x.shape[0])
        fours = first + (last - first) // 4 * 4
        for j in range(columns):
            sums[p, j] = 0
            products[p, j] = 0
        for row in range(first, fours, 4):
            for ahead in range(row, row + 4):
                fetch_row(dy, ahead)
                fetch_row(x, ahead)
            for j in range(columns):
                mu = mean[j]
                a, b, c, d = dy[row, j], dy[row + 1, j], dy[row + 2, j], dy[row + 3, j]
                sums[p, j] += (a + b) + (c + d)
                products[p, j] += (a * (x[row, j] - mu) + b * (x[row + 1, j] - mu)) + (
                    c * (x[row + 2, j] - mu) + d * (x[row + 3, j] - mu)
                )
        for row in range(fours, last):
            for j in range(columns):
                sums[p, j] += dy[row, j]
                products[p, j] += dy[row, j] * (x[row, j] - mean[j])


@cuda_kernel
def _chunk_products_cuda(dy, x, mean, sums, products):
    """As the CPU twin. One block a chunk; a thread owns the columns j = threadIdx.x, + BLOCK, ..."""
    p = cuda.blockIdx.x
    first = p * ROWS
    for j in range(cuda.threadIdx.x, x.shape[1], BLOCK):
        total = x.dtype.type(0)
        total_products = x.dtype.type(0)
        for row in range(first, min(first + ROWS, x.shape[0])):
            total += dy[row, j]
            total_products += dy[row, j] * (x[row, j] - mean[j])
        sums[p, j] = total
        products[p, j] = total_products


chunk_products = Kernel(
    cpu=_chunk_products_cpu,
    cuda=_chunk_products_cuda,
    tasks=lambda dy, x, mean, sums, products: sums.shape[0],
    work=lambda dy, x, *_: 2 * x.size,
)

# ---------------------------------------------------------------- backward: sums of the batch


@cpu_kernel
def _join_products_cpu(sums, products, share, rstd, scale, dweight, dbias, slope, offset, start, stop):
    """sums, products [K k, C]; the others [C]. One task a channel.

    `share` is 1 / R, or 0 when the moments were not the batch's: then they carry no gradient back to x.
    """
    for c in range(start, stop):
        dbias[c] = 0
        dweight[c] = 0
    for p in range(sums.shape[0]):
        for c in range(start, stop):
            dbias[c] += sums[p, c]
            dweight[c] += products[p, c]
    for c in range(start, stop):
        dweight[c] *= rstd[c]
        slope[c] = 0
        offset[c] = 0
    if share > 0:
        for c in range(start, stop):
            slope[c] = -share * scale[c] * rstd[c] * dweight[c]
            offset[c] = -share * scale[c] * dbias[c]


@cuda_kernel
def _join_products_cuda(sums, products, share, rstd, scale, dweight, dbias, slope, offset):
    """As the CPU twin. One thread a channel."""
    c = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if c < dbias.shape[0]:
        total = sums.dtype.type(0)
        total_products = sums.dtype.type(0)
        for p in range(sums.shape[0]):
            total += sums[p, c]
            total_products += products[p, c]
        dbias[c] = total
        dweight[c] = total_products * rstd[c]
        slope[c] = 0
        offset[c] = 0
        if share > 0:
            slope[c] = -share * scale[c] * rstd[c] * dweight[c]
            offset[c] = -share * scale[c] * dbias[c]


join_products = Kernel(
    cpu=_join_products_cpu,
    cuda=_join_products_cuda,
    tasks=lambda sums, products, share, rstd, *_: rstd.shape[0],
    work=lambda sums, *_: 2 * sums.size,
    blocks=lambda sums, products, share, rstd, *_: -(-rstd.shape[0] // BLOCK),
)

# ---------------------------------------------------------------- backward: gradient of the input


@cpu_kernel
def _columns_gradient_cpu(dy, x, mean, scale, slope, offset, dx, start, stop):
    """dy, x, dx [R, C]; the others [C]: dx = scale dy + slope (x - mean) + offset. One task a row."""
    for row in range(start, stop):
        fetch_row(dy, row)
        fetch_row(x, row)
        fetch_row(dx, row)
        for j in range(unsigned(x.shape[1])):
            dx[row, j] = scale[j] * dy[row, j] + slope[j] * (x[row, j] - mean[j]) + offset[j]


@cuda_kernel
def _columns_gradient_cuda(dy, x, mean, scale, slope, offset, dx):
    """As the CPU twin. One block ROWS rows; a thread owns the columns j = threadIdx.x, + BLOCK, ..."""
    first = cuda.blockIdx.x * ROWS
    for row in range(first, min(first + ROWS, x.shape[0])):
        for j in range(cuda.threadIdx.x, x.shape[1], BLOCK):
            dx[row, j] = scale[j] * dy[row, j] + slope[j] * (x[row, j] - mean[j]) + offset[j]


columns_gradient_kernel = Kernel(
    cpu=_columns_gradient_cpu,
    cuda=_columns_gradient_cuda,
    tasks=lambda dy, x, *_: x.shape[0],
    work=lambda dy, x, *_: 2 * x.size,
    blocks=lambda dy, x, *_: -(-x.shape[0] // ROWS),
)

# ---------------------------------------------------------------- the steps together


def _side(rows: int, columns: int) -> int:
    """How many rows are laid side by side."""
    return 1 if columns >= NARROW else math.gcd(rows, 1 << (NARROW // columns).bit_length())


def _wide(x: Any, side: int) -> Any:
    """[R, C] as [R / k, k C], or [C] as k copies of it in a row."""
    if side == 1:
        return x
    if x.ndim == 2:
        return x.reshape(x.shape[0] // side, side * x.shape[1])
    return arrays.contiguous(arrays.strided(x, (side, x.shape[0]), (0, x.itemsize))).reshape(-1)


def _partials(x: Any) -> Any:
    """Room for two partial results of each chunk of x."""
    return memory.empty((2, -(-x.shape[0] // ROWS), x.shape[1]), x.dtype)


def batch_moments(x: Any, weight: Any, eps: Any, momentum: Any, mean: Any, rstd: Any, scale: Any, running: Any) -> None:
    """Writes mean, 1 / sqrt(variance + eps) and weight times that, [C], of x [R, C]; moves the running moments."""
    side = _side(*x.shape)
    x = _wide(x, side)
    means, squares = _partials(x)
    chunk_moments(x, means, squares)
    shape = (means.size // weight.size, weight.size)
    means, squares = means.reshape(shape), squares.reshape(shape)
    join_moments(means, squares, side, x.shape[0], weight, eps, momentum, mean, rstd, scale, *running)


def scale_columns(x: Any, mean: Any, scale: Any, bias: Any, y: Any) -> None:
    """y = (x - mean) scale + bias for x, y [R, C] and rows of C numbers."""
    side = _side(*x.shape)
    scale_columns_kernel(*(_wide(part, side) for part in (x, mean, scale, bias, y)))


def batch_gradients(
    dy: Any, x: Any, batch: bool, mean: Any, rstd: Any, scale: Any, dx: Any, dweight: Any, dbias: Any
) -> None:
    """Writes dx [R, C], dweight and dbias [C]; `batch` tells whether the moments were those of x."""
    side = _side(*x.shape)
    share = x.dtype.type(1 / x.shape[0] if batch else 0)
    dy, x, dx = _wide(dy, side), _wide(x, side), _wide(dx, side)
    wide_mean = _wide(mean, side)
    sums, products = _partials(x)
    chunk_products(dy, x, wide_mean, sums, products)
    shape = (sums.size // mean.size, mean.size)
    slope, offset = memory.empty((2, mean.size), x.dtype)
    join_products(sums.reshape(shape), products.reshape(shape), share, rstd, scale, dweight, dbias, slope, offset)
    columns_gradient_kernel(dy, x, wide_mean, _wide(scale, side), _wide(slope, side), _wide(offset, side), dx)
