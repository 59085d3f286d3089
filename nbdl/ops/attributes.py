"""What PyTorch programs ask a tensor: its size in bytes, its place in memory, its kind and its device."""

from __future__ import annotations

from typing import Any

from nbdl.autograd import Tensor
from nbdl.ops.elementwise.casting import to
from nbdl.ops.shape.views import matrix_transpose, t
from nbdl.runtime import arrays
from nbdl.runtime.addresses import address_of
from nbdl.runtime.dtypes import FLOAT16
from nbdl.runtime.errors import DTypeError, ShapeError


def is_tensor(obj: Any) -> bool:
    """Whether the object is a tensor."""
    return isinstance(obj, Tensor)


def numel(input: Tensor) -> int:
    """The number of elements."""
    return int(input.numel())


def is_floating_point(input: Tensor) -> bool:
    """Whether its dtype is float32 or float64."""
    return bool(input.is_floating_point())


def itemsize(input: Tensor) -> int:
    """The bytes of one element."""
    return int(input.dtype.itemsize)


def nbytes(input: Tensor) -> int:
    """The bytes of all elements."""
    return int(input.numel() * input.dtype.itemsize)


def storage_offset(input: Tensor) -> int:
    """How many elements lie before the first one in the memory that the tensor is a view of."""
    array = input._array
    return (address_of(array) - address_of(arrays.owner(array))) // array.itemsize


def ndimension(input: Tensor) -> int:
    """The number of dimensions."""
    return input.ndim


def is_signed(input: Tensor) -> bool:
    """Whether its dtype has negative numbers."""
    return input.dtype.kind in "if"


def is_complex(input: Tensor) -> bool:
    """Whether its elements are complex numbers: never."""
    return False


def is_nonzero(input: Tensor) -> bool:
    """Whether its one element differs from 0."""
    if input.numel() != 1:
        raise ShapeError(f"input: expected one element, got shape {list(input.shape)}")
    return bool(input.item() != 0)


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape."""
    return tuple(input.shape) == tuple(other.shape)


def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether both show the same memory in the same shape and strides."""
    return (
        input.data_ptr() == tensor.data_ptr()
        and tuple(input.shape) == tuple(tensor.shape)
        and input.stride() == tensor.stride()
    )


def is_cpu(input: Tensor) -> bool:
    """Whether it lies in the memory of the CPU."""
    return input.device.type == "cpu"


def is_cuda(input: Tensor) -> bool:
    """Whether it lies in the memory of a GPU."""
    return input.device.type == "cuda"


def get_device(input: Tensor) -> int:
    """The number of its GPU; -1 on the CPU."""
    return -1 if is_cpu(input) else (input.device.index or 0)


def cpu(input: Tensor) -> Tensor:
    """The tensor in the memory of the CPU; the tensor itself if it is."""
    return to(input, device="cpu")


def cuda(input: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """The tensor in the memory of a GPU; the tensor itself if it is. DeviceError without one."""
    return to(input, device="cuda" if device is None else device, non_blocking=non_blocking)


def half(input: Tensor) -> Tensor:
    """The tensor in float16; the tensor itself if it is."""
    return to(input, FLOAT16)


def bfloat16(input: Tensor) -> Tensor:
    """Refused: bfloat16 has no kernels here."""
    raise DTypeError(f"bfloat16: expected float32 or float64: no kernel takes bfloat16; stay with {input.dtype}")


def as_type(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """PyTorch's `type`: the name of its dtype, or with a dtype the tensor converted to it."""
    return str(input.dtype) if dtype is None else to(input, dtype)


METHODS: dict[str, Any] = {
    "H": property(t),
    "adjoint": matrix_transpose,
    "bfloat16": bfloat16,
    "cpu": cpu,
    "cuda": cuda,
    "get_device": get_device,
    "half": half,
    "is_complex": is_complex,
    "is_cpu": property(is_cpu),
    "is_cuda": property(is_cuda),
    "is_nonzero": is_nonzero,
    "is_same_size": is_same_size,
    "is_set_to": is_set_to,
    "is_signed": is_signed,
    "itemsize": property(itemsize),
    "mH": property(matrix_transpose),
    "nbytes": property(nbytes),
    "ndimension": ndimension,
    "storage_offset": storage_offset,
    "type": as_type,
}
"""The methods and properties of a tensor."""
