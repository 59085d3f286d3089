r"""Adaptive pooling: windows that are laid so that the output has a wanted size, whatever the size of the input.

Along a dimension of $I$ inputs and $O$ outputs, window $o$ reaches from $\lfloor o I / O \rfloor$ up to, and without,
$\lceil (o + 1) I / O \rceil$: the windows cover all inputs, differ by at most one in length and overlap by at most one
element when $O$ does not divide $I$ (more when $O > I$). One output for all is the mean, or the maximum, of the whole
channel, which lets a network with a linear layer at its end take images of any size.

Forward and backward are those of `average` and `max`, with these windows. Sources: He et al. (2014), "Spatial Pyramid
Pooling in Deep Convolutional Networks for Visual Recognition"; Lin et al. (2013), "Network In Network", section 3.2,
for the mean of the whole channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nbdl.autograd import Tensor
from nbdl.ops.pooling.average import AvgPoolOp, avg_pool_reference
from nbdl.ops.pooling.max import MaxPoolOp, max_pool_reference
from nbdl.ops.pooling.windows import Windows, adaptive_windows, check_image, lines_as_images
from nbdl.ops.reduction.sums import mean
from nbdl.runtime.checks import check_int
from nbdl.runtime.errors import ArgumentError

__all__ = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d"]

MOST_WINDOWS = 2**48
"""More than any memory holds; products with it still fit into 64 bits."""

# ---------------------------------------------------------------- reference


def adaptive_reference(sizes, output_size):
    """For each dimension the list of windows, each the list of its members."""
    counts = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * len(sizes)
    found = []
    for size, wanted in zip(sizes, counts, strict=True):
        count = size if wanted is None else wanted
        bounds = [(math.floor(o * size / count), math.ceil((o + 1) * size / count)) for o in range(count)]
        found.append([list(range(*bound)) for bound in bounds])
    return found


def adaptive_avg_pool2d_reference(input, output_size):
    """Means of the windows of [*, H, W]."""
    return avg_pool_reference(input, adaptive_reference(input.shape[-2:], output_size))


def adaptive_avg_pool1d_reference(input, output_size):
    """Means of the windows of [*, L]."""
    windows = adaptive_reference(input.shape[-1:], output_size)
    return avg_pool_reference(input[..., None, :], ([[0]], *windows))[..., 0, :]


def adaptive_max_pool2d_reference(input, output_size, return_indices=False):
    """Largest elements of the windows of [*, H, W]."""
    return max_pool_reference(input, adaptive_reference(input.shape[-2:], output_size), return_indices)


def adaptive_max_pool1d_reference(input, output_size, return_indices=False):
    """Largest elements of the windows of [*, L]."""
    windows = ([[0]], *adaptive_reference(input.shape[-1:], output_size))
    y, index = (array[..., 0, :] for array in max_pool_reference(input[..., None, :], windows, True))
    return (y, index) if return_indices else y


# ---------------------------------------------------------------- public


def _windows(input: Tensor, output_size: Any, dims: int) -> tuple[Windows, ...]:
    """The windows along rows and columns of a checked input."""
    check_image("input", input, dims)
    if isinstance(output_size, (tuple, list)):
        if len(output_size) != dims:
            raise ArgumentError(f"output_size: expected {dims} integers or one, got {output_size}")
        wanted = tuple(output_size)
    else:
        wanted = (output_size,) * dims
    windows = [
        adaptive_windows(size, size if count is None else check_int("output_size", count, 0, MOST_WINDOWS))
        for size, count in zip(input.shape[-dims:], wanted, strict=True)
    ]
    return tuple(lines_as_images(windows))


def _averages(input: Tensor, output_size: Any, dims: int) -> Tensor:
    """The means of the windows; that of a whole channel whose elements lie together needs no windows."""
    windows = _windows(input, output_size, dims)
    lies_first = input._array.flags.c_contiguous and input.numel() > 0
    if lies_first and all(len(window.counts) == 1 for window in windows):
        return mean(input, tuple(range(-dims, 0)), keepdim=True)
    return AvgPoolOp.apply(input, *windows, dims)


def adaptive_avg_pool1d(input: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    r"""The means of `output_size` windows that cover the last dimension.

    $y_o = \frac{1}{b_o - a_o} \sum_{i=a_o}^{b_o - 1} x_i$ with $a_o = \lfloor o L / O \rfloor$ and
    $b_o = \lceil (o + 1) L / O \rceil$.

    Args:
        input: [N, C, L] or [C, L], float32 or float64; N may be 0.
        output_size: The number of windows, O; None for L.

    Returns:
        [N, C, O] or [C, O].

    Raises:
        ShapeError: The input has neither 2 nor 3 dimensions.
        DTypeError: The input is not floating point.
        ArgumentError: The output size is negative.

    Gradient:
        For input: dy divided evenly among the elements of each window, summed over windows.

    Example:
        >>> nbdl.ops.adaptive_avg_pool1d(nbdl.tensor([[1.0, 2.0, 3.0]]), 2)
        tensor([[1.5000, 2.5000]])
    """
    return _averages(input, output_size, 1)


def adaptive_avg_pool2d(input: Tensor, output_size: int | Sequence[int | None] | None) -> Tensor:
    r"""The means of OH x OW windows that cover each channel of an image.

    Rows of window i: from $\lfloor i H / OH \rfloor$ up to, and without, $\lceil (i + 1) H / OH \rceil$; columns
    likewise. With output size 1 it is the mean of each channel.

    Args:
        input: [N, C, H, W] or [C, H, W], float32 or float64; N may be 0.
        output_size: OH and OW, one number for both or a pair; None stands for the size of the input.

    Returns:
        [N, C, OH, OW] or [C, OH, OW].

    Raises:
        ShapeError: The input has neither 3 nor 4 dimensions.
        DTypeError: The input is not floating point.
        ArgumentError: The output size is negative, or there are not two.

    Gradient:
        For input: dy divided evenly among the elements of each window, summed over windows.

    Example:
        >>> nbdl.ops.adaptive_avg_pool2d(nbdl.arange(16.0).reshape(1, 4, 4), 1)
        tensor([[[7.5000]]])

    Source:
        Lin et al. (2013), "Network In Network", section 3.2.
    """
    return _averages(input, output_size, 2)


def adaptive_max_pool1d(
    input: Tensor, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> Any:
    r"""The largest elements of `output_size` windows that cover the last dimension.

    $y_o = \max_{a_o \le i < b_o} x_i$ with $a_o = \lfloor o L / O \rfloor$ and $b_o = \lceil (o + 1) L / O \rceil$.

    Args:
        input: [N, C, L] or [C, L], float32 or float64; N may be 0.
        output_size: The number of windows, O; None for L.
        return_indices: Also return where the largest elements stand.

    Returns:
        [N, C, O] or [C, O]. With `return_indices` a pair: that, and int64 positions in L of the same shape.

    Raises:
        ShapeError: The input has neither 2 nor 3 dimensions.
        DTypeError: The input is not floating point.
        ArgumentError: The output size is negative.

    Gradient:
        For input: dy to the first of the largest elements of each window, summed over windows.

    Example:
        >>> nbdl.ops.adaptive_max_pool1d(nbdl.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
        tensor([[3., 2.]])
    """
    return MaxPoolOp.apply(input, *_windows(input, output_size, 1), 1, bool(return_indices))


def adaptive_max_pool2d(
    input: Tensor, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> Any:
    r"""The largest elements of OH x OW windows that cover each channel of an image.

    Rows of window i: from $\lfloor i H / OH \rfloor$ up to, and without, $\lceil (i + 1) H / OH \rceil$; columns
    likewise.

    Args:
        input: [N, C, H, W] or [C, H, W], float32 or float64; N may be 0.
        output_size: OH and OW, one number for both or a pair; None stands for the size of the input.
        return_indices: Also return where the largest elements stand.

    Returns:
        [N, C, OH, OW] or [C, OH, OW]. With `return_indices` a pair: that, and int64 positions h W + w of the same
        shape.

    Raises:
        ShapeError: The input has neither 3 nor 4 dimensions.
        DTypeError: The input is not floating point.
        ArgumentError: The output size is negative, or there are not two.

    Gradient:
        For input: dy to the first of the largest elements of each window, summed over windows.

    Example:
        >>> nbdl.ops.adaptive_max_pool2d(nbdl.arange(16.0).reshape(1, 4, 4), (2, 1))
        tensor([[[ 7.],
                 [15.]]])

    Source:
        He et al. (2014), "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition".
    """
    return MaxPoolOp.apply(input, *_windows(input, output_size, 2), 2, bool(return_indices))
