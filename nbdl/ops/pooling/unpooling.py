r"""Max unpooling: largest elements go back to the places they came from, and the rest of the image is zero.

Forward, with $a_o$ the place that max pooling gave for element $o$; backward is its transpose:

$$
y_{a_o} = x_o, \quad y_i = 0 \text{ elsewhere}; \qquad dx_o = dy_{a_o}
$$

Where windows overlap, a place may be named several times: the last element stays. It is written with other
operations, a plane of zeros and `scatter` into it.

Source: Zeiler and Fergus (2014), "Visualizing and Understanding Convolutional Networks", section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.creation import zeros
from nbdl.ops.indexing import scatter
from nbdl.ops.pooling.windows import check_image, per_dimension
from nbdl.ops.shape import reshape
from nbdl.runtime.checks import check_ids, check_int, check_shape
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError

__all__ = ["max_unpool1d", "max_unpool2d"]

# ---------------------------------------------------------------- reference


def max_unpool_reference(input, indices, kernel_size, stride=None, padding=0, output_size=None, dims=2):
    """The definition, in float64: for each element in turn, its value at its place."""
    kernels, pads = (value if isinstance(value, tuple) else (value,) * dims for value in (kernel_size, padding))
    strides = kernels if stride is None else stride if isinstance(stride, tuple) else (stride,) * dims
    sizes = [
        (size - 1) * step + kernel - 2 * pad
        for size, step, kernel, pad in zip(input.shape[-dims:], strides, kernels, pads, strict=True)
    ]
    sizes = sizes if output_size is None else output_size[-dims:]
    y = np.zeros((*input.shape[:-dims], math.prod(sizes)))
    for place in np.ndindex(input.shape):
        y[(*place[:-dims], indices[place])] = input[place]
    return y.reshape(*input.shape[:-dims], *sizes)


def max_unpool2d_reference(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Places are h W + w."""
    return max_unpool_reference(input, indices, kernel_size, stride, padding, output_size, dims=2)


def max_unpool1d_reference(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Places are positions in L."""
    return max_unpool_reference(input, indices, kernel_size, stride, padding, output_size, dims=1)


# ---------------------------------------------------------------- public


def _max_unpool(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any, dims: int
) -> Tensor:
    """Either of the functions below."""
    check_image("input", input, dims)
    if not isinstance(indices, Tensor):
        raise ArgumentTypeError(f"indices: expected a Tensor, got {type(indices).__name__}")
    if indices.dtype != np.int64:
        raise DTypeError(f"indices: expected int64, got {indices.dtype}")
    check_shape("indices", indices, input.shape)
    kernels = per_dimension("kernel_size", kernel_size, 1, dims)
    strides = kernels if stride is None else per_dimension("stride", stride, 1, dims, kernels)
    paddings = per_dimension("padding", padding, 0, dims)
    usual = [
        (size - 1) * step + kernel - 2 * pad
        for size, step, kernel, pad in zip(input.shape[-dims:], strides, kernels, paddings, strict=True)
    ]
    sizes = usual if output_size is None else _checked_size(output_size, usual, strides)
    plane = math.prod(sizes)
    check_ids("indices", indices._array, plane)
    outer = tuple(input.shape[:-dims])
    # the number of outputs is written out: -1 would not do for an empty batch
    flat = (*outer, math.prod(input.shape[-dims:]))
    empty = zeros(*outer, plane, dtype=input.dtype, device=input.device)
    return reshape(scatter(empty, -1, reshape(indices, flat), reshape(input, flat)), (*outer, *sizes))


def _checked_size(output_size: Any, usual: list[int], strides: Sequence[int]) -> list[int]:
    """The wanted size, if max pooling with these strides could have come from it."""
    dims = len(usual)
    if not isinstance(output_size, (tuple, list)) or len(output_size) not in (dims, dims + 2):
        raise ArgumentError(f"output_size: expected {dims} or {dims + 2} integers, got {output_size!r}")
    wanted = list(output_size[-dims:])
    for size, default, stride in zip(wanted, usual, strides, strict=True):
        if not default - stride < check_int("output_size", size) < default + stride:
            raise ArgumentError(
                f"output_size: expected a size between {default - stride} and {default + stride}, both excluded, "
                f"got {size}"
            )
    return wanted


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    r"""Puts the largest elements of windows back to the places where `max_pool1d` found them; the rest is zero.

    $y_{a_o} = x_o$ with $a$ the indices.

    Args:
        input: [N, C, L] or [C, L], float32 or float64, what max_pool1d returned.
        indices: The shape of the input, int64: positions, as max_pool1d returned them.
        kernel_size: Elements of a window, K.
        stride: Step from window to window, s; the kernel size when None.
        padding: The padding of max_pool1d, p.
        output_size: The size of what was pooled, OL, or its whole shape: several sizes lead to the same L.

    Returns:
        [N, C, OL] or [C, OL], with $OL = (L - 1) s + K - 2p$ unless it is given.

    Raises:
        ShapeError: The input has neither 2 nor 3 dimensions, or the indices have another shape.
        DTypeError: The input is not floating point, or the indices are not int64.
        IndexRangeError: An index lies outside the output.
        ArgumentError: The output size is s or more away from the usual one.

    Gradient:
        For input: dy at the indices.

    Example:
        >>> y, indices = nbdl.ops.max_pool1d(nbdl.tensor([[1.0, 3.0, 5.0, 2.0]]), 2, return_indices=True)
        >>> nbdl.ops.max_unpool1d(y, indices, 2)
        tensor([[0., 3., 5., 0.]])
    """
    return _max_unpool(input, indices, kernel_size, stride, padding, output_size, 1)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    r"""Puts the largest elements of windows back to the places where `max_pool2d` found them; the rest is zero.

    $y_{a_{ij}} = x_{ij}$ with $a$ the indices, h OW + w.

    Args:
        input: [N, C, H, W] or [C, H, W], float32 or float64, what max_pool2d returned.
        indices: The shape of the input, int64: positions h OW + w, as max_pool2d returned them.
        kernel_size: Rows and columns of a window, K; one number for both or a pair.
        stride: Step from window to window, s; the kernel size when None.
        padding: The padding of max_pool2d, p.
        output_size: The size of what was pooled, (OH, OW), or its whole shape: several sizes lead to the same H and W.

    Returns:
        [N, C, OH, OW] or [C, OH, OW], with $OH = (H - 1) s + K - 2p$ and OW likewise unless they are given.

    Raises:
        ShapeError: The input has neither 3 nor 4 dimensions, or the indices have another shape.
        DTypeError: The input is not floating point, or the indices are not int64.
        IndexRangeError: An index lies outside the output.
        ArgumentError: The output size is s or more away from the usual one.

    Gradient:
        For input: dy at the indices.

    Example:
        >>> y, indices = nbdl.ops.max_pool2d(nbdl.arange(4.0).reshape(1, 2, 2), 2, return_indices=True)
        >>> nbdl.ops.max_unpool2d(y, indices, 2)
        tensor([[[0., 0.],
                 [0., 3.]]])

    Source:
        Zeiler and Fergus (2014), "Visualizing and Understanding Convolutional Networks", section 2.1.
    """
    return _max_unpool(input, indices, kernel_size, stride, padding, output_size, 2)
