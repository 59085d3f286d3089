# ruff: noqa: N802, N815  CUDA's names
"""The simulated GPU's parts: memory, streams whose work waits until somebody waits for it, kernels, graphs."""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import functools
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nbdl.runtime import jit
from nbdl.runtime.cuda import device
from nbdl.runtime.cuda.array import geometry_at
from nbdl.runtime.cuda.driver import Driver, describe, slot_format
from nbdl.testing import simt
from nbdl.testing.simt.arrays import poison

_SUCCESS, _INVALID_VALUE, _OUT_OF_MEMORY, _NOT_READY, _ILLEGAL_ADDRESS = 0, 1, 2, 600, 700

_NAMES = {
    _INVALID_VALUE: b"CUDA_ERROR_INVALID_VALUE", _OUT_OF_MEMORY: b"CUDA_ERROR_OUT_OF_MEMORY",
    _NOT_READY: b"CUDA_ERROR_NOT_READY", _ILLEGAL_ADDRESS: b"CUDA_ERROR_ILLEGAL_ADDRESS",
}  # fmt: skip

_ALIGNMENT = 512

_LAUNCH_MILLISECONDS = 0.01
"""What a kernel takes on the simulated clock."""


class Function:
    """A CUDA function for arguments of certain types: what a GPU would have loaded."""

    def __init__(self, function: jit.CudaFunction, description: tuple[Any, ...]) -> None:
        self.function = function
        self.description = description
        self.layout = "<" + "".join(map(slot_format, description))

    def unpack(self, pointers: int) -> list[Any]:
        """The numbers in the slots that `kernelParams` points to."""
        count = struct.calcsize(self.layout) // 8
        places = (ctypes.c_void_p * count).from_address(pointers) if count else ()
        packed = b"".join(ctypes.string_at(place or 0, 8) for place in places)
        return list(struct.unpack(self.layout, packed))


class Event:
    """A mark: which stream it lies in, and how much of that stream's work comes before."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.place = 0
        self.time = 0.0


class Stream:
    """Work that waits: `done` of the calls in `work` have run."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []
        self.done = 0

    def run(self, until: int | None = None) -> None:
        """Does the work up to a place, all of it when None."""
        goal = len(self.work) if until is None else until
        while self.done < goal:
            task = self.work[self.done]
            self.work[self.done] = _nothing
            self.done += 1
            task()


def _nothing() -> None:
    pass


class NodeParameters:
    """CUDA_KERNEL_NODE_PARAMS."""

    func: Any = None
    gridDimX = gridDimY = gridDimZ = blockDimX = blockDimY = blockDimZ = 1
    sharedMemBytes = 0
    kernelParams: Any = 0
    extra: Any = 0


