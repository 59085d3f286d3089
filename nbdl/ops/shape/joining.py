r"""Joining and splitting: tensors laid side by side along one dimension, and a tensor cut along one.

With offsets $o_n = \sum_{m<n} s_m$ of the parts' sizes $s_m$ along the dimension:

$$y_{o_n + i} = x^{(n)}_i, \qquad dx^{(n)}_i = dy_{o_n + i}.$$

Joining and splitting are each other's transposes: the backward of one is the forward of the other. A part of a
gradient is a view of it, so only joining copies.

The references are NumPy's concatenate, stack and split.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.shape.views import ReshapeOp, unsqueeze
from nbdl.runtime import arrays, memory
from nbdl.runtime.addresses import address_of
from nbdl.runtime.checks import check_dim, check_int
from nbdl.runtime.dtypes import result_type
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError

# ---------------------------------------------------------------- arrays


def join(parts: Sequence[Any], dim: int) -> Any:
    """The arrays side by side along the dimension; the other sizes and the dtypes are equal."""
    shape = parts[0].shape
    sizes = [part.shape[dim] for part in parts]
    result = memory.empty((*shape[:dim], sum(sizes), *shape[dim + 1 :]), parts[0].dtype)
    for place, part in zip(cut(result, sizes, dim), parts, strict=True):
        arrays.copy_into(place, part)
    return result


def join_gradients(parts: Sequence[Any], dim: int) -> Any:
    """The same, without a copy where the parts lie side by side in memory already, as parts of one array do.

    A backward pass may return views of what came in; a forward pass may not.
    """
    return join(parts, dim) if (whole := _adjoining(parts, dim)) is None else whole


def _adjoining(parts: Sequence[Any], dim: int) -> Any:
    """The array of which the parts are consecutive pieces along the dimension, or None."""
    first = parts[0]
    if len(parts) == 1 or first.size == 0 or not isinstance(first, np.ndarray):
        return first if len(parts) == 1 else None
    owner, place, size = arrays.owner(first), address_of(first), first.shape[dim]
    step = (address_of(parts[1]) - place) // size
    strides = (*first.strides[:dim], step, *first.strides[dim + 1 :])
    for part in parts:
        own = (*part.strides[:dim], part.strides[dim] if part.shape[dim] > 1 else step, *part.strides[dim + 1 :])
        if step <= 0 or own != strides or address_of(part) != place or arrays.owner(part) is not owner:
            return None
        place += step * part.shape[dim]
    return arrays.strided(
        first, (*first.shape[:dim], sum([part.shape[dim] for part in parts]), *first.shape[dim + 1 :]), strides
    )


def cut(array: Any, sizes: Sequence[int], dim: int) -> tuple[Any, ...]:
    """Views of consecutive parts of the array along the dimension."""
    before = (slice(None),) * dim
    parts = []
    start = 0
    for size in sizes:
        parts.append(array[(*before, slice(start, start + size))])
        start += size
    return tuple(parts)


# ---------------------------------------------------------------- autograd


class CatOp(Op):
    """y = the inputs side by side along one dimension."""

    @staticmethod
    def forward(ctx: Context, dim, *parts):
        ctx.dim = dim
        ctx.sizes = [part.shape[dim] for part in parts]
        return join(parts, dim)

    @staticmethod
    def backward(ctx: Context, dy):
        return None, *cut(dy, ctx.sizes, ctx.dim)


class SplitOp(Op):
    """ys = the input cut along one dimension: views of it."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x, sizes, dim):
        ctx.dim = dim
        return cut(x, sizes, dim)

    @staticmethod
    def backward(ctx: Context, *dys):
        return join_gradients(dys, ctx.dim), None, None


# ---------------------------------------------------------------- public: joining


