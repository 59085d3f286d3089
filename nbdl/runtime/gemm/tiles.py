"""The matrix product on CUDA in large tiles: float32, 128 x 128 results a block, 64 a thread.

A product is bound by arithmetic if each number that is fetched takes part in many multiply-adds. Here a thread reads 16
numbers from shared memory, 16 bytes at a time, for 64 multiply-adds; a block reads 2 x 128 x 8 from global memory for
128 x 128 x 8. While it computes with one piece, the next is on its way: registers hold it until the second half of
the shared memory is free, so that there is one barrier a piece.

A thread owns the rows 4y .. 4y + 3 and 64 + 4y .. 64 + 4y + 3 of a tile, and columns likewise: the 16 threads of a row
then read 16 neighbouring pieces of shared memory, which no two banks serve twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.runtime.cuda.compiler import resident
from nbdl.runtime.cuda.vectors import is_aligned, load4, store4
from nbdl.runtime.jit import cuda, cuda_device, cuda_kernel

SIDE = 128
"""Rows and columns of a tile."""

HALF = SIDE // 2

DEPTH = 8
"""Elements of K that a block loads at once."""

PIECES = (2, DEPTH, SIDE + 4)
"""Two pieces of an operand, elements of K first; four columns to spare spread its rows over the banks."""

PART = (8, 8)
"""What a thread computes."""

SIDE_THREADS = 16

THREADS = SIDE_THREADS * SIDE_THREADS


@cuda_device
def corner_of(tile, m, n, rows, columns):
    """Where a tile of rows x columns lies: its first column, its first row, and the number of its product [m, n].

    Tiles of a row follow each other, then rows, then products.
    """
    across, down = (n + columns - 1) // columns, (m + rows - 1) // rows
    return tile % across * columns, tile // across % down * rows, tile // (across * down)


@cuda_device
def fetch4(x, at, step, count, wide):
    """Four elements of x, `step` apart; zeros from the `count`-th on. `wide`: they may be fetched at once."""
    zero = x.dtype.type(0)
    if wide and count >= 4:
        return load4(x, at)
    a, b, c, d = zero, zero, zero, zero
    if count > 0:
        a = x[at]
    if count > 1:
        b = x[at + step]
    if count > 2:
        c = x[at + 2 * step]
    if count > 3:
        d = x[at + 3 * step]
    return a, b, c, d


@cuda_device
def keep4(pieces, half, inner, lead, along_inner, a, b, c, d):
    """Puts four elements into a piece: neighbours along K, or along the rows of A, the columns of B."""
    if along_inner:
        pieces[half, inner, lead] = a
        pieces[half, inner + 1, lead] = b
        pieces[half, inner + 2, lead] = c
        pieces[half, inner + 3, lead] = d
    else:
        store4(pieces, (half, inner, lead), a, b, c, d)


@cuda_device
def finished(value, c, at, bias, bias_at, beta, floor):
    """A result from the sum of its products: the bias and what stood there are added, and it is floored."""
    if bias.shape[0] > 0:
        value += bias[bias_at]
    if beta != np.float32(0):
        value += beta * c[at]
    return floor if floor > value else value


@cuda_device
def store_some(c, at, step, count, wide, v0, v1, v2, v3):
    """Writes the first `count` of four elements, `step` apart. `wide`: they may be written at once."""
    if wide and count >= 4:
        store4(c, at, v0, v1, v2, v3)
    else:
        if count > 0:
            c[at] = v0
        if count > 1:
            c[at + step] = v1
        if count > 2:
            c[at + 2 * step] = v2
        if count > 3:
            c[at + 3 * step] = v3


@cuda_device
def store_part(c, at, step, count, wide, bias, bias_at, bias_step, beta, floor, v0, v1, v2, v3):
    """Writes four neighbours of a row, as many as there are columns left."""
    if count > 0:
        v0 = finished(v0, c, at, bias, bias_at, beta, floor)
    if count > 1:
        v1 = finished(v1, c, at + step, bias, bias_at + bias_step, beta, floor)
    if count > 2:
        v2 = finished(v2, c, at + 2 * step, bias, bias_at + 2 * bias_step, beta, floor)
    if count > 3:
        v3 = finished(v3, c, at + 3 * step, bias, bias_at + 3 * bias_step, beta, floor)
    store_some(c, at, step, count, wide, v0, v1, v2, v3)


def multiplier(columns: int) -> Any:
    """The function that multiplies a piece, for threads that own 8 rows and 4 or 8 columns."""

    @cuda_device
    def multiply_piece(a_pieces, b_pieces, half, row, column, sums, left, right):
        """Adds to a thread's sums what a piece of K contributes."""
        for inner in range(DEPTH):
            left[0], left[1], left[2], left[3] = load4(a_pieces, (half, inner, row))
            left[4], left[5], left[6], left[7] = load4(a_pieces, (half, inner, HALF + row))
            right[0], right[1], right[2], right[3] = load4(b_pieces, (half, inner, column))
            if columns > 4:
                right[4], right[5], right[6], right[7] = load4(b_pieces, (half, inner, HALF + column))
            for i in range(8):
                for j in range(columns):
                    sums[i, j] += left[i] * right[j]

    return multiply_piece


