"""Stacking: tensors brought to a rank, joined along it and split again; blocks, and products of sets.

The references are NumPy's functions of the same names. Each is made of views and joins, and so is its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbdl.autograd import Tensor
from nbdl.ops.shape.joining import cat, listed, stack, tensor_split
from nbdl.ops.shape.views import ReshapeOp, broadcast_tensors, ravel
from nbdl.runtime import arrays, placement
from nbdl.runtime.checks import check_rank
from nbdl.runtime.errors import ShapeError

# ---------------------------------------------------------------- dimensions


def _with_rank(tensors: tuple[Any, ...], rank: int) -> Any:
    """One tensor, or the tuple of several, with dimensions of size 1 added up to a rank."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        return tuple(_raised(tensor, rank) for tensor in tensors[0])
    raised = tuple(_raised(tensor, rank) for tensor in tensors)
    return raised[0] if len(raised) == 1 else raised


def _raised(tensor: Tensor, rank: int) -> Tensor:
    shape = tensor._array.shape
    if len(shape) >= rank:
        return tensor
    if rank == 3 and len(shape) > 0:  # the last of three dimensions is the new one
        return ReshapeOp.apply(tensor, (1,) * (2 - len(shape)) + shape + (1,))
    return ReshapeOp.apply(tensor, (1,) * (rank - len(shape)) + shape)


def atleast_1d(*tensors: Any) -> Any:
    """Tensors with at least one dimension: one without becomes [1].

    Args:
        tensors: Tensors, or one list of them.

    Returns:
        The tensor, or a tuple of several; views.

    Gradient:
        For every tensor: dy in its shape.

    Example:
        >>> nbdl.ops.atleast_1d(nbdl.tensor(2.0))
        tensor([2.])
    """
    return _with_rank(tensors, 1)


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with at least two dimensions: [N] becomes [1, N]. Arguments as for `atleast_1d`.

    Example:
        >>> nbdl.ops.atleast_2d(nbdl.tensor([1, 2])).shape
        (1, 2)
    """
    return _with_rank(tensors, 2)


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with at least three dimensions: [N] becomes [1, N, 1] and [N, M] becomes [N, M, 1].

    Arguments as for `atleast_1d`.

    Example:
        >>> nbdl.ops.atleast_3d(nbdl.tensor([1, 2])).shape
        (1, 2, 1)
    """
    return _with_rank(tensors, 3)


# ---------------------------------------------------------------- joining


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joins tensors along the second dimension, vectors along their only one.

    Args:
        tensors: Tensors whose other sizes agree.

    Returns:
        The joined tensor.

    Raises:
        ShapeError: The other sizes differ.

    Gradient:
        For every tensor: its part of dy.

    Example:
        >>> nbdl.ops.hstack([nbdl.tensor([1, 2]), nbdl.tensor([3])])
        tensor([1, 2, 3])
    """
    parts = [_raised(tensor, 1) for tensor in listed(tensors)]
    return cat(parts, 0 if parts[0]._array.ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joins tensors along the first dimension, each vector as one row. Arguments as for `hstack`.

    Example:
        >>> nbdl.ops.vstack([nbdl.tensor([1, 2]), nbdl.tensor([3, 4])])
        tensor([[1, 2],
                [3, 4]])
    """
    return cat([_raised(tensor, 2) for tensor in listed(tensors)])


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joins tensors along the third dimension, vectors as [1, N, 1]. Arguments as for `hstack`.

    Example:
        >>> nbdl.ops.dstack([nbdl.tensor([1, 2]), nbdl.tensor([3, 4])])
        tensor([[[1, 3],
                 [2, 4]]])
    """
    return cat([_raised(tensor, 3) for tensor in listed(tensors)], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joins tensors along the second dimension, each vector as one column. Arguments as for `hstack`.

    Example:
        >>> nbdl.ops.column_stack([nbdl.tensor([1, 2]), nbdl.tensor([3, 4])])
        tensor([[1, 3],
                [2, 4]])
    """
    columns = [
        ReshapeOp.apply(tensor, (tensor._array.size, 1)) if tensor._array.ndim < 2 else tensor
        for tensor in listed(tensors)
    ]
    return cat(columns, 1)