def listed(tensors: Any) -> list[Tensor]:
    """The tensors as a list, all in the dtype that PyTorch's promotion finds for them."""
    parts = list(tensors) if isinstance(tensors, (tuple, list)) else None
    if not parts or not all(isinstance(tensor, Tensor) for tensor in parts):
        raise ArgumentTypeError(f"tensors: expected a list or tuple of at least one Tensor, got {tensors!r:.80}")
    if any(tensor.dtype != parts[0].dtype for tensor in parts):
        dtype = result_type([tensor._array for tensor in parts], [])
        parts = [tensor.to(dtype) for tensor in parts]
    return parts


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    r"""Joins tensors along an existing dimension.

    Args:
        tensors: [*] each, equal in every size but that of dim; an empty tensor [0] is skipped. Different dtypes are
            converted to the one that holds all.
        dim: The dimension.

    Returns:
        [*], with the sum of the sizes along dim.

    Raises:
        ShapeError: The tensors differ in rank or in another size, or have no dimensions.
        IndexRangeError: dim is out of range.

    Gradient:
        For each tensor: its part of dy.

    Example:
        >>> nbdl.cat((nbdl.tensor([[1, 2]]), nbdl.tensor([[3, 4], [5, 6]])))
        tensor([[1, 2],
                [3, 4],
                [5, 6]])
    """
    given = listed(tensors)
    for position, tensor in enumerate(given):
        if tensor._array.ndim == 0:
            raise ShapeError(f"tensors[{position}]: a tensor without dimensions cannot be joined; use stack")
    parts = [tensor for tensor in given if tensor._array.shape != (0,)]  # PyTorch lets [0] stand for nothing
    if not parts:
        check_dim("dim", dim, 1)
        return CatOp.apply(0, *given)
    shape = parts[0]._array.shape
    dim = check_dim("dim", dim, len(shape))
    for position, tensor in enumerate(given):
        other = tensor._array.shape
        if other != (0,) and (
            len(other) != len(shape) or other[:dim] != shape[:dim] or other[dim + 1 :] != shape[dim + 1 :]
        ):
            raise ShapeError(
                f"tensors[{position}]: expected the sizes {list(shape)} except in dimension {dim}, got {list(other)}"
            )
    return CatOp.apply(dim, *parts)


