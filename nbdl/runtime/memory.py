"""Buffers for results: memory that was written a moment ago is faster than fresh pages from the system.

A fresh page costs a fault and a clearing, often more than the arithmetic on it. So a large buffer goes back to a
free list when the last array on it dies, and the next array of that size class takes it over. Buffers start at a
multiple of 64 bytes, a cache line and an AVX-512 vector; very large ones ask for huge pages, which spare the processor
most of its walks through the page table.
"""

from __future__ import annotations

import contextlib
import mmap
from math import prod
from typing import Any

import numpy as np

SMALLEST_POOLED = 1 << 17
"""Bytes under which malloc itself is quick and keeps memory warm; from there on it asks the system for pages."""

MOST_IDLE = 1 << 30
"""Bytes that may lie idle; what exceeds them goes back to the system."""

ALIGNMENT = 64

HUGE_PAGE = 1 << 21
"""Bytes of a huge page; buffers of at least as many start at a multiple of it."""

_idle: dict[int, list[tuple[Any, int]]] = {}  # size: (buffer, offset of its first aligned byte)
_idle_bytes = 0


class _Block(np.ndarray):
    """The owner of one pooled buffer. NumPy views keep it alive; when it dies, its memory is free to be reused.

    The buffer is a bytearray, not an array: NumPy would shorten a chain of arrays and let views skip this owner.
    """

    offset: int

    def __del__(self) -> None:
        global _idle_bytes
        if self.nbytes and _idle is not None and _idle_bytes + self.nbytes <= MOST_IDLE:
            _idle.setdefault(self.nbytes, []).append((self.base, self.offset))  # type: ignore[arg-type]
            _idle_bytes += self.nbytes


def new_buffer(size: int) -> tuple[Any, int]:
    """Memory for `size` bytes that no array uses, and the offset of its first aligned byte."""
    if size < HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        memory: Any = bytearray(size + ALIGNMENT)
        return memory, -np.frombuffer(memory, np.uint8, 1).ctypes.data % ALIGNMENT
    # What is never touched takes no memory. Shared memory, mmap's default, would get no huge pages.
    memory = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory, -np.frombuffer(memory, np.uint8, 1).ctypes.data % HUGE_PAGE


def _size_class(nbytes: int) -> int:
    """The next of eight steps between powers of two: at most an eighth is wasted."""
    step = 1 << max(nbytes.bit_length() - 4, 12)
    return -(-nbytes // step) * step


def empty(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised C-contiguous array, from the pool when it is large."""
    global _idle_bytes
    if not isinstance(dtype, np.dtype):
        dtype = np.dtype(dtype)
    nbytes = dtype.itemsize * (prod(shape) if isinstance(shape, tuple) else shape)
    if nbytes < SMALLEST_POOLED:
        return np.empty(shape, dtype)
    size = _size_class(nbytes)
    free = _idle.get(size)
    if free:
        memory, offset = free.pop()
        _idle_bytes -= size
    else:
        memory, offset = new_buffer(size)
    block = _Block(size, np.uint8, memory, offset)
    block.offset = offset
    # ndarray's constructor makes a plain array whose base is the block.
    return np.ndarray(shape, dtype, block)


def release() -> None:
    """Gives all idle buffers back to the system."""
    global _idle_bytes
    _idle.clear()
    _idle_bytes = 0


def idle_bytes() -> int:
    """Bytes in the pool that no array uses now."""
    return _idle_bytes
