"""What PyTorch programs ask a tensor: its bytes, its place in memory, its kind, its device, the limits of its dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.elementwise.casting import to
from nbdl.ops.shape.views import matrix_transpose, t
from nbdl.runtime import arrays
from nbdl.runtime.addresses import address_of
from nbdl.runtime.dtypes import FLOAT16, as_dtype, get_default_dtype
from nbdl.runtime.dtypes import result_type as meeting_dtype
from nbdl.runtime.errors import ArgumentTypeError, DTypeError, ShapeError


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


def result_type(tensor1: Any, tensor2: Any) -> np.dtype:
    """The dtype of an operation on two tensors or numbers, whose weights are dimensions first, then none, then numbers.

    Args:
        tensor1: A tensor of any shape and dtype, or a number.
        tensor2: As tensor1.

    Raises:
        ArgumentTypeError: One is neither.

    Example:
        >>> nbdl.result_type(nbdl.tensor([1, 2]), 1.5), nbdl.result_type(nbdl.tensor([1.0]), nbdl.tensor(2))
        (dtype('float32'), dtype('float32'))
    """
    for name, value in (("tensor1", tensor1), ("tensor2", tensor2)):
        if not isinstance(value, (Tensor, bool, np.bool_, int, float, np.integer, np.floating)):
            raise ArgumentTypeError(f"{name}: expected a Tensor or a number, got {type(value).__name__}")
    tensors = [value._array for value in (tensor1, tensor2) if isinstance(value, Tensor)]
    return meeting_dtype(tensors, [value for value in (tensor1, tensor2) if not isinstance(value, Tensor)])


class finfo:  # PyTorch's name
    """The limits of a floating-point dtype, as Python numbers.

    Args:
        type: float16, float32 or float64; the default dtype when None.

    Raises:
        DTypeError: The dtype is not floating-point; `iinfo` has the limits of integers.

    Attributes:
        bits: Bits of a number.
        eps: The difference between 1 and the next larger number.
        max: The largest number.
        min: The lowest number, -max.
        tiny: The smallest positive number with all its digits.
        smallest_normal: The same.
        resolution: 10 to the power of minus the decimal digits that every number keeps.
        dtype: The name of the dtype.

    Example:
        >>> nbdl.finfo(nbdl.float32).max, nbdl.finfo(nbdl.float64).eps
        (3.4028234663852886e+38, 2.220446049250313e-16)
    """

    def __init__(self, type: Any = None) -> None:
        chosen = get_default_dtype() if type is None else as_dtype(type, "type")
        if chosen.kind != "f":
            raise DTypeError(f"type: expected a floating-point dtype, got {chosen}; nbdl.iinfo has limits of integers")
        limits = np.finfo(chosen)
        self.bits, self.dtype = int(limits.bits), str(chosen)
        self.eps, self.max, self.min = float(limits.eps), float(limits.max), float(limits.min)
        self.tiny = self.smallest_normal = float(limits.smallest_normal)
        self.resolution = 10.0**-limits.precision

    def __eq__(self, other: object) -> bool:
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return f"finfo({', '.join(f'{name}={getattr(self, name):g}' for name in names)}, dtype={self.dtype})"


class iinfo:  # PyTorch's name
    """The limits of an integer dtype.

    Args:
        type: int8, int16, int32, int64 or uint8.

    Raises:
        DTypeError: The dtype is not an integer's; `finfo` has the limits of floating-point numbers.

    Attributes:
        bits: Bits of a number.
        max: The largest number.
        min: The lowest number.
        dtype: The name of the dtype.

    Example:
        >>> nbdl.iinfo(nbdl.uint8).max
        255
    """

    def __init__(self, type: Any) -> None:
        chosen = as_dtype(type, "type")
        if chosen.kind not in "iu":
            raise DTypeError(f"type: expected an integer dtype, got {chosen}; nbdl.finfo has limits of floating point")
        limits = np.iinfo(chosen)
        self.bits, self.dtype, self.max, self.min = limits.bits, str(chosen), int(limits.max), int(limits.min)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


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
