r"""Rearranging: copies with elements repeated, reversed or shifted.

Repeating writes every element to several places, so its backward sums dy over them; reversing and shifting are
permutations, so their backward is the inverse permutation of dy.

The references are NumPy's tile, repeat, flip, roll and rot90.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.shape.views import ReshapeOp, expand, sizes_of, sum_to_shape, transpose
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_dim, check_dims, check_int
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError

# ---------------------------------------------------------------- repeat


class RepeatOp(Op):
    """y = x laid out several times along each dimension."""

    @staticmethod
    def forward(ctx: Context, x, repeats):
        lead = len(repeats) - x.ndim
        shape = (1,) * lead + x.shape
        strides = (0,) * lead + x.strides
        # In the shape [r0, s0, r1, s1, ...] the repeats are dimensions of their own, along which x is broadcast.
        ctx.shape = x.shape
        ctx.tiled = tuple(size for pair in zip(repeats, shape, strict=True) for size in pair)
        ctx.once = tuple(size for s in shape for size in (1, s))
        y = memory.empty(tuple(r * s for r, s in zip(repeats, shape, strict=True)), x.dtype)
        if y.size:
            steps = tuple(step for s in strides for step in (0, s))
            arrays.copy_into(y.reshape(ctx.tiled), arrays.strided(x, ctx.tiled, steps))
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        return sum_to_shape(arrays.contiguous(dy).reshape(ctx.tiled), ctx.once).reshape(ctx.shape), None


def repeat(input: Tensor, repeats: Sequence[int]) -> Tensor:
    """Lays copies of a tensor side by side along each dimension.

    Args:
        input: [*], any dtype.
        repeats: How often along each dimension of the result; more numbers than dimensions add leading ones.

    Returns:
        [*], each size multiplied.

    Raises:
        ShapeError: There are fewer repeats than dimensions.
        ArgumentError: A repeat is negative.

    Gradient:
        For input: the sum of dy over the copies.

    Example:
        >>> nbdl.tensor([1, 2]).repeat(2, 2)
        tensor([[1, 2, 1, 2],
                [1, 2, 1, 2]])
    """
    counts = sizes_of("repeats", repeats)
    if len(counts) < input._array.ndim:
        raise ShapeError(f"repeats: expected at least {input._array.ndim} numbers, got {list(counts)}")
    if any(count < 0 for count in counts):
        raise ArgumentError(f"repeats: expected numbers of at least 0, got {list(counts)}")
    return RepeatOp.apply(input, counts)


def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """As `repeat`, with missing leading numbers taken as 1."""
    counts = sizes_of("dims", dims)
    return repeat(input, (1,) * (input._array.ndim - len(counts)) + counts)


def repeat_interleave(
    input: Tensor, repeats: int | Tensor, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Repeats each element (or slice) in its place.

    Args:
        input: [*], any dtype.
        repeats: How often, one integer for all or [size of dim] integers.
        dim: The dimension; the flattened input when None.
        output_size: The size of dim in the result, checked when given.

    Returns:
        [*], larger along dim; one dimension when dim is None.

    Raises:
        ArgumentError: A repeat is negative, or output_size is not the resulting size.
        ShapeError: repeats is neither one number nor one for each slice.

    Gradient:
        For input: the sum of dy over the repeats.

    Example:
        >>> nbdl.ops.repeat_interleave(nbdl.tensor([1, 2]), 2)
        tensor([1, 1, 2, 2])
    """
    if dim is None:
        input, dim = ReshapeOp.apply(input, (input._array.size,)), 0
    elif input._array.ndim == 0:
        input = ReshapeOp.apply(input, (1,))
    dim = check_dim("dim", dim, input._array.ndim)
    shape = input._array.shape
    if isinstance(repeats, Tensor):
        counts = arrays.on_host(repeats._array)
        if counts.dtype.kind not in "iu":
            raise ArgumentTypeError(f"repeats: expected integers, got {counts.dtype}")
        if counts.ndim > 1 or (counts.size != 1 and counts.size != shape[dim]):
            raise ShapeError(f"repeats: expected one number or shape [{shape[dim]}], got {list(counts.shape)}")
        if (counts < 0).any():
            raise ArgumentError("repeats: expected numbers of at least 0, got negative ones")
        if counts.size == 1:
            return repeat_interleave(input, int(counts.item()), dim, output_size=output_size)
        total = int(counts.sum())
        _check_output_size(output_size, total)
        return input[(slice(None),) * dim + (np.repeat(np.arange(shape[dim]), counts),)]
    count = check_int("repeats", repeats, 0)
    _check_output_size(output_size, shape[dim] * count)
    spread = ReshapeOp.apply(input, (*shape[: dim + 1], 1, *shape[dim + 1 :]))
    spread = expand(spread, (*shape[: dim + 1], count, *shape[dim + 1 :]))
    return ReshapeOp.apply(spread, (*shape[:dim], shape[dim] * count, *shape[dim + 1 :]))


def _check_output_size(output_size: int | None, total: int) -> None:
    if output_size is not None and output_size != total:
        raise ArgumentError(f"output_size: expected {total}, the sum of the repeats, got {output_size}")


# ---------------------------------------------------------------- reverse


class FlipOp(Op):
    """y = x with some dimensions reversed."""

    @staticmethod
    def forward(ctx: Context, x, dims):
        ctx.dims = dims
        return _flipped(x, dims)

    @staticmethod
    def backward(ctx: Context, dy):
        return _flipped(dy, ctx.dims), None


