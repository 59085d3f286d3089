"""Tensors of one value, and tensors like others. The references are NumPy's functions of the same names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.creation.data import check_fitting, device_of, finished, tensor
from nbdl.ops.elementwise.casting import cast
from nbdl.ops.shape.views import sizes_of
from nbdl.runtime import arrays, memory, placement
from nbdl.runtime.devices import require
from nbdl.runtime.dtypes import as_dtype, get_default_dtype, number_dtype
from nbdl.runtime.errors import ArgumentTypeError, ShapeError

# ---------------------------------------------------------------- of one value


def shape_of(sizes: Sequence[Any], size: Any) -> tuple[int, ...]:
    """The sizes of a call f(2, 3), f((2, 3)) or f(size=(2, 3))."""
    if size is None:
        size = sizes[0] if len(sizes) == 1 else tuple(sizes)
    shape = sizes_of("size", size)
    if any(length < 0 for length in shape):
        raise ShapeError(f"size: expected sizes of at least 0, got {list(shape)}")
    return shape


def _of_value(value: Any, shape: tuple[int, ...], dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    dtype = get_default_dtype() if dtype is None else as_dtype(dtype)
    if dtype.kind in "iu" and value and isinstance(value, (int, float)):
        number = np.asarray(value)
        check_fitting("fill_value", number, dtype)
        value = int(cast(number, dtype))
    with placement.at(placement.where.kind if device is None else require(device)):
        return finished(arrays.full(shape, value, dtype), device, requires_grad)


def zeros(*sizes: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, size: Any = None) -> Tensor:
    """A tensor of zeros.

    Args:
        sizes: The sizes, one by one or as one tuple.
        size: The sizes as a tuple, by name.
        dtype: The dtype; the default dtype when None.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        [*sizes].

    Raises:
        ShapeError: A size is negative.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.zeros(2, 3)
        tensor([[0., 0., 0.],
                [0., 0., 0.]])
    """
    return _of_value(0, shape_of(sizes, size), dtype, device, requires_grad)


def ones(*sizes: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, size: Any = None) -> Tensor:
    """A tensor of ones.

    Args:
        sizes: The sizes, one by one or as one tuple.
        size: The sizes as a tuple, by name.
        dtype: The dtype; the default dtype when None.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        [*sizes].

    Raises:
        ShapeError: A size is negative.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.ones(3)
        tensor([1., 1., 1.])
    """
    return _of_value(1, shape_of(sizes, size), dtype, device, requires_grad)


def full(size: Any, fill_value: float, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of one value.

    Args:
        size: The sizes.
        fill_value: The value.
        dtype: The dtype; when None the default dtype for a float, int64 for an integer, bool for a bool.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        [*sizes].

    Raises:
        ShapeError: A size is negative.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.full((2,), 3.5)
        tensor([3.5000, 3.5000])
    """
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    if not isinstance(value, (bool, int, float, np.generic)):
        raise ArgumentTypeError(f"fill_value: expected a number, got {type(value).__name__}")
    return _of_value(value, shape_of((), size), number_dtype(value) if dtype is None else dtype, device, requires_grad)


def empty(*sizes: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, size: Any = None) -> Tensor:
    """A tensor whose elements are whatever is in its memory.

    Args:
        sizes: The sizes, one by one or as one tuple.
        size: The sizes as a tuple, by name.
        dtype: The dtype; the default dtype when None.
        device: Where the tensor lives.
        requires_grad: Whether operations on the tensor are recorded.

    Returns:
        [*sizes].

    Raises:
        ShapeError: A size is negative.

    Gradient:
        None: the tensor is a leaf.

    Example:
        >>> nbdl.empty(2, 3).shape
        (2, 3)
    """
    dtype = get_default_dtype() if dtype is None else as_dtype(dtype)
    with placement.at(placement.where.kind if device is None else require(device)):
        return finished(memory.empty(shape_of(sizes, size), dtype), device, requires_grad)


# ---------------------------------------------------------------- like another tensor


def _like(input: Tensor, dtype: Any) -> tuple[tuple[int, ...], Any]:
    if not isinstance(input, Tensor):
        raise ArgumentTypeError(f"input: expected a Tensor, got {type(input).__name__}")
    return input.shape, input.dtype if dtype is None else dtype


def zeros_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and dtype of another tensor; see `zeros`."""
    return _of_value(0, *_like(input, dtype), device or device_of(input), requires_grad)


def ones_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and dtype of another tensor; see `ones`."""
    return _of_value(1, *_like(input, dtype), device or device_of(input), requires_grad)


def full_like(
    input: Tensor, fill_value: float, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """One value in the shape and dtype of another tensor; see `full`."""
    return _of_value(fill_value, *_like(input, dtype), device or device_of(input), requires_grad)


def empty_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """An uninitialised tensor of the shape and dtype of another; see `empty`."""
    shape, dtype = _like(input, dtype)
    return finished(memory.empty(shape, as_dtype(dtype)), device or device_of(input), requires_grad)


def new_tensor(self: Tensor, data: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of the data, in this tensor's dtype."""
    dtype = self.dtype if dtype is None else dtype
    return tensor(data, dtype=dtype, device=device_of(self), requires_grad=requires_grad)


def new_zeros(self: Tensor, *size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of a shape, in this tensor's dtype."""
    dtype = self.dtype if dtype is None else dtype
    return zeros(*size, dtype=dtype, device=device_of(self), requires_grad=requires_grad)


def new_ones(self: Tensor, *size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of a shape, in this tensor's dtype."""
    dtype = self.dtype if dtype is None else dtype
    return ones(*size, dtype=dtype, device=device_of(self), requires_grad=requires_grad)


def new_full(self: Tensor, size: Any, fill_value: float, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """One value in a shape, in this tensor's dtype."""
    dtype = self.dtype if dtype is None else dtype
    return full(size, fill_value, dtype=dtype, device=device_of(self), requires_grad=requires_grad)


def new_empty(self: Tensor, *size: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """An uninitialised tensor of a shape, in this tensor's dtype."""
    dtype = self.dtype if dtype is None else dtype
    return empty(*size, dtype=dtype, device=device_of(self), requires_grad=requires_grad)
