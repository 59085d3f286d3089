"""Arrays in the memory of a GPU: shape, strides and address, and views of them; their elements stay where they are.

A view's geometry is NumPy's: each array keeps a NumPy array of the same shape, strides and address, whose memory is
never read or written by the CPU. Whatever would read it raises DeviceError, but for the explicit ways: `item`,
`tolist`, and the truth or number of a single element, which copy it to the CPU and wait.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nbdl.runtime.errors import DeviceError, IndexRangeError, ShapeError

_VIEWS: set[Callable[..., Any]] = {
    np.broadcast_to, np.expand_dims, np.moveaxis, np.rollaxis, np.squeeze, np.swapaxes, np.transpose, np.diagonal,
    np.lib.stride_tricks.as_strided, np.lib.stride_tricks.sliding_window_view, np.flip, np.reshape,
    np.split, np.array_split, np.ravel,
}  # fmt: skip
"""NumPy's functions that look at shapes and strides alone."""

_NUMBERS: set[Callable[..., Any]] = {np.shape, np.ndim, np.size}


def geometry_at(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """A C-contiguous NumPy array at an address of whatever memory, made without touching it."""
    size = dtype.itemsize
    for length in shape:
        size *= length
    memory = (ctypes.c_char * max(size, 1)).from_address(address)
    return np.ndarray(shape, dtype, memory)  # type: ignore[arg-type] # any object with a buffer will do


class DeviceArray:
    """An array on a GPU. Made by `nbdl.runtime.cuda.memory`, shown to users as the memory of a Tensor.

    Attributes:
        allocation: The block of memory that it lies in; alive as long as an array shows it.
        address: Of its first element.
        base: The array whose memory a view shows; None for one that is no view.
    """

    __slots__ = ("__weakref__", "_geometry", "address", "allocation", "base", "dtype", "shape")

    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, geometry: np.ndarray, allocation: Any, base: DeviceArray | None = None) -> None:
        self._geometry = geometry
        self.allocation = allocation
        self.base = base
        self.shape: tuple[int, ...] = geometry.shape
        self.dtype = geometry.dtype
        self.address: int = geometry.__array_interface__["data"][0]

    # -- geometry

    @property
    def strides(self) -> tuple[int, ...]:
        return self._geometry.strides

    @property
    def ndim(self) -> int:
        return self._geometry.ndim

    @property
    def size(self) -> int:
        return self._geometry.size

    @property
    def itemsize(self) -> int:
        return self._geometry.itemsize

    @property
    def nbytes(self) -> int:
        return self._geometry.nbytes

    @property
    def flags(self) -> Any:
        return self._geometry.flags

    @property
    def owner(self) -> DeviceArray:
        """The array at the root of its views."""
        return self if self.base is None else self.base

    @property
    def layout(self) -> str:
        """ "C" or "F" if its elements lie so, else "A"."""
        flags = self._geometry.flags
        return "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("len: the array has no dimensions")
        return self.shape[0]

    # -- views

    def _view(self, geometry: np.ndarray) -> DeviceArray:
        return DeviceArray(geometry, self.allocation, self.owner)

    def __getitem__(self, index: Any) -> DeviceArray:
        places = index if isinstance(index, tuple) else (index,)
        for place in places:
            if not (place is None or place is Ellipsis or isinstance(place, (int, np.integer, slice))):
                raise DeviceError(f"an array on the GPU takes integers and slices as indices, got {place!r}")
        if Ellipsis not in places:
            places = (*places, Ellipsis)  # with integers alone NumPy would read the element
        try:
            return self._view(self._geometry[places])
        except IndexError as error:
            raise IndexRangeError(str(error)) from None

    def __iter__(self) -> Iterator[DeviceArray]:
        return (self[place] for place in range(len(self)))

    def view(self, dtype: Any = None) -> DeviceArray:
        """The same memory, as elements of another dtype."""
        return self._view(self._geometry.view() if dtype is None or dtype is np.ndarray else self._geometry.view(dtype))

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> DeviceArray:
        """A view of another shape, or, where strides do not allow it, a contiguous copy, or ValueError without copy."""
        sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], (int, np.integer)) else shape
        if copy is False and order == "C":
            return self._view(self._geometry.reshape(sizes, copy=False))
        if order == "F":
            return self.T.reshape(tuple(reversed(sizes if isinstance(sizes, tuple) else (sizes,)))).T
        try:
            return self._view(self._geometry.reshape(sizes, copy=False))
        except ValueError:
            if self._geometry.flags.c_contiguous:
                raise
        from nbdl.runtime import arrays

        copied = arrays.contiguous(self)
        return copied._view(copied._geometry.reshape(sizes, copy=False))

    def ravel(self, order: str = "C") -> DeviceArray:
        """All elements in one dimension."""
        if order == "C" or self._geometry.flags.c_contiguous:
            return self.reshape(-1)
        steps = self._geometry.strides
        slowest_first = sorted(range(len(steps)), key=lambda axis: -steps[axis])
        return self.transpose(slowest_first if order == "K" else None).reshape(-1)

    def transpose(self, *axes: Any) -> DeviceArray:
        """Its axes in another order."""
        return self._view(self._geometry.transpose(*axes))

    def swapaxes(self, first: int, second: int) -> DeviceArray:
        """Two axes exchanged."""
        return self._view(self._geometry.swapaxes(first, second))

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> DeviceArray:
        """The elements of a diagonal."""
        return self._view(self._geometry.diagonal(offset, axis1, axis2))

    def squeeze(self, axis: Any = None) -> DeviceArray:
        """Without axes of length 1."""
        return self._view(self._geometry.squeeze(axis))

    @property
    def T(self) -> DeviceArray:  # noqa: N802
        return self._view(self._geometry.T)

    def strided(self, shape: tuple[int, ...], strides: tuple[int, ...]) -> DeviceArray:
        """A view with any shape and strides."""
        return self._view(np.lib.stride_tricks.as_strided(self._geometry, shape, strides))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in _NUMBERS:
            return function(self._geometry, *args[1:], **kwargs)
        if function not in _VIEWS:
            raise DeviceError(f"np.{function.__name__} cannot look into an array on the GPU")
        if function is np.reshape:
            return self.reshape(*args[1:], **kwargs)
        if function is np.ravel:
            return self.ravel(*args[1:], **kwargs)
        shown = function(self._geometry, *args[1:], **kwargs)
        return [self._view(part) for part in shown] if isinstance(shown, list) else self._view(shown)

    # -- elements

    def copy(self, order: str = "C") -> DeviceArray:
        """A contiguous copy in memory of its own."""
        from nbdl.runtime import arrays
        from nbdl.runtime.cuda import memory

        result = memory.empty(self.shape, self.dtype)
        arrays.copy_into(result, self)
        return result

    def host(self) -> np.ndarray:
        """A copy on the CPU; waits for the kernels that write it."""
        from nbdl.runtime.cuda import memory

        return memory.to_host(self)

    def item(self) -> Any:
        """The one element."""
        if self.size != 1:
            raise ShapeError(f"item: expected one element, got shape {list(self.shape)}")
        return self.host().item()

    def tolist(self) -> Any:
        """The elements as nested lists."""
        return self.host().tolist()

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __index__(self) -> int:
        return int(self.item())

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise DeviceError(f"{self.dtype} {list(self.shape)} lies on the GPU: copy it with .cpu() first")

    def _refuse(self, *_: Any) -> Any:
        raise DeviceError(f"{self.dtype} {list(self.shape)} lies on the GPU, where only kernels compute")

    __setitem__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse  # type: ignore[assignment]
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __iadd__ = __isub__ = __imul__ = __itruediv__ = __neg__ = __and__ = __or__ = __invert__ = _refuse

    def __repr__(self) -> str:
        return f"DeviceArray({self.dtype} {list(self.shape)} at {self.address:#x})"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """What CuPy, Numba and PyTorch need to work on the same memory (version 3, legacy default stream)."""
        from nbdl.runtime.cuda import memory

        memory.publish(self)
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address if self.size else 0, False),
            "version": 3,
            "strides": None if self._geometry.flags.c_contiguous else self.strides,
            "stream": 1,
        }
