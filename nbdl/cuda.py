"""GPUs: what there is, its memory, streams and events, pinned memory, and graphs of whole training steps.

    model = model.to("cuda")
    for x, y in nbdl.cuda.batches(loader):          # copied ahead, from pinned memory
        loss = step(x, y)                            # step = nbdl.cuda.graph(...), or any function
    nbdl.cuda.synchronize()

Importing it needs no GPU and no CUDA package; what needs one raises DeviceError with the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

import nbdl.graphs
from nbdl.autograd import Tensor, wrap
from nbdl.runtime.cuda import device as _device
from nbdl.runtime.cuda import memory as _memory
from nbdl.runtime.cuda.device import device_count, is_available, synchronize
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


class graph(nbdl.graphs.graph):
    """As `nbdl.graph`, of work on the GPU: one CUDA graph, between whose kernels the GPU does not wait for the CPU.

    Its arguments are tensors on the GPU and hashable values. A function that takes none is recorded here, too.
    """

    _kind = "cuda"
