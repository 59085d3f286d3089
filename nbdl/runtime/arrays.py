"""Kernels on raw arrays that the engine itself needs: copy into contiguous memory, add, fill, sum partial results."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.runtime import memory
from nbdl.runtime.addresses import address_of
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- copy


@cpu_kernel
def _copy_cpu(x, y, start, stop):
    """x, y [N0, N1, N2, N3], any strides. One task a row of the last dimension."""
    _, n1, n2, n3 = x.shape
    for row in range(start, stop):
        i, j, k = row // (n1 * n2), row // n2 % n1, row % n2
        for last in range(n3):
            y[i, j, k, last] = x[i, j, k, last]


@cuda_kernel
def _copy_cuda(x, y):
    """As the CPU twin. One block a row."""
    _, n1, n2, n3 = x.shape
    row = cuda.blockIdx.x
    i, j, k = row // (n1 * n2), row // n2 % n1, row % n2
    for last in range(cuda.threadIdx.x, n3, BLOCK):
        y[i, j, k, last] = x[i, j, k, last]


copy = Kernel(
    cpu=_copy_cpu,
    cuda=_copy_cuda,
    tasks=lambda x, y: x.shape[0] * x.shape[1] * x.shape[2],
    work=lambda x, y: x.size,
)

# ---------------------------------------------------------------- add


@cpu_kernel
def _accumulate_cpu(total, x, start, stop):
    """total, x [N]: total += x. One task an element."""
    for i in range(start, stop):
        total[i] += x[i]


@cuda_kernel
def _accumulate_cuda(total, x):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < total.shape[0]:
        total[i] += x[i]


accumulate = Kernel(
    cpu=_accumulate_cpu,
    cuda=_accumulate_cuda,
    tasks=lambda total, x: total.shape[0],
    blocks=lambda total, x: -(-total.shape[0] // BLOCK),
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


def strided(array: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """A writable view of the array's memory with another shape and other strides, in bytes."""
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
    return array


def contiguous(array: Any) -> Any:
    """The array itself if it is C-contiguous, else a C-contiguous copy."""
    if array.flags.c_contiguous:
        return array
    result = memory.empty(array.shape, array.dtype)
    copy_into(result, array)
    return result


def copy_into(target: np.ndarray, source: np.ndarray) -> None:
    """Copies the source's elements into a target of the same shape and dtype; both may have any strides."""
    if source.size == 0:
        return
    sizes, (to_steps, from_steps) = collapse(source.shape, target.strides, source.strides)
    if len(sizes) > 4:  # fold outer dimensions into a loop: arrays of five uneven dimensions are rare
        for index in range(target.shape[0]):
            copy_into(target[index], source[index])
        return
    lead = 4 - len(sizes)
    shape = (1,) * lead + sizes
    read = strided(source, shape, (0,) * lead + from_steps)
    written = target.reshape(shape) if target.flags.c_contiguous else strided(target, shape, (0,) * lead + to_steps)
    copy(read, written)


def add_arrays(a: Any, b: Any) -> Any:
    """A new contiguous array a + b; same shape and dtype."""
    result = memory.empty(a.shape, a.dtype)
    copy_into(result, a)
    accumulate(result.reshape(-1), contiguous(b).reshape(-1))
    return result


def full(shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
    """A new contiguous array of one repeated value."""
    result = memory.empty(shape, dtype)
    fill(result.reshape(-1), np.array([value], dtype))
    return result


def sum_rows(partial: Any) -> Any:
    """[R, D] -> [D]: the rows added in order, so that the sum does not depend on the number of threads."""
    total = memory.empty((partial.shape[1],), partial.dtype)
    sum_rows_kernel(partial, total)
    return total
