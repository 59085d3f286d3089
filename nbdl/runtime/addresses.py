"""Arrays by address: how one kernel reaches arrays whose number is not known when it is compiled.

A launch takes a fixed list of arguments. To work on all parameters of a model at once, a kernel takes a table of
addresses instead and makes an array of each address where it needs it. The caller keeps the arrays alive.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload
from numba.np.arrayobj import populate_array

from nbdl.runtime.jit import cpu_function

# ---------------------------------------------------------------- from an array to its address

_HEADER = object.__basicsize__  # a NumPy array object is Python's header, then the pointer to its data
_pointer_at = ctypes.c_void_p.from_address


def _read_pointer(array: np.ndarray) -> int:
    if type(array) is np.ndarray:
        return _pointer_at(id(array) + _HEADER).value or 0
    return _ask_interface(array)


def _ask_interface(array: Any) -> int:
    """The address by the documented way, which builds a dictionary and takes ten times as long."""
    if hasattr(array, "address"):
        return int(array.address)  # a GPU's
    address: int = array.__array_interface__["data"][0]
    return address


def _fastest() -> Callable[[np.ndarray], int]:
    probe = np.empty(1)
    return _read_pointer if _read_pointer(probe) == _ask_interface(probe) else _ask_interface


address_of = _fastest()
"""The address of the first element of a NumPy array, or of one of a GPU."""

# ---------------------------------------------------------------- from an address to an array


def array_at(address: int, size: int, like: Any) -> np.ndarray:
    """The `size` elements at an address as a contiguous array of the dtype of `like`; in kernels it costs nothing."""
    memory = (ctypes.c_char * (size * like.dtype.itemsize)).from_address(int(address))
    return np.frombuffer(memory, like.dtype)


@overload(array_at, inline="always")
def _array_at_overload(address, size, like):
    return lambda address, size, like: _array_at(address, size, like)


@intrinsic
def _array_at(_typing_context, address, size, like):
    """`array_at` for the compiled code of the CPU: an array structure without an owner."""

    def codegen(context, builder, signature, arguments):
        address_value, size_value, _ = arguments
        array = context.make_array(signature.return_type)(context, builder)
        item = context.get_data_type(like.dtype)
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(item))
        data = builder.inttoptr(address_value, item.as_pointer())
        populate_array(array, data, [size_value], [itemsize], itemsize, meminfo=None)
        return array._getvalue()

    return types.Array(like.dtype, 1, "C")(types.int64, types.intp, like), codegen


# ---------------------------------------------------------------- many at once


@cpu_function
def _read_pointers(identities):
    """From where each array object lies to where its elements lie."""
    for i in range(identities.size):
        identities[i] = array_at(identities[i] + _HEADER, 1, identities)[0]


def addresses_of(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """int64 [n]: the addresses of the first elements of NumPy arrays, none of a class derived from NumPy's."""
    if address_of is not _read_pointer:
        return np.array([address_of(array) for array in arrays], np.int64)
    identities = np.fromiter(map(id, arrays), np.int64, len(arrays))
    _read_pointers(identities)
    return identities
