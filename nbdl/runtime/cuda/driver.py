"""The driver of an NVIDIA GPU, as the runtime uses it: memory, copies, streams, events, launches and graphs.

Every call of CUDA's driver API goes through here, by the bindings `cuda.bindings.driver`; `nbdl.testing.simulated`
puts in their place a driver whose GPU is the SIMT interpreter. An error of the driver becomes a DeviceError that says
what failed, and, since launches run on while Python goes ahead, which kernels may have caused it.
"""

from __future__ import annotations

import collections
import ctypes
import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.errors import DeviceError

OUT_OF_MEMORY = 2
NOT_READY = 600

_NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_CAPABILITY_MAJOR, _CAPABILITY_MINOR, _MULTIPROCESSORS = 75, 76, 16  # CUdevice_attribute

_REMEDIES = {
    700: "a kernel used an address outside its arrays; run the same code in nbdl.testing.simt, which names the index",
    701: "a kernel needs more registers or shared memory than a block may have",
    719: "a kernel failed; run the same code in nbdl.testing.simt, which names the mistake",
    209: "the kernel was compiled for another GPU: delete the kernel cache and run again",
    222: "the toolkit that compiled the kernel is newer than the driver: update the driver, see `nbdl doctor`",
    999: "the GPU is in an unknown state: restart the program, then look at `nvidia-smi`",
}
"""What to do about errors of the driver, by number."""

_SLOTS = {
    "float64": "d", "float32": "f4x", "int64": "q", "uint64": "Q", "int32": "i4x", "uint32": "I4x", "int16": "h6x",
    "uint16": "H6x", "int8": "b7x", "uint8": "B7x", "bool": "?7x",
}  # fmt: skip
"""How an argument of a dtype lies in its slot of eight bytes."""


class OutOfMemoryError(Exception):
    """The driver has no block of the size that was asked for."""


# ---------------------------------------------------------------- arguments


def describe(argument: Any) -> Any:
    """What of an argument decides which code runs: dtype, dimensions and layout of an array, the type of a number."""
    kind = type(argument)
    if kind is DeviceArray:
        return (argument.dtype.str, argument._geometry.ndim, argument.layout)
    if kind is tuple:
        return ("tuple", *map(describe, argument))
    if kind is int:
        return "int64" if -(2**63) <= argument < 2**63 else "uint64"
    if kind is float:
        return "float64"
    if kind is bool:
        return "bool"
    if isinstance(argument, np.generic):
        return argument.dtype.name
    raise DeviceError(f"a kernel takes arrays of the GPU, numbers and tuples of them, got {kind.__name__}")


def slot_format(description: Any) -> str:
    """The slots of an argument as numba-cuda's kernels take them, in the language of `struct`.

    An array becomes (object, parent, elements, bytes of an element, address, shape, strides).
    """
    if isinstance(description, str):
        return _SLOTS[description]
    if description[0] == "tuple":
        return "".join(map(slot_format, description[1:]))
    return "QQqqQ" + "q" * (2 * description[1])


def slot_values(argument: Any, values: list[Any]) -> None:
    """Appends what fills the slots of an argument."""
    if type(argument) is DeviceArray:
        geometry = argument._geometry
        values += (0, 0, geometry.size, geometry.itemsize, argument.address, *geometry.shape, *geometry.strides)
    elif type(argument) is tuple:
        for item in argument:
            slot_values(item, values)
    else:
        values.append(argument)


class Arguments:
    """The arguments of a launch in memory, as the driver reads them: slots of eight bytes and a pointer to each."""

    def __init__(self, description: tuple[Any, ...], arguments: Sequence[Any]) -> None:
        values: list[Any] = []
        for argument in arguments:
            slot_values(argument, values)
        layout = "<" + "".join(map(slot_format, description))
        self.size = struct.calcsize(layout)
        self._slots = ctypes.create_string_buffer(struct.pack(layout, *values), max(self.size, 8))
        first = ctypes.addressof(self._slots)
        count = self.size // 8
        self._pointers = (ctypes.c_void_p * max(count, 1))(*range(first, first + 8 * count, 8))
        self.address = ctypes.addressof(self._pointers)

    def set_word(self, slot: int, value: int) -> None:
        """Puts another number into the slot of a uint32."""
        struct.pack_into("<I", self._slots, 8 * slot, value)


# ---------------------------------------------------------------- driver


