"""The scheduler: the threads of a block take turns between barriers, and a warp's lanes exchange values."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.testing.simt.arrays import (
    Clock,
    DeviceArray,
    RaceLog,
    SimtError,
    TrackedArray,
    device_array,
    dtype_of,
    poison,
)
from nbdl.testing.simt.pieces import MULTIPLY, multiply
from nbdl.testing.simt.translate import BLOCK_OPERATIONS, Translated

WARP = 32
_ALL_LANES = 0xFFFFFFFF

_BLOCK_VOTES: dict[str, Callable[[list[bool]], int]] = {
    "syncthreads_count": sum,
    "syncthreads_and": all,
    "syncthreads_or": any,
}


class BarrierError(SimtError):
    """Threads that must meet do not: they wait at different places, or some have returned."""


class Index:
    """Three numbers named x, y and z."""

    __slots__ = ("x", "y", "z")

    def __init__(self, x: int, y: int, z: int) -> None:
        self.x, self.y, self.z = x, y, z


class Memory:
    """Makes arrays for kernels: how they are checked is the same for all of a launch."""

    def __init__(self, clock: Clock, precise: bool, races: bool) -> None:
        self.clock = clock
        self._precise = precise
        self._log = RaceLog(clock) if races else None

    def wrap(self, array: np.ndarray, name: str, shared: bool = True) -> DeviceArray:
        """The array as threads see it. What one thread alone can see needs no race log."""
        return device_array(array, name, self.clock, self._precise, self._log if shared else None)


class Shared:
    """`cuda.shared`: one array a block for each place in the source that makes one."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._arrays: dict[str, DeviceArray] = {}
        self._spent: list[DeviceArray] = []

    def clear(self) -> None:
        """Starts a new block. The old arrays stay alive, so that no new one gets their addresses."""
        self._spent.extend(self._arrays.values())
        self._arrays = {}

    def array(self, shape: Any, dtype: Any, alignment: int = 0, *, where: str) -> DeviceArray:
        """The block's array of this place, with NaN in it when the first thread comes.

        It starts at a multiple of `alignment` bytes, or of an element's: a GPU promises no more, so it gets no more.
        """
        found = self._arrays.get(where)
        if found is None:
            memory = poison(_placed(shape, dtype_of(dtype), alignment))
            found = self._arrays[where] = self._memory.wrap(memory, f"the shared array of {where}")
        return found


def _placed(shape: Any, dtype: np.dtype[Any], alignment: int) -> np.ndarray:
    """An array that starts at a multiple of `alignment` bytes and of an element's, and of no larger power of two."""
    step = max(alignment, dtype.itemsize)
    size = dtype.itemsize * int(np.prod(shape))
    memory = np.empty(size + 4 * step, np.uint8)
    first = -int(memory.__array_interface__["data"][0]) % (2 * step) + step
    return memory[first : first + size].view(dtype).reshape(shape)