def _flipped(x, dims):
    index = tuple(slice(None, None, -1) if dim in dims else slice(None) for dim in range(x.ndim))
    y = memory.empty(x.shape, x.dtype)
    arrays.copy_into(y, x[(*index, ...)])
    return y


def flip(input: Tensor, dims: Sequence[int]) -> Tensor:
    """A copy with the given dimensions reversed.

    Args:
        input: [*], any dtype.
        dims: The dimensions.

    Returns:
        The shape and dtype of the input.

    Raises:
        IndexRangeError: A dimension is out of range.
        ArgumentError: A dimension is named twice.

    Gradient:
        For input: dy with the same dimensions reversed.

    Example:
        >>> nbdl.ops.flip(nbdl.tensor([[1, 2], [3, 4]]), (0,))
        tensor([[3, 4],
                [1, 2]])
    """
    named = sizes_of("dims", dims)
    return FlipOp.apply(input, check_dims("dims", named, input._array.ndim) if named else ())


def fliplr(input: Tensor) -> Tensor:
    """A copy with the second dimension, the columns, reversed."""
    if input._array.ndim < 2:
        raise ShapeError(f"input: expected at least 2 dimensions, got shape {list(input.shape)}")
    return FlipOp.apply(input, (1,))


def flipud(input: Tensor) -> Tensor:
    """A copy with the first dimension, the rows, reversed."""
    if input._array.ndim < 1:
        raise ShapeError(f"input: expected at least 1 dimension, got shape {list(input.shape)}")
    return FlipOp.apply(input, (0,))


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turns the plane of two dimensions by k quarter turns, from the first dimension towards the second.

    Args:
        input: [*], at least two dimensions, any dtype.
        k: The number of quarter turns; negative ones turn back.
        dims: The two dimensions.

    Returns:
        The turned tensor.

    Raises:
        ArgumentError: dims does not name two different dimensions.
        IndexRangeError: A dimension is out of range.

    Gradient:
        For input: dy turned back.

    Example:
        >>> nbdl.ops.rot90(nbdl.tensor([[1, 2], [3, 4]]))
        tensor([[2, 4],
                [1, 3]])
    """
    rank = input._array.ndim
    if len(dims) != 2:
        raise ArgumentError(f"dims: expected two dimensions, got {list(dims)}")
    if rank < 2:
        raise ShapeError(f"input: expected at least 2 dimensions, got shape {list(input.shape)}")
    first, second = check_dims("dims", tuple(dims), rank)
    turns = operator.index(k) % 4
    if turns == 0:
        return FlipOp.apply(input, ())
    if turns == 2:
        return FlipOp.apply(input, (first, second))
    if turns == 1:
        return FlipOp.apply(transpose(input, first, second), (first,))
    return FlipOp.apply(transpose(input, first, second), (second,))


# ---------------------------------------------------------------- shift


class RollOp(Op):
    """y = x shifted along some dimensions; what leaves at one end enters at the other."""

    @staticmethod
    def forward(ctx: Context, x, shifts, dims):
        ctx.options = shifts, dims
        return _rolled(x, shifts, dims)

    @staticmethod
    def backward(ctx: Context, dy):
        shifts, dims = ctx.options
        return _rolled(dy, [-shift for shift in shifts], dims), None, None


def _rolled(x, shifts, dims):
    y = memory.empty(x.shape, x.dtype)
    if y.size == 0:
        return y
    total = [0] * x.ndim
    for shift, dim in zip(shifts, dims, strict=True):
        total[dim] = (total[dim] + shift) % x.shape[dim]
    pairs = [((...,), (...,))]
    for shift in total:
        if shift:
            moved = (slice(None, -shift), slice(shift, None)), (slice(-shift, None), slice(None, shift))
        else:
            moved = ((slice(None), slice(None)),)
        pairs = [
            ((*source[:-1], from_here, ...), (*target[:-1], to_there, ...))
            for source, target in pairs
            for from_here, to_there in moved
        ]
    for source, target in pairs:
        arrays.copy_into(y[target], x[source])
    return y


def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Shifts a tensor along dimensions; elements that leave at the end come in at the start.

    Args:
        input: [*], any dtype.
        shifts: By how many places, for each of dims.
        dims: The dimensions; None shifts the flattened tensor.

    Returns:
        The shape and dtype of the input.

    Raises:
        ArgumentError: shifts and dims differ in length.
        IndexRangeError: A dimension is out of range.

    Gradient:
        For input: dy shifted back.

    Example:
        >>> nbdl.ops.roll(nbdl.tensor([1, 2, 3]), 1)
        tensor([3, 1, 2])
    """
    steps = sizes_of("shifts", shifts)
    if dims is None or dims == ():
        if len(steps) != 1:
            raise ArgumentError(f"shifts: expected one number where dims is not given, got {list(steps)}")
        flat = RollOp.apply(ReshapeOp.apply(input, (input._array.size,)), steps, (0,))
        return ReshapeOp.apply(flat, input._array.shape)
    named = dims if isinstance(dims, (tuple, list)) else (dims,)
    if len(named) != len(steps):
        raise ArgumentError(f"shifts: expected {len(named)} numbers, as many as dims, got {list(steps)}")
    rank = input._array.ndim
    if rank == 0:
        raise ShapeError("input: expected at least one dimension where dims is given, got shape []")
    return RollOp.apply(input, steps, tuple(check_dim("dims", dim, rank) for dim in named))