class Machine:
    """A GPU and its driver's API: what `cuda.bindings.driver` offers to nbdl's runtime, under the same names.

    Args:
        total: Bytes of its memory.
        races: Whether the interpreter looks for races.
        precise: Whether it refuses float64 in float32 kernels.
        seed: Of the order of warps and lanes; that of their numbers when None.
        eager: Whether streams do their work at once, so that a mistake of a kernel shows where it is launched.

    Attributes:
        launches: Names of the kernels that ran, in order.
        host_waits: How often the CPU waited for the GPU.
        bytes_in: Bytes copied from the CPU to the GPU.
        bytes_out: Bytes copied back.
        graph_runs: How many graphs were launched.
        fail_next: The number of an error that the next launch ends in, as a broken GPU would.
    """

    CUDA_KERNEL_NODE_PARAMS = NodeParameters

    def __init__(self, total: int, races: bool, precise: bool, seed: int | None, eager: bool) -> None:
        self.total = total
        self._options = {"races": races, "precise": precise, "seed": seed}
        self._eager = eager
        self._blocks: dict[int, Any] = {}
        self._starts: list[int] = []
        self._sizes: dict[int, int] = {}
        self._pinned: dict[int, Any] = {}
        self._streams: dict[int, Stream] = {0: Stream()}
        self._error = _SUCCESS
        self._clock = 0.0
        self.launches: list[str] = []
        self.host_waits = self.bytes_in = self.bytes_out = self.graph_runs = 0
        self.fail_next = _SUCCESS

    @property
    def used(self) -> int:
        """Bytes that the runtime has asked for."""
        return sum(self._sizes.values())

    def load(self, function: jit.CudaFunction, arguments: tuple[Any, ...]) -> Function:
        """What the compiler does on a GPU."""
        return Function(function, tuple(map(describe, arguments)))

    # -- the API: device

    def cuInit(self, Flags: int) -> tuple[int]:
        return (_SUCCESS,)

    def cuDriverGetVersion(self) -> tuple[int, int]:
        return _SUCCESS, 13000

    def cuDeviceGetCount(self) -> tuple[int, int]:
        return _SUCCESS, 1

    def cuDeviceGet(self, ordinal: int) -> tuple[int, int]:
        return _SUCCESS, ordinal

    def cuDeviceGetName(self, length: int, dev: int) -> tuple[int, bytes]:
        return _SUCCESS, b"Simulated GPU".ljust(length, b"\0")

    def cuDeviceGetAttribute(self, attrib: Any, dev: int) -> tuple[int, int]:
        return _SUCCESS, {75: 9, 76: 0, 16: 4}[int(attrib)]

    def cuDevicePrimaryCtxRetain(self, dev: int) -> tuple[int, int]:
        return _SUCCESS, 1

    def cuCtxSetCurrent(self, ctx: int) -> tuple[int]:
        return (_SUCCESS,)

    def cuCtxSynchronize(self) -> tuple[int]:
        self.host_waits += 1
        for stream in list(self._streams.values()):
            stream.run()
        return (self._error,)

    def cuGetErrorName(self, error: Any) -> tuple[int, bytes]:
        return _SUCCESS, _NAMES.get(int(error), b"CUDA_ERROR_UNKNOWN")

    # -- memory

    def cuMemAlloc(self, bytesize: int) -> tuple[int, int]:
        if self.used + bytesize > self.total:
            return _OUT_OF_MEMORY, 0
        memory = poison(np.empty(bytesize + _ALIGNMENT, np.uint8))
        address = -(-memory.__array_interface__["data"][0] // _ALIGNMENT) * _ALIGNMENT
        self._blocks[address], self._sizes[address] = memory, bytesize
        bisect.insort(self._starts, address)
        return _SUCCESS, address

    def cuMemFree(self, dptr: int) -> tuple[int]:
        if dptr not in self._blocks:
            return (_INVALID_VALUE,)
        del self._blocks[dptr], self._sizes[dptr]
        self._starts.remove(dptr)
        return (_SUCCESS,)

    def cuMemGetInfo(self) -> tuple[int, int, int]:
        return _SUCCESS, self.total - self.used, self.total

    def cuMemHostAlloc(self, bytesize: int, Flags: int) -> tuple[int, int]:
        memory = np.empty(bytesize, np.uint8)
        address = memory.__array_interface__["data"][0]
        self._pinned[address] = memory
        return _SUCCESS, address

    def cuMemFreeHost(self, p: int) -> tuple[int]:
        return (_SUCCESS if self._pinned.pop(p, None) is not None else _INVALID_VALUE,)

    def _holds(self, address: int, size: int) -> bool:
        """Whether the bytes lie in one block."""
        place = bisect.bisect_right(self._starts, address) - 1
        if place < 0:
            return size == 0
        start = self._starts[place]
        return size == 0 or address + size <= start + self._sizes[start]

    def _is_pinned(self, address: int) -> bool:
        return any(start <= address < start + memory.size for start, memory in self._pinned.items())

    def cuMemcpyHtoDAsync(self, dstDevice: int, srcHost: int, ByteCount: int, hStream: Any) -> tuple[int]:
        self.bytes_in += ByteCount
        if not self._holds(dstDevice, ByteCount):
            return (_INVALID_VALUE,)
        if self._is_pinned(srcHost):
            self._enqueue(hStream, lambda: ctypes.memmove(dstDevice, srcHost, ByteCount))
        else:
            contents = ctypes.string_at(srcHost, ByteCount)
            self._enqueue(hStream, lambda: ctypes.memmove(dstDevice, contents, ByteCount))
        return (_SUCCESS,)

    def cuMemcpyDtoHAsync(self, dstHost: int, srcDevice: int, ByteCount: int, hStream: Any) -> tuple[int]:
        self.bytes_out += ByteCount
        if not self._holds(srcDevice, ByteCount):
            return (_INVALID_VALUE,)
        self._enqueue(hStream, lambda: ctypes.memmove(dstHost, srcDevice, ByteCount))
        return (_SUCCESS,)

    def cuMemcpyDtoDAsync(self, dstDevice: int, srcDevice: int, ByteCount: int, hStream: Any) -> tuple[int]:
        if not (self._holds(dstDevice, ByteCount) and self._holds(srcDevice, ByteCount)):
            return (_INVALID_VALUE,)

        def copy() -> None:
            ctypes.memmove(dstDevice, srcDevice, ByteCount)
            self._clock += _LAUNCH_MILLISECONDS

        self._enqueue(hStream, copy)
        return (_SUCCESS,)

    # -- streams and events

    def _enqueue(self, handle: Any, task: Callable[[], Any]) -> None:
        stream = self._streams[handle]
        stream.work.append(task)
        if self._eager:
            stream.run()

    def cuStreamCreate(self, Flags: int) -> tuple[int, int]:
        handle = max(self._streams) + 1
        self._streams[handle] = Stream()
        return _SUCCESS, handle

    def cuStreamDestroy(self, hStream: Any) -> tuple[int]:
        self._streams.pop(hStream).run()
        return (_SUCCESS,)

    def cuStreamSynchronize(self, hStream: Any) -> tuple[int]:
        self.host_waits += 1
        self._streams[hStream].run()
        return (self._error,)

    def cuStreamQuery(self, hStream: Any) -> tuple[int]:
        stream = self._streams[hStream]
        return (_SUCCESS if stream.done == len(stream.work) else _NOT_READY,)

    def cuEventCreate(self, Flags: int) -> tuple[int, Event]:
        return _SUCCESS, Event()

    def cuEventDestroy(self, hEvent: Event) -> tuple[int]:
        return (_SUCCESS,)

    def cuEventRecord(self, hEvent: Event, hStream: Any) -> tuple[int]:
        def mark() -> None:
            hEvent.time = self._clock

        self._enqueue(hStream, mark)
        stream = self._streams[hStream]
        hEvent.stream, hEvent.place = stream, len(stream.work)
        return (_SUCCESS,)

    def cuStreamWaitEvent(self, hStream: Any, hEvent: Event, Flags: int) -> tuple[int]:
        stream, place = hEvent.stream, hEvent.place
        if stream is not None:
            self._enqueue(hStream, lambda: stream.run(place))
        return (_SUCCESS,)

    def cuEventQuery(self, hEvent: Event) -> tuple[int]:
        return (_SUCCESS if hEvent.stream is None or hEvent.stream.done >= hEvent.place else _NOT_READY,)

    def cuEventSynchronize(self, hEvent: Event) -> tuple[int]:
        self.host_waits += 1
        if hEvent.stream is not None:
            hEvent.stream.run(hEvent.place)
        return (self._error,)

    def cuEventElapsedTime(self, hStart: Event, hEnd: Event) -> tuple[int, float]:
        return _SUCCESS, hEnd.time - hStart.time

    # -- launches

    def cuLaunchKernel(
        self, f: Function, gridDimX: int, gridDimY: int, gridDimZ: int, blockDimX: int, blockDimY: int, blockDimZ: int,
        sharedMemBytes: int, hStream: Any, kernelParams: int, extra: int,
    ) -> tuple[int]:  # fmt: skip
        values = f.unpack(kernelParams)  # the driver too reads them before it returns
        grid, block = (gridDimX, gridDimY, gridDimZ), (blockDimX, blockDimY, blockDimZ)
        self._enqueue(hStream, lambda: self._run(f, grid, block, values))
        return (self._error,)

    def _run(self, f: Function, grid: tuple[int, ...], block: tuple[int, ...], values: list[Any]) -> None:
        if self.fail_next:
            self._error, self.fail_next = self.fail_next, _SUCCESS
        if self._error:
            return  # as on a GPU, nothing runs after a failure
        remaining = iter(values)
        arguments = [self._argument(description, remaining) for description in f.description]
        if self._error:
            return
        self.launches.append(f.function.py_func.__name__.strip("_"))
        self._clock += _LAUNCH_MILLISECONDS
        simt.launch(f.function, grid, block, *arguments, **self._options)  # type: ignore[arg-type]

    def _argument(self, description: Any, values: Iterator[Any]) -> Any:
        if isinstance(description, str):
            value = next(values)
            return value if description in ("int64", "bool", "float64") else np.dtype(description).type(value)
        if description[0] == "tuple":
            return tuple([self._argument(item, values) for item in description[1:]])
        dtype, ndim = np.dtype(description[0]), description[1]
        _, _, size, itemsize, address = (next(values) for _ in range(5))
        shape = tuple(next(values) for _ in range(ndim))
        strides = tuple(next(values) for _ in range(ndim))
        low = sum((n - 1) * step for n, step in zip(shape, strides, strict=True) if step < 0) if size else 0
        high = sum((n - 1) * step for n, step in zip(shape, strides, strict=True) if step > 0) + itemsize if size else 0
        if not self._holds(address + low, high - low):
            self._error = _ILLEGAL_ADDRESS
            return None
        return np.lib.stride_tricks.as_strided(geometry_at(address, (1,), dtype), shape, strides)

    # -- graphs

    def cuGraphCreate(self, flags: int) -> tuple[int, list[Any]]:
        return _SUCCESS, []

    def cuGraphAddKernelNode(
        self, hGraph: list[Any], dependencies: Any, numDependencies: int, nodeParams: NodeParameters
    ) -> tuple[int, int]:
        hGraph.append(self._node(nodeParams))
        return _SUCCESS, len(hGraph) - 1

    def _node(self, parameters: NodeParameters) -> Any:
        grid = parameters.gridDimX, parameters.gridDimY, parameters.gridDimZ
        block = parameters.blockDimX, parameters.blockDimY, parameters.blockDimZ
        return parameters.func, grid, block, parameters.func.unpack(parameters.kernelParams)

    def cuGraphInstantiate(self, hGraph: list[Any], flags: int) -> tuple[int, list[Any]]:
        return _SUCCESS, list(hGraph)

    def cuGraphExecKernelNodeSetParams(
        self, hGraphExec: list[Any], hNode: int, nodeParams: NodeParameters
    ) -> tuple[int]:
        hGraphExec[hNode] = self._node(nodeParams)
        return (_SUCCESS,)

    def cuGraphLaunch(self, hGraphExec: list[Any], hStream: Any) -> tuple[int]:
        self.graph_runs += 1
        for function, grid, block, values in hGraphExec:
            self._enqueue(hStream, functools.partial(self._run, function, grid, block, values))
        return (self._error,)

    def cuGraphExecDestroy(self, hGraphExec: list[Any]) -> tuple[int]:
        return (_SUCCESS,)

    def cuGraphDestroy(self, hGraph: list[Any]) -> tuple[int]:
        return (_SUCCESS,)


@contextlib.contextmanager
def gpu(
    *,
    memory: int = 1 << 30,
    races: bool = False,
    precise: bool = True,
    seed: int | None = None,
    eager: bool = False,
) -> Iterator[Machine]:
    """Until the end of the block `device="cuda"` is a simulated GPU; also where there is a real one.

    Args:
        memory: Bytes that it has.
        races: Whether the interpreter looks for races, which takes about three times as long.
        precise: Whether a float64 that is stored into a float32 array is an error.
        seed: Of a random order of warps and lanes; the order of their numbers when None.
        eager: Whether streams do their work at once, so that a mistake of a kernel shows where it is launched.
    """
    machine = Machine(memory, races, precise, seed, eager)
    before = device.use(Driver(machine, machine.load))
    try:
        yield machine
    finally:
        device.use(before)
