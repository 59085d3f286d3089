"""Reductions within a warp and within a block, for kernels of any number type.

The block functions expect one-dimensional blocks of BLOCK threads, all of which must call them: they hold barriers.
Every thread gets the result, in the same bits, because the order of the additions is fixed. They may be called again
at once: the last barrier keeps the next call's writes away from this call's reads.
"""

from nbdl.runtime.cuda.vectors import is_aligned, load4, store4
from nbdl.runtime.jit import BLOCK, cuda, cuda_device

WARP = 32
WARPS = BLOCK // WARP
ALL_LANES = 0xFFFFFFFF

__all__ = [
    "BLOCK", "WARP", "block_max", "block_min", "block_sum", "clear_row4", "fetch4", "fetch_row4", "larger",
    "put4", "put_row4", "rows_are_wide", "warp_max", "warp_min", "warp_sum",
]  # fmt: skip


@cuda_device
def larger(a, b):
    """The larger of two; NaN if one of them is."""
    return b if b > a or b != b else a


@cuda_device
def warp_sum(value):
    """The sum over the 32 lanes, in a butterfly: after the step of width w, groups of 2w lanes hold their sum."""
    width = WARP // 2
    while width > 0:
        value += cuda.shfl_xor_sync(ALL_LANES, value, width)
        width //= 2
    return value


@cuda_device
def warp_max(value):
    """The largest of the 32 lanes; NaN if one of them is."""
    width = WARP // 2
    while width > 0:
        other = cuda.shfl_xor_sync(ALL_LANES, value, width)
        if other > value or other != other:
            value = other
        width //= 2
    return value


@cuda_device
def warp_min(value):
    """The smallest of the 32 lanes; NaN if one of them is."""
    width = WARP // 2
    while width > 0:
        other = cuda.shfl_xor_sync(ALL_LANES, value, width)
        if other < value or other != other:
            value = other
        width //= 2
    return value


@cuda_device
def block_sum(value):
    """The sum over the block: each warp's sum goes through shared memory."""
    partial = cuda.shared.array(WARPS, value.dtype)
    value = warp_sum(value)
    if cuda.threadIdx.x % WARP == 0:
        partial[cuda.threadIdx.x // WARP] = value
    cuda.syncthreads()
    value = partial[0]
    for warp in range(1, WARPS):
        value += partial[warp]
    cuda.syncthreads()
    return value


@cuda_device
def block_max(value):
    """The largest of the block; NaN if one value is."""
    partial = cuda.shared.array(WARPS, value.dtype)
    value = warp_max(value)
    if cuda.threadIdx.x % WARP == 0:
        partial[cuda.threadIdx.x // WARP] = value
    cuda.syncthreads()
    value = partial[0]
    for warp in range(1, WARPS):
        if partial[warp] > value or partial[warp] != partial[warp]:
            value = partial[warp]
    cuda.syncthreads()
    return value


@cuda_device
def block_min(value):
    """The smallest of the block; NaN if one value is."""
    partial = cuda.shared.array(WARPS, value.dtype)
    value = warp_min(value)
    if cuda.threadIdx.x % WARP == 0:
        partial[cuda.threadIdx.x // WARP] = value
    cuda.syncthreads()
    value = partial[0]
    for warp in range(1, WARPS):
        if partial[warp] < value or partial[warp] != partial[warp]:
            value = partial[warp]
    cuda.syncthreads()
    return value


# ---------------------------------------------------------------- rows, four elements at a time


@cuda_device
def rows_are_wide(x):
    """Whether the rows of x [N, D] may be fetched in pieces of four elements."""
    return x.shape[1] % 4 == 0 and is_aligned(x)


@cuda_device
def fetch_row4(x, row, j, wide, fill):
    """Elements j .. j + 3 of a row of x [N, D], j < D; `fill` in the place of those beyond its end."""
    if wide:
        return load4(x, (row, j))
    d = x.shape[1]
    a, b, c, e = x[row, j], fill, fill, fill
    if j + 1 < d:
        b = x[row, j + 1]
    if j + 2 < d:
        c = x[row, j + 2]
    if j + 3 < d:
        e = x[row, j + 3]
    return a, b, c, e


@cuda_device
def put_row4(x, row, j, wide, a, b, c, e):
    """Writes elements j .. j + 3 of a row of x [N, D], j < D, as many as there are."""
    if wide:
        store4(x, (row, j), a, b, c, e)
    else:
        d = x.shape[1]
        x[row, j] = a
        if j + 1 < d:
            x[row, j + 1] = b
        if j + 2 < d:
            x[row, j + 2] = c
        if j + 3 < d:
            x[row, j + 3] = e


@cuda_device
def clear_row4(x, row):
    """Sets a row of x [N, D] to zero; a thread the columns that it has in the loops of `fetch_row4`."""
    d = x.shape[1]
    for j in range(4 * cuda.threadIdx.x, d, 4 * BLOCK):
        for column in range(j, min(j + 4, d)):
            x[row, column] = 0


@cuda_device
def fetch4(x, j, wide, fill):
    """As `fetch_row4`, of x [D]."""
    if wide:
        return load4(x, j)
    d = x.shape[0]
    a, b, c, e = x[j], fill, fill, fill
    if j + 1 < d:
        b = x[j + 1]
    if j + 2 < d:
        c = x[j + 2]
    if j + 3 < d:
        e = x[j + 3]
    return a, b, c, e


@cuda_device
def put4(x, j, wide, a, b, c, e):
    """As `put_row4`, of x [D]."""
    if wide:
        store4(x, j, a, b, c, e)
    else:
        d = x.shape[0]
        x[j] = a
        if j + 1 < d:
            x[j + 1] = b
        if j + 2 < d:
            x[j + 2] = c
        if j + 3 < d:
            x[j + 3] = e