multiply_piece = multiplier(PART[1])


@resident(THREADS, 2)
@cuda_kernel
def gemm_tiles_cuda(a, b, c, bias, workspace, sizes, beta, floor):
    """As the CPU twin, without its blocks and packing; float32. One block a tile of 128 x 128 results."""
    m, n, k = sizes[1], sizes[2], sizes[3]
    a_row, a_inner = sizes[5], sizes[6]
    b_inner, b_column = sizes[8], sizes[9]
    c_row, c_column, bias_row, bias_column = sizes[10], sizes[11], sizes[12], sizes[13]
    left_edge, top, item = corner_of(cuda.blockIdx.x, m, n, SIDE, SIDE)
    a_pieces = cuda.shared.array(PIECES, np.float32, 16)
    b_pieces = cuda.shared.array(PIECES, np.float32, 16)
    sums = cuda.local.array(PART, np.float32)
    left = cuda.local.array(8, np.float32)
    right = cuda.local.array(8, np.float32)
    for i in range(8):
        for j in range(8):
            sums[i, j] = np.float32(0)
    thread = cuda.threadIdx.x
    row, column = thread // SIDE_THREADS * 4, thread % SIDE_THREADS * 4
    active = top + row < m and left_edge + column < n

    # What the thread fetches of A: four neighbours along K where they lie side by side, else four rows.
    a_along, b_along = a_inner == 1, b_inner == 1
    a_lead, a_at = (thread // 2, thread % 2 * 4) if a_along else (thread % 32 * 4, thread // 32)
    b_lead, b_at = (thread // 2, thread % 2 * 4) if b_along else (thread % 32 * 4, thread // 32)
    a_step, b_step = a_inner if a_along else a_row, b_inner if b_along else b_column
    a_wide = a_step == 1 and (a_row if a_along else a_inner) % 4 == 0 and sizes[4] % 4 == 0 and is_aligned(a)
    b_wide = b_step == 1 and (b_column if b_along else b_inner) % 4 == 0 and sizes[7] % 4 == 0 and is_aligned(b)
    a_from = item * sizes[4] + (top + a_lead) * a_row + a_at * a_inner
    b_from = item * sizes[7] + (left_edge + b_lead) * b_column + b_at * b_inner
    a_left, b_left = m - top - a_lead, n - left_edge - b_lead

    count = (k - a_at if a_left > 0 else 0) if a_along else (a_left if a_at < k else 0)
    a0, a1, a2, a3 = fetch4(a, a_from, a_step, count, a_wide)
    count = (k - b_at if b_left > 0 else 0) if b_along else (b_left if b_at < k else 0)
    b0, b1, b2, b3 = fetch4(b, b_from, b_step, count, b_wide)
    keep4(a_pieces, 0, a_at, a_lead, a_along, a0, a1, a2, a3)
    keep4(b_pieces, 0, b_at, b_lead, b_along, b0, b1, b2, b3)
    cuda.syncthreads()
    half = 0
    for start in range(DEPTH, k, DEPTH):
        inner = start + a_at
        count = (k - inner if a_left > 0 else 0) if a_along else (a_left if inner < k else 0)
        a0, a1, a2, a3 = fetch4(a, a_from + start * a_inner, a_step, count, a_wide)
        inner = start + b_at
        count = (k - inner if b_left > 0 else 0) if b_along else (b_left if inner < k else 0)
        b0, b1, b2, b3 = fetch4(b, b_from + start * b_inner, b_step, count, b_wide)
        if active:
            multiply_piece(a_pieces, b_pieces, half, row, column, sums, left, right)
        half = 1 - half
        keep4(a_pieces, half, a_at, a_lead, a_along, a0, a1, a2, a3)
        keep4(b_pieces, half, b_at, b_lead, b_along, b0, b1, b2, b3)
        cuda.syncthreads()
    if not active:
        return
    multiply_piece(a_pieces, b_pieces, half, row, column, sums, left, right)

    first = item * m * n
    wide = c_column == 1 and c_row % 4 == 0 and (m * n) % 4 == 0 and is_aligned(c)
    for part in range(16):
        r = top + part // 8 * HALF + row + part // 2 % 4
        q = left_edge + part % 2 * HALF + column
        at, bias_at = first + r * c_row + q * c_column, r * bias_row + q * bias_column
        count = n - q if r < m else 0
        v0, v1, v2, v3 = sums[0, 0], sums[0, 1], sums[0, 2], sums[0, 3]
        store_part(c, at, c_column, count, wide, bias, bias_at, bias_column, beta, floor, v0, v1, v2, v3)
        # Registers have no numbers that a loop could count: the next four sums move to where these were.
        for i in range(8):
            for j in range(4):
                sums[i, j] = sums[i, j + 4]
                if i < 7:
                    sums[i, j + 4] = sums[i + 1, j]
