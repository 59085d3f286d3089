"""The memory that interpreted threads see: arrays that check every index, and a log of who touched which element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.runtime.errors import NbdlError

_FLOAT32 = np.dtype(np.float32)


class SimtError(NbdlError, RuntimeError):
    """A CUDA kernel does something that has no defined meaning on a GPU."""


class BoundsError(SimtError, IndexError):
    """A thread uses an index outside the array. CUDA would read or write some other memory."""


class RaceError(SimtError):
    """Two threads touch one element, one of them writing, and nothing orders them."""


class PrecisionError(SimtError):
    """Arithmetic of a float32 kernel ran in float64: a Python float literal or argument took part in it."""


class Clock:
    """Who runs now, and when: what errors and the race log need to know of the scheduler."""

    __slots__ = ("access", "block", "block_epoch", "kernel", "thread", "warp_epochs")

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel
        self.thread: Any = None
        self.access: Access | None = None
        """What the running thread does until it waits is one access in time."""
        self.block: tuple[int, int, int] = (0, 0, 0)
        self.block_epoch = 0
        """Barriers that the block has passed."""
        self.warp_epochs: list[int] = []
        """The same for `syncwarp`, by warp."""

    def run(self, thread: Any) -> None:
        """Notes that a thread goes on from here."""
        self.thread = thread
        self.access = None

    def place(self) -> str:
        """The running thread, in words."""
        return f"kernel {self.kernel}, {describe(self.block, self.thread.number)}"


def describe(block: tuple[int, int, int], thread: int) -> str:
    """A thread's place in the grid, in words: a block's index is one number unless the grid has more dimensions."""
    index = block[0] if block[1:] == (0, 0) else block
    return f"block {index}, thread {thread}"


class DeviceArray:
    """A NumPy array as a kernel sees it: elements only, indices checked, integers of unbounded width."""

    __slots__ = (
        "_check_precision", "_clock", "_read", "array", "dtype", "itemsize", "name", "ndim", "shape", "size", "strides",
    )  # fmt: skip

    def __init__(self, array: np.ndarray, name: str, clock: Clock, precise: bool) -> None:
        self.array = array
        self.name = name
        self.shape = array.shape
        self.strides = array.strides
        self.ndim = array.ndim
        self.size = array.size
        self.dtype = array.dtype
        self.itemsize = array.itemsize
        self._clock = clock
        self._check_precision = precise and array.dtype == _FLOAT32
        # Signed integers become Python's, as Numba widens them to int64; unsigned ones keep their wrap-around.
        self._read: Callable[[Any], Any] = array.item if array.dtype.kind in "ib" else array.__getitem__

    def __len__(self) -> int:
        return int(self.shape[0])

    def place(self) -> str:
        """Who works on the array now, in words."""
        return self._clock.place()

    def __getitem__(self, index: Any) -> Any:
        self._check(index)
        return self._read(index)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._check(index)
        if self._check_precision and type(value) is np.float64:
            raise PrecisionError(
                f"{self._clock.place()}: stores a float64 into the float32 array {self.name}: a Python float, "
                "an argument or a literal, took part in its arithmetic. Use x.dtype.type(...) or a np.float32 constant"
            )
        try:
            self.array[index] = value
        except OverflowError:  # a Python integer too wide for the array: its low bits are stored
            self.array[index] = np.uint64(value & 0xFFFFFFFFFFFFFFFF).astype(self.dtype)

    def _check(self, index: Any) -> None:
        if type(index) is not tuple:
            index = (index,)
        if len(index) != self.ndim:
            raise SimtError(f"{self._clock.place()}: {self.name} has {self.ndim} dimensions, got {len(index)} indices")
        for position, size in zip(index, self.shape, strict=True):
            if not 0 <= position < size:
                raise self._outside(index)

    def _outside(self, index: tuple[Any, ...]) -> BoundsError:
        at = ", ".join(str(position) for position in index)
        sizes = ", ".join(str(size) for size in self.shape)
        return BoundsError(f"{self._clock.place()}: {self.name}[{at}] lies outside the shape [{sizes}]")


class DeviceArray1(DeviceArray):
    """The same for one dimension, where most indices are checked."""

    __slots__ = ()

    def _check(self, index: Any) -> None:
        try:
            inside = 0 <= index < self.shape[0]
        except TypeError:
            raise SimtError(f"{self._clock.place()}: {self.name} takes one index, got {index!r}") from None
        if not inside:
            raise self._outside((index,))


class DeviceArray2(DeviceArray):
    """The same for two dimensions."""

    __slots__ = ()

    def _check(self, index: Any) -> None:
        try:
            row, column = index
        except TypeError:
            raise SimtError(f"{self._clock.place()}: {self.name} takes two indices, got {index!r}") from None
        rows, columns = self.shape
        if not (0 <= row < rows and 0 <= column < columns):
            raise self._outside(index)


class Access:
    """One touch of an element, and what orders it with respect to others."""

    __slots__ = ("atomic", "block", "block_epoch", "thread", "warp_epoch")

    def __init__(self, clock: Clock, atomic: bool) -> None:
        self.block = clock.block
        self.thread: int = clock.thread.number
        self.block_epoch = clock.block_epoch
        self.warp_epoch: int = clock.warp_epochs[self.thread // 32]
        self.atomic = atomic

    def conflicts(self, other: Access) -> bool:
        """Whether nothing orders the two: no barrier of their block, no `syncwarp` of their warp."""
        if self.atomic and other.atomic:
            return False
        if self.block != other.block:
            return True
        if self.thread == other.thread or self.block_epoch != other.block_epoch:
            return False
        return self.thread // 32 != other.thread // 32 or self.warp_epoch == other.warp_epoch


class RaceLog:
    """For each touched address the last write, and the reads since."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._writes: dict[int, Access] = {}
        self._reads: dict[int, list[Access]] = {}

    def read(self, address: int, array: DeviceArray, index: Any) -> None:
        """Notes a read; raises if a write it is not ordered with came before."""
        access = self._now()
        write = self._writes.get(address)
        if write is not None and write is not access and access.conflicts(write):
            raise self._error(array, index, "reads", access, "wrote", write)
        reads = self._reads.get(address)
        if reads is None:
            self._reads[address] = [access]
        elif reads[-1] is not access:
            reads.append(access)

    def write(self, address: int, array: DeviceArray, index: Any, atomic: bool = False) -> None:
        """Notes a write; raises if a read or write it is not ordered with came before."""
        access = Access(self._clock, atomic) if atomic else self._now()
        write = self._writes.get(address)
        if write is not None and write is not access and access.conflicts(write):
            raise self._error(array, index, "writes", access, "wrote", write)
        for read in self._reads.pop(address, ()):
            if read is not access and access.conflicts(read):
                raise self._error(array, index, "writes", access, "read", read)
        self._writes[address] = access

    def _now(self) -> Access:
        access = self._clock.access
        if access is None:
            access = self._clock.access = Access(self._clock, False)
        return access

    def _error(self, array: DeviceArray, index: Any, does: str, now: Access, did: str, before: Access) -> RaceError:
        at = ", ".join(str(i) for i in index) if type(index) is tuple else index
        return RaceError(
            f"kernel {self._clock.kernel}: race on {array.name}[{at}]: {describe(now.block, now.thread)} {does} what "
            f"{describe(before.block, before.thread)} {did}, and no barrier lies between"
        )