def concat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Another name of `cat`."""
    return cat(tensors, dim)


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """NumPy's name of `cat`."""
    return cat(tensors, axis)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Joins tensors of one shape along a new dimension.

    Args:
        tensors: [*] each, of one shape; different dtypes are converted to the one that holds all.
        dim: The place of the new dimension.

    Returns:
        [*], with the number of tensors as the size of dim.

    Raises:
        ShapeError: The shapes differ.
        IndexRangeError: dim is out of range.

    Gradient:
        For each tensor: its slice of dy.

    Example:
        >>> nbdl.stack((nbdl.tensor([1, 2]), nbdl.tensor([3, 4])), dim=1)
        tensor([[1, 3],
                [2, 4]])
    """
    parts = listed(tensors)
    shape = parts[0]._array.shape
    for position, tensor in enumerate(parts):
        if tensor._array.shape != shape:
            raise ShapeError(f"tensors[{position}]: expected the shape {list(shape)}, got {list(tensor.shape)}")
    dim = check_dim("dim", dim, len(shape) + 1)
    if dim == len(shape):
        return CatOp.apply(dim, *[unsqueeze(tensor, dim) for tensor in parts])
    # Along dim the rows of the result are the tensors' own: joining and one reshape do what unsqueezing all would.
    joined = CatOp.apply(dim, *parts)
    return ReshapeOp.apply(joined, (*shape[:dim], len(parts), *shape[dim:]))


# ---------------------------------------------------------------- public: splitting


def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Cuts a tensor along a dimension.

    Args:
        tensor: [*], any dtype.
        split_size_or_sections: The size of each part (the last may be smaller), or the list of all sizes.
        dim: The dimension.

    Returns:
        The parts, views of the tensor.

    Raises:
        ArgumentError: A size is negative, or the sizes do not sum to the size of dim.
        IndexRangeError: dim is out of range.

    Gradient:
        For tensor: the parts' gradients, joined.

    Example:
        >>> nbdl.ops.split(nbdl.arange(5), 2)
        (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    shape = tensor._array.shape
    if not shape:
        raise ShapeError("tensor: expected at least one dimension, got shape []")
    dim = check_dim("dim", dim, len(shape))
    size = shape[dim]
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = [operator.index(part) for part in split_size_or_sections]
        if sum(sizes) != size or any(part < 0 for part in sizes):
            raise ArgumentError(
                f"split_size_or_sections: expected sizes that sum to {size}, the size of dimension {dim}, got {sizes}"
            )
        return SplitOp.apply(tensor, sizes, dim) if sizes else ()
    step = check_int("split_size_or_sections", split_size_or_sections, 0)
    if step == 0 and size:
        raise ArgumentError("split_size_or_sections: expected a positive size, got 0")
    count = max(-(-size // step), 1) if step else 1
    return SplitOp.apply(tensor, [min(step, size - step * part) for part in range(count)], dim)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Cuts a tensor into at most `chunks` parts of one size (the last may be smaller), views of it.

    Raises:
        ArgumentError: chunks is less than 1.
        IndexRangeError: dim is out of range.

    Gradient:
        For input: the parts' gradients, joined.

    Example:
        >>> nbdl.ops.chunk(nbdl.arange(5), 2)
        (tensor([0, 1, 2]), tensor([3, 4]))
    """
    chunks = check_int("chunks", chunks, 1)
    shape = input._array.shape
    if not shape:
        raise ShapeError("input: expected at least one dimension, got shape []")
    dim = check_dim("dim", dim, len(shape))
    if shape[dim] == 0:
        return SplitOp.apply(input, [0] * chunks, dim)
    return split(input, -(-shape[dim] // chunks), dim)


def tensor_split(input: Tensor, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Cuts a tensor into nearly equal parts, or before the given indices; the parts are views of it.

    Args:
        input: [*], any dtype.
        indices_or_sections: The number of parts (the first ones are larger by one where it does not divide), or the
            indices at which parts begin.
        dim: The dimension.

    Returns:
        The parts.

    Raises:
        ArgumentError: The number of parts is less than 1.
        IndexRangeError: dim is out of range.

    Gradient:
        For input: the parts' gradients, joined; overlapping parts are summed.

    Example:
        >>> nbdl.ops.tensor_split(nbdl.arange(5), 3)
        (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    shape = input._array.shape
    if not shape:
        raise ShapeError("input: expected at least one dimension, got shape []")
    dim = check_dim("dim", dim, len(shape))
    size = shape[dim]
    given = indices_or_sections.tolist() if isinstance(indices_or_sections, Tensor) else indices_or_sections
    if not isinstance(given, (tuple, list)):
        sections = check_int("indices_or_sections", given, 1)
        sizes = [size // sections + (part < size % sections) for part in range(sections)]
        return SplitOp.apply(input, sizes, dim)
    edges = [0, *(slice(operator.index(index)).indices(size)[1] for index in given), size]
    if edges == sorted(edges):
        return SplitOp.apply(input, [stop - start for start, stop in itertools.pairwise(edges)], dim)
    before = (slice(None),) * dim
    return tuple(input[(*before, slice(start, stop))] for start, stop in itertools.pairwise(edges))


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices of a tensor along a dimension, which goes away; views of it.

    Args:
        input: [*], any dtype.
        dim: The dimension.

    Returns:
        As many tensors as the dimension is long, each [*] without it.

    Raises:
        IndexRangeError: dim is out of range.

    Gradient:
        For input: the slices' gradients, stacked.

    Example:
        >>> nbdl.ops.unbind(nbdl.tensor([[1, 2], [3, 4]]))
        (tensor([1, 2]), tensor([3, 4]))
    """
    shape = input._array.shape
    if not shape:
        raise ShapeError("input: expected at least one dimension, got shape []")
    dim = check_dim("dim", dim, len(shape))
    return UnbindOp.apply(input, dim) if shape[dim] else ()


class UnbindOp(Op):
    """ys = the slices of x along one dimension, views of it."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x, dim):
        ctx.dim = dim
        before = (slice(None),) * dim
        return tuple(x[(*before, index, ...)] for index in range(x.shape[dim]))

    @staticmethod
    def backward(ctx: Context, *dys):
        shape = dys[0].shape
        return join_gradients([dy.reshape(*shape[: ctx.dim], 1, *shape[ctx.dim :]) for dy in dys], ctx.dim), None
