"""The matrix product C = act(beta C + A B + bias): blocks for the threads, packing, and the tile driver over them.

A thread's unit of work is a block of C, all of K at once, so no sum is ever split between threads: an element of C is
the same chain of additions whatever the blocks, and results do not depend on the number of threads. Inside a block

    for a pass over K that the cache can hold
        pack A's rows, where their stride would make them evict one another
        for a few panels of columns, each two vectors wide
            pack B's columns into [panel][depth][width]
            for each panel the tile driver over all rows

A curve, GELU for one, bends the elements of C as soon as their sums are complete, a piece at a time while it is in the
near caches. It is compiled by itself and called by its address, so one kernel serves all curves.

Source: Goto and van de Geijn (2008), "Anatomy of High-Performance Matrix Multiplication".
"""

from __future__ import annotations

import numpy as np

from nbdl.runtime.gemm.bending import bend_block
from nbdl.runtime.gemm.panel import multiply_panel
from nbdl.runtime.gemm.vector import multiply_row
from nbdl.runtime.jit import cpu_function, cpu_kernel
from nbdl.runtime.simd import advance, copy_vector, null_pointer, pointer, prefetch, transpose_square, vector_lanes

AHEAD = 4
"""Rows of B that packing asks for in advance: each row is another page, where the processor does not look ahead."""

BENT_ROWS = 168
"""Rows of a panel that a curve bends at once: whole tiles of any CPU, and few enough for the near caches."""

# ---------------------------------------------------------------- packing


