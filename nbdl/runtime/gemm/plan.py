"""How a matrix product is cut into blocks, and what of it is packed. Decided from the sizes, once for each."""

from __future__ import annotations

from typing import NamedTuple

from nbdl.runtime.gemm.vector import GRAIN, STRIP
from nbdl.runtime.simd import vector_unit

DEPTH = 1024
"""Elements of K in one pass. A panel of B then streams from the second cache; shorter passes keep it in the first, and
lose more on reading and writing C again."""

PACKED_COLUMNS = 256
"""Columns of B packed at once: enough that its rows are read in long pieces."""

PACKED_ROWS = 1024
"""Rows of A packed at once."""

CONFLICT = 2048
"""Row strides of A, in bytes, from which on a tile's rows share too few pages and sets of the first cache."""

NEAR = 1 << 18
"""Bytes of B that the second cache keeps: panels are read where they are."""

FAR = 1 << 22
"""Bytes of B from which on it pays to pack even for a few rows: packing reads ahead."""

FEW_ROWS = 32
"""Rows of C for which packing B in between costs more than it gains."""

MOST_TURNED = 128
"""Rows of A up to which the product may be computed transposed."""

PAGE = 4096
"""Bytes. Rows apart by multiples of it share one set of the first cache."""

PARALLEL_WORK = 1 << 19
"""Multiply-adds that a thread should have at least."""

BLOCK_COST = 1 << 13
"""Starting on a block costs about as much as this many multiply-adds."""

ROW_COST = 4
"""A multiply-add of a row and a matrix, which waits for memory, costs at least as much as this many of a tile."""

PACK_COST = 8
"""Packing an element costs about as much as this many multiply-adds."""


class Plan(NamedTuple):
    """Blocks of one matrix product, in the order of the kernel's arguments; the last two size its workspace."""

    block_rows: int
    block_columns: int
    depth: int
    rows_at_once: int
    columns_at_once: int
    pack_a: bool
    pack_b: bool
    tasks: int
    workspace: int


def _ceil(n: int, step: int) -> int:
    return -(-n // step)


def plan_blocks(
    batch: int, m: int, n: int, k: int, a_row: int, a_inner: int, b_inner: int, b_column: int, c_column: int,
    itemsize: int, threads: int,
) -> Plan:  # fmt: skip
    """The blocks for `batch` products of [m, k] by [k, n] with the given strides, on a number of threads.

    `workspace` counts the elements that each task needs.
    """
    unit = vector_unit()
    lanes = unit.bytes // itemsize
    width = 2 * lanes if n > lanes else lanes
    work = batch * (m * n * k * (ROW_COST if m == 1 else 1) + BLOCK_COST)
    workers = min(threads, max(work // PARALLEL_WORK, 1))
    parts = _ceil(workers, batch)
    if m == 1:
        columns = _ceil(_ceil(n, GRAIN), min(parts, _ceil(n, GRAIN))) * GRAIN
        tasks = min(batch * _ceil(n, columns), workers)
        return Plan(1, columns, k, 1, STRIP, False, False, tasks, k if a_inner != 1 else 0)

    rows, columns = _block(parts, m, n, width, unit.rows)
    depth = _ceil(k, max(_ceil(k, DEPTH), 1))

    size = k * n * itemsize
    pack_b = b_column != 1 or (size > NEAR and (rows > FEW_ROWS or size > FAR))
    pack_a = columns > 2 * width and max(a_row, a_inner) * itemsize >= CONFLICT and rows > unit.rows
    rows_at_once = min(PACKED_ROWS, rows) if pack_a else rows
    columns_at_once = min(PACKED_COLUMNS, columns) if pack_b else width
    workspace = 0
    if pack_a or pack_b or n % lanes:
        workspace = depth * columns_at_once
    if pack_a:  # in either orientation, its rows padded
        workspace += max(rows_at_once * (depth + 3 * lanes), depth * (rows_at_once + 3 * lanes))
    if c_column != 1:  # the block, before it is turned
        workspace += rows * columns
    return Plan(
        rows, columns, depth, rows_at_once, columns_at_once, pack_a, pack_b,
        min(batch * _ceil(m, rows) * _ceil(n, columns), workers), _ceil(workspace, lanes) * lanes,
    )  # fmt: skip


def prefers_turned(m: int, n: int, b_inner: int, b_column: int, itemsize: int) -> bool:
    """Whether to compute the transposed product: that packs A's few rows instead of the transposed of a large B."""
    return 1 < m <= MOST_TURNED and 2 * m <= n and b_inner == 1 and b_column != 1 and b_column * itemsize % PAGE != 0


def _block(parts: int, m: int, n: int, width: int, tile: int) -> tuple[int, int]:
    """Rows and columns of a block, for that many parts: the shape whose block, with its packing, costs least."""
    best = (m, _ceil(n, width) * width)
    least = float("inf")
    for row_blocks in range(1, parts + 1):
        rows = _ceil(m, row_blocks)
        columns = _ceil(_ceil(n, width), min(parts // row_blocks, _ceil(n, width))) * width
        cost = rows * columns + PACK_COST * (rows + columns)
        if cost < least and (row_blocks == 1 or rows >= tile // 2):
            best, least = (rows, columns), cost
    return best
