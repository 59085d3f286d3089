"""GPUs: what there is, its memory, streams and events, pinned memory, and graphs of whole training steps.

    model = model.to("cuda")
    for x, y in nbdl.cuda.batches(loader):          # copied ahead, from pinned memory
        loss = step(x, y)                            # step = nbdl.cuda.graph(...), or any function
    nbdl.cuda.synchronize()

Importing it needs no GPU and no CUDA package; what needs one raises DeviceError with the remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from nbdl.autograd import Tensor, engine, is_grad_enabled, wrap
from nbdl.profiling.seams import watching
from nbdl.runtime import arrays
from nbdl.runtime.cuda import device as _device
from nbdl.runtime.cuda import memory as _memory
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.cuda.device import device_count, is_available, synchronize
from nbdl.runtime.cuda.recording import Recording
from nbdl.runtime.cuda.streams import Event, Stream, stream
from nbdl.runtime.cuda.streams import current as current_stream
from nbdl.runtime.errors import ArgumentTypeError, DeviceError

__all__ = [
    "Event",
    "Stream",
    "batches",
    "current_stream",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "graph",
    "is_available",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "pin_memory",
    "reset_peak_memory_stats",
    "stream",
    "synchronize",
]

# ---------------------------------------------------------------- the GPU


def get_device_name() -> str:
    """The GPU's name."""
    name: str = _device.driver().name
    return name


def get_device_capability() -> tuple[int, int]:
    """The GPU's compute capability: (9, 0) for Hopper."""
    return _device.compute_capability()


# ---------------------------------------------------------------- memory


def memory_allocated() -> int:
    """Bytes of the GPU that tensors lie in, rounded up to whole blocks."""
    return _memory.pool().used


def max_memory_allocated() -> int:
    """The most that `memory_allocated` has been since the start or `reset_peak_memory_stats`."""
    return _memory.pool().peak


def memory_reserved() -> int:
    """Bytes that nbdl has asked the driver for: tensors, and blocks kept for later ones."""
    pool = _memory.pool()
    return pool.used + pool.idle


def reset_peak_memory_stats() -> None:
    """Begins `max_memory_allocated` anew from what is in use now."""
    pool = _memory.pool()
    pool.peak = pool.used


def empty_cache() -> None:
    """Gives the blocks that no tensor uses back to the driver, for other programs."""
    _memory.release()


def mem_get_info() -> tuple[int, int]:
    """Free bytes and all bytes of the GPU, as the driver sees them."""
    info: tuple[int, int] = _device.driver().memory_info()
    return info


def pin_memory(data: Any) -> Any:
    """A copy in pinned memory, which the GPU fetches by itself: `.to("cuda", non_blocking=True)` then does not wait.

    Args:
        data: A tensor on the CPU or a NumPy array; or a tuple or list of them.

    Raises:
        DeviceError: There is no GPU.
    """
    if isinstance(data, (tuple, list)):
        return type(data)(pin_memory(item) for item in data)
    if isinstance(data, Tensor):
        if not isinstance(data._array, np.ndarray):
            raise DeviceError("data: only memory of the CPU can be pinned, this tensor lies on the GPU")
        return wrap(_memory.pin(data._array))
    if not isinstance(data, np.ndarray):
        raise ArgumentTypeError(f"data: expected a tensor or an array, got {type(data).__name__}")
    return _memory.pin(data)


def batches(loader: Iterable[Any]) -> Iterator[tuple[Tensor, ...]]:
    """The batches of a loader as tensors on the GPU, each copied from pinned memory while the one before is used.

    Args:
        loader: Yields tuples of arrays or tensors, or single ones.

    Raises:
        DeviceError: There is no GPU.
    """
    copies = Stream()

    def sent(batch: Any) -> tuple[Tensor, ...]:
        fields = batch if isinstance(batch, (tuple, list)) else (batch,)
        with stream(copies):
            return tuple(
                [
                    pin_memory(field if isinstance(field, Tensor) else Tensor(np.asarray(field))).to(
                        "cuda", non_blocking=True
                    )
                    for field in fields
                ]
            )

    ahead = None
    for batch in loader:
        following = sent(batch)
        if ahead is not None:
            yield ahead
        ahead = following
    if ahead is not None:
        yield ahead


# ---------------------------------------------------------------- graphs