@cpu_function
def pack_columns(b, b_inner, b_column, depth, columns, width, panels):
    """Puts b [depth, columns] of any strides into panels [panel, depth, width]; to the right of it lies anything."""
    lanes = vector_lanes(b)
    if b_column == 1:
        whole = columns // lanes * lanes
        for k in range(depth):
            for left in range(0, whole, width):
                panel = advance(panels, left * depth + k * width)
                for j in range(0, min(width, whole - left), lanes):
                    prefetch(advance(b, (k + AHEAD) * b_inner + left + j))
                    copy_vector(advance(b, k * b_inner + left + j), advance(panel, j))
        if whole < columns:
            # A vector may reach into the next rows, whose elements do no harm, but not past the last one.
            beyond = lanes - (columns - whole)
            safe = max(0, depth - -(-beyond // b_inner)) if b_inner > 0 else 0
            panel = advance(panels, whole // width * depth * width + whole % width)
            for k in range(safe):
                copy_vector(advance(b, k * b_inner + whole), advance(panel, k * width))
            for k in range(safe, depth):
                for j in range(columns - whole):
                    panel[k * width + j] = b[k * b_inner + whole + j]
    elif b_inner == 1:
        squares = depth // lanes * lanes
        for j in range(0, columns, lanes):
            rows = min(lanes, columns - j)
            source = advance(b, j * b_column)
            panel = advance(panels, j // width * depth * width + j % width)
            for k in range(0, squares, lanes):
                transpose_square(advance(source, k), b_column, rows, advance(panel, k * width), width)
            for i in range(rows):
                for k in range(squares, depth):
                    panel[k * width + i] = source[k + i * b_column]
    else:
        for j in range(columns):
            panel = advance(panels, j // width * depth * width + j % width)
            for k in range(depth):
                panel[k * width] = b[k * b_inner + j * b_column]


@cpu_function
def pack_rows(a, a_row, a_inner, rows, depth, packed, packed_row, packed_inner):
    """Puts a [rows, depth] of any strides into packed [rows, depth], whose strides order the loops."""
    if packed_inner == 1:
        for i in range(rows):
            source, target = advance(a, i * a_row), advance(packed, i * packed_row)
            if a_inner == 1:
                for k in range(depth):
                    target[k] = source[k]
            else:
                for k in range(depth):
                    target[k] = source[k * a_inner]
    else:
        for k in range(depth):
            source, target = advance(a, k * a_inner), advance(packed, k * packed_inner)
            for i in range(rows):
                target[i] = source[i]


# ---------------------------------------------------------------- one block of C


@cpu_function
def _multiply_block(
    m, n, k, depth, rows_at_once, columns_at_once, pack_a, pack_b,
    a, a_row, a_inner, b, b_inner, b_column, bias, has_bias, floor, c, c_row, beta, bend, to_slope, workspace,
):  # fmt: skip
    """C [m, n] of a block; see `_gemm_cpu`. The workspace holds the packed panels of B, then the packed rows of A."""
    lanes = vector_lanes(a)
    width = 2 * lanes if n > lanes else lanes
    packed_a = advance(workspace, depth * columns_at_once)
    for top in range(0, m, rows_at_once):
        rows = min(rows_at_once, m - top)
        start = 0
        while True:
            steps = min(depth, k - start)
            block_a, block_row, block_inner = advance(a, top * a_row + start * a_inner), a_row, a_inner
            if pack_a:
                # An odd number of vectors a row: no two rows of a tile in the same set of the cache.
                if a_row == 1:
                    block_row, block_inner = 1, (rows // lanes) // 2 * 2 * lanes + 3 * lanes
                else:
                    block_row, block_inner = (steps // lanes) // 2 * 2 * lanes + 3 * lanes, 1
                pack_rows(block_a, a_row, a_inner, rows, steps, packed_a, block_row, block_inner)
                block_a = packed_a
            last = start + steps == k
            for left in range(0, n, width):
                columns = min(width, n - left)
                panel, panel_inner = advance(b, start * b_inner + left * b_column), b_inner
                if pack_b:
                    in_pack = left % columns_at_once
                    if in_pack == 0:
                        many = min(columns_at_once, n - left)
                        pack_columns(panel, b_inner, b_column, steps, many, width, workspace)
                    panel, panel_inner = advance(workspace, in_pack * steps), width
                elif columns % lanes:  # a row is read in whole vectors, and B may end before
                    pack_columns(panel, b_inner, b_column, steps, columns, width, workspace)
                    panel, panel_inner = workspace, width
                piece = BENT_ROWS if last and bend != 0 else rows
                for row in range(0, rows, piece):
                    height = min(piece, rows - row)
                    target = advance(c, (top + row) * c_row + left)
                    multiply_panel(
                        height, 1, steps, advance(block_a, row * block_row), 0, block_row, block_inner,
                        panel, 0, panel_inner,
                        advance(bias, left) if has_bias and start == 0 else null_pointer(bias),
                        floor if last else -np.inf,
                        target, c_row,
                        beta if start == 0 else 1.0, columns,
                    )  # fmt: skip
                    if last and bend != 0:
                        bend_block(bend, height, columns, target, c_row, to_slope)
            start += steps
            if last:
                break


@cpu_function
def _store_turned(block, rows, columns, width, c, c_column, bias, has_bias, floor):
    """Row j of c = max(floor, column j of the block [rows, width] + bias)."""
    lanes = vector_lanes(block)
    square_rows, square_columns = rows // lanes * lanes, columns // lanes * lanes
    for j in range(0, square_columns, lanes):
        for i in range(0, square_rows, lanes):
            transpose_square(advance(block, i * width + j), width, lanes, advance(c, j * c_column + i), c_column)
    for j in range(columns):
        target = advance(c, j * c_column)
        for i in range(square_rows if j < square_columns else 0, rows):
            target[i] = block[i * width + j]
        if has_bias:
            for i in range(rows):
                value = target[i] + bias[i]
                target[i] = floor if floor > value else value
        elif floor > -np.inf:
            for i in range(rows):
                target[i] = floor if floor > target[i] else target[i]


@cpu_kernel
def _gemm_cpu(a, b, c, bias, workspace, sizes, beta, floor, start, stop):
    """C[i, j] = f(max(floor, beta C[i, j] + bias[j] + sum over k of A[i, k] B[k, j])), for each of a batch.

    a, b, c, bias: flat arrays, strides in elements; an empty bias stands for zeros. Where c's columns have a stride,
    beta is 0. f is the curve at the address `bend`, if that is not 0; where c has room for as many elements more, f'
    goes there. workspace [tasks, elements]; sizes as below: one array is quicker to pass than many integers.
    One task a range of blocks of C; no two tasks write one block.
    """
    batch, m, n, k = sizes[0], sizes[1], sizes[2], sizes[3]
    a_batch, a_row, a_inner = sizes[4], sizes[5], sizes[6]
    b_batch, b_inner, b_column = sizes[7], sizes[8], sizes[9]
    c_row, c_column, bias_row, bias_column = sizes[10], sizes[11], sizes[12], sizes[13]
    block_rows, block_columns, depth = sizes[14], sizes[15], sizes[16]
    rows_at_once, columns_at_once, pack_a, pack_b = sizes[17], sizes[18], sizes[19] != 0, sizes[20] != 0
    bend, to_slope = sizes[21], batch * m * n if c.shape[0] > batch * m * n else 0
    tasks = workspace.shape[0]
    has_bias = bias.shape[0] > 0
    row_blocks, column_blocks = -(-m // block_rows), -(-n // block_columns)
    units = batch * row_blocks * column_blocks
    own = pointer(workspace, start * workspace.shape[1])
    for unit in range(units * start // tasks, units * stop // tasks):
        top = unit // column_blocks % row_blocks * block_rows
        left = unit % column_blocks * block_columns
        item = unit // (row_blocks * column_blocks)
        block_a = pointer(a, item * a_batch + top * a_row)
        block_b = pointer(b, item * b_batch + left * b_column)
        block_c = pointer(c, item * m * n + top * c_row + left * c_column)
        block_bias = pointer(bias, top * bias_row + left * bias_column)
        rows, columns = min(block_rows, m - top), min(block_columns, n - left)
        if m == 1:
            multiply_row(
                columns, k, block_a, a_inner, block_b, b_inner, b_column,
                block_bias, bias_column, has_bias, floor, block_c, beta, own, a.dtype.type(0),
            )  # fmt: skip
            if bend != 0:
                bend_block(bend, 1, columns, block_c, 0, to_slope)
        elif c_column == 1:
            _multiply_block(
                rows, columns, k, depth, rows_at_once, columns_at_once, pack_a, pack_b,
                block_a, a_row, a_inner, block_b, b_inner, b_column,
                block_bias, has_bias, floor, block_c, c_row, beta, bend, to_slope, own,
            )  # fmt: skip
        else:
            _multiply_block(
                rows, columns, k, depth, rows_at_once, columns_at_once, pack_a, pack_b,
                block_a, a_row, a_inner, block_b, b_inner, b_column,
                block_bias, False, -np.inf, own, block_columns, 0.0, 0, 0, advance(own, block_rows * block_columns),
            )  # fmt: skip
            _store_turned(own, rows, columns, block_columns, block_c, c_column, block_bias, has_bias, floor)
            if bend != 0:
                bend_block(bend, columns, rows, block_c, c_column, to_slope)
