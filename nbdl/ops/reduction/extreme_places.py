"""Kernels that find where extremes stand, and that put the gradients of chosen elements back to their places."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops.reduction.arrangement import Arrangement
from nbdl.ops.reduction.fold import COLUMNS, greater, lesser, maximum, minimum, unsigned
from nbdl.runtime import arrays, memory
from nbdl.runtime.cuda.primitives import ALL_LANES, WARP
from nbdl.runtime.dtypes import INT64
from nbdl.runtime.jit import Kernel, cpu_kernel, cuda, cuda_kernel, scalar

LEAST_INTEGER, GREATEST_INTEGER = np.iinfo(np.int64).min, np.iinfo(np.int64).max

# ---------------------------------------------------------------- finding

SEARCHED = 64
"""Elements that are compared at once when the place of an extreme is looked for."""


def _place_kernel(name: str, combine: Any, beats: Any, identity: Any) -> tuple[Kernel, Kernel]:
    """The kernels, for rows and for columns, that find extremes and their first indices."""

    def rows_cpu(x, y, index, start, stop):
        """x [N, R]; y, index [N]. One task a row: first the extreme, then its first place."""
        length = x.shape[1]
        for row in range(start, stop):
            best = x.dtype.type(identity)
            for r in range(unsigned(length)):
                best = combine(best, x[row, r])
            first = 0
            for block in range(0, length, SEARCHED):
                first = block
                found = 0
                for r in range(unsigned(block), unsigned(min(block + SEARCHED, length))):
                    found += 1 if x[row, r] == best or x[row, r] != x[row, r] else 0
                if found > 0:
                    break
            while x[row, first] != best and x[row, first] == x[row, first]:
                first += 1
            y[row] = best
            index[row] = first

    def rows_cuda(x, y, index):
        """As the CPU twin. One warp a row; of two lanes with equal elements the lower index stays."""
        row = cuda.blockIdx.x
        length = x.shape[1]
        r = min(cuda.threadIdx.x, length - 1)
        best = x[row, r]
        first = r
        for r in range(cuda.threadIdx.x + WARP, length, WARP):
            if beats(x[row, r], best):
                best = x[row, r]
                first = r
        step = WARP // 2
        while step > 0:
            other = cuda.shfl_xor_sync(ALL_LANES, best, step)
            place = cuda.shfl_xor_sync(ALL_LANES, first, step)
            if beats(other, best) or (not beats(best, other) and place < first):
                best = other
                first = place
            step //= 2
        if cuda.threadIdx.x == 0:
            y[row] = best
            index[row] = first

    def columns_cpu(x, y, index, start, stop):
        """x [O, R, I]; y, index [O, I]. One task a block of columns."""
        _, length, inner = x.shape
        blocks = (inner + COLUMNS - 1) // COLUMNS
        for task in range(start, stop):
            o = task // blocks
            left = unsigned(task % blocks * COLUMNS)
            right = unsigned(min(task % blocks * COLUMNS + COLUMNS, inner))
            for i in range(left, right):
                y[o, i] = x[o, 0, i]
                index[o, i] = 0
            for r in range(1, length):
                for i in range(left, right):
                    better = beats(x[o, r, i], y[o, i])
                    y[o, i] = x[o, r, i] if better else y[o, i]
                    index[o, i] = r if better else index[o, i]

    def columns_cuda(x, y, index):
        """As the CPU twin. One thread a column."""
        _, length, inner = x.shape
        blocks = (inner + WARP - 1) // WARP
        o = cuda.blockIdx.x // blocks
        i = cuda.blockIdx.x % blocks * WARP + cuda.threadIdx.x
        if i < inner:
            best = x[o, 0, i]
            first = 0
            for r in range(1, length):
                if beats(x[o, r, i], best):
                    best = x[o, r, i]
                    first = r
            y[o, i] = best
            index[o, i] = first

    rows_cpu.__name__, rows_cuda.__name__ = f"_{name}_rows_cpu", f"_{name}_rows_cuda"
    columns_cpu.__name__, columns_cuda.__name__ = f"_{name}_columns_cpu", f"_{name}_columns_cuda"
    rows = Kernel(
        cpu=cpu_kernel(rows_cpu),
        cuda=cuda_kernel(rows_cuda),
        tasks=lambda x, y, index: x.shape[0],
        work=lambda x, y, index: 2 * x.size,
        threads=WARP,
    )
    columns = Kernel(
        cpu=cpu_kernel(columns_cpu),
        cuda=cuda_kernel(columns_cuda),
        tasks=lambda x, y, index: x.shape[0] * (-(-x.shape[2] // COLUMNS)),
        work=lambda x, y, index: 2 * x.size,
        blocks=lambda x, y, index: x.shape[0] * (-(-x.shape[2] // WARP)),
        threads=WARP,
    )
    return rows, columns


@scalar
def _is_greater(a, b):
    return a > b or (a != a and b == b)


@scalar
def _is_less(a, b):
    return a < b or (a != a and b == b)


argmax_kernels = _place_kernel("argmax", maximum, _is_greater, -np.inf)
argmin_kernels = _place_kernel("argmin", minimum, _is_less, np.inf)
argmax_integer_kernels = _place_kernel("argmax_integer", greater, _is_greater, LEAST_INTEGER)
argmin_integer_kernels = _place_kernel("argmin_integer", lesser, _is_less, GREATEST_INTEGER)


def find_extremes(x: Any, greatest: bool) -> tuple[Any, Any]:
    """x [O, R, I], floating-point or int64 -> the extremes and their first indices, [O, I] each."""
    outer, length, inner = x.shape
    y, index = arrays.empty_beside(x, (outer, inner)), arrays.empty_beside(x, (outer, inner), INT64)
    if x.dtype.kind == "f":
        rows, columns = argmax_kernels if greatest else argmin_kernels
    else:
        rows, columns = argmax_integer_kernels if greatest else argmin_integer_kernels
    if inner == 1:
        rows(x.reshape(outer, length), y.reshape(-1), index.reshape(-1))
    else:
        columns(x, y, index)
    return y, index


# ---------------------------------------------------------------- putting back


@cpu_kernel
def _put_cpu(dy, index, dx, start, stop):
    """dy, index [O, K, I]; dx [O, R, I]: dx[o, index[o, k, i], i] = dy[o, k, i], else 0. One task a block of columns.

    The indices of a column differ.
    """
    _, length, inner = dx.shape
    blocks = (inner + COLUMNS - 1) // COLUMNS
    for task in range(start, stop):
        o = task // blocks
        left = unsigned(task % blocks * COLUMNS)
        right = unsigned(min(task % blocks * COLUMNS + COLUMNS, inner))
        for r in range(length):
            for i in range(left, right):
                dx[o, r, i] = 0
        for k in range(dy.shape[1]):
            for i in range(left, right):
                dx[o, index[o, k, i], i] = dy[o, k, i]


@cuda_kernel
def _put_cuda(dy, index, dx):
    """As the CPU twin. One thread a column."""
    _, length, inner = dx.shape
    blocks = (inner + WARP - 1) // WARP
    o = cuda.blockIdx.x // blocks
    i = cuda.blockIdx.x % blocks * WARP + cuda.threadIdx.x
    if i < inner:
        for r in range(length):
            dx[o, r, i] = 0
        for k in range(dy.shape[1]):
            dx[o, index[o, k, i], i] = dy[o, k, i]


put = Kernel(
    cpu=_put_cpu,
    cuda=_put_cuda,
    tasks=lambda dy, index, dx: dx.shape[0] * (-(-dx.shape[2] // COLUMNS)),
    work=lambda dy, index, dx: dx.size,
    blocks=lambda dy, index, dx: dx.shape[0] * (-(-dx.shape[2] // WARP)),
    threads=WARP,
)


def put_back(dy: Any, index: Any, arrangement: Arrangement) -> Any:
    """The gradient of chosen elements, [O, K, I] like their indices, at their places in the array; 0 elsewhere."""
    dx = memory.empty(arrangement.sizes, dy.dtype)
    put(dy, index, dx)
    return arrangement.full(dx)
