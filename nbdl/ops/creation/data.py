"""Tensors from data: copied by `tensor`, on the same memory by `as_tensor`, `from_numpy` and `from_dlpack`."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor, wrap
from nbdl.ops.elementwise.casting import cast, to
from nbdl.runtime import arrays, memory
from nbdl.runtime.cuda import exchange
from nbdl.runtime.cuda.array import DeviceArray
from nbdl.runtime.devices import require
from nbdl.runtime.dtypes import SUPPORTED, as_dtype, get_default_dtype
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DeviceError, DTypeError, ShapeError

# ---------------------------------------------------------------- public


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Copies data into a new tensor.

    Args:
        data: A number, nested lists or tuples of numbers, a NumPy array, a tensor.
        dtype: The dtype; None takes that of an array, the default dtype for Python floats, int64 for integers, bool.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        A tensor of the shape of the data.

    Raises:
        ShapeError: Nested lists have different lengths.
        DTypeError: The data are neither numbers nor bools, or of a dtype that nbdl does not have.
        ArgumentError: A Python number does not fit into the dtype.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.tensor([[1, 2], [3, 4]])
        tensor([[1, 2],
                [3, 4]])
    """
    array = _array_of(data, dtype)
    if not isinstance(data, (list, tuple, int, float)):
        copy = memory.empty(array.shape, array.dtype)
        arrays.copy_into(copy, array)
        array = copy
    return finished(array, device, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of the data, on the same memory where that is possible.

    Args:
        data: As for `tensor`. A tensor of the wanted dtype is returned as it is; an array shares its memory, also one
            of a GPU (an object with `__cuda_array_interface__`, such as CuPy's).
        dtype: The dtype; None keeps it.
        device: Where the tensor lives.

    Returns:
        A tensor of the shape of the data.

    Raises:
        ShapeError: Nested lists have different lengths.
        DTypeError: The data are neither numbers nor bools, or of a dtype that nbdl does not have.

    Gradient:
        For data that are a tensor: dy.

    Example:
        >>> nbdl.as_tensor([1.0, 2.0])
        tensor([1., 2.])
    """
    if isinstance(data, Tensor):
        return to(data, dtype=dtype, device=device)
    if isinstance(data, np.ndarray):
        return to(from_numpy(data), dtype=dtype, device=device)
    if hasattr(data, "__cuda_array_interface__"):
        return to(wrap(exchange.from_interface(data)), dtype=dtype, device=device)
    return tensor(data, dtype=dtype, device=device)


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor on the memory of a NumPy array: what is written to one shows in the other.

    Args:
        ndarray: An array of a dtype that nbdl has. One that may not be written to is copied.

    Returns:
        A tensor of the array's shape and dtype.

    Raises:
        ArgumentTypeError: It is no NumPy array.
        DTypeError: The array's dtype is not one of nbdl's.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.from_numpy(np.arange(3))
        tensor([0, 1, 2])
    """
    if not isinstance(ndarray, np.ndarray):
        raise ArgumentTypeError(f"ndarray: expected a NumPy array, got {type(ndarray).__name__}")
    array = _supported("ndarray", ndarray)
    return wrap(np.array(array) if not array.flags.writeable else array.view(np.ndarray))


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor on the memory of any object with `__dlpack__`: PyTorch's tensors, on CPU and GPU, CuPy's arrays.

    Args:
        ext_tensor: The object. Its memory is shared, not copied.

    Raises:
        ArgumentTypeError: The object does not speak DLPack.
        DeviceError: It lies on a device that nbdl does not have here.
        DTypeError: Its dtype is not one of nbdl's.

    Example:
        >>> nbdl.from_dlpack(np.arange(3))
        tensor([0, 1, 2])
    """
    if not hasattr(ext_tensor, "__dlpack_device__"):
        raise ArgumentTypeError(f"ext_tensor: expected an object with __dlpack__, got {type(ext_tensor).__name__}")
    kind = int(ext_tensor.__dlpack_device__()[0])
    if kind == exchange.CUDA:
        return wrap(exchange.from_dlpack(ext_tensor))
    if kind != exchange.CPU:
        raise DeviceError(f"ext_tensor: expected memory of the CPU or an NVIDIA GPU, got DLPack's device {kind}")
    return from_numpy(np.from_dlpack(ext_tensor))


def _array_of(data: Any, dtype: Any) -> np.ndarray:
    """The data as an array, which may be the data's own memory."""
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(data, Tensor):
        array = data._array
    elif isinstance(data, np.ndarray):
        array = _supported("data", data)
    else:
        array, first = _array_of_numbers(data)
        if wanted is None and array.dtype.kind == "f" and not isinstance(first, (Tensor, np.generic, np.ndarray)):
            wanted = get_default_dtype()
        elif wanted is None and isinstance(first, Tensor):
            wanted = first.dtype
        if wanted is not None and wanted.kind == "f" and array.dtype == np.float64:
            with np.errstate(over="ignore"):
                return array.astype(wanted)
        if wanted is not None and wanted.kind in "iu":
            check_fitting("data", array, wanted)
    return array if wanted is None or array.dtype == wanted else cast(array, wanted)


def check_fitting(name: str, numbers: np.ndarray, dtype: np.dtype) -> None:
    """Raises ArgumentError unless numbers written in Python fit into an integer dtype.

    Negative ones count from the end of an unsigned dtype, as in PyTorch.
    """
    limits = np.iinfo(dtype)
    low, high = int(limits.min) or -int(limits.max), int(limits.max)
    if numbers.size and not (low <= numbers.min() and numbers.max() <= high):
        raise ArgumentError(
            f"{name}: expected numbers in [{low}, {high}] for {dtype}, got some from {numbers.min()} to {numbers.max()}"
        )


def _array_of_numbers(data: Any) -> tuple[np.ndarray, Any]:
    """Nested sequences as an array, and their first element: it tells Python's numbers from NumPy's and tensors."""
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if isinstance(first, Tensor):
        data = _without_tensors(data)
    try:
        array = np.array(data)
    except ValueError:
        raise ShapeError("data: expected nested lists of equal lengths, got ragged ones") from None
    except OverflowError:
        raise ArgumentError("data: an integer does not fit into int64") from None
    if array.size == 0 and array.dtype == np.float64:
        return array, 0.0
    if array.dtype.kind == "O" or array.dtype == np.uint64:
        raise DTypeError("data: expected numbers or bools that fit into int64 or float64")
    return _supported("data", array), first


def _without_tensors(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        return [_without_tensors(item) for item in data]
    return data._array if isinstance(data, Tensor) else data


def _supported(name: str, array: np.ndarray) -> np.ndarray:
    """The array in the machine's byte order, if its dtype is one of nbdl's."""
    native = array.dtype.newbyteorder("=")
    if native in SUPPORTED:
        as_dtype(native)  # float16 is announced
        return array if array.dtype == native else array.astype(native)
    raise DTypeError(f"{name}: expected one of {', '.join(map(str, SUPPORTED))}, got {array.dtype}")


def device_of(tensor: Tensor) -> str | None:
    """The GPU that a tensor lies on; None, which needs no look at what devices there are, for the CPU."""
    return tensor.device if type(tensor._array) is DeviceArray else None


def finished(array: Any, device: Any, requires_grad: bool) -> Tensor:
    """The array as a leaf."""
    result = wrap(array)
    if device is not None and require(device) != "cpu":
        result = to(result, device=device)
    return result.requires_grad_() if requires_grad else result
