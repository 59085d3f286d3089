"""Memory on the GPU: blocks are kept when their last array dies, because asking the driver for one stops the GPU.

Reuse is safe without waiting: a block knows the stream that used it last, and a launch in that stream runs after what
used the block before; a launch in another waits for it (`streams.use`).
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nbdl.runtime import placement
from nbdl.runtime.cuda import device, streams
from nbdl.runtime.cuda.array import DeviceArray, geometry_at
from nbdl.runtime.cuda.driver import OutOfMemoryError
from nbdl.runtime.dtypes import SUPPORTED
from nbdl.runtime.errors import DeviceMemoryError, DTypeError

SMALL_STEP = 512
"""Bytes: the size of a block of less than LARGE is a multiple of it, so that arrays start at whole cache lines."""

LARGE = 1 << 20

LARGE_STEP = 2 << 20
"""Bytes: the same for larger blocks, a page of the GPU's memory."""

CONSTANT_BYTES = 1 << 12
"""Tables of the CPU of at most so many bytes that kernels take are kept on the GPU, found again by their contents."""


MOST_CONSTANTS = 1024

STAGED_BYTES = 1 << 16
"""The driver keeps a copy of what it is to fetch of so many bytes at most; the caller may go on writing."""


def block_size(nbytes: int) -> int:
    """The size of the block that holds so many bytes."""
    step = SMALL_STEP if nbytes < LARGE else LARGE_STEP
    return max(-(-nbytes // step), 1) * step


class Pool:
    """The blocks of one GPU.

    Attributes:
        used: Bytes of blocks that arrays lie in.
        peak: The most that `used` has been since `reset_peak`.
        idle: Bytes of blocks that no array uses now.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.used = self.peak = self.idle = 0
        self._free: dict[int, list[tuple[int, Any]]] = {}  # size: (address, the stream that used it last)

    def take(self, nbytes: int) -> Allocation:
        """A block for so many bytes."""
        size = block_size(nbytes)
        free = self._free.get(size)
        if free:
            address, stream = free.pop()
            self.idle -= size
        else:
            address, stream = self._ask(size, nbytes), streams.current()
        self.used += size
        self.peak = max(self.peak, self.used)
        return Allocation(self, address, size, stream)

    def _ask(self, size: int, nbytes: int) -> int:
        try:
            return int(self.driver.allocate(size))
        except OutOfMemoryError:
            pass
        self.release()
        try:
            return int(self.driver.allocate(size))
        except OutOfMemoryError:
            free, total = self.driver.memory_info()
            raise DeviceMemoryError(
                f"out of memory on the GPU: {size_in_words(nbytes)} requested, {size_in_words(free)} free of "
                f"{size_in_words(total)}; tensors hold {size_in_words(self.used)}, the pool "
                f"{size_in_words(self.idle)} beside them. Take smaller batches, delete tensors that are not needed, "
                "or nbdl.checkpoint for activations"
            ) from None

    def put(self, address: int, size: int, stream: Any) -> None:
        """Takes a block back."""
        self.used -= size
        self.idle += size
        self._free.setdefault(size, []).append((address, stream))

    def release(self) -> None:
        """Gives all idle blocks back to the driver."""
        if not self.idle:
            return
        self.driver.synchronize()
        for size, blocks in self._free.items():
            while blocks:
                address, _ = blocks.pop()
                self.idle -= size
                self.driver.free(address)


class Allocation:
    """A block of memory while arrays lie in it; when the last of them dies, it is idle again."""

    __slots__ = ("address", "pool", "size", "stream")

    def __init__(self, pool: Any, address: int, size: int, stream: Any) -> None:
        self.pool, self.address, self.size, self.stream = pool, address, size, stream

    def __del__(self) -> None:
        if self.pool is not None:
            self.pool.put(self.address, self.size, self.stream)


def size_in_words(nbytes: int) -> str:
    """A number of bytes for people."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit:
            return f"{nbytes / unit:.2f} {name}"
    return f"{nbytes} bytes"


# ---------------------------------------------------------------- arrays

recorder: Any = None
"""While a graph is recorded: the pool that it takes its memory from."""


def pool() -> Pool:
    """The blocks of the current GPU."""
    driver = device.driver()
    if driver.pool is None:
        driver.pool = Pool(driver)
    return driver.pool  # type: ignore[no-any-return]


def empty(shape: tuple[int, ...], dtype: Any) -> DeviceArray:
    """An uninitialised C-contiguous array on the current GPU, from the pool when a block fits."""
    dtype = np.dtype(dtype)
    if dtype not in SUPPORTED and dtype.kind != "u":  # tables of random words are uint32
        raise DTypeError(f"dtype: expected one of {', '.join(map(str, SUPPORTED))} on the GPU, got {dtype}")
    allocation = (pool() if recorder is None else recorder).take(dtype.itemsize * math.prod(shape))
    placement.activate()
    return DeviceArray(geometry_at(allocation.address, shape, dtype), allocation)


def to_device(array: np.ndarray, non_blocking: bool = False) -> DeviceArray:
    """A copy of a NumPy array on the current GPU, C-contiguous. From pinned memory it may go on while Python does."""
    result = empty(array.shape, array.dtype)
    copy_in(result, array, non_blocking)
    return result


def copy_in(target: DeviceArray, array: np.ndarray, non_blocking: bool = False) -> None:
    """Copies a NumPy array into a contiguous array of the GPU, of the same shape and dtype."""
    refuse_while_recording("a copy to the GPU")
    source = np.ascontiguousarray(array)
    stream = streams.current()
    if target.allocation.stream is not stream:
        streams.use(target.allocation, stream)
    driver = device.driver()
    driver.copy_in(target.address, source, stream.handle)
    if source.nbytes > STAGED_BYTES or is_pinned(source):
        if non_blocking:
            _keep_until_copied(source, stream)
        else:
            driver.wait_for_stream(stream.handle)


def copy_across(target: Any, source: Any) -> None:
    """Copies from an array of the CPU into one of the GPU, or back; same shape and dtype, any strides."""
    from nbdl.runtime import arrays

    if type(source) is DeviceArray:
        target[...] = to_host(source)
    elif target.flags.c_contiguous:
        copy_in(target, source)
    else:
        arrays.copy_into(target, to_device(source))


def to_host(array: DeviceArray) -> np.ndarray:
    """A copy of a GPU's array as a NumPy array; waits for the kernels that write it."""
    from nbdl.runtime import arrays

    refuse_while_recording("a value of the GPU that Python looks at (item(), a check of ids, .cpu())")
    source = arrays.contiguous(array)
    result = np.empty(source.shape, source.dtype)
    stream = streams.current()
    if source.allocation.stream is not stream:
        streams.use(source.allocation, stream)
    driver = device.driver()
    driver.copy_out(result, source.address, stream.handle)
    driver.wait_for_stream(stream.handle)
    return result


def look(array: Any, check: Callable[[np.ndarray], None]) -> None:
    """Shows a check the values of an array: now, or, while a graph is recorded, after each of its runs."""
    if type(array) is not DeviceArray:
        check(array)
    elif recorder is None:
        check(to_host(array))
    else:
        recorder.look_later(array, check)


def refuse_while_recording(what: str) -> None:
    """Raises DeviceError while launches are recorded."""
    if recorder is not None:
        recorder.refuse(what)


@contextlib.contextmanager
def recording(taker: Any) -> Iterator[None]:
    """Until the end of the block, memory comes from `taker`, and what has to wait for the GPU is refused by it."""
    global recorder
    before, recorder = recorder, taker
    try:
        yield
    finally:
        recorder = before


def publish(array: DeviceArray) -> None:
    """Lets CUDA's default stream wait for what writes the array: another library is about to work on it."""
    if array.allocation.stream is not streams.default:
        streams.use(array.allocation, streams.default)


def constant(array: np.ndarray) -> DeviceArray:
    """A table of the CPU that a kernel reads, on the GPU: the same one again if its contents were seen before."""
    with recording(None):
        if array.nbytes > CONSTANT_BYTES:
            return to_device(array)
        known = device.driver().constants
        key = (array.tobytes(), array.dtype.str, array.shape)
        found = known.pop(key, None)
        if found is None:
            found = to_device(array)
            if len(known) >= MOST_CONSTANTS:
                del known[next(iter(known))]  # the one that was not asked for for the longest time
        known[key] = found
        return found  # type: ignore[no-any-return]


# ---------------------------------------------------------------- pinned memory

_pinned: dict[int, int] = {}
"""Address: size of the blocks of pinned memory."""

_copying: list[tuple[Any, np.ndarray]] = []
"""Sources of copies that may not be done: (event behind the copy, the array)."""


class _PinnedBlock(np.ndarray):
    """The owner of a block of pinned memory. Its own base is no array: NumPy would let views skip this owner."""

    free: Any = None

    def __del__(self) -> None:
        if self.free is not None and _pinned is not None:  # None while Python shuts down
            _pinned.pop(self.__array_interface__["data"][0], None)
            self.free()


def pin(array: np.ndarray) -> np.ndarray:
    """A copy in pinned memory, which a GPU copies from by itself, at full speed."""
    if is_pinned(array):
        return array
    _forget_copied()
    driver = device.driver()
    size = max(array.nbytes, 1)
    address, free = driver.pinned(size)
    block = _PinnedBlock((size,), np.uint8, (ctypes.c_char * size).from_address(address))  # type: ignore[arg-type]
    block.free = free
    _pinned[address] = size
    result = np.ndarray(array.shape, array.dtype, block)
    result[...] = array
    return result


def is_pinned(array: np.ndarray) -> bool:
    """Whether the array lies in pinned memory."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if type(base) is _PinnedBlock:
            return base.free is not None
        base = base.base
    return False


def _keep_until_copied(source: np.ndarray, stream: Any) -> None:
    """Keeps the source alive until its copy is done."""
    _forget_copied()
    _copying.append((stream.record_event(), source))


def _forget_copied() -> None:
    _copying[:] = [(event, array) for event, array in _copying if not event.query()]


# ---------------------------------------------------------------- figures


def idle_bytes() -> int:
    """Bytes in the pool that no array uses now."""
    return pool().idle


def release() -> None:
    """Gives all idle blocks back to the driver."""
    device.driver().constants.clear()
    pool().release()
