"""Kernels on raw arrays that the engine itself needs: copy into contiguous memory, add, fill, sum partial results."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbdl.runtime import memory
from nbdl.runtime.addresses import address_of
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.cuda.primitives import fetch4, put4
from nbdl.runtime.cuda.vectors import is_aligned
from nbdl.runtime.errors import DeviceError
from nbdl.runtime.halves import from_float16, to_float16
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cpu_map, cuda, cuda_kernel, scalar
from nbdl.runtime.transposition import SIDE, copy_turned

# ---------------------------------------------------------------- copy


@cpu_kernel
def _copy_cpu(x, y, x_steps, y_steps, shape, start, stop):
    """x, y flat memory; steps (first, s0, s1, s2, s3) in elements; shape (n0, n1, n2, n3). One task a row of n3.

    Indices are made unsigned: a signed one might be negative, count from the end, and the loop would not vectorise.
    """
    _, n1, n2, n3 = shape
    x_first, x0, x1, x2, x3 = x_steps
    y_first, y0, y1, y2, y3 = y_steps
    for row in range(start, stop):
        i, j, k = row // (n1 * n2), row // n2 % n1, row % n2
        source = x_first + i * x0 + j * x1 + k * x2
        target = y_first + i * y0 + j * y1 + k * y2
        if x3 == 1 and y3 == 1:
            for last in range(n3):
                y[np.uint64(target + last)] = x[np.uint64(source + last)]
        elif x3 == -1 and y3 == 1:
            for last in range(n3):
                y[np.uint64(target + last)] = x[np.uint64(source - last)]
        else:
            for last in range(n3):
                y[np.uint64(target + last * y3)] = x[np.uint64(source + last * x3)]


@cuda_kernel
def _copy_cuda(x, y, x_steps, y_steps, shape):
    """As the CPU twin. One block a row."""
    _, n1, n2, n3 = shape
    x_first, x0, x1, x2, x3 = x_steps
    y_first, y0, y1, y2, y3 = y_steps
    row = cuda.blockIdx.x
    i, j, k = row // (n1 * n2), row // n2 % n1, row % n2
    source = x_first + i * x0 + j * x1 + k * x2
    target = y_first + i * y0 + j * y1 + k * y2
    for last in range(cuda.threadIdx.x, n3, BLOCK):
        y[target + last * y3] = x[source + last * x3]


copy = Kernel(
    cpu=_copy_cpu,
    cuda=_copy_cuda,
    tasks=lambda x, y, x_steps, y_steps, shape: shape[0] * shape[1] * shape[2],
    work=lambda x, y, x_steps, y_steps, shape: shape[0] * shape[1] * shape[2] * shape[3],
)

TILE = 16
"""Places in a row from which on a transposing copy goes by tiles: the elements of a cache line."""

TALL = 64
"""Rows of a band where the lines that are read lie further apart than those that are written."""


@scalar
def _rows_of_a_band(x_steps, y_steps):
    """Few where the rows that are written lie far apart: a cache holds eight lines whose addresses end alike."""
    return SIDE if y_steps[3] > x_steps[4] else TALL


@cpu_kernel
def _copy_tiles_cpu(x, y, x_steps, y_steps, shape, start, stop):
    """As `copy`, where x has unit steps in the third dimension and y in the last. One task a band of rows."""
    _, n1, n2, n3 = shape
    x_first, x0, x1, _, x3 = x_steps
    y_first, y0, y1, y2, _ = y_steps
    tall = _rows_of_a_band(x_steps, y_steps)
    bands = (n2 + tall - 1) // tall
    for task in range(start, stop):
        i, j, first = task // (n1 * bands), task // bands % n1, task % bands * tall
        source = x_first + i * x0 + j * x1 + first
        target = y_first + i * y0 + j * y1 + first * y2
        rows = min(tall, n2 - first)
        whole_rows, whole_columns = rows // SIDE * SIDE, n3 // SIDE * SIDE
        for column in range(0, whole_columns, SIDE):
            for k in range(0, whole_rows, SIDE):
                copy_turned(x, source + column * x3 + k, x3, y, target + k * y2 + column, y2)
        for k in range(rows):
            for last in range(0 if k >= whole_rows else whole_columns, n3):
                y[np.uint64(target + k * y2 + last)] = x[np.uint64(source + last * x3 + k)]


@cuda_kernel
def _copy_tiles_cuda(x, y, x_steps, y_steps, shape):
    """As the CPU twin. One block a band; each thread its columns."""
    _, n1, n2, n3 = shape
    x_first, x0, x1, _, x3 = x_steps
    y_first, y0, y1, y2, _ = y_steps
    tall = _rows_of_a_band(x_steps, y_steps)
    bands = (n2 + tall - 1) // tall
    task = cuda.blockIdx.x
    i, j, first = task // (n1 * bands), task // bands % n1, task % bands * tall
    source = x_first + i * x0 + j * x1 + first
    target = y_first + i * y0 + j * y1 + first * y2
    for last in range(cuda.threadIdx.x, n3, BLOCK):
        for k in range(min(tall, n2 - first)):
            y[target + k * y2 + last] = x[source + last * x3 + k]


copy_tiles = Kernel(
    cpu=_copy_tiles_cpu,
    cuda=_copy_tiles_cuda,
    tasks=lambda x, y, x_steps, y_steps, shape: (
        shape[0] * shape[1] * -(-shape[2] // _rows_of_a_band.py_func(x_steps, y_steps))
    ),
    work=lambda x, y, x_steps, y_steps, shape: shape[0] * shape[1] * shape[2] * shape[3],
)

# ---------------------------------------------------------------- add


@cpu_map
def _add_cpu(a, b, total, start, stop):
    """a, b, total [N]: total = a + b; total may be a. One task an element."""
    for i in range(start, stop):
        total[i] = a[i] + b[i]


@cuda_kernel
def _add_cuda(a, b, total):
    """As the CPU twin. One thread four neighbours."""
    i = 4 * (cuda.blockIdx.x * BLOCK + cuda.threadIdx.x)
    n, zero = total.shape[0], a.dtype.type(0)
    if i < n:
        whole = i + 4 <= n and is_aligned(a) and is_aligned(b) and is_aligned(total)
        a0, a1, a2, a3 = fetch4(a, i, whole, zero)
        b0, b1, b2, b3 = fetch4(b, i, whole, zero)
        put4(total, i, whole, a0 + b0, a1 + b1, a2 + b2, a3 + b3)


add = Kernel(
    cpu=_add_cpu,
    cuda=_add_cuda,
    tasks=lambda a, b, total: total.shape[0],
    blocks=lambda a, b, total: -(-total.shape[0] // (4 * BLOCK)),
)


@cpu_map
def _add_words_cpu(a, b, total, start, stop):
    """The same for words of float16, added as float32. One task an element."""
    for i in range(start, stop):
        total[i] = to_float16(from_float16(a[i]) + from_float16(b[i]))


@cuda_kernel
def _add_words_cuda(a, b, total):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < total.shape[0]:
        total[i] = to_float16(from_float16(a[i]) + from_float16(b[i]))


add_words = Kernel(
    cpu=_add_words_cpu,
    cuda=_add_words_cuda,
    tasks=lambda a, b, total: total.shape[0],
    blocks=lambda a, b, total: -(-total.shape[0] // BLOCK),
)

# ---------------------------------------------------------------- fill


@cpu_kernel
def _fill_cpu(x, value, start, stop):
    """x [N], value [1]: x = value. One task an element."""
    for i in range(start, stop):
        x[i] = value[0]


@cuda_kernel
def _fill_cuda(x, value):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < x.shape[0]:
        x[i] = value[0]


fill = Kernel(
    cpu=_fill_cpu,
    cuda=_fill_cuda,
    tasks=lambda x, value: x.shape[0],
    blocks=lambda x, value: -(-x.shape[0] // BLOCK),
)


@cpu_kernel
def _clear_cpu(x, start, stop):
    """x [N] = 0. One task an element. LLVM makes it the C library's `memset`, twice as fast where memory is far."""
    for i in range(start, stop):
        x[i] = 0


