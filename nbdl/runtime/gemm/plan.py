"""How a matrix product is cut into blocks, and what of it is packed. Decided from the sizes, once for each."""

from __future__ import annotations

import functools
from typing import NamedTuple

from nbdl.runtime.simd import vector_unit

DEPTH_BYTES = 1536
"""Bytes of a column of B in one pass over K: 384 float32; a panel two vectors wide fills 48 kB."""

PACKED_ROWS = 1024
"""Rows of A packed at once."""

CONFLICT = 2048
"""Row strides of A, in bytes, from which on a tile's rows share too few sets of the first cache and pages."""

REUSE = 32
"""Rows of C from which on packing a panel of B costs less than reading its strided rows again for each tile."""

PARALLEL_WORK = 1 << 19
"""Multiply-adds that a thread should have at least."""

PACK_COST = 8
"""Packing an element costs about as much as this many multiply-adds."""


class Plan(NamedTuple):
    """Blocks of one matrix product; the field names are those of the kernel's arguments."""

    units: int
    row_blocks: int
    column_blocks: int
    block_rows: int
    block_columns: int
    depth: int
    rows_at_once: int
    pack_a: bool
    pack_b: bool
    tasks: int
    workspace: int  # elements for each task


def _ceil(n: int, step: int) -> int:
    return -(-n // step)


@functools.lru_cache(maxsize=4096)
def plan_blocks(
    batch: int, m: int, n: int, k: int, a_row: int, a_inner: int, b_inner: int, b_column: int, itemsize: int, threads: int
) -> Plan:
    """The blocks for `batch` products of [m, k] by [k, n] with the given strides, for a number of threads."""
    unit = vector_unit()
    lanes = unit.bytes // itemsize
    width = 2 * lanes if n > lanes else lanes
    depth = _ceil(k, max(_ceil(k * itemsize, DEPTH_BYTES), 1))

    workers = min(threads, max(batch * m * n * k // PARALLEL_WORK, 1))
    row_blocks, column_blocks = _split(_ceil(workers, batch), m, n, width, unit.rows)
    block_rows = _ceil(m, row_blocks)
    block_columns = _ceil(_ceil(n, width), column_blocks) * width
    units = batch * row_blocks * column_blocks
    tasks = min(units, workers)

    pack_b = (b_column != 1 or b_inner * itemsize >= 256) and (b_column != 1 or block_rows > REUSE)
    pack_a = block_columns > 2 * width and max(a_row, a_inner) * itemsize >= CONFLICT and block_rows > unit.rows
    rows_at_once = PACKED_ROWS if pack_a else block_rows
    workspace = 0
    if pack_a or pack_b or n % lanes:
        workspace = depth * width
    if pack_a:
        # Room for either orientation of packed A and for the padding of its rows.
        rows = min(rows_at_once, block_rows)
        workspace += max(rows * (depth + 3 * lanes), depth * (rows + 3 * lanes))
    return Plan(
        units, row_blocks, column_blocks, block_rows, block_columns, depth, max(rows_at_once, 1), pack_a, pack_b, tasks,
        _ceil(workspace, lanes) * lanes,
    )  # fmt: skip


def _split(parts: int, m: int, n: int, width: int, tile: int) -> tuple[int, int]:
    """Blocks of rows and of columns: the pair whose largest block, with its packing, costs least."""
    best = (1, 1)
    least = float("inf")
    for row_blocks in range(1, parts + 1):
        column_blocks = min(parts // row_blocks, max(_ceil(n, width), 1))
        rows = _ceil(m, row_blocks)
        columns = _ceil(_ceil(n, width), column_blocks) * width
        cost = rows * columns + PACK_COST * (rows + columns)
        if cost < least and (row_blocks == 1 or rows >= tile // 2):
            best, least = (row_blocks, column_blocks), cost
    return best
