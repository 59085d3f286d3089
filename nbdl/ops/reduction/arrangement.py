"""Any dimensions of any array as one: the [O, R, I] form that every reduction kernel works on."""

from __future__ import annotations

import math
from typing import Any

from nbdl.ops.elementwise.layout import dense_order, inverse
from nbdl.runtime import arrays


class Arrangement:
    """Where the elements of an array went when it was arranged as [O, R, I], and the way back.

    Attributes:
        dims: The dimensions that became R.
        sizes: O, R and I.
    """

    __slots__ = ("_axes", "_kept_axes", "_kept_shape", "_shape", "dims", "sizes")

    def __init__(
        self, shape: tuple[int, ...], axes: tuple[int, ...] | None, first: int, last: int, dims: tuple[int, ...]
    ) -> None:
        self.dims = dims
        self.sizes = (math.prod(shape[:first]), math.prod(shape[first:last]), math.prod(shape[last:]))
        self._shape = shape
        self._axes = axes
        self._kept_shape = shape[:first] + shape[last:]
        self._kept_axes = None if axes is None else axes[:first] + axes[last:]

    def reduced(self, y: Any, keepdim: bool) -> Any:
        """[O, I] -> the shape that the caller expects."""
        y = y.reshape(self._kept_shape)
        if self._kept_axes is not None:
            y = y.transpose(inverse(_ranks(self._kept_axes)))
        return insert_dims(y, self.dims) if keepdim else y

    def flat(self, dy: Any, keepdim: bool) -> Any:
        """What `reduced` gave, or a gradient of that shape, as a contiguous [O, I]."""
        outer, _, inner = self.sizes
        if keepdim:
            dy = drop_dims(dy, self.dims)
        if self._kept_axes is not None:
            dy = dy.transpose(_ranks(self._kept_axes))
        return arrays.contiguous(dy).reshape(outer, inner)

    def full(self, dx: Any) -> Any:
        """[O, R, I], or [O, R] where I is 1 -> the shape of the array that was arranged."""
        return self._restore(dx, self._shape)

    def resized(self, y: Any) -> Any:
        """[O, K, I], or [O, K] where I is 1 -> the array's shape with its one arranged dimension of size K."""
        size = y.shape[1]
        axes = self._axes or range(len(self._shape))
        shape = tuple(size if axis in self.dims else n for axis, n in zip(axes, self._shape, strict=True))
        return self._restore(y, shape)

    def _restore(self, y: Any, shape: tuple[int, ...]) -> Any:
        y = y.reshape(shape)
        return y if self._axes is None else y.transpose(inverse(self._axes))

    def like(self, y: Any) -> Any:
        """An array with the arranged array's rank and K along its one arranged dimension, as a contiguous [O, K, I]."""
        if self._axes is not None:
            y = y.transpose(self._axes)
        length = 1 if not self.dims else y.shape[self.dims[0] if self._axes is None else self._axes.index(self.dims[0])]
        return arrays.contiguous(y).reshape(self.sizes[0], length, self.sizes[2])


def arrange(x: Any, dims: tuple[int, ...], innermost: bool = False) -> tuple[Any, Arrangement]:
    """The array as a contiguous [O, R, I], R its given dimensions, and how it was arranged.

    It is copied only when its memory is not dense, or when the dimensions to reduce are not neighbours in it; with
    `innermost` also when others lie behind them, so that I is 1.
    """
    rank = x.ndim
    axes: tuple[int, ...] | None = None
    if not x.flags.c_contiguous:
        axes = dense_order(x)
        x = arrays.contiguous(x) if axes is None else x.transpose(axes)
    places = [place for place, axis in enumerate(axes or range(rank)) if axis in dims]
    first, last = (places[0], places[-1] + 1) if places else (rank, rank)
    if last - first != len(places) or (innermost and last != rank):  # bring the dimensions to reduce to the end
        order = [place for place in range(rank) if place not in places] + places
        axes = tuple(order) if axes is None else tuple(axes[place] for place in order)
        x = arrays.contiguous(x.transpose(order))
        first, last = rank - len(places), rank
    arrangement = Arrangement(x.shape, axes, first, last, dims)
    return x.reshape(arrangement.sizes), arrangement


def arrange_rows(x: Any, dim: int) -> tuple[Any, Arrangement]:
    """One dimension of the array as the rows of a contiguous [N, R]; without dimensions it is one row of one."""
    lines, arrangement = arrange(x, (dim,) if x.ndim else (), innermost=True)
    return lines.reshape(lines.shape[:2]), arrangement


def _ranks(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The place of each axis when the axes are counted without gaps: (3, 0) -> (1, 0)."""
    return tuple(sorted(axes).index(axis) for axis in axes)


def rows_like(y: Any, arrangement: Arrangement) -> Any:
    """As `arrangement.like` for rows, where I is 1: a contiguous [O, K]."""
    lines = arrangement.like(y)
    return lines.reshape(lines.shape[:2])


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