class Local:
    """`cuda.local`: arrays of one thread."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def array(self, shape: Any, dtype: Any) -> DeviceArray:
        """A new array with NaN in it."""
        return self._memory.wrap(poison(np.empty(shape, dtype_of(dtype))), "a local array", shared=False)


class Atomic:
    """`cuda.atomic`: each returns the old value."""

    def _update(self, array: DeviceArray, index: Any, combine: Any) -> Any:
        old = DeviceArray.__getitem__(array, index)
        DeviceArray.__setitem__(array, index, combine(old))
        if isinstance(array, TrackedArray):
            array._log.write(array.address(index), array, index, atomic=True)
        return old

    def add(self, array: DeviceArray, index: Any, value: Any) -> Any:
        return self._update(array, index, lambda old: old + value)

    def sub(self, array: DeviceArray, index: Any, value: Any) -> Any:
        return self._update(array, index, lambda old: old - value)

    def max(self, array: DeviceArray, index: Any, value: Any) -> Any:
        return self._update(array, index, lambda old: value if value > old or value != value else old)

    def min(self, array: DeviceArray, index: Any, value: Any) -> Any:
        return self._update(array, index, lambda old: value if value < old or value != value else old)

    def exch(self, array: DeviceArray, index: Any, value: Any) -> Any:
        return self._update(array, index, lambda old: value)

    def cas(self, array: DeviceArray, index: Any, expected: Any, value: Any) -> Any:
        return self._update(array, index, lambda old: value if old == expected else old)


class Thread:
    """What `cuda` is to one thread: its place in the grid, memory, and what needs no waiting."""

    __slots__ = (
        "atomic", "blockDim", "blockIdx", "generator", "gridDim", "laneid", "local", "memory", "number", "reply",
        "request", "shared", "threadIdx", "warpsize",
    )  # fmt: skip

    def __init__(self, number: int, block_shape: Index, grid_shape: Index, memory: Memory, shared: Shared) -> None:
        self.number = number
        self.threadIdx = Index(
            number % block_shape.x, number // block_shape.x % block_shape.y, number // (block_shape.x * block_shape.y)
        )
        self.blockIdx = Index(0, 0, 0)
        self.blockDim = block_shape
        self.gridDim = grid_shape
        self.laneid = number % WARP
        self.warpsize = WARP
        self.memory = memory
        self.shared = shared
        self.local = Local(memory)
        self.atomic = Atomic()
        self.generator: Any = None
        self.request: tuple[Any, ...] = ()
        self.reply: Any = None

    def grid(self, ndim: int) -> Any:
        """The thread's number in the grid, for each of the first dimensions."""
        at = tuple(
            getattr(self.blockIdx, axis) * getattr(self.blockDim, axis) + getattr(self.threadIdx, axis)
            for axis in "xyz"[:ndim]
        )
        return at[0] if ndim == 1 else at

    def gridsize(self, ndim: int) -> Any:
        """The number of threads of the grid in each of the first dimensions."""
        sizes = tuple(getattr(self.gridDim, axis) * getattr(self.blockDim, axis) for axis in "xyz"[:ndim])
        return sizes[0] if ndim == 1 else sizes

    def threadfence(self) -> None:
        """Memory is always up to date here."""

    def popc(self, x: Any) -> int:
        """The number of bits set."""
        return int(x).bit_count()

    def selp(self, condition: Any, a: Any, b: Any) -> Any:
        """A selection without a branch."""
        return a if condition else b


