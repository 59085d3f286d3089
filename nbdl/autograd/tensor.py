"""The tensor: an array with a place in the graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nbdl.autograd.printing import format_array
from nbdl.runtime.addresses import address_of
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.devices import device
from nbdl.runtime.errors import ArgumentTypeError, DeviceError, DTypeError, GradientError, ShapeError

if TYPE_CHECKING:
    from nbdl.autograd.graph import Context

_CPU, _CUDA = device("cpu"), device("cuda")

_SILENT_DTYPES = (np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_))


class RemovableHandle:
    """What register_hook returns: `remove()` takes the hook away."""

    def __init__(self, hooks: list[Any], hook: Any) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class Tensor:
    """An array with a gradient. Make one with `nbdl.tensor`; operators and methods are bound by `nbdl.ops`.

    Attributes:
        requires_grad: Whether operations on this tensor are recorded.
        grad: The gradient that backward() accumulated, a Tensor, or None.
    """

    __array_priority__ = 1000  # a NumPy array on the left leaves the operator to us

    # Most tensors keep most of these: as class attributes they cost a new tensor nothing.
    _array: Any
    _version: list[int]  # changes of the memory in place, and those of them that the graph has recorded
    requires_grad: bool = False
    _grad: Tensor | None = None
    _node: Context | None = None
    _output: int = 0
    _hooks: list[Callable[..., Any]] | None = None
    _is_view: bool = False
    _base: Tensor | None = None  # what a recorded view was made of
    _seen: float = 0  # how many of the recorded changes of its memory the tensor's place in the graph knows

    def __init__(self, array: Any, requires_grad: bool = False) -> None:
        self._array = array
        self._version = [0, 0]
        if requires_grad:
            self.requires_grad_()

    if TYPE_CHECKING:  # operators and methods are bound by nbdl.ops; type checkers may take them for granted

        def __getattr__(self, name: str) -> Any: ...

        __add__: Any
        __radd__: Any
        __sub__: Any
        __rsub__: Any
        __mul__: Any
        __rmul__: Any
        __truediv__: Any
        __rtruediv__: Any
        __pow__: Any
        __matmul__: Any
        __neg__: Any
        __getitem__: Any
        __setitem__: Any
        __lt__: Any
        __le__: Any
        __gt__: Any
        __ge__: Any
        __eq__: Any
        __ne__: Any
        __and__: Any
        __or__: Any
        __xor__: Any
        __invert__: Any
        __iter__: Any

    # -- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def device(self) -> device:
        return _CPU if isinstance(self._array, np.ndarray) else _CUDA

    @property
    def is_leaf(self) -> bool:
        return self._node is None

    @property
    def grad_fn(self) -> Context | None:
        return self._node

    @property
    def data(self) -> Tensor:
        """A tensor on the same memory, outside the graph. Assigning replaces this tensor's memory."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        self._array = value._array
        self._version[0] += 1

    @property
    def grad(self) -> Tensor | None:
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise ArgumentTypeError(f"grad: expected a Tensor or None, got {type(value).__name__}")
            if value.shape != self.shape:
                raise ShapeError(f"grad: expected shape {list(self.shape)}, got {list(value.shape)}")
            if value.dtype != self.dtype:
                raise DTypeError(f"grad: expected {self.dtype}, got {value.dtype}")
        self._grad = value

    def size(self, dim: int | None = None) -> Any:
        return self._array.shape if dim is None else self._array.shape[dim]

    def dim(self) -> int:
        return self._array.ndim

    def numel(self) -> int:
        return self._array.size

    nelement = numel

    def element_size(self) -> int:
        return self._array.dtype.itemsize

    def is_floating_point(self) -> bool:
        return self._array.dtype.kind == "f"

    def is_contiguous(self) -> bool:
        return self._array.flags.c_contiguous

    def stride(self, dim: int | None = None) -> Any:
        steps = tuple(step // self._array.itemsize for step in self._array.strides)
        return steps if dim is None else steps[dim]

    def data_ptr(self) -> int:
        return address_of(self._array)

    # -- gradients

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        if requires_grad and self._array.dtype.kind != "f":
            raise DTypeError(f"requires_grad: only floating-point tensors have gradients, got {self.dtype}")
        if not requires_grad and self._node is not None:
            raise GradientError("requires_grad can be switched off on leaves only; use detach()")
        self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """A tensor on the same memory, outside the graph."""
        result = wrap(self._array)
        result._version = self._version
        result._seen = math.inf
        return result

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Calls `hook(grad)` when this tensor's gradient is computed; a returned tensor replaces it."""
        if not self.requires_grad:
            raise GradientError("register_hook: the tensor does not require gradients")
        if self._node is None:
            if self._hooks is None:
                self._hooks = []
            hooks = self._hooks
        else:
            if self._node.hooks is None:
                self._node.hooks = {}
            hooks = self._node.hooks.setdefault(self._output, [])
        hooks.append(hook)
        return RemovableHandle(hooks, hook)

    # -- conversion

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The tensor's memory as a NumPy array, shared. Raises GradientError when it requires gradients.

        With `force` it is given all the same, and copied from a GPU.
        """
        if force:
            return self._array if isinstance(self._array, np.ndarray) else self._array.host()
        if self.requires_grad:
            raise GradientError("numpy: the tensor requires gradients; use detach().numpy()")
        if not isinstance(self._array, np.ndarray):
            raise DeviceError("numpy: the tensor lies on the GPU; use .cpu().numpy()")
        return self._array

    def item(self) -> float | int | bool:
        if self._array.size != 1:
            raise ShapeError(f"item: expected a tensor of one element, got shape {list(self.shape)}")
        return self._array.item()

    def tolist(self) -> Any:
        return self._array.tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype, copy=copy)

    def __dlpack__(self, *, stream: Any = None, **options: Any) -> Any:
        """The tensor's memory for another library, shared (DLPack)."""
        if type(self._array) is not DeviceArray:
            return self.numpy().__dlpack__(stream=stream, **options)
        if self.requires_grad:
            raise GradientError("dlpack: the tensor requires gradients; use detach()")
        if options.get("copy"):
            raise DeviceError("dlpack: nbdl shares memory; clone() the tensor first for a copy")
        from nbdl.runtime.cuda.exchange import lend

        return lend(self._array, stream)

    def __dlpack_device__(self) -> Any:
        return (2, 0) if type(self._array) is DeviceArray else self._array.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if type(self._array) is not DeviceArray:
            raise AttributeError("__cuda_array_interface__: the tensor lies on the CPU")
        if self.requires_grad:
            raise GradientError("__cuda_array_interface__: the tensor requires gradients; use detach()")
        return self._array.__cuda_array_interface__

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._array.dtype.kind not in "iu" or self._array.size != 1:
            raise ArgumentTypeError(f"only an integer tensor of one element is an index, got {self!r}")
        return int(self._array.item())

    def __bool__(self) -> bool:
        if self._array.size != 1:
            raise ShapeError(f"the truth of a tensor of shape {list(self.shape)} is ambiguous: use any() or all()")
        return bool(self._array.item())

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise ShapeError("len: the tensor has no dimensions")
        return self._array.shape[0]

    def __contains__(self, element: Any) -> bool:
        """Whether an element equals the given one, a number or a tensor that broadcasts."""
        if not isinstance(element, (Tensor, int, float, np.ndarray, np.generic)):
            raise ArgumentTypeError(f"element: expected a number or a tensor, got {type(element).__name__}")
        return bool((self == element).any().item())

    def __hash__(self) -> int:
        return id(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """A leaf on a copy of the memory, with a copy of the gradient."""
        if self._node is not None:
            raise GradientError("deepcopy: only leaves can be copied; detach() or clone() this tensor instead")
        copy = Tensor(self._array.copy(), self.requires_grad)
        if self._grad is not None:
            copy._grad = Tensor(self._grad._array.copy())
        memo[id(self)] = copy
        return copy

    def __format__(self, specification: str) -> str:
        return format(self.item(), specification) if self._array.ndim == 0 and specification else repr(self)

    def __repr__(self) -> str:
        tail = []
        array = self._array
        if not isinstance(array, np.ndarray):
            array = array.host()
            tail.append("device='cuda'")
        if self._array.dtype not in _SILENT_DTYPES:
            tail.append(f"dtype={self._array.dtype}")
        if self._node is not None:
            tail.append(f"grad_fn={self._node}")
        elif self.requires_grad:
            tail.append("requires_grad=True")
        return f"tensor({', '.join([format_array(array), *tail])})"


def wrap(array: Any) -> Tensor:
    """A tensor on an array, without the checks of the constructor."""
    tensor = Tensor.__new__(Tensor)
    tensor._array = array
    tensor._version = [0, 0]
    return tensor
