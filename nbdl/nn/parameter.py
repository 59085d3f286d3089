"""Parameters and buffers: tensors that a module owns."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

from nbdl.autograd import Tensor
from nbdl.runtime import memory, placement
from nbdl.runtime.checks import FLOATS
from nbdl.runtime.devices import require
from nbdl.runtime.errors import ArgumentTypeError, DTypeError

_Owned = TypeVar("_Owned", bound=Tensor)


class Parameter(Tensor):
    """A tensor that a module learns: assigned to an attribute of a module, it is listed in `parameters()`.

    Args:
        data: [*], the values; their memory is shared, not copied.
        requires_grad: Whether gradients are computed for it. Integer parameters need False.

    Raises:
        ArgumentTypeError: data is not a Tensor.
        DTypeError: requires_grad is True and data is not floating point.

    Example:
        >>> weight = nbdl.nn.Parameter(nbdl.tensor([1.0, 2.0]))
        >>> weight
        Parameter containing:
        tensor([1., 2.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        super().__init__(*_memory_of(data))
        if data is not None:
            self._version, self._seen = data._version, math.inf
        self.requires_grad_(requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        return _copy_owned(self, memo)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that belongs to a module's state and is not learned: assigned to an attribute, it is registered.

    Args:
        data: [*], the values; their memory is shared, not copied.
        persistent: Whether `state_dict()` contains it.
    """

    __slots__ = ("persistent",)

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        super().__init__(*_memory_of(data))
        if data is not None:
            self._version, self._seen = data._version, math.inf
        self.persistent = persistent

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        copy = _copy_owned(self, memo)
        copy.persistent = self.persistent
        return copy


def _memory_of(data: Tensor | None) -> tuple[Any]:
    if data is None:
        return (memory.empty((0,), np.float32),)
    if not isinstance(data, Tensor):
        raise ArgumentTypeError(f"data: expected a Tensor, got {type(data).__name__}")
    return (data._array,)


def _copy_owned(tensor: _Owned, memo: dict[int, Any]) -> _Owned:
    """A leaf on a copy of the memory; its gradient and its hooks stay with the original."""
    if id(tensor) in memo:
        known: _Owned = memo[id(tensor)]
        return known
    copy = type(tensor)(Tensor(tensor._array.copy()))
    copy.requires_grad = tensor.requires_grad
    memo[id(tensor)] = copy
    return copy


def new_parameter(shape: tuple[int, ...], device: Any = None, dtype: Any = None) -> Parameter:
    """An uninitialised parameter, float32 unless another dtype is given."""
    dtype = np.dtype(np.float32 if dtype is None else dtype)
    if dtype not in FLOATS:
        raise DTypeError(f"dtype: expected float32 or float64, got {dtype}")
    with placement.at("cpu" if device is None else require(device)):
        return Parameter(Tensor(memory.empty(shape, dtype)))
