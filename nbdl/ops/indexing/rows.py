r"""Rows by number: the kernels under indexing, index_select and embedding, and their scatter gradients.

A tensor is read as $x$ of shape [O, M, I]: M rows to choose from, O of such tables before and I elements in a row.
With the numbers $n_k$,

$$y_{o,k,i} = x_{o,n_k,i}, \qquad dx_{o,m,i} = \sum_{k : n_k = m} dy_{o,k,i}.$$

The sum is a scatter: several k may hit one row. Atomic additions would add in an order that changes from run to run.
Here one task owns a range of rows and of columns and adds in the order of k; however the ranges are cut, each element
gets the same additions in the same order, so the result is the same to the last bit for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.runtime import arrays, looking, memory, threads
from nbdl.runtime.errors import DTypeError, IndexRangeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_function, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- row numbers


@cpu_function
def _renumber(ids, count, numbers):
    """Sets numbers [K] to ids [K], K > 0, negative ones counted from the end; returns the smallest and largest id."""
    lowest = ids[0]
    highest = ids[0]
    for k in range(ids.shape[0]):
        lowest = min(lowest, ids[k])
        highest = max(highest, ids[k])
        numbers[k] = ids[k] + count if ids[k] < 0 else ids[k]
    return lowest, highest


def row_numbers(name: str, ids: Any, count: int, negative: bool = False) -> Any:
    """The ids as contiguous int64 [K], all in [0, count).

    They are a copy: backward reads them again, unchecked, whatever became of the index meanwhile.

    Args:
        name: The argument's name in messages.
        ids: Integers of any shape.
        count: The number of rows.
        negative: Whether ids from -count on count from the end.

    Raises:
        DTypeError: The ids are not integers.
        IndexRangeError: An id is out of range.
    """
    if ids.dtype.kind not in "iu":
        raise DTypeError(f"{name}: expected integers, got {ids.dtype}")
    if looking.waits(ids):
        return _row_numbers_unseen(name, ids, count, negative)
    flat = np.ascontiguousarray(ids, np.int64).reshape(-1)
    numbers = memory.empty(flat.shape, np.int64)
    if flat.size == 0:
        return numbers
    lowest, highest = _renumber(flat, count, numbers)
    _check_range(name, ids, flat, lowest, highest, count, negative)
    return numbers


def _check_range(
    name: str, ids: np.ndarray, flat: np.ndarray, lowest: int, highest: int, count: int, negative: bool
) -> None:
    smallest = -count if negative else 0
    if lowest < smallest or highest >= count:
        wrong = lowest if lowest < smallest else highest
        place = np.unravel_index(int(np.argmax(flat == wrong)), ids.shape)
        where = f" at index {[int(i) for i in place]}" if ids.ndim else ""
        expected = f"integers in [{smallest}, {count - 1}]" if count else "no index into a dimension of size 0"
        raise IndexRangeError(f"{name}: expected {expected}, got {wrong}{where}", (smallest, count - 1, None))


@cpu_kernel
def _wrap_ids_cpu(ids, count, numbers, start, stop):
    """numbers [K] = ids [K], negative ones counted from the end, and 0 for those out of range. One task an id."""
    for k in range(start, stop):
        row = np.int64(ids[k])
        row = row + count if row < 0 else row
        numbers[k] = row if 0 <= row < count else 0


@cuda_kernel
def _wrap_ids_cuda(ids, count, numbers):
    """As the CPU twin. One thread an id."""
    k = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if k < ids.shape[0]:
        row = np.int64(ids[k])
        row = row + count if row < 0 else row
        numbers[k] = row if 0 <= row < count else 0


wrap_ids = Kernel(
    cpu=_wrap_ids_cpu,
    cuda=_wrap_ids_cuda,
    tasks=lambda ids, count, numbers: ids.shape[0],
    blocks=lambda ids, count, numbers: -(-ids.shape[0] // BLOCK),
)


def _row_numbers_unseen(name: str, ids: Any, count: int, negative: bool) -> Any:
    """As `row_numbers`, where Python cannot look at the ids itself: a kernel wraps them."""
    numbers = arrays.empty_beside(ids, (ids.size,), np.int64)
    if ids.size == 0:
        return numbers
    wrap_ids(arrays.contiguous(ids).reshape(-1), count, numbers)

    def check(values: np.ndarray) -> None:
        flat = values.astype(np.int64).reshape(-1)
        _check_range(name, values, flat, int(flat.min()), int(flat.max()), count, negative)

    looking.look(ids, check)
    return numbers


# ---------------------------------------------------------------- gather

MOVED = 4
"""Elements that vectors move or add in the time of one scalar operation: a second thread must be worth its start."""


@cpu_kernel
def _gather_rows_cpu(x, ids, y, start, stop):
    """x [O, M, I]; ids [K]; y [O, K, I]: y[:, k] = x[:, ids[k]]. One task a row of y."""
    count, size = ids.shape[0], x.shape[2]
    if size == 1:  # no division for each element
        for o in range(start // count, (stop - 1) // count + 1):
            for k in range(max(start - o * count, 0), min(stop - o * count, count)):
                y[o, np.uint64(k), 0] = x[o, np.uint64(ids[np.uint64(k)]), 0]
    else:
        for task in range(start, stop):
            o, k = task // count, task % count
            row = ids[k]
            for i in range(size):
                y[o, k, i] = x[o, row, i]


@cuda_kernel
def _gather_rows_cuda(x, ids, y):
    """As the CPU twin. One block a row."""
    o, k = cuda.blockIdx.x // ids.shape[0], cuda.blockIdx.x % ids.shape[0]
    row = ids[k]
    for i in range(cuda.threadIdx.x, x.shape[2], BLOCK):
        y[o, k, i] = x[o, row, i]


gather_rows = Kernel(
    cpu=_gather_rows_cpu,
    cuda=_gather_rows_cuda,
    tasks=lambda x, ids, y: x.shape[0] * ids.shape[0],
    work=lambda x, ids, y: y.size // MOVED,
)

FEWEST_COLUMNS = 32
"""Elements of a block of columns at least: two cache lines of float32."""


def _columns(size: int) -> int:
    """Columns of a task, so that each thread has some.

    How a scatter is cut decides who writes, never in which order, so it may follow the number of threads.
    """
    return max(FEWEST_COLUMNS, -(-size // threads.get_num_threads()))


# ---------------------------------------------------------------- put


@cpu_kernel
def _put_rows_cpu(values, ids, y, columns, start, stop):
    """values [O, K, I], any strides; ids [K]; y [O, M, I]: y[:, ids[k]] = values[:, k], the last k winning.

    One task a block of `columns` elements of one of the O tables. Columns are unsigned: a signed index that might be
    negative counts from the end in Python, and a loop that provides for it does not vectorise.
    """
    blocks = (y.shape[2] + columns - 1) // columns
    for task in range(start, stop):
        o, first = task // blocks, task % blocks * columns
        last = min(first + columns, y.shape[2])
        for k in range(ids.shape[0]):
            row = ids[k]
            for i in range(first, last):
                column = np.uint64(i)
                y[o, row, column] = values[o, k, column]


@cuda_kernel
def _put_rows_cuda(values, ids, y, columns):
    """As the CPU twin. One block a task; a thread owns its columns."""
    blocks = (y.shape[2] + columns - 1) // columns
    o, first = cuda.blockIdx.x // blocks, cuda.blockIdx.x % blocks * columns
    last = min(first + columns, y.shape[2])
    for k in range(ids.shape[0]):
        row = ids[k]
        for i in range(first + cuda.threadIdx.x, last, BLOCK):
            y[o, row, i] = values[o, k, i]


_put_rows = Kernel(
    cpu=_put_rows_cpu,
    cuda=_put_rows_cuda,
    tasks=lambda values, ids, y, columns: y.shape[0] * -(-y.shape[2] // columns),
    work=lambda values, ids, y, columns: values.size,
)


def put_rows(values: Any, ids: np.ndarray, y: Any) -> None:
    """y[:, ids] = values, [O, K, I] into [O, M, I]; of equal ids the last wins."""
    if values.size:
        _put_rows(values, ids, y, _columns(y.shape[2]))


# ---------------------------------------------------------------- scatter-add


@cpu_kernel
def _add_rows_cpu(dy, ids, dx, skip, columns, ranges, start, stop):
    """dy [O, K, I]; ids [K]; dx [O, M, I]: dx[:, ids[k]] += dy[:, k] in the order of k, except where ids[k] = skip.

    One task a range of rows and a block of `columns` elements of one of the O tables: no two write one element.
    """
    m, size = dx.shape[1], dx.shape[2]
    blocks = (size + columns - 1) // columns
    for task in range(start, stop):
        part, o = task % ranges, task // ranges // blocks
        low, high = m * part // ranges, m * (part + 1) // ranges
        first = task // ranges % blocks * columns
        last = min(first + columns, size)
        for k in range(ids.shape[0]):
            row = ids[k]
            if low <= row < high and row != skip:
                if size == 1:
                    dx[o, np.uint64(row), 0] += dy[o, k, 0]
                else:
                    for i in range(first, last):
                        column = np.uint64(i)
                        dx[o, row, column] += dy[o, k, column]


@cuda_kernel
def _add_rows_cuda(dy, ids, dx, skip, columns, ranges):
    """As the CPU twin. One block a task; a thread owns its columns."""
    m, size = dx.shape[1], dx.shape[2]
    blocks = (size + columns - 1) // columns
    task = cuda.blockIdx.x
    part, o = task % ranges, task // ranges // blocks
    low, high = m * part // ranges, m * (part + 1) // ranges
    first = task // ranges % blocks * columns
    last = min(first + columns, size)
    for k in range(ids.shape[0]):
        row = ids[k]
        if low <= row < high and row != skip:
            for i in range(first + cuda.threadIdx.x, last, BLOCK):
                dx[o, row, i] += dy[o, k, i]


_add_rows = Kernel(
    cpu=_add_rows_cpu,
    cuda=_add_rows_cuda,
    tasks=lambda dy, ids, dx, skip, columns, ranges: dx.shape[0] * -(-dx.shape[2] // columns) * ranges,
    work=lambda dy, *_: dy.size // MOVED,
)


def add_rows(dy: Any, ids: np.ndarray, dx: Any, skip: int = -1) -> None:
    """dx[:, ids] += dy, [O, K, I] into [O, M, I], each element in the order of k; rows named `skip` are left out."""
    if dy.size == 0:
        return
    tables, _, size = dx.shape
    columns = _columns(size)
    ranges = max(1, threads.get_num_threads() // (tables * -(-size // columns)))
    _add_rows(dy, ids, dx, skip, columns, ranges)
