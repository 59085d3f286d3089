"""Memory on the GPU: blocks are kept when their last array dies, because asking the driver for one stops the GPU.

Reuse is safe without waiting: all of nbdl's launches are in one stream, so a kernel that writes into a recycled block
runs after those that used it before.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.runtime.cuda.compiler import numba_cuda
from nbdl.runtime.cuda.device import require_device

SMALL_STEP = 512
"""Bytes: the size of a block of less than LARGE is a multiple of it, so that arrays start at whole cache lines."""

LARGE = 1 << 20

LARGE_STEP = 2 << 20
"""Bytes: the same for larger blocks, a page of the GPU's memory."""

_idle: dict[int, list[Any]] = {}
"""Size: the driver's blocks of that size that no array uses."""


def block_size(nbytes: int) -> int:
    """The size of the block that holds so many bytes."""
    step = SMALL_STEP if nbytes < LARGE else LARGE_STEP
    return max(-(-nbytes // step), 1) * step


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """An uninitialised C-contiguous array on the current GPU, from the pool when a block fits."""
    require_device()
    cuda = numba_cuda()
    from numba.cuda.cudadrv.devicearray import DeviceNDArray
    from numba.cuda.cudadrv.driver import MemoryPointer

    dtype = np.dtype(dtype)
    size = block_size(dtype.itemsize * math.prod(shape))
    free = _idle.setdefault(size, [])
    context = cuda.current_context()
    block = free.pop() if free else context.memalloc(size)
    # The array and its views hold this pointer into the block; when the last of them dies, the block is idle again.
    pointer = MemoryPointer(context, block.device_pointer, size, finalizer=lambda: free.append(block))
    strides = tuple(dtype.itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return DeviceNDArray(shape=shape, strides=strides, dtype=dtype, gpu_data=pointer)


def to_device(array: np.ndarray) -> Any:
    """A copy of a NumPy array on the current GPU, C-contiguous."""
    result = empty(array.shape, array.dtype)
    result.copy_to_device(np.ascontiguousarray(array))
    return result


def to_host(array: Any) -> np.ndarray:
    """A copy of a GPU's array as a NumPy array; waits for the kernels that write it."""
    return np.asarray(array.copy_to_host())


def idle_bytes() -> int:
    """Bytes in the pool that no array uses now."""
    return sum(size * len(blocks) for size, blocks in _idle.items())


def release() -> None:
    """Gives all idle blocks back to the driver."""
    for blocks in _idle.values():
        blocks.clear()
