"""What reductions ask of their input: the dtype to work in, and elements where there is no result without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbdl.autograd import Tensor
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.runtime.checks import check_float
from nbdl.runtime.errors import ShapeError

Dims = int | Sequence[int] | None
"""One dimension or several, counted from the front or the back; all when None."""


def with_dtype(input: Tensor, dtype: Any) -> Tensor:
    """The tensor in the dtype that a reduction was asked for; as it is when None."""
    return input if dtype is None else to_dtype(input, dtype)


def float_input(input: Tensor, dtype: Any = None) -> Tensor:
    """The tensor in the dtype asked for, which must be floating-point in the end."""
    return check_float("input", with_dtype(input, dtype))


def check_elements(input: Tensor, dims: tuple[int, ...]) -> None:
    """Raises ShapeError if a dimension to reduce is empty: no elements have no greatest one."""
    for dim in dims:
        if input.shape[dim] == 0:
            raise ShapeError(f"input: expected elements along dimension {dim}, got shape {list(input.shape)}")