# ---------------------------------------------------------------- splitting


def hsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Cuts a tensor along its second dimension, a vector along its only one.

    Args:
        input: [*], at least one dimension.
        indices_or_sections: The number of equal parts, or the indices at which parts begin.

    Returns:
        The parts, views of the tensor.

    Raises:
        ShapeError: There is no such dimension, or it does not divide into as many equal parts.

    Gradient:
        For input: the parts' gradients, joined.

    Example:
        >>> nbdl.ops.hsplit(nbdl.arange(4), 2)
        (tensor([0, 1]), tensor([2, 3]))
    """
    return _equal_split(input, indices_or_sections, 0 if input.ndim == 1 else 1, 1)


def vsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Cuts a tensor of at least two dimensions along its first. Arguments as for `hsplit`.

    Example:
        >>> nbdl.ops.vsplit(nbdl.tensor([[1], [2]]), 2)
        (tensor([[1]]), tensor([[2]]))
    """
    return _equal_split(input, indices_or_sections, 0, 2)


def dsplit(input: Tensor, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Cuts a tensor of at least three dimensions along its third. Arguments as for `hsplit`.

    Example:
        >>> nbdl.ops.dsplit(nbdl.tensor([[[1, 2]]]), 2)
        (tensor([[[1]]]), tensor([[[2]]]))
    """
    return _equal_split(input, indices_or_sections, 2, 3)


def _equal_split(input: Tensor, parts: int | Sequence[int], dim: int, rank: int) -> tuple[Tensor, ...]:
    if input.ndim < rank:
        raise ShapeError(f"input: expected at least {rank} dimensions, got shape {list(input.shape)}")
    if isinstance(parts, int) and parts > 0 and input.shape[dim] % parts:
        raise ShapeError(f"indices_or_sections: dimension {dim} of {input.shape[dim]} has no {parts} equal parts")
    return tensor_split(input, parts, dim)


# ---------------------------------------------------------------- blocks and sets


def block_diag(*tensors: Tensor) -> Tensor:
    """The matrix with the given matrices along its diagonal and zero elsewhere.

    Args:
        tensors: [N_k, M_k]; a vector counts as one row, a number as one element.

    Returns:
        [sum of N_k, sum of M_k].

    Raises:
        ShapeError: A tensor has more than two dimensions.

    Gradient:
        For every tensor: its block of dy.

    Example:
        >>> nbdl.ops.block_diag(nbdl.tensor([[1, 2]]), nbdl.tensor(3))
        tensor([[1, 2, 0],
                [0, 0, 3]])
    """
    blocks = [_raised(check_rank(f"tensors[{k}]", tensor, 0, 1, 2), 2) for k, tensor in enumerate(listed(tensors))]
    width = sum(block.shape[1] for block in blocks)
    before = 0
    rows = []
    for block in blocks:
        height, columns = block.shape
        sides = (before, width - before - columns)
        with placement.beside(block._array):
            left, right = (Tensor(arrays.full((height, side), 0, block.dtype)) for side in sides)
        rows.append(cat([left, block, right], 1))
        before += columns
    return cat(rows)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of an element of each tensor, one a row, the last one changing fastest.

    Args:
        tensors: [N_1], [N_2], ..., [N_k].

    Returns:
        [N_1 N_2 ... N_k, k]; of one tensor the tensor itself.

    Raises:
        ShapeError: A tensor is no vector.

    Gradient:
        For every tensor: dy summed over the rows of each element.

    Example:
        >>> nbdl.ops.cartesian_prod(nbdl.tensor([1, 2]), nbdl.tensor([3, 4]))
        tensor([[1, 3],
                [1, 4],
                [2, 3],
                [2, 4]])
    """
    vectors = [check_rank(f"tensors[{k}]", tensor, 1) for k, tensor in enumerate(listed(tensors))]
    if len(vectors) == 1:
        return vectors[0]
    spread = [
        ReshapeOp.apply(vector, (1,) * k + (vector._array.size,) + (1,) * (len(vectors) - k - 1))
        for k, vector in enumerate(vectors)
    ]
    return stack([ravel(grid) for grid in broadcast_tensors(*spread)], 1)