class TrackedArray(DeviceArray):
    """A device array whose every access goes into the race log."""

    __slots__ = ("_log", "_start", "_steps")

    def __init__(self, array: np.ndarray, name: str, clock: Clock, precise: bool, log: RaceLog) -> None:
        super().__init__(array, name, clock, precise)
        self._log = log
        self._start = array.__array_interface__["data"][0]
        self._steps = array.strides

    def address(self, index: Any) -> int:
        """The address of an element: two views of one memory have it in common."""
        if type(index) is not tuple:
            return int(self._start + index * self._steps[0])
        return int(self._start + sum(i * step for i, step in zip(index, self._steps, strict=True)))

    def __getitem__(self, index: Any) -> Any:
        value = DeviceArray.__getitem__(self, index)
        self._log.read(self.address(index), self, index)
        return value

    def __setitem__(self, index: Any, value: Any) -> None:
        DeviceArray.__setitem__(self, index, value)
        self._log.write(self.address(index), self, index)


class TrackedArray1(TrackedArray):
    """The same for one dimension."""

    __slots__ = ()
    _check = DeviceArray1._check


class TrackedArray2(TrackedArray):
    """The same for two dimensions."""

    __slots__ = ()
    _check = DeviceArray2._check


def device_array(array: np.ndarray, name: str, clock: Clock, precise: bool, log: RaceLog | None) -> DeviceArray:
    """The fastest wrapper that does what is asked."""
    if log is not None:
        tracked = {1: TrackedArray1, 2: TrackedArray2}.get(array.ndim, TrackedArray)
        return tracked(array, name, clock, precise, log)
    kind = {1: DeviceArray1, 2: DeviceArray2}.get(array.ndim, DeviceArray)
    return kind(array, name, clock, precise)


def poison(array: np.ndarray) -> np.ndarray:
    """Fills an array with NaN, or for integers with all bits set: nobody has written there yet."""
    array.reshape(-1).view(np.uint8).fill(0xFF)
    return array


def dtype_of(description: Any) -> np.dtype[Any]:
    """A NumPy dtype of what kernels name one with: a Numba type, a NumPy type or an array's dtype."""
    try:
        dtype: np.dtype[Any] = np.dtype(description)
    except TypeError:
        dtype = np.dtype(str(description).replace("boolean", "bool"))
    return dtype
