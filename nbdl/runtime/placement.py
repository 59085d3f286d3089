"""Where new arrays go: into the memory of the CPU, or beside the arrays that an operation works on.

Operations ask `memory.empty` for their results and do not say on which device. While everything lies on the CPU that
needs no answer, and costs nothing. The first array on a GPU switches `active` on: from then on the engine notes, for
the time of each operation, where its inputs lie.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from nbdl.runtime import memory
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.errors import DeviceError

active = False
"""Whether this process has used a GPU: if not, nobody needs to look."""


class _Where(threading.local):
    kind = "cpu"


where = _Where()
"""The device of new arrays, in this thread."""


def activate() -> None:
    """Lets `memory.empty` look where its arrays are wanted. Called with the first array on a GPU."""
    global active
    if active:
        return
    on_cpu = memory.empty

    def empty(shape: Any, dtype: Any) -> Any:
        if where.kind == "cpu":
            return on_cpu(shape, dtype)
        from nbdl.runtime.cuda import memory as cuda_memory

        return cuda_memory.empty(shape if isinstance(shape, tuple) else (shape,), dtype)

    memory.empty = empty
    active = True


def kind_of(array: Any) -> str:
    """ "cpu" or "cuda"."""
    return "cuda" if type(array) is DeviceArray else "cpu"


class at:
    """New arrays lie on this device until the end of the block."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        self._before, where.kind = where.kind, self._kind

    def __exit__(self, *_: object) -> None:
        where.kind = self._before


def beside(array: Any) -> at:
    """New arrays lie where this one does until the end of the block."""
    return at(kind_of(array))


def meet(name: str, arrays: list[Any]) -> str:
    """The device that all arrays lie on. Raises DeviceError if there are two.

    A number on the CPU, an array of no dimension, may meet arrays of a GPU: the caller sends it there.
    """
    kind = "cpu"
    for array in arrays:
        if type(array) is DeviceArray:
            kind = "cuda"
            break
    if kind == "cpu":
        return kind
    for place, array in enumerate(arrays):
        if isinstance(array, np.ndarray) and array.ndim:
            other = next(number for number, one in enumerate(arrays) if type(one) is DeviceArray)
            raise DeviceError(
                f"{name}: tensors on two devices: tensor {place}, {array.dtype} {list(array.shape)}, is on the CPU, "
                f"tensor {other}, {arrays[other].dtype} {list(arrays[other].shape)}, on the GPU. "
                'Move one: x.to("cuda"), model.to("cuda")'
            )
    return kind
