r"""Views: the same memory under another shape. A view is linear in x, so its backward is the transposed map.

A view reads element $x_{\pi(i)}$ at index $i$: $y_i = x_{\pi(i)}$, hence

$$dx_j = \sum_{i : \pi(i) = j} dy_i.$$

Where $\pi$ is one-to-one and onto (reshape, transpose) the gradient is the inverse view of dy; where it repeats
(expand) the repeats are summed; where it leaves elements out those get zero.

The references are NumPy's functions of the same names.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_dim, check_int
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError

# ---------------------------------------------------------------- arguments


def sizes_of(name: str, sizes: Any) -> tuple[int, ...]:
    """Sizes or dimensions as a tuple of ints; one integer stands for itself."""
    if type(sizes) is not tuple:
        sizes = tuple(sizes) if isinstance(sizes, Iterable) and not isinstance(sizes, Tensor) else (sizes,)
    try:
        return tuple([operator.index(size) for size in sizes])
    except TypeError:
        raise ArgumentTypeError(f"{name}: expected integers, got {sizes!r}") from None


def variadic(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The method of a function f(input, sizes): it may also be called as x.f(2, 3)."""

    @functools.wraps(function)
    def method(input: Tensor, *sizes: Any, **named: Any) -> Tensor:
        if named:
            return function(input, **named)
        if len(sizes) == 1 and type(sizes[0]) is not int:
            return function(input, sizes[0])
        return function(input, sizes)

    return method


