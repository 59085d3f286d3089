"""Checks of arguments before a kernel runs: each error names the argument, what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from nbdl.runtime import looking
from nbdl.runtime.dtypes import mixing
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError

FLOATS = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16))


def _shape_text(shape: Iterable[Any]) -> str:
    return "[" + ", ".join("*" if size is Ellipsis else str(size) for size in shape) + "]"


def check_float(name: str, tensor: Any) -> Any:
    """The tensor, if its dtype is float32 or float64."""
    dtype = getattr(tensor, "dtype", None)
    if dtype is None:  # which would equal float64
        raise ArgumentTypeError(f"{name}: expected a Tensor, got {type(tensor).__name__}")
    if dtype not in FLOATS:
        raise DTypeError(f"{name}: expected float32 or float64, got {dtype}")
    return tensor


def check_integer(name: str, tensor: Any) -> Any:
    """The tensor, if its dtype is an integer's."""
    if tensor.dtype.kind not in "iu":
        raise DTypeError(f"{name}: expected an integer dtype, got {tensor.dtype}")
    return tensor


def check_same_dtype(name: str, tensor: Any, other_name: str, other: Any) -> Any:
    """The tensor, if its dtype is the other's."""
    if tensor.dtype != other.dtype and not (mixing.allowed and tensor.dtype.kind == other.dtype.kind == "f"):
        raise DTypeError(f"{name}: expected {other.dtype}, the dtype of {other_name}, got {tensor.dtype}")
    return tensor


def check_shape(name: str, tensor: Any, shape: Sequence[Any]) -> Any:
    """The tensor, if its shape is the given one.

    A leading Ellipsis stands for any dimensions, a string or None for any size.
    """
    got = tuple(tensor.shape)
    wanted = tuple(shape)
    if got == wanted:
        return tensor
    tail = got
    if wanted and wanted[0] is Ellipsis:
        wanted = wanted[1:]
        tail = got[len(got) - len(wanted) :] if len(got) >= len(wanted) else ()
    fits = len(tail) == len(wanted) and all(
        w is None or isinstance(w, str) or w == t for w, t in zip(wanted, tail, strict=True)
    )
    if not fits:
        raise ShapeError(f"{name}: expected shape {_shape_text(shape)}, got {_shape_text(got)}")
    return tensor


def check_rank(name: str, tensor: Any, *ranks: int) -> Any:
    """The tensor, if it has one of the given numbers of dimensions."""
    if tensor.ndim not in ranks:
        expected = " or ".join(str(rank) for rank in ranks)
        raise ShapeError(f"{name}: expected {expected} dimensions, got shape {_shape_text(tensor.shape)}")
    return tensor


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """The value, if it is one of the choices."""
    choices = tuple(choices)
    if value not in choices:
        raise ArgumentError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> Any:
    """The value, if it is a finite real number of the interval [low, high] (open at an end on request)."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(f"{name}: expected a number, got {type(value).__name__}")
    real: Any = value
    inside = (low < real if open_low else low <= real) and (real < high if open_high else real <= high)
    if not math.isfinite(value) or not inside:
        left, right = "(" if open_low or low == -math.inf else "[", ")" if open_high or high == math.inf else "]"
        raise ArgumentError(f"{name}: expected a finite number in {left}{low}, {high}{right}, got {value!r}")
    return value


def check_int(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> int:
    """The value as an int, if it is an integer of the closed interval [low, high]."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise ArgumentTypeError(f"{name}: expected an integer, got {type(value).__name__}")
    if not low <= int(value) <= high:
        raise ArgumentError(f"{name}: expected an integer in [{low}, {high}], got {value}")
    return int(value)


def check_dim(name: str, dim: Any, rank: int) -> int:
    """The dimension counted from the front, if it lies in [-rank, rank). Rank 0 counts as 1, as in PyTorch."""
    if isinstance(dim, bool) or not isinstance(dim, Integral):
        raise ArgumentTypeError(f"{name}: expected an integer, got {type(dim).__name__}")
    reach = max(rank, 1)
    if not -reach <= int(dim) < reach:
        raise IndexRangeError(f"{name}: expected a dimension in [{-reach}, {reach - 1}], got {dim}")
    return int(dim) % reach


def check_dims(name: str, dims: Any, rank: int) -> tuple[int, ...]:
    """Dimensions counted from the front, each once; all of them when None or empty."""
    if dims is None or (isinstance(dims, (tuple, list)) and not dims):
        return tuple(range(rank))
    listed = tuple(check_dim(name, d, rank) for d in (dims if isinstance(dims, (tuple, list)) else (dims,)))
    if len(set(listed)) != len(listed):
        raise ArgumentError(f"{name}: expected each dimension once, got {dims}")
    return listed if rank else ()


def check_ids(name: str, ids: Any, count: int, allowed: int | None = None) -> None:
    """Raises IndexRangeError unless all ids lie in [0, count), or equal `allowed` (an ignore_index)."""
    if ids.size == 0:
        return
    if looking.waits(ids):
        looking.look(ids, lambda values: check_ids(name, values, count, allowed))
        return
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest >= 0 and highest < count:
        return
    outside = (ids < 0) | (ids >= count)
    if allowed is not None:
        outside &= ids != allowed
    if outside.any():
        first = tuple(int(i) for i in np.argwhere(outside)[0])
        message = f"{name}: expected ids in [0, {count - 1}], got {int(ids[first])} at index {first}"
        raise IndexRangeError(message, (0, count - 1, allowed))
