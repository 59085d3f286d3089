"""What `runtime.cuda.vectors` and `runtime.cuda.tensor` do for interpreted threads, checked as a GPU would check it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.runtime.cuda import tensor, vectors
from nbdl.testing.simt.arrays import DeviceArray, SimtError


def _is_aligned(x: DeviceArray) -> bool:
    return vectors.is_aligned(x.array)


def _check(x: DeviceArray, index: Any, count: int) -> None:
    places = index if isinstance(index, tuple) else (index,)
    offset = sum(int(place) * step for place, step in zip(places, x.strides, strict=True))
    piece = min(vectors.WIDEST, count * x.itemsize)
    if (int(x.array.__array_interface__["data"][0]) + offset) % piece or x.strides[-1] != x.itemsize:
        at = ", ".join(map(str, places))
        raise SimtError(f"{x.place()}: {count} elements of {x.name} from [{at}] on do not start at {piece} bytes")


def _loader(load: Callable[..., Any], count: int) -> Callable[..., Any]:
    def checked(x: DeviceArray, index: Any) -> Any:
        _check(x, index, count)
        return load(x, index)

    return checked


def _storer(store: Callable[..., Any], count: int) -> Callable[..., Any]:
    def checked(x: DeviceArray, index: Any, *values: Any) -> None:
        _check(x, index, count)
        store(x, index, *values)

    return checked


def _load_pair(x: DeviceArray, index: Any) -> Any:
    _check(x, index, 2)
    return tensor.load_pair(x, index)


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    vectors.is_aligned: _is_aligned,
    **{load: _loader(load, count) for load, count in vectors.LOADS.items()},
    **{store: _storer(store, count) for store, count in vectors.STORES.items()},
    tensor.load_pair: _load_pair,
}
"""What kernels call, and what the interpreter calls in its place."""

MULTIPLY: dict[str, Callable[..., Any]] = {function.__name__: function for function in tensor.PRODUCTS}
"""The products of a warp by their names."""


def multiply(name: str, operands: dict[int, tuple[Any, ...]]) -> dict[int, tuple[Any, ...]]:
    """The product of a warp's fragments: for each lane the registers (a, b, c) that it brings, and what it gets."""
    inner, unpack = tensor.PRODUCTS[MULTIPLY[name]]
    packed = inner // 8  # elements that one register of an operand holds
    a, b, c = np.zeros((16, inner), np.float32), np.zeros((inner, 8), np.float32), np.zeros((16, 8), np.float32)
    for lane, registers in operands.items():
        group, place = lane // 4, lane % 4
        for number, (row, half) in enumerate(((0, 0), (8, 0), (0, 1), (8, 1))):
            first = half * inner // 2 + place * packed
            a[group + row, first : first + packed] = unpack(registers[number])
        for half in range(2):
            first = half * inner // 2 + place * packed
            b[first : first + packed, group] = unpack(registers[4 + half])
        for number, (row, column) in enumerate(((0, 0), (0, 1), (8, 0), (8, 1))):
            c[group + row, 2 * place + column] = registers[6 + number]
    product = a @ b + c
    return {
        lane: tuple(
            product[lane // 4 + row, 2 * (lane % 4) + column] for row, column in ((0, 0), (0, 1), (8, 0), (8, 1))
        )
        for lane in operands
    }