class graph:
    """A function whose launches are recorded once and then run as one CUDA graph, without Python between the kernels.

    Called with tensors of other shapes, dtypes or strides, other numbers, in another grad mode, after a tensor that it
    uses was replaced, or a module switched between training and evaluation, it records again. Each run draws new
    random numbers, as the function itself would. Gradients arrive in `.grad` as they do without a graph.

    Args:
        function: Takes tensors on the GPU and hashable values, works on tensors of the GPU alone, and returns a tensor
            or a tuple of them. It runs forward and backward passes; an optimizer's step, one launch, comes after.

    What a call returns are the function's results, detached: copies, which the next call does not overwrite.

    Raises:
        DeviceError: The function waits for the GPU (`item()`, `.cpu()`), copies to it, or steps an optimizer; an
            argument lies on the CPU.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise ArgumentTypeError(f"function: expected a function, got {type(function).__name__}")
        self._function = function
        self._captured: dict[Any, _Captured] = {}
        self.recordings = 0
        """How often the function was recorded."""

    def __call__(self, *arguments: Any) -> Any:
        key = (is_grad_enabled(), *[_describe(number, argument) for number, argument in enumerate(arguments)])
        captured = self._captured.get(key)
        first = captured is None or not captured.holds()
        if captured is None or first:
            if captured is not None:
                captured.recording.free()
            captured = self._captured[key] = _Captured(self._function, arguments)
            self.recordings += 1
        return captured.run(arguments, first)

    def reset(self) -> None:
        """Forgets all recordings and gives their memory back."""
        for captured in self._captured.values():
            captured.recording.free()
        self._captured.clear()


def _describe(number: int, argument: Any) -> Any:
    if not isinstance(argument, Tensor):
        hash(argument)
        return type(argument), argument
    if type(argument._array) is not DeviceArray:
        raise DeviceError(f'argument {number}: a graph takes tensors on the GPU, this one is on the CPU; .to("cuda")')
    return argument.shape, argument.dtype, argument._array.strides, argument.requires_grad


class _Captured:
    """One recording, with what of the program it holds for."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.recording = Recording()
        self._tensors: dict[int, tuple[Tensor, Any, bool]] = {}
        self._modules: dict[int, tuple[Any, bool]] = {}
        self._before: dict[int, tuple[Tensor, Tensor | None]] = {}
        self._inputs = [self._own(argument) if isinstance(argument, Tensor) else argument for argument in arguments]
        own = {id(value._array) for value in self._inputs if isinstance(value, Tensor)}
        store = engine._store
        try:
            engine._store = self._noting_leaves(store)
            with (
                self.recording.running(),
                watching(operation=self._noting_tensors(own), layer=self._noting_modules, update=_refuse_update),
            ):
                result = function(*self._inputs)
        finally:
            engine._store = store
            gradients = [(leaf, leaf._grad) for leaf, _ in self._before.values()]
            for leaf, gradient in self._before.values():
                leaf._grad = gradient
        self._gradients = [(leaf, gradient._array) for leaf, gradient in gradients if gradient is not None]
        self._is_tuple = isinstance(result, (tuple, list))
        self._results = [value._array for value in (result if self._is_tuple else (result,))]

    @staticmethod
    def _own(argument: Tensor) -> Tensor:
        """Memory of the recording's own for an argument: each run copies the argument there."""
        tensor = wrap(arrays.copied(argument._array))
        tensor.requires_grad = argument.requires_grad
        return tensor

    def _noting_tensors(self, own: set[int]) -> Any:
        """Notes the tensors from outside that operations work on."""

        def wrapper(apply: Any) -> Any:
            def noting(op: Any, *inputs: Any) -> Any:
                for value in inputs:
                    if isinstance(value, Tensor) and value._node is None and id(value._array) not in own:
                        array = value._array
                        if type(array) is DeviceArray and array.allocation.pool is not self.recording:
                            self._tensors[id(value)] = (value, array, value.requires_grad)
                return apply(op, *inputs)

            return noting

        return wrapper

    def _noting_modules(self, call: Any) -> Any:
        def noting(module: Any, *arguments: Any, **options: Any) -> Any:
            self._modules[id(module)] = (module, module.training)
            return call(module, *arguments, **options)

        return noting

    def _noting_leaves(self, store: Any) -> Any:
        """Lets gradients start anew, and notes whose they are."""

        def noting(leaf: Tensor, array: Any, foreign: set[int]) -> None:
            if id(leaf) not in self._before:
                self._before[id(leaf)] = (leaf, leaf._grad)
                leaf._grad = None
            store(leaf, array, foreign)

        return noting

    def holds(self) -> bool:
        """Whether all that was recorded from is still as it was."""
        return all(
            tensor._array is array and tensor.requires_grad == wanted
            for tensor, array, wanted in self._tensors.values()
        ) and all(module.training == training for module, training in self._modules.values())

    def run(self, arguments: tuple[Any, ...], first: bool) -> Any:
        """One run with these arguments."""
        for own, argument in zip(self._inputs, arguments, strict=True):
            if isinstance(own, Tensor):
                arrays.copy_into(own._array, argument._array)
        earlier = [
            arrays.copied(leaf._grad._array) if leaf._grad is not None and leaf._grad._array is array else None
            for leaf, array in self._gradients
        ]
        self.recording.run(first)
        self.recording.look()
        for (leaf, array), kept in zip(self._gradients, earlier, strict=True):
            if leaf._grad is None:
                leaf._grad = wrap(array)
                continue
            leaf._grad._version[0] += 1
            if kept is not None:
                arrays.add_to(array, kept)
            else:
                arrays.add_to(leaf._grad._array, array)
        results = tuple([wrap(arrays.copied(array)) for array in self._results])
        return results if self._is_tuple else results[0]


def _refuse_update(_: Any) -> Any:
    def refuse(*_: Any, **__: Any) -> None:
        raise DeviceError(
            "an optimizer's step cannot be part of a CUDA graph: its numbers change from step to step. Call it after "
            "the graph; it is one launch"
        )

    return refuse