class Driver:
    """One GPU through the driver's API.

    Args:
        api: The module `cuda.bindings.driver`, or what stands for it.
        load: Gives the driver's function for a CUDA function of nbdl and the types of its arguments.
        number: Which GPU.
    """

    def __init__(self, api: Any, load: Callable[[Any, tuple[Any, ...]], Any], number: int = 0) -> None:
        self._api = api
        self._load = load
        self._recent: collections.deque[str] = collections.deque(maxlen=8)
        self.pool: Any = None  # what the runtime keeps for this GPU: blocks, tables and compiled kernels
        self.constants: dict[Any, Any] = {}
        self.functions: dict[Any, Any] = {}
        self._call("cuInit", 0)
        self._device = self._call("cuDeviceGet", number)
        self._context = self._call("cuDevicePrimaryCtxRetain", self._device)
        self._call("cuCtxSetCurrent", self._context)

    def _call(self, name: str, *arguments: Any) -> Any:
        error, *results = getattr(self._api, name)(*arguments)
        if int(error):
            self._raise(name, error)
        return results[0] if len(results) == 1 else tuple(results)

    def _raise(self, name: str, error: Any) -> None:
        number = int(error)
        if number == OUT_OF_MEMORY:
            raise OutOfMemoryError
        title = self._api.cuGetErrorName(error)[1]
        title = title.decode() if isinstance(title, bytes) else title
        since = f"; kernels since the last check: {', '.join(dict.fromkeys(self._recent))}" if self._recent else ""
        remedy = f". {_REMEDIES[number]}" if number in _REMEDIES else ""
        raise DeviceError(f"the GPU failed in {name}: {title} ({number}){since}{remedy}")

    # -- what it is

    def use_in_this_thread(self) -> None:
        """A thread has to say once which GPU it works with."""
        self._call("cuCtxSetCurrent", self._context)

    @property
    def name(self) -> str:
        name: bytes = self._call("cuDeviceGetName", 128, self._device)
        return name.split(b"\0")[0].decode()

    @property
    def version(self) -> tuple[int, int]:
        """The newest CUDA that the driver knows."""
        number = self._call("cuDriverGetVersion")
        return number // 1000, number % 1000 // 10

    @functools.cached_property
    def capability(self) -> tuple[int, int]:
        """The compute capability."""
        return self._attribute(_CAPABILITY_MAJOR), self._attribute(_CAPABILITY_MINOR)

    @property
    def multiprocessors(self) -> int:
        return self._attribute(_MULTIPROCESSORS)

    def _attribute(self, number: int) -> int:
        kinds = getattr(self._api, "CUdevice_attribute", int)
        return int(self._call("cuDeviceGetAttribute", kinds(number), self._device))

    # -- memory

    def allocate(self, size: int) -> int:
        """The address of a new block. Raises OutOfMemoryError."""
        return int(self._call("cuMemAlloc", size))

    def free(self, address: int) -> None:
        """Gives a block back."""
        self._call("cuMemFree", address)

    def memory_info(self) -> tuple[int, int]:
        """Free bytes and all bytes of the GPU, other programs' included."""
        free, total = self._call("cuMemGetInfo")
        return int(free), int(total)

    def pinned(self, size: int) -> tuple[int, Callable[[], None]]:
        """Memory of the CPU that the GPU copies from by itself: its address, and what frees it."""
        address = int(self._call("cuMemHostAlloc", size, 0))
        return address, lambda: self._call("cuMemFreeHost", address)

    # -- copies: all in the order of a stream

    def copy_in(self, address: int, array: np.ndarray, stream: Any) -> None:
        """From a contiguous array of the CPU; from pinned memory it may return before it has copied."""
        if array.nbytes:
            self._call("cuMemcpyHtoDAsync", address, array.__array_interface__["data"][0], array.nbytes, stream)

    def copy_out(self, array: np.ndarray, address: int, stream: Any) -> None:
        """Into a contiguous array of the CPU; done when the stream is."""
        if array.nbytes:
            self._call("cuMemcpyDtoHAsync", array.__array_interface__["data"][0], address, array.nbytes, stream)

    def copy_on_device(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        """From one block to another."""
        self._call("cuMemcpyDtoDAsync", target, source, nbytes, stream)

    # -- streams and events

    def new_stream(self) -> Any:
        return self._call("cuStreamCreate", _NON_BLOCKING)

    def free_stream(self, stream: Any) -> None:
        self._call("cuStreamDestroy", stream)

    def wait_for_stream(self, stream: Any) -> None:
        """Blocks the CPU until the stream has done all it was given."""
        self._call("cuStreamSynchronize", stream)
        self._recent.clear()

    def is_stream_idle(self, stream: Any) -> bool:
        return self._is_ready("cuStreamQuery", stream)

    def order(self, stream: Any, event: Any) -> None:
        """Lets the stream wait for an event; the CPU goes on."""
        self._call("cuStreamWaitEvent", stream, event, 0)

    def new_event(self, timing: bool) -> Any:
        return self._call("cuEventCreate", 0 if timing else _NO_TIMING)

    def free_event(self, event: Any) -> None:
        self._call("cuEventDestroy", event)

    def record(self, event: Any, stream: Any) -> None:
        self._call("cuEventRecord", event, stream)

    def wait_for_event(self, event: Any) -> None:
        self._call("cuEventSynchronize", event)

    def is_event_over(self, event: Any) -> bool:
        return self._is_ready("cuEventQuery", event)

    def milliseconds(self, start: Any, end: Any) -> float:
        return float(self._call("cuEventElapsedTime", start, end))

    def synchronize(self) -> None:
        """Blocks the CPU until the GPU has done all it was given. Raises what a kernel did wrong."""
        self._call("cuCtxSynchronize")
        self._recent.clear()

    def _is_ready(self, name: str, handle: Any) -> bool:
        (error, *_) = getattr(self._api, name)(handle)
        if int(error) not in (0, NOT_READY):
            self._raise(name, error)
        return int(error) == 0

    # -- launches

    def function(self, function: Any, example: tuple[Any, ...]) -> Any:
        """The compiled kernel for arguments of the types of an example."""
        return self._load(function, example)

    def launch(
        self, name: str, kernel: Any, grid: tuple[int, int, int], threads: int, arguments: Arguments, stream: Any
    ) -> None:
        """Gives the stream a kernel to run."""
        self._recent.append(name)
        self._call("cuLaunchKernel", kernel, *grid, threads, 1, 1, 0, stream, arguments.address, 0)

    def new_graph(self, launches: Sequence[Launch]) -> Graph:
        """The launches as one thing to launch, each after the one before."""
        return Graph(self, launches)


class Launch:
    """What is launched in a graph: a kernel, its grid and its arguments."""

    def __init__(self, name: str, kernel: Any, grid: tuple[int, int, int], threads: int, arguments: Arguments) -> None:
        self.name = name
        self.kernel = kernel
        self.grid = grid
        self.threads = threads
        self.arguments = arguments


class Graph:
    """A chain of kernels that the driver launches at once."""

    def __init__(self, driver: Driver, launches: Sequence[Launch]) -> None:
        self._driver = driver
        self._launches = list(launches)
        self._graph = driver._call("cuGraphCreate", 0)
        self._nodes: list[Any] = []
        for launch in self._launches:
            before = self._nodes[-1:]
            node = driver._call("cuGraphAddKernelNode", self._graph, before, len(before), self._parameters(launch))
            self._nodes.append(node)
        self._executable = driver._call("cuGraphInstantiate", self._graph, 0)

    def _parameters(self, launch: Launch) -> Any:
        parameters = self._driver._api.CUDA_KERNEL_NODE_PARAMS()
        parameters.func = launch.kernel
        parameters.gridDimX, parameters.gridDimY, parameters.gridDimZ = launch.grid
        parameters.blockDimX, parameters.blockDimY, parameters.blockDimZ = launch.threads, 1, 1
        parameters.sharedMemBytes = 0
        parameters.kernelParams = launch.arguments.address
        parameters.extra = 0
        return parameters

    def change(self, number: int, arguments: Arguments) -> None:
        """Gives one of its launches other arguments, from the next run on."""
        self._launches[number].arguments = arguments
        parameters = self._parameters(self._launches[number])
        self._driver._call("cuGraphExecKernelNodeSetParams", self._executable, self._nodes[number], parameters)

    def run(self, stream: Any) -> None:
        """Gives the stream all kernels."""
        self._driver._recent.extend(launch.name for launch in self._launches[-8:])
        self._driver._call("cuGraphLaunch", self._executable, stream)

    def free(self) -> None:
        """Gives it back to the driver."""
        self._driver._call("cuGraphExecDestroy", self._executable)
        self._driver._call("cuGraphDestroy", self._graph)