@cuda_kernel
def _clear_cuda(x):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < x.shape[0]:
        x[i] = 0


clear = Kernel(
    cpu=_clear_cpu,
    cuda=_clear_cuda,
    tasks=lambda x: x.shape[0],
    blocks=lambda x: -(-x.shape[0] // BLOCK),
)

# ---------------------------------------------------------------- sum of partial results


@cpu_kernel
def _sum_rows_cpu(partial, total, start, stop):
    """partial [R, D]; total [D], added in the order of the rows. One task a column."""
    for j in range(start, stop):
        total[j] = partial[0, j]
    for row in range(1, partial.shape[0]):
        for j in range(start, stop):
            total[j] += partial[row, j]


@cuda_kernel
def _sum_rows_cuda(partial, total):
    """As the CPU twin. One thread a column."""
    j = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if j < total.shape[0]:
        value = partial[0, j]
        for row in range(1, partial.shape[0]):
            value += partial[row, j]
        total[j] = value


sum_rows_kernel = Kernel(
    cpu=_sum_rows_cpu,
    cuda=_sum_rows_cuda,
    tasks=lambda partial, total: total.shape[0],
    work=lambda partial, total: partial.size,
    blocks=lambda partial, total: -(-total.shape[0] // BLOCK),
)

# ---------------------------------------------------------------- functions


def collapse(shape: tuple[int, ...], *strides: tuple[int, ...]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Merges neighbouring dimensions that every operand steps through as one, and drops those of size 1.

    Returns the short shape and, for each operand, its strides there.
    """
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for position, size in enumerate(shape):
        if size == 1:
            continue
        if sizes and all(s[-1] == size * operand[position] for s, operand in zip(steps, strides, strict=True)):
            sizes[-1] *= size
            for s, operand in zip(steps, strides, strict=True):
                s[-1] = operand[position]
        else:
            sizes.append(size)
            for s, operand in zip(steps, strides, strict=True):
                s.append(operand[position])
    return tuple(sizes), [tuple(s) for s in steps]


def strided(array: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """A writable view of the array's memory with another shape and other strides, in bytes."""
    if type(array) is DeviceArray:
        return array.strided(shape, strides)
    root = owner(array)
    try:  # a quarter of the time of as_strided, and the root stays visible as the base
        return np.ndarray(shape, array.dtype, root, address_of(array) - address_of(root), strides)
    except (ValueError, TypeError):  # the root is no contiguous memory
        return np.lib.stride_tricks.as_strided(array, shape, strides)


def owner(array: Any) -> Any:
    """The array at the root of a chain of views: views of one memory have one owner."""
    base = array.base
    while type(base) is np.ndarray:
        array = base
        base = array.base
    return array.owner if type(array) is DeviceArray else array


def contiguous(array: Any) -> Any:
    """The array itself if it is C-contiguous, else a C-contiguous copy."""
    return array if array.flags.c_contiguous else copied(array)


def copied(array: Any) -> Any:
    """A C-contiguous copy, on the same device."""
    result = empty_beside(array, array.shape)
    copy_into(result, array)
    return result


def empty_beside(array: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """An uninitialised array on the device of another, of its dtype unless one is given."""
    if type(array) is DeviceArray:
        from nbdl.runtime.cuda import memory as cuda_memory

        return cuda_memory.empty(shape, dtype or array.dtype)
    return memory.empty(shape, dtype or array.dtype)


def on_host(array: Any) -> np.ndarray:
    """The array for the CPU to look at: itself, or a copy of one on a GPU."""
    return array.host() if type(array) is DeviceArray else array


def sent_beside(array: Any, values: np.ndarray) -> Any:
    """Values that the CPU found, on the device of an array."""
    if type(array) is DeviceArray:
        from nbdl.runtime.cuda import memory as cuda_memory

        return cuda_memory.to_device(values) if cuda_memory.recorder is None else cuda_memory.recorder.table(values)
    return values


def channels_last(array: Any) -> Any:
    """[N, C, ...] as a contiguous array [N, ..., C]: the memory itself if it lies so, else a copy."""
    return contiguous(array.transpose(0, *range(2, array.ndim), 1))


def channels_first(array: Any) -> Any:
    """[N, ..., C] -> a view of the shape [N, C, ...], its memory unchanged."""
    return array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1))


def copy_into(target: Any, source: Any) -> None:
    """Copies the source's elements into a target of the same shape and dtype; both may have any strides."""
    if source.size == 0:
        return
    if source.dtype.char == "e":  # kernels see float16 as words
        source, target = source.view(np.uint16), target.view(np.uint16)
    if type(target) is DeviceArray or type(source) is DeviceArray:
        from nbdl.runtime.cuda import memory as cuda_memory

        if type(target) is not type(source):
            cuda_memory.copy_across(target, source)
            return
    if source.flags.c_contiguous and target.flags.c_contiguous:
        _copy_flat(source.reshape(-1), target.reshape(-1))
        return
    plan = _copy_plan(source.shape, target.strides, source.strides, source.itemsize)
    if plan is None:  # fold outer dimensions into a loop: arrays of five uneven dimensions are rare
        for index in range(target.shape[0]):
            copy_into(target[index], source[index])
        return
    x, y = _memory_of(source), _memory_of(target)
    if x is None or y is None:
        if type(target) is DeviceArray:
            raise DeviceError(f"a view of {source.dtype} on memory of another dtype cannot be copied on the GPU")
        np.copyto(target, source)
        return
    kernel, reads, writes, shape = plan
    kernel(x[0], y[0], (x[1], *reads), (y[1], *writes), shape)


@functools.lru_cache(maxsize=4096)
def _copy_plan(
    shape: tuple[int, ...], target_strides: tuple[int, ...], source_strides: tuple[int, ...], itemsize: int
) -> tuple[Kernel, tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """The kernel that copies, with its four steps through either memory and its four sizes; None if it takes more."""
    sizes, (to_steps, from_steps) = collapse(shape, target_strides, source_strides)
    if len(sizes) > 4:
        return None
    order = sorted(range(len(sizes)), key=lambda dim: abs(to_steps[dim]), reverse=True)
    lead = 4 - len(sizes)
    shape = (1,) * lead + tuple([sizes[dim] for dim in order])
    reads = (0,) * lead + tuple([from_steps[dim] // itemsize for dim in order])
    writes = (0,) * lead + tuple([to_steps[dim] // itemsize for dim in order])
    if writes[3] == 1 and reads[3] != 1 and 1 in reads[:3] and shape[reads.index(1)] >= TILE:
        unit = reads.index(1)
        return copy_tiles, _third(reads, unit), _third(writes, unit), _third(shape, unit)
    return copy, reads, writes, shape


COPY_ROW = 1 << 14
"""Elements of the rows in which contiguous memory is copied: a task each."""


def _copy_flat(source: np.ndarray, target: np.ndarray) -> None:
    rows, rest = divmod(source.size, COPY_ROW)
    if rows:
        steps = (0, 0, 0, COPY_ROW, 1)
        copy(source, target, steps, steps, (1, 1, rows, COPY_ROW))
    if rest:
        steps = (rows * COPY_ROW, 0, 0, 0, 1)
        copy(source, target, steps, steps, (1, 1, 1, rest))


def _third(values: tuple[int, ...], dim: int) -> tuple[int, ...]:
    """Four values, the one of a dimension exchanged with the third."""
    listed = list(values)
    listed[dim], listed[2] = listed[2], listed[dim]
    return tuple(listed)


def _memory_of(array: Any) -> tuple[Any, int] | None:
    """The contiguous memory that the array shows, flat, and the place of its first element there."""
    root = owner(array)
    if root.dtype != array.dtype or not (root.flags.c_contiguous or root.flags.f_contiguous):
        return None
    return root.ravel("K"), (address_of(array) - address_of(root)) // array.itemsize


def dense_order(array: Any) -> tuple[int, ...] | None:
    """The axes from the slowest to the fastest, if the elements lie densely in memory; else None."""
    strides, shape = array.strides, array.shape
    order = sorted(range(array.ndim), key=lambda axis: (-strides[axis], -shape[axis]))
    expected = array.itemsize
    for axis in reversed(order):
        if shape[axis] != 1:
            if strides[axis] != expected:
                return None
            expected *= shape[axis]
    return tuple(order)


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes another."""
    places = [0] * len(order)
    for place, axis in enumerate(order):
        places[axis] = place
    return tuple(places)


def add_arrays(a: Any, b: Any) -> Any:
    """A new array a + b, in the memory order of a; same shape and dtype."""
    if a.dtype.char == "e":
        total = copied(a)
        add_to(total, b)
        return total
    if a.flags.c_contiguous:
        total = empty_beside(a, a.shape)
        add(a.reshape(-1), contiguous(b).reshape(-1), total.reshape(-1))
        return total
    order = dense_order(a)
    if order is None:
        return add_arrays(contiguous(a), b)
    total = add_arrays(a.transpose(order), b.transpose(order))
    return total.transpose(inverse(order))


def add_to(total: Any, array: Any) -> None:
    """total += array; same shape and dtype."""
    if not total.flags.c_contiguous:
        order = dense_order(total)
        if order is None:
            copy_into(total, add_arrays(total, array))
            return
        total, array = total.transpose(order), array.transpose(order)
    flat, other = total.reshape(-1), contiguous(array).reshape(-1)
    if total.dtype.char == "e":
        words = flat.view(np.uint16)
        add_words(words, other.view(np.uint16), words)
    else:
        add(flat, other, flat)


def full(shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
    """A new contiguous array of one repeated value."""
    if dtype == np.float16:
        words = np.array([value], np.float16).view(np.uint16)[0]
        return full(shape, words, np.uint16).view(np.float16)
    result = memory.empty(shape, dtype)
    if type(value) is int and value == 0:  # not -0.0
        clear(result.reshape(-1))
    else:
        fill(result.reshape(-1), np.array([value], dtype))
    return result


def set_all(array: Any, value: np.ndarray) -> None:
    """Sets every element to the value, an array of no dimension and the same dtype on the CPU."""
    if not array.flags.c_contiguous:
        order = dense_order(array)
        if order is None:
            copy_into(array, strided(sent_beside(array, value), array.shape, (0,) * array.ndim))
        else:
            set_all(array.transpose(order), value)
        return
    if array.dtype.char == "e":
        array, value = array.view(np.uint16), value.view(np.uint16)
    if any(value.tobytes()):
        fill(array.reshape(-1), value.reshape(1))
    else:
        clear(array.reshape(-1))


def sum_rows(partial: Any) -> Any:
    """[R, D] -> [D]: the rows added in order, so that the sum does not depend on the number of threads."""
    total = empty_beside(partial, (partial.shape[1],))
    sum_rows_kernel(partial, total)
    return total
