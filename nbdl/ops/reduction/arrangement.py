"""Any dimensions of any array as one: the [O, R, I] form that every reduction kernel works on."""

from __future__ import annotations

import math
from typing import Any

from nbdl.runtime import arrays


class Arrangement:
    """How an array with some dimensions to reduce is seen as a contiguous array [O, R, I], and the way back.

    The array is copied only when its memory is not dense or the reduced dimensions are not neighbours in it.

    Args:
        x: The array.
        dims: The dimensions to reduce, counted from the front.

    Attributes:
        x: [O, R, I], the array's elements.
    """

    __slots__ = ("_axes", "_kept_axes", "_kept_shape", "_shape", "dims", "x")

    def __init__(self, x: Any, dims: tuple[int, ...]) -> None:
        rank = x.ndim
        self.dims = dims
        self._axes: tuple[int, ...] | None = None
        if not x.flags.c_contiguous:
            axes = sorted(range(rank), key=lambda axis: -abs(x.strides[axis]))
            if x.transpose(axes).flags.c_contiguous:
                self._axes = tuple(axes)
                x = x.transpose(axes)
            else:
                x = arrays.contiguous(x)
        order = range(rank) if self._axes is None else self._axes
        places = [place for place, axis in enumerate(order) if axis in dims]
        first, last = (places[0], places[-1] + 1) if places else (rank, rank)
        if last - first != len(places):  # others lie between: bring the reduced dimensions to the end
            kept = [place for place in range(rank) if place not in places]
            moved = kept + places
            self._axes = tuple(order[place] for place in moved)
            x = arrays.contiguous(x.transpose(moved))
            first, last = len(kept), rank
        self._shape = shape = x.shape
        self._kept_shape = shape[:first] + shape[last:]
        self._kept_axes: tuple[int, ...] | None = None
        if self._axes is not None:
            self._kept_axes = tuple(axis for axis in self._axes if axis not in dims)
        self.x = x.reshape(math.prod(shape[:first]), math.prod(shape[first:last]), math.prod(shape[last:]))

    def reduced(self, y: Any, keepdim: bool) -> Any:
        """[O, I] -> the shape that the caller expects."""
        y = y.reshape(self._kept_shape)
        if self._kept_axes is not None:
            y = y.transpose(_ranks(self._kept_axes))
        return insert_dims(y, self.dims) if keepdim else y

    def flat(self, dy: Any, keepdim: bool) -> Any:
        """What `reduced` gave, or a gradient of that shape, as a contiguous [O, I]."""
        outer, _, inner = self.x.shape
        if keepdim:
            dy = drop_dims(dy, self.dims)
        if self._kept_axes is not None:
            dy = dy.transpose(_inverse(_ranks(self._kept_axes)))
        return arrays.contiguous(dy).reshape(outer, inner)

    def full(self, dx: Any) -> Any:
        """[O, R, I] -> the shape of the array that was arranged."""
        return self.restore(dx, self._shape)

    def resized(self, y: Any, size: int) -> Any:
        """[O, K, I] -> the array's shape with its one arranged dimension of size K."""
        axes = self._axes or range(len(self._shape))
        shape = tuple(size if axis in self.dims else n for axis, n in zip(axes, self._shape, strict=True))
        return self.restore(y, shape)

    def restore(self, y: Any, shape: tuple[int, ...]) -> Any:
        y = y.reshape(shape)
        return y if self._axes is None else y.transpose(_inverse(self._axes))

    def like(self, y: Any) -> Any:
        """An array with the arranged array's rank and K along its one arranged dimension, as a contiguous [O, K, I]."""
        if self._axes is not None:
            y = y.transpose(self._axes)
        length = 1 if not self.dims else y.shape[self.dims[0] if self._axes is None else self._axes.index(self.dims[0])]
        return arrays.contiguous(y).reshape(self.x.shape[0], length, self.x.shape[2])


def _ranks(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that sorts the axes."""
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return _ranks(axes)


def insert_dims(y: Any, dims: tuple[int, ...]) -> Any:
    """A view with dimensions of size 1 at the given places."""
    rank = y.ndim + len(dims)
    return y[(*(None if axis in dims else slice(None) for axis in range(rank)), ...)]


def drop_dims(y: Any, dims: tuple[int, ...]) -> Any:
    """A view without the given dimensions, which have size 1."""
    return y[(*(0 if axis in dims else slice(None) for axis in range(y.ndim)), ...)]


def expand(dy: Any, shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> Any:
    """The gradient of a reduced array, repeated along the reduced dimensions: a view with steps of 0 there."""
    steps = list(dy.strides)
    if keepdim:
        for axis in dims:
            steps[axis] = 0
    else:
        for axis in sorted(dims):
            steps.insert(axis, 0)
    return arrays.strided(dy, shape, tuple(steps))
