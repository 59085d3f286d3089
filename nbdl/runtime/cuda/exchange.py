"""Arrays of a GPU shared with other libraries without a copy: DLPack, and `__cuda_array_interface__`.

A DLPack capsule holds a C structure that says where an array lies and of what shape it is, and a function that the new
user calls when done. Both sides agree on streams: who hands an array over makes the other's stream wait for it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from nbdl.runtime import placement
from nbdl.runtime.cuda import device, memory, streams
from nbdl.runtime.cuda.array import DeviceArray, geometry_at
from nbdl.runtime.dtypes import SUPPORTED
from nbdl.runtime.errors import ArgumentTypeError, DeviceError, DTypeError

CPU, CUDA = 1, 2
"""DLPack's numbers of devices."""

_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_KINDS = {code: kind for kind, code in _CODES.items()}

_NAME, _USED_NAME = b"dltensor", b"used_dltensor"


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _ManagedTensor(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_ManagedTensor))
_ManagedTensor._fields_ = [("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_rename = ctypes.pythonapi.PyCapsule_SetName
_rename.restype, _rename.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]
_pointer_at = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)

_lent: dict[int, Any] = {}
"""Address of a structure that another library holds: what has to stay alive."""


@_Deleter
def _give_back(managed: Any) -> None:
    """Called by the other library when it is done."""
    _lent.pop(ctypes.addressof(managed.contents), None)


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _forget_capsule(capsule: int) -> None:
    """Called when a capsule dies: if nobody took the array, nobody will give it back."""
    if _is_valid(capsule, _NAME):
        _lent.pop(_pointer_at(capsule, _NAME), None)


def lend(array: DeviceArray, stream: Any = None, device_type: int = CUDA) -> Any:
    """A DLPack capsule of the array.

    Args:
        array: The array.
        stream: The stream in which the other library will work, by CUDA's number: None or 1 for the default one, -1 if
            it orders its work itself.
        device_type: CUDA.
    """
    _let_wait(array, stream)
    item = array.itemsize
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    strides = (ctypes.c_int64 * array.ndim)(*[step // item for step in array.strides])
    managed = _ManagedTensor()
    managed.tensor = _DLTensor(
        array.address, device_type, 0, array.ndim, _CODES[array.dtype.kind], 8 * item, 1, shape, strides, 0
    )
    managed.deleter = _give_back
    _lent[ctypes.addressof(managed)] = managed, shape, strides, array
    return _new_capsule(ctypes.addressof(managed), _NAME, ctypes.cast(_forget_capsule, ctypes.c_void_p))


def _let_wait(array: DeviceArray, stream: Any) -> None:
    if stream == -1:
        return
    if stream in (None, 0, 1):
        memory.publish(array)
        return
    if stream == 2:  # each thread's default stream has no number that events could be recorded for
        array.allocation.stream.synchronize()
        return
    event = array.allocation.stream.record_event()
    device.driver().order(stream, event._handle)


class _Foreign:
    """The block of an array that another library owns."""

    pool = None

    def __init__(self, owner: Any, release: Any = None) -> None:
        self.owner = owner
        self.stream: Any = streams.default
        self._release = release

    def __del__(self) -> None:
        if self._release is not None:
            self._release()


def from_dlpack(source: Any) -> DeviceArray:
    """The array of an object with `__dlpack__` whose memory is a GPU's, on the same memory."""
    capsule = source.__dlpack__(stream=1)
    managed = ctypes.cast(_pointer_of(capsule, _NAME), ctypes.POINTER(_ManagedTensor))
    tensor = managed.contents.tensor
    kind = _KINDS.get(tensor.code)
    if kind is None or tensor.lanes != 1:
        raise DTypeError(f"ext_tensor: expected numbers or bools, got DLPack's type {tensor.code}")
    dtype = np.dtype("?" if kind == "b" else f"{kind}{tensor.bits // 8}")
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(step * dtype.itemsize for step in tensor.strides[: tensor.ndim]) if tensor.strides else None
    array = _foreign(
        (tensor.data or 0) + tensor.byte_offset, shape, strides, dtype,
        _Foreign(source, lambda: managed.contents.deleter(managed)),
    )  # fmt: skip
    _rename(capsule, _USED_NAME)
    return array


def from_interface(source: Any) -> DeviceArray:
    """The array of an object with `__cuda_array_interface__`, on the same memory."""
    interface = source.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise ArgumentTypeError("data: expected an array without a mask")
    address, is_read_only = interface["data"]
    array = _foreign(
        address, tuple(interface["shape"]), interface.get("strides"), np.dtype(interface["typestr"]), _Foreign(source)
    )
    stream = interface.get("stream")
    if stream == 2:
        device.synchronize()
    elif stream not in (None, 1):
        driver = device.driver()
        event = streams.Event()
        driver.record(event._handle, stream)
        driver.order(streams.default.handle, event._handle)
    if is_read_only:
        array.flags.writeable = False
    return array


def _foreign(
    address: int, shape: tuple[int, ...], strides: tuple[int, ...] | None, dtype: np.dtype[Any], allocation: _Foreign
) -> DeviceArray:
    device.require_device()
    if dtype not in SUPPORTED:
        raise DTypeError(f"data: expected one of {', '.join(map(str, SUPPORTED))}, got {dtype}")
    placement.activate()
    if strides is None or 0 in shape:
        return DeviceArray(geometry_at(address, shape, dtype), allocation)
    steps = [step for step, size in zip(strides, shape, strict=True) if size > 1]
    if any(step % dtype.itemsize for step in steps):
        raise DeviceError("data: its elements do not lie at multiples of their size")
    spans = [(size - 1) * step // dtype.itemsize for size, step in zip(shape, strides, strict=True)]
    first, last = sum(span for span in spans if span < 0), sum(span for span in spans if span > 0)
    whole = DeviceArray(geometry_at(address + first * dtype.itemsize, (last - first + 1,), dtype), allocation)
    return whole[-first:].strided(shape, strides)
