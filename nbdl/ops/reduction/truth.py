r"""All and any: whether every element, or one of them, is not 0. Over no elements all is true and any is false."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.elementwise.casting import cast, to_dtype
from nbdl.ops.reduction.arguments import Dims
from nbdl.ops.reduction.fold import Fold, plain
from nbdl.ops.reduction.sums import axes_of
from nbdl.runtime.checks import check_dims
from nbdl.runtime.dtypes import BOOL
from nbdl.runtime.jit import exact

UINT8 = np.dtype(np.uint8)
INT32 = np.dtype(np.int32)  # the narrowest numbers that the lanes of a warp exchange

# ---------------------------------------------------------------- reference


def all_reference(input, dim=None, keepdim=False):
    """The definition."""
    return np.all(input, axis=axes_of(dim), keepdims=keepdim)


def any_reference(input, dim=None, keepdim=False):
    """The definition."""
    return np.any(input, axis=axes_of(dim), keepdims=keepdim)


# ---------------------------------------------------------------- forward


@exact
def _and(a, b):
    return a & b


@exact
def _or(a, b):
    return a | b


all_fold = Fold("all", plain, _and, 1)
any_fold = Fold("any", plain, _or, 0)

# ---------------------------------------------------------------- public


def _truth(fold: Fold, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    array: Any = input._array
    if isinstance(dim, (tuple, list)) and not dim:  # PyTorch's truth of each element
        return to_dtype(to_dtype(input, BOOL), UINT8 if array.dtype == UINT8 else BOOL)
    y = fold.over(cast(array, BOOL).view(UINT8), check_dims("dim", dim, input.ndim), keepdim, dtype=INT32)
    return Tensor(cast(y, UINT8 if array.dtype == UINT8 else BOOL))


def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether all elements over the given dimensions are not 0; NaN is not.

    Args:
        input: [*], any dtype.
        dim: One dimension or several, counted from the front or the back; all when None, none when empty.
        keepdim: Leave the reduced dimensions in the result with size 1.

    Returns:
        The truths, bool (uint8 for uint8).

    Raises:
        IndexRangeError: The input has no such dimension.
        ArgumentError: A dimension is named twice.

    Example:
        >>> nbdl.ops.all(nbdl.tensor([[True, True], [True, False]]), dim=1)
        tensor([ True, False])
    """
    return _truth(all_fold, input, dim, keepdim)


def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether an element over the given dimensions is not 0; NaN is not.

    Args:
        input: [*], any dtype.
        dim: One dimension or several, counted from the front or the back; all when None, none when empty.
        keepdim: Leave the reduced dimensions in the result with size 1.

    Returns:
        The truths, bool (uint8 for uint8).

    Raises:
        IndexRangeError: The input has no such dimension.
        ArgumentError: A dimension is named twice.

    Example:
        >>> nbdl.ops.any(nbdl.tensor([[False, False], [True, False]]), dim=1)
        tensor([False,  True])
    """
    return _truth(any_fold, input, dim, keepdim)
