"""The matrix product of arrays: strides and blocks for the kernel pair."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.runtime import arrays, memory, threads
from nbdl.runtime.gemm.blocks import _gemm_cpu
from nbdl.runtime.gemm.panel import register_tile_driver
from nbdl.runtime.gemm.plan import plan_blocks
from nbdl.runtime.jit import Kernel, cuda, cuda_kernel

TILE = 64
"""Rows and columns of C that a CUDA block computes."""

PIECE = (16, TILE + 1)
"""Shape of what a CUDA block loads at once, elements of K first; a column to spare spreads its columns over banks."""

STEP = PIECE[0]

PARTS = (4, 4)
"""Rows and columns of C that a CUDA thread computes: 16 threads a side."""

PART = PARTS[0]

THREADS = 256


@cuda_kernel
def _gemm_cuda(
    a, b, c, bias, workspace, batch, m, n, k, a_batch, a_row, a_inner, b_batch, b_inner, b_column, bias_step, beta,
    floor, block_rows, block_columns, depth, rows_at_once, columns_at_once, pack_a, pack_b,
):  # fmt: skip
    """As the CPU twin, without its blocks and packing. One block a tile of C.

    The threads load a piece of A and of B into shared memory, neighbours in memory by neighbouring threads; each then
    adds its part of the tile in registers: eight loads for sixteen multiply-adds.
    """
    tiles_across = (n + TILE - 1) // TILE
    tiles_down = (m + TILE - 1) // TILE
    left = cuda.blockIdx.x % tiles_across * TILE
    top = cuda.blockIdx.x // tiles_across % tiles_down * TILE
    item = cuda.blockIdx.x // (tiles_across * tiles_down)
    a_piece = cuda.shared.array(PIECE, a.dtype)
    b_piece = cuda.shared.array(PIECE, a.dtype)
    sums = cuda.local.array(PARTS, a.dtype)
    for i in range(PART):
        for j in range(PART):
            sums[i, j] = a.dtype.type(0)
    own_row = cuda.threadIdx.x // STEP * PART
    own_column = cuda.threadIdx.x % STEP * PART
    inside = top + own_row < m and left + own_column < n

    for start in range(0, k, STEP):
        for element in range(cuda.threadIdx.x, TILE * STEP, THREADS):
            row, inner = (element // STEP, element % STEP) if a_inner == 1 else (element % TILE, element // TILE)
            value = a.dtype.type(0)
            if top + row < m and start + inner < k:
                value = a[item * a_batch + (top + row) * a_row + (start + inner) * a_inner]
            a_piece[inner, row] = value
            column, inner = (element // STEP, element % STEP) if b_inner == 1 else (element % TILE, element // TILE)
            value = a.dtype.type(0)
            if left + column < n and start + inner < k:
                value = b[item * b_batch + (start + inner) * b_inner + (left + column) * b_column]
            b_piece[inner, column] = value
        cuda.syncthreads()
        if inside:
            for inner in range(min(STEP, k - start)):
                for i in range(PART):
                    value = a_piece[inner, own_row + i]
                    for j in range(PART):
                        sums[i, j] += value * b_piece[inner, own_column + j]
        cuda.syncthreads()

    for i in range(PART):
        for j in range(PART):
            row, column = top + own_row + i, left + own_column + j
            if row < m and column < n:
                value = sums[i, j]
                at = (item * m + row) * n + column
                if bias.shape[0] > 0:
                    value += bias[column * bias_step]
                if beta != a.dtype.type(0):
                    value += beta * c[at]
                c[at] = floor if floor > value else value


def _tiles(a: Any, b: Any, c: Any, bias: Any, workspace: Any, batch: int, m: int, n: int, *_: Any) -> int:
    return batch * -(-m // TILE) * -(-n // TILE)


gemm_kernel = Kernel(
    cpu=_gemm_cpu,
    cuda=_gemm_cuda,
    tasks=lambda a, b, c, bias, workspace, *_: workspace.shape[0],
    work=lambda a, b, c, bias, workspace, batch, m, n, k, *_: batch * m * n * k,
    blocks=_tiles,
    threads=THREADS,
    requires=register_tile_driver,
)

_NOTHING = {np.dtype(dtype): np.empty(0, dtype) for dtype in (np.float32, np.float64)}
_NO_WORKSPACE = {np.dtype(dtype): np.empty((1, 0), dtype) for dtype in (np.float32, np.float64)}


def gemm(a: Any, b: Any, c: Any, bias: Any = None, beta: float = 0.0, floor: float = -math.inf) -> None:
    """Sets c = max(floor, beta c + a b + bias), the bias added to each row; floor = 0 is a fused ReLU.

    Args:
        a: [M, K] or [batch, M, K], any strides.
        b: [K, N] or [batch, K, N], any strides, of the dtype of a.
        c: [M, N] or [batch, M, N], C-contiguous. With beta = 0 what it held is not read.
        bias: [N], C-contiguous, or None.
        beta: Factor of what c held.
        floor: Smallest result. NaN passes.
    """
    batch = a.shape[0] if a.ndim == 3 else 1
    m, k = a.shape[-2:]
    n = b.shape[-1]
    if not batch * m * n:
        return
    a, a_batch, a_row, a_inner = _flat(a)
    b, b_batch, b_inner, b_column = _flat(b)
    bias_step = 1
    if n == 1 and m > 1:  # a matrix times a column is, transposed, a row times a matrix
        a, a_batch, a_row, a_inner, b, b_batch, b_inner, b_column = (
            b, b_batch, b_column, b_inner, a, a_batch, a_inner, a_row
        )  # fmt: skip
        m, n, bias_step = 1, m, 0
    dtype = c.dtype
    plan = plan_blocks(batch, m, n, k, a_row, a_inner, b_inner, b_column, dtype.itemsize, threads._threads)
    *blocks, tasks, elements = plan
    workspace = memory.empty((tasks, elements), dtype) if tasks > 1 or elements else _NO_WORKSPACE[dtype]
    gemm_kernel(
        a, b, c.reshape(-1), _NOTHING[dtype] if bias is None else bias, workspace, batch, m, n, k,
        a_batch, a_row, a_inner, b_batch, b_inner, b_column, bias_step, dtype.type(beta), dtype.type(floor),
        *blocks,
    )  # fmt: skip


def _flat(x: Any) -> tuple[Any, int, int, int]:
    """The memory of x as one dimension, and the strides of its batch, rows and columns in elements."""
    if x.flags.c_contiguous:
        rows, columns = x.shape[-2:]
        return x.reshape(-1), rows * columns, columns, 1
    turned = x.swapaxes(-1, -2)
    if turned.flags.c_contiguous:
        rows, columns = x.shape[-2:]
        return turned.reshape(-1), rows * columns, 1, rows
    if x.ndim == 3 and x.strides[0] == 0:  # one matrix for all of the batch
        memory_of_one, _, row, column = _flat(x[0])
        return memory_of_one, 0, row, column
    if min(x.strides) < 0:
        return _flat(arrays.contiguous(x))
    steps = tuple(stride // x.itemsize for stride in x.strides)
    extent = sum((size - 1) * step for size, step in zip(x.shape, steps, strict=True)) + 1
    return arrays.strided(x, (extent,), (x.itemsize,)), steps[0] if x.ndim == 3 else 0, steps[-2], steps[-1]