def infer_shape(name: str, sizes: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The sizes with -1 replaced, if they hold `count` elements."""
    product = math.prod(sizes)
    if product == count and product >= 0 and -1 not in sizes:
        return sizes
    unknown = [position for position, size in enumerate(sizes) if size == -1]
    known = math.prod(size for size in sizes if size != -1)
    if len(unknown) > 1 or any(size < -1 for size in sizes):
        raise ShapeError(f"{name}: expected sizes of at least 0 and one -1 at most, got {list(sizes)}")
    if not unknown or known == 0 or count % known:
        raise ShapeError(f"{name}: expected a shape for {count} elements, got {list(sizes)}")
    return (*sizes[: unknown[0]], count // known, *sizes[unknown[0] + 1 :])


# ---------------------------------------------------------------- reshape


class ReshapeOp(Op):
    """y = x in another shape: x's own memory where its strides allow it, else a copy."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x, shape):
        ctx.shape = x.shape
        return x.reshape(shape) if x.flags.c_contiguous else _reshaped(x, shape)

    @staticmethod
    def backward(ctx: Context, dy):
        return dy.reshape(ctx.shape) if dy.flags.c_contiguous else _reshaped(dy, ctx.shape), None


def _reshaped(x, shape):
    shown = view_or_none(x, shape)
    return arrays.contiguous(x).reshape(shape) if shown is None else shown


def view_or_none(x: Any, shape: tuple[int, ...]) -> Any:
    """The array in another shape on the same memory, or None where its strides forbid it."""
    try:
        return x.reshape(shape, copy=False)
    except ValueError:
        return None


def reshape(input: Tensor, shape: Sequence[int]) -> Tensor:
    r"""The same elements, in row-major order, in another shape; a view where possible, else a copy.

    Args:
        input: [*], any dtype.
        shape: The new sizes; one of them may be -1 and is inferred.

    Returns:
        [*shape], dtype of the input.

    Raises:
        ShapeError: The shape does not hold as many elements as the input.

    Gradient:
        For input: dy in the input's shape.

    Example:
        >>> nbdl.ops.reshape(nbdl.tensor([[1, 2, 3], [4, 5, 6]]), (3, -1))
        tensor([[1, 2],
                [3, 4],
                [5, 6]])
    """
    return ReshapeOp.apply(input, infer_shape("shape", sizes_of("shape", shape), input._array.size))


def view(input: Tensor, shape: Sequence[int]) -> Tensor:
    """As `reshape`, but never a copy, with one exception: channels-last memory.

    Layers for images return [N, C, H, W] in channels-last memory, where PyTorch's are contiguous; a view that its order
    forbids is a copy then, so that `x.view(len(x), -1)` works after a convolution.

    Args:
        input: [*], any dtype.
        shape: The new sizes; one of them may be -1.

    Returns:
        [*shape], on the input's memory.

    Raises:
        ShapeError: The shape does not fit, or the input's strides make a copy necessary: use `reshape` then.

    Gradient:
        For input: dy in the input's shape.

    Example:
        >>> nbdl.ops.view(nbdl.tensor([1, 2, 3, 4]), (2, 2))
        tensor([[1, 2],
                [3, 4]])
    """
    sizes = infer_shape("shape", sizes_of("shape", shape), input._array.size)
    array = input._array
    if not array.flags.c_contiguous and view_or_none(array, sizes) is None and not _is_channels_last(array):
        raise ShapeError(
            f"shape: a view of shape {list(sizes)} of a tensor of shape {list(input.shape)} and strides "
            f"{input.stride()} needs a copy; use reshape"
        )
    return ReshapeOp.apply(input, sizes)


def _is_channels_last(array: Any) -> bool:
    """Whether [N, C, ...] lies in memory as [N, ..., C]."""
    return array.ndim > 2 and array.transpose(0, *range(2, array.ndim), 1).flags.c_contiguous


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`view` in the shape of another tensor."""
    return view(input, other.shape)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` to the shape of another tensor."""
    return reshape(input, other.shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merges the dimensions from start_dim to end_dim into one.

    Args:
        input: [*], any dtype.
        start_dim: The first dimension to merge.
        end_dim: The last one, inclusive.

    Returns:
        The input with those dimensions as one; a tensor without dimensions becomes [1].

    Raises:
        IndexRangeError: A dimension is out of range.
        ArgumentError: end_dim comes before start_dim.

    Gradient:
        For input: dy in the input's shape.

    Example:
        >>> nbdl.ops.flatten(nbdl.zeros(2, 3, 4), 1).shape
        (2, 12)
    """
    shape = input._array.shape
    first = check_dim("start_dim", start_dim, len(shape))
    last = check_dim("end_dim", end_dim, len(shape))
    if last < first:
        raise ArgumentError(f"end_dim: expected a dimension from start_dim={start_dim} on, got {end_dim}")
    if not shape:
        return ReshapeOp.apply(input, (1,))
    if first == last:
        return input
    merged = math.prod(shape[first : last + 1])
    return ReshapeOp.apply(input, (*shape[:first], merged, *shape[last + 1 :]))


def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension, row by row: `flatten` of every dimension."""
    return ReshapeOp.apply(input, (input._array.size,))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Splits one dimension into several.

    Args:
        input: [*], any dtype.
        dim: The dimension to split.
        sizes: What it becomes; one size may be -1.

    Returns:
        The input with `sizes` in the place of dim.

    Raises:
        ShapeError: The sizes do not multiply to the size of dim.

    Gradient:
        For input: dy in the input's shape.

    Example:
        >>> nbdl.ops.unflatten(nbdl.zeros(2, 12), 1, (3, -1)).shape
        (2, 3, 4)
    """
    shape = input._array.shape
    dim = check_dim("dim", dim, len(shape))
    inner = infer_shape("sizes", sizes_of("sizes", sizes), shape[dim])
    return ReshapeOp.apply(input, (*shape[:dim], *inner, *shape[dim + 1 :]))


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Drops dimensions of size 1.

    Args:
        input: [*], any dtype.
        dim: Which dimensions to drop where their size is 1; every one when None.

    Returns:
        A view of the input without those dimensions.

    Raises:
        IndexRangeError: A dimension is out of range.

    Gradient:
        For input: dy in the input's shape.

    Example:
        >>> nbdl.ops.squeeze(nbdl.zeros(1, 3, 1)).shape
        (3,)
    """
    shape = input._array.shape
    if dim is None:
        kept = tuple(size for size in shape if size != 1)
    else:
        named = dim if isinstance(dim, (tuple, list)) else (dim,)
        dropped = {check_dim("dim", d, len(shape)) for d in named}
        kept = tuple(size for position, size in enumerate(shape) if size != 1 or position not in dropped)
    return ReshapeOp.apply(input, kept)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Inserts a dimension of size 1.

    Args:
        input: [*], any dtype.
        dim: Its place in the result, from -rank - 1 to rank.

    Returns:
        A view of the input with the new dimension.

    Raises:
        IndexRangeError: dim is out of range.

    Gradient:
        For input: dy in the input's shape.

    Example:
        >>> nbdl.ops.unsqueeze(nbdl.tensor([1, 2]), -1)
        tensor([[1],
                [2]])
    """
    shape = input._array.shape
    dim = check_dim("dim", dim, len(shape) + 1)
    return ReshapeOp.apply(input, (*shape[:dim], 1, *shape[dim:]))


# ---------------------------------------------------------------- permute


class PermuteOp(Op):
    """y = x with its dimensions in another order."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x, dims):
        ctx.dims = dims
        return x.transpose(dims)

    @staticmethod
    def backward(ctx: Context, dy):
        inverse = [0] * len(ctx.dims)
        for position, dim in enumerate(ctx.dims):
            inverse[dim] = position
        return dy.transpose(inverse), None


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    """The dimensions in another order.

    Args:
        input: [*], any dtype.
        dims: For each dimension of the result, the input's dimension it shows; each once.

    Returns:
        A view of the input.

    Raises:
        ShapeError: There are not as many dims as the input has dimensions.
        ArgumentError: A dimension is named twice.
        IndexRangeError: A dimension is out of range.

    Gradient:
        For input: dy with the dimensions back in order.

    Example:
        >>> nbdl.ops.permute(nbdl.zeros(2, 3, 4), (2, 0, 1)).shape
        (4, 2, 3)
    """
    rank = input._array.ndim
    order = sizes_of("dims", dims)
    if len(order) != rank:
        raise ShapeError(f"dims: expected {rank} dimensions, one for each of the input, got {list(order)}")
    order = tuple([check_dim("dims", dim, rank) for dim in order])
    if len(set(order)) != rank:
        raise ArgumentError(f"dims: expected each dimension once, got {list(dims)}")
    return PermuteOp.apply(input, order)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged.

    Args:
        input: [*], any dtype.
        dim0: The one dimension.
        dim1: The other.

    Returns:
        A view of the input.

    Raises:
        IndexRangeError: A dimension is out of range.

    Gradient:
        For input: dy with the two dimensions exchanged.

    Example:
        >>> nbdl.ops.transpose(nbdl.tensor([[1, 2], [3, 4]]), 0, 1)
        tensor([[1, 3],
                [2, 4]])
    """
    rank = input._array.ndim
    dim0, dim1 = check_dim("dim0", dim0, rank), check_dim("dim1", dim1, rank)
    dims = list(range(rank))
    if rank:
        dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return PermuteOp.apply(input, tuple(dims))


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """NumPy's name of `transpose`."""
    return transpose(input, axis0, axis1)


def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Another name of `transpose`."""
    return transpose(input, dim0, dim1)


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and tensors without dimensions stay as they are.

    Args:
        input: [R, C], [R] or [].

    Returns:
        [C, R], a view; else the input's shape.

    Raises:
        ShapeError: The input has more than two dimensions.
    """
    if input._array.ndim > 2:
        raise ShapeError(f"input: expected at most 2 dimensions, got shape {list(input.shape)}; use transpose or mT")
    return PermuteOp.apply(input, tuple(range(input._array.ndim))[::-1])


def matrix_transpose(input: Tensor) -> Tensor:
    """The last two dimensions exchanged, PyTorch's `.mT`.

    Raises:
        ShapeError: The input has fewer than two dimensions.
    """
    if input._array.ndim < 2:
        raise ShapeError(f"input: expected at least 2 dimensions, got shape {list(input.shape)}")
    return transpose(input, -2, -1)


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Moves dimensions to other places; the rest keep their order.

    Args:
        input: [*], any dtype.
        source: The dimensions to move.
        destination: Their places in the result, as many.

    Returns:
        A view of the input.

    Raises:
        ArgumentError: The two lists differ in length, or name a dimension twice.
        IndexRangeError: A dimension is out of range.

    Gradient:
        For input: dy with the dimensions moved back.

    Example:
        >>> nbdl.ops.movedim(nbdl.zeros(2, 3, 4), 0, -1).shape
        (3, 4, 2)
    """
    rank = input._array.ndim
    origin = [check_dim("source", dim, rank) for dim in (source if isinstance(source, (tuple, list)) else (source,))]
    target = [
        check_dim("destination", dim, rank)
        for dim in (destination if isinstance(destination, (tuple, list)) else (destination,))
    ]
    if len(origin) != len(target):
        raise ArgumentError(f"destination: expected {len(origin)} dimensions, as many as source, got {len(target)}")
    if len(set(origin)) != len(origin) or len(set(target)) != len(target):
        raise ArgumentError(f"source, destination: expected each dimension once, got {source} and {destination}")
    order = [dim for dim in range(rank) if dim not in origin]
    for place, dim in sorted(zip(target, origin, strict=True)):
        order.insert(place, dim)
    return PermuteOp.apply(input, tuple(order[:rank]))


def moveaxis(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """NumPy's name of `movedim`."""
    return movedim(input, source, destination)


# ---------------------------------------------------------------- expand


class ExpandOp(Op):
    """y = x repeated along new dimensions and those of size 1: strides of 0, no copy."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x, shape):
        ctx.shape = x.shape
        lead = len(shape) - x.ndim
        steps = [0 if have != size else step for have, size, step in zip(x.shape, shape[lead:], x.strides, strict=True)]
        return arrays.strided(x, shape, (0,) * lead + tuple(steps))

    @staticmethod
    def backward(ctx: Context, dy):
        return sum_to_shape(dy, ctx.shape), None


def sum_to_shape(array: Any, shape: tuple[int, ...]) -> Any:
    """The array summed over the dimensions along which `shape` was broadcast to the array's shape."""
    from nbdl.ops.reduction.sums import sum_fold  # reductions stand on views; this is the one way back

    if array.shape == shape:
        return array
    lead = array.ndim - len(shape)
    repeated = tuple(
        [axis for axis, size in enumerate(array.shape) if axis < lead or (shape[axis - lead] == 1 and size != 1)]
    )
    if array.size == 0:
        return arrays.full(shape, 0, array.dtype)
    if not repeated or math.prod([array.shape[axis] for axis in repeated]) == 1:
        return array.reshape(shape)
    return sum_fold.over(array, repeated, keepdim=True).reshape(shape)


def expand(input: Tensor, sizes: Sequence[int]) -> Tensor:
    r"""Repeats the tensor along dimensions of size 1 and new leading dimensions, without copying.

    Several elements of the result share one place in memory: clone() before writing to it.

    Args:
        input: [*], any dtype.
        sizes: The new sizes; -1 keeps a dimension's size.

    Returns:
        [*sizes], a view of the input with strides of 0.

    Raises:
        ShapeError: There are fewer sizes than dimensions, or a size differs from one that is not 1.

    Gradient:
        For input: the sum of dy over the repeats.

    Example:
        >>> nbdl.ops.expand(nbdl.tensor([[1], [2]]), (2, 3))
        tensor([[1, 1, 1],
                [2, 2, 2]])
    """
    wanted = sizes_of("sizes", sizes)
    have = input._array.shape
    lead = len(wanted) - len(have)
    if lead < 0:
        raise ShapeError(f"sizes: expected at least {len(have)} sizes for shape {list(have)}, got {list(wanted)}")
    shape = list(wanted)
    for position, size in enumerate(wanted):
        old = have[position - lead] if position >= lead else None
        if size == -1 and old is not None:
            shape[position] = old
        elif size < 0 or (old is not None and old != 1 and old != size):
            raise ShapeError(f"sizes: shape {list(have)} does not expand to {list(wanted)}")
    return ExpandOp.apply(input, tuple(shape))


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of another tensor."""
    return expand(input, other.shape)


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """`expand` to the shape `size`."""
    return expand(input, size)


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors expanded to their common shape.

    Args:
        tensors: Of any dtypes, and of shapes that broadcast to each other.

    Returns:
        A view of each, in their order.

    Raises:
        ShapeError: The shapes have no common shape.

    Example:
        >>> a, b = nbdl.ops.broadcast_tensors(nbdl.zeros(3, 1), nbdl.zeros(4))
        >>> a.shape, b.shape
        ((3, 4), (3, 4))
    """
    shape = _common_shape("tensors", [tensor.shape for tensor in tensors])
    return tuple(expand(tensor, shape) for tensor in tensors)


def broadcast_shapes(*shapes: int | Sequence[int]) -> tuple[int, ...]:
    """The common shape of tensors of these shapes: that of what an operation on all of them gives.

    Args:
        shapes: Shapes, or sizes of one dimension.

    Returns:
        The shape; () of none.

    Raises:
        ShapeError: The shapes have no common shape.
        ArgumentError: A size is negative.
        ArgumentTypeError: A size is no integer.

    Example:
        >>> nbdl.broadcast_shapes((3, 1), 4, (1, 1, 1))
        (1, 3, 4)
    """
    listed = []
    for position, shape in enumerate(shapes):
        sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
        listed.append(tuple(check_int(f"shapes[{position}]", size, 0) for size in sizes))
    return _common_shape("shapes", listed)


def _common_shape(name: str, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"{name}: no common shape of {[list(shape) for shape in shapes]}") from None
