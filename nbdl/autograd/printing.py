"""How tensors print."""

from __future__ import annotations

from typing import Any

import numpy as np


def format_array(array: Any) -> str:
    """The elements as PyTorch prints them: four decimals, integers as such, scientific when the range is wide."""
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.empty(0)
    formatter: Any = {}
    if array.dtype.kind == "f":
        nonzero = finite[finite > 0]
        if finite.size and (finite == np.floor(finite)).all() and finite.max() < 1e8:
            formatter["float_kind"] = lambda value: f"{value:.0f}." if np.isfinite(value) else str(value)
        elif nonzero.size and (nonzero.max() / nonzero.min() > 1e3 or nonzero.max() >= 1e8 or nonzero.min() < 1e-4):
            formatter["float_kind"] = lambda value: f"{value:.4e}"
        else:
            formatter["float_kind"] = lambda value: f"{value:.4f}"
        width = max((len(formatter["float_kind"](value)) for value in array.flat[:1000]), default=0)
        plain = formatter["float_kind"]
        formatter["float_kind"] = (lambda value: f"{plain(value):>{width}}") if array.ndim else plain
    return np.array2string(array, separator=", ", prefix="tensor(", threshold=1000, edgeitems=3, formatter=formatter)
