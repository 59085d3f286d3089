"""How arrays of any layout reach kernels that see contiguous memory alone.

An array whose elements lie densely in memory, in whatever order of its axes, is handed over as a flat array in that
order, and its result comes back in the same order: channels-last in, channels-last out, and nothing is copied.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nbdl.ops.shape.views import sum_to_shape
from nbdl.runtime import arrays
from nbdl.runtime.arrays import dense_order, inverse
from nbdl.runtime.errors import ShapeError


def sum_to(array: Any, shape: tuple[int, ...]) -> Any:
    """The array summed over the dimensions in which an operand of the shape was repeated."""
    return array if array.shape == shape else sum_to_shape(array, shape)


# ---------------------------------------------------------------- memory order


def over_memory(x: Any, function: Callable[[Any], Any]) -> Any:
    """`function` of an array that is not C-contiguous: of its elements in memory order, or of a contiguous copy."""
    order = dense_order(x)
    if order is None:
        return function(arrays.contiguous(x))
    return function(x.transpose(order)).transpose(inverse(order))


def flat_view(x: Any) -> Any:
    """All elements in memory order, as one dimension. They lie without gaps."""
    return x.reshape(-1) if x.flags.c_contiguous else x.transpose(dense_order(x)).reshape(-1)


# ---------------------------------------------------------------- broadcasting


@functools.lru_cache(maxsize=4096)
def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        listed = " and ".join(str(list(shape)) for shape in shapes)
        raise ShapeError(f"other: expected shapes that broadcast to each other, got {listed}") from None


class Plan(NamedTuple):
    """A broadcast of two contiguous arrays as nested loops: four sizes, and each operand's steps in elements."""

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    steps: tuple[tuple[int, ...], tuple[int, ...]]


@functools.lru_cache(maxsize=4096)
def broadcast_plan(a: tuple[int, ...], b: tuple[int, ...]) -> Plan | None:
    """The loops for contiguous operands of two shapes; None if they need more than four, or both operands repeat."""
    shape = broadcast_shape(a, b)
    if shape not in (a, b):
        return None
    strides = []
    for operand in (a, b):
        padded = (1,) * (len(shape) - len(operand)) + operand
        strides.append(tuple(0 if size == 1 else math.prod(padded[axis + 1 :]) for axis, size in enumerate(padded)))
    sizes, steps = arrays.collapse(shape, *strides)
    lead = 4 - len(sizes)
    if lead < 0:
        return None
    first, second = ((0,) * lead + operand for operand in steps)
    return Plan(shape, (1,) * lead + sizes, (first, second))


def expanded(x: Any, shape: tuple[int, ...]) -> Any:
    """An array broadcast to a shape, as a view that repeats elements by strides of 0."""
    lead = len(shape) - x.ndim
    steps = tuple(0 if have == 1 else step for have, step in zip(x.shape, x.strides, strict=True))
    return arrays.strided(x, shape, (0,) * lead + steps)


def repeated(x: Any, shape: tuple[int, ...]) -> Any:
    """An array broadcast to a shape, each element in a place of its own."""
    if x.shape == shape:
        return arrays.contiguous(x)
    return arrays.contiguous(expanded(x, shape))


def compact(x: Any) -> Any:
    """An array without the repeats along strides of 0: a smaller array that broadcasts to it."""
    if 0 not in x.strides:
        return x
    keep = [0 if step == 0 else size for step, size in zip(x.strides, x.shape, strict=True)]
    return x[tuple(slice(None) if size else slice(0, 1) for size in keep)]


class Operands(NamedTuple):
    """Operands brought to one order of axes, each contiguous, and how to bring the result back."""

    parts: list[Any]
    shape: tuple[int, ...]
    back: tuple[int, ...] | None


def aligned(*operands: Any) -> Operands:
    """The operands, contiguous in the memory order of the first one that has the full, dense shape."""
    shape = operands[0].shape
    if all([x.flags.c_contiguous and x.shape == shape for x in operands]):
        return Operands(list(operands), shape, None)
    shape = broadcast_shape(*[x.shape for x in operands])
    order = None
    for x in operands:
        if x.shape == shape:
            order = None if x.flags.c_contiguous else dense_order(x)
            if x.flags.c_contiguous or order is not None:
                break
    parts = [compact(x) for x in operands]
    if order is None:
        return Operands([arrays.contiguous(x) for x in parts], shape, None)
    rank = len(shape)
    parts = [x.reshape((1,) * (rank - x.ndim) + x.shape) if x.ndim < rank else x for x in parts]
    parts = [arrays.contiguous(x.transpose(order)) for x in parts]
    return Operands(parts, tuple(shape[axis] for axis in order), inverse(order))


def in_order(y: Any, back: tuple[int, ...] | None) -> Any:
    """The result of aligned operands, its axes in their places."""
    return y if back is None else y.transpose(back)
