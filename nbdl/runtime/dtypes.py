"""Dtypes: the names that functions accept, and the dtype that a mix of operands gives, as PyTorch decides it.

Operands weigh in three ranks: tensors with dimensions, tensors of no dimension, Python numbers. Within a rank the
larger dtype wins (bool < integers < floating point); a lower rank decides only when its kind is the larger one. So a
float32 tensor plus 2.5 stays float32, an int64 tensor plus 2.5 becomes the default dtype.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from nbdl.runtime.errors import ArgumentTypeError, DTypeError

BOOL = np.dtype(np.bool_)
INT64 = np.dtype(np.int64)
FLOAT16 = np.dtype(np.float16)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)

SUPPORTED = tuple(
    np.dtype(kind)
    for kind in (np.float32, np.float64, np.float16, np.int8, np.int16, np.int32, np.int64, np.uint8, np.bool_)
)


class _Mixing(threading.local):
    allowed = False


mixing = _Mixing()
"""Whether operations accept float16 beside float32 in this thread: inside `nbdl.autocast`."""

on_float16: list[Callable[[], None]] = []
"""Called when somebody asks for float16: operations then look for tensors of 16 bits, and not before."""

_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2}

_default = FLOAT32


def get_default_dtype() -> np.dtype:
    """The dtype of tensors made from Python floats."""
    return _default


def set_default_dtype(d: Any) -> None:
    """Makes float32 or float64 the dtype of tensors made from Python floats."""
    global _default
    chosen = as_dtype(d, "d")
    if chosen not in (FLOAT32, FLOAT64):
        raise DTypeError(f"d: expected float32 or float64, got {chosen}")
    _default = chosen


def as_dtype(dtype: Any, name: str = "dtype") -> np.dtype:
    """The dtype that a dtype, a NumPy type, a Python type or a name means."""
    try:
        known = np.dtype(dtype)
    except TypeError:
        known = None
    if known is None or dtype is None:
        raise ArgumentTypeError(f"{name}: expected a dtype, got {dtype!r}")
    known = known.newbyteorder("=")
    if known not in SUPPORTED:
        raise DTypeError(f"{name}: expected one of {', '.join(map(str, SUPPORTED))}, got {dtype}")
    if known == FLOAT16:
        for prepare in on_float16:
            prepare()
    return known


def kernel_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype that kernels calculate in: float32 for float16, which is for memory."""
    return FLOAT32 if dtype == FLOAT16 else dtype


def promote_types(type1: Any, type2: Any) -> np.dtype:
    """The smallest dtype that PyTorch lets two tensors of these dtypes meet in; float32 for int64 and float32."""
    a, b = as_dtype(type1, "type1"), as_dtype(type2, "type2")
    if _KINDS[a.kind] == _KINDS[b.kind]:
        return np.promote_types(a, b)
    return a if _KINDS[a.kind] > _KINDS[b.kind] else b


def number_dtype(number: Any) -> np.dtype:
    """The dtype of a Python number, before a tensor's dtype outweighs it."""
    if isinstance(number, (bool, np.bool_)):
        return BOOL
    return INT64 if isinstance(number, (int, np.integer)) else _default


def result_type(arrays: Iterable[Any], numbers: Iterable[Any] = ()) -> np.dtype:
    """The dtype of an operation on arrays and Python numbers."""
    ranks: list[np.dtype | None] = [None, None, None]
    for array in arrays:
        rank = 0 if array.ndim else 1
        before = ranks[rank]
        ranks[rank] = array.dtype if before is None else promote_types(before, array.dtype)
    for number in numbers:
        dtype, before = number_dtype(number), ranks[2]
        ranks[2] = dtype if before is None else promote_types(before, dtype)
    result: np.dtype | None = None
    for rank_dtype in ranks:
        if rank_dtype is not None and (result is None or _KINDS[rank_dtype.kind] > _KINDS[result.kind]):
            result = rank_dtype
    assert result is not None
    return result


def can_cast(from_: Any, to: Any) -> bool:
    """Whether a result of dtype `from_` may be written into a tensor of dtype `to`: never into a smaller kind."""
    return _KINDS[as_dtype(from_, "from_").kind] <= _KINDS[as_dtype(to, "to").kind]