class Scheduler:
    """Runs the blocks of one launch, one after the other."""

    def __init__(
        self, kernel: Translated, grid: Index, block: Index, memory: Memory, order: random.Random | None
    ) -> None:
        self._kernel = kernel
        self._clock = memory.clock
        self._shared = Shared(memory)
        count = block.x * block.y * block.z
        self._threads = [Thread(number, block, grid, memory, self._shared) for number in range(count)]
        self._warps = [self._threads[first : first + WARP] for first in range(0, count, WARP)]
        self._order = order

    def run(self, at: tuple[int, int, int], arguments: tuple[Any, ...]) -> None:
        """Runs one block to its end."""
        clock = self._clock
        clock.block = at
        clock.block_epoch = 0
        clock.warp_epochs = [0] * len(self._warps)
        self._shared.clear()
        for thread in self._threads:
            thread.blockIdx.x, thread.blockIdx.y, thread.blockIdx.z = at
        if not self._kernel.waits:
            for thread in self._ordered(self._threads):
                clock.run(thread)
                self._kernel.function(thread, *arguments)
            return
        for thread in self._threads:
            thread.generator = self._kernel.function(thread, *arguments)
            thread.reply = None
        running = self._threads
        while running:
            for warp in self._ordered(self._warps):
                self._run_warp(warp)
            running = self._meet()

    def _ordered(self, items: list[Any]) -> list[Any]:
        return items if self._order is None else self._order.sample(items, len(items))

    def _run_warp(self, warp: list[Thread]) -> None:
        """Runs the lanes until each has returned or waits for the block."""
        clock = self._clock
        running = [thread for thread in warp if thread.generator is not None]
        while running:
            asking = []
            for thread in self._ordered(running):
                clock.run(thread)
                try:
                    request = thread.generator.send(thread.reply)
                except StopIteration:
                    thread.generator = None
                    continue
                thread.request = request
                thread.reply = None
                if request[0] not in BLOCK_OPERATIONS:
                    asking.append(thread)
            self._exchange(warp, asking)
            running = asking

    def _exchange(self, warp: list[Thread], asking: list[Thread]) -> None:
        """Serves the warp operations that lanes ask for: one group for each operation and mask."""
        groups: dict[tuple[str, str, int, int], list[Thread]] = {}
        for thread in asking:
            operation, where, *operands = thread.request
            mask = operands[0] & _ALL_LANES if operands else _ALL_LANES
            place = thread.generator.gi_frame.f_lasti
            groups.setdefault((operation, where, mask, place), []).append(thread)
        for (operation, where, mask, _), lanes in groups.items():
            if len(lanes) == len(warp) and mask == _ALL_LANES and operation != "syncwarp":
                _answer_warp(operation, lanes)
                continue
            named = [thread for thread in warp if mask >> thread.laneid & 1]
            absent = [thread.number for thread in named if thread not in lanes]
            if absent or len(named) != len(lanes):
                first = lanes[0].number
                raise BarrierError(
                    f"kernel {self._clock.kernel}: thread {first} waits at {operation} ({where}) with mask {mask:#x}, "
                    f"but threads {_listed(absent)} of that mask do not come"
                    if absent
                    else f"kernel {self._clock.kernel}: {operation} ({where}): thread {first} is not in its own mask"
                )
            if operation == "syncwarp":
                self._clock.warp_epochs[warp[0].number // WARP] += 1
            else:
                _answer_warp(operation, lanes)

    def _meet(self) -> list[Thread]:
        """The barrier of the block: all threads are here, or all have returned."""
        waiting = [thread for thread in self._threads if thread.generator is not None]
        if not waiting:
            return []
        kernel = self._clock.kernel
        operation, where, *_ = waiting[0].request
        if len(waiting) < len(self._threads):
            gone = [thread.number for thread in self._threads if thread.generator is None]
            raise BarrierError(
                f"kernel {kernel}: threads {_listed([thread.number for thread in waiting])} wait at {operation} "
                f"({where}), but threads {_listed(gone)} have returned"
            )
        place = waiting[0].generator.gi_frame.f_lasti
        for thread in waiting:
            other_operation, other_where, *_ = thread.request
            if (other_operation, other_where) != (operation, where) or thread.generator.gi_frame.f_lasti != place:
                raise BarrierError(
                    f"kernel {kernel}: threads of a block meet at different barriers: thread {waiting[0].number} at "
                    f"{operation} ({where}), thread {thread.number} at {other_operation} ({other_where})"
                )
        self._clock.block_epoch += 1
        if operation != "syncthreads":
            votes = [bool(thread.request[2]) for thread in waiting]
            result = int(_BLOCK_VOTES[operation](votes))
            for thread in waiting:
                thread.reply = result
        return waiting


def _answer_warp(operation: str, lanes: list[Thread]) -> None:
    """Computes the replies of a shuffle, a vote or a product among the lanes that asked for it."""
    if operation in MULTIPLY:
        replies = multiply(operation, {thread.laneid: thread.request[3:] for thread in lanes})
        for thread in lanes:
            thread.reply = replies[thread.laneid]
        return
    if not operation.startswith("shfl"):
        votes = {thread.laneid: bool(thread.request[3]) for thread in lanes}
        if operation == "ballot_sync":
            result: Any = np.uint32(sum(1 << lane for lane, vote in votes.items() if vote))
        else:
            result = {"any_sync": any, "all_sync": all}[operation](votes.values())
        for thread in lanes:
            thread.reply = result
        return
    values = {thread.laneid: thread.request[3] for thread in lanes}
    for thread in lanes:
        operand = int(thread.request[4])
        if operation == "shfl_xor_sync":
            source = thread.laneid ^ operand
        elif operation == "shfl_down_sync":
            source = thread.laneid + operand
        elif operation == "shfl_up_sync":
            source = thread.laneid - operand
        else:
            source = operand % WARP
        if not 0 <= source < WARP:
            source = thread.laneid  # beyond the warp's ends a lane keeps its own value
        if source not in values:
            where = thread.request[1]
            raise BarrierError(
                f"thread {thread.number} at {operation} ({where}) reads lane {source}, which is not there"
            )
        thread.reply = values[source]


def _listed(numbers: list[int]) -> str:
    """Numbers in words, the first few of many."""
    shown = ", ".join(str(number) for number in numbers[:4])
    return shown if len(numbers) <= 4 else f"{shown} and {len(numbers) - 4} more"
