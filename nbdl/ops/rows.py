"""One dimension of an array as the columns of a matrix: the [N, R] form that scans and sorts work on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.runtime import arrays


def as_rows(x: Any, dim: int) -> Any:
    """The array as a contiguous [N, R], R its dimension `dim`; an array without dimensions is one row of one."""
    if x.ndim == 0:
        return x.reshape(1, 1)
    moved = np.moveaxis(x, dim, -1)
    return arrays.contiguous(moved).reshape(math.prod(moved.shape[:-1]), moved.shape[-1])


def from_rows(y: Any, shape: tuple[int, ...], dim: int) -> Any:
    """[N, K] back to the given shape, whose dimension `dim` now has size K."""
    if not shape:
        return y.reshape(())
    others = shape[:dim] + shape[dim + 1 :]
    return np.moveaxis(y.reshape(*others, y.shape[1]), -1, dim)
