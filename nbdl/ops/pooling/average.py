r"""Average pooling: of each window the mean.

Forward, with $\mathcal W_o$ the window of output $o$ and $m_o$ the number that its sum is divided by:

$$
y_o = \frac{1}{m_o} \sum_{i \in \mathcal W_o} x_i
$$

Backward: every member of a window has the same part in it, so an input collects

$$
dx_i = \sum_{o :\, i \in \mathcal W_o} \frac{dy_o}{m_o}
$$

$m_o$ is the number of the window's elements, by default together with the zeros of the padding that it covers. As in
max pooling, channels lie side by side in memory, [N, H, W, C], and the backward pass gathers.

Letters: N images, H rows and W columns of pixels, C channels. Source: LeCun et al. (1998), "Gradient-Based Learning
Applied to Document Recognition" (there called sub-sampling).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.pooling.windows import (
    Windows,
    as_images,
    check_image,
    check_padding,
    from_images,
    lines_as_images,
    per_dimension,
    sliding_reference,
    sliding_windows,
)
from nbdl.ops.reduction.fold import unsigned
from nbdl.runtime.checks import check_int
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

__all__ = ["avg_pool1d", "avg_pool2d"]

# ---------------------------------------------------------------- reference


def avg_pool_reference(input, windows):
    """The definition, in float64: input [*, H, W]; for rows and columns the members of each window."""
    rows, columns = windows
    y = [[input[..., hs, :][..., ws].mean((-2, -1)) for ws in columns] for hs in rows]
    return np.moveaxis(np.array(y), (0, 1), (-2, -1))


def avg_pool2d_reference(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    """Windows that slide over [*, H, W]: sums, divided by what the arguments ask for."""
    pads = padding if isinstance(padding, (tuple, list)) else (padding, padding)
    windows = sliding_reference(input.shape[-2:], kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None:
        sizes = np.array([[len(hs) * len(ws) for ws in windows[1]] for hs in windows[0]])
        return avg_pool_reference(input, windows) * sizes / divisor_override
    if not count_include_pad:
        return avg_pool_reference(input, windows)
    padded = np.pad(input, [(0, 0)] * (input.ndim - 2) + [(pad, pad) for pad in pads])
    # in ceil mode the last window may reach over the padding: what lies there does not exist, and does not count
    kernels = kernel_size if isinstance(kernel_size, (tuple, list)) else (kernel_size,) * 2
    strides = kernels if stride is None else stride if isinstance(stride, (tuple, list)) else (stride,) * 2
    whole = [
        [list(range(o * step, min(o * step + kernel, size))) for o in range(len(window))]
        for window, kernel, step, size in zip(windows, kernels, strides, padded.shape[-2:], strict=True)
    ]
    return avg_pool_reference(padded, whole)


def avg_pool1d_reference(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """Windows that slide over [*, L], an image of one row."""
    kernel, step, pad = (value[0] if isinstance(value, tuple) else value for value in (kernel_size, stride, padding))
    step = kernel if step is None else step
    image = input[..., None, :]
    return avg_pool2d_reference(image, (1, kernel), (1, step), (0, pad), ceil_mode, count_include_pad)[..., 0, :]


# ---------------------------------------------------------------- forward


@cpu_kernel
def _avg_pool_forward_cpu(x, rows, row_counts, columns, column_counts, y, start, stop):
    """x [N, H, W, C]; y [N, OH, OW, C]; rows [OH, 3] and columns [OW, 3], ranges of inputs. One task a row of y."""
    _, out_height, out_width, channels = y.shape
    for task in range(start, stop):
        n, i = task // out_height, task % out_height
        for j in range(out_width):
            is_first = True
            for h in range(rows[i, 0], rows[i, 1] + 1):
                for w in range(columns[j, 0], columns[j, 1] + 1):
                    if is_first:
                        for c in range(unsigned(channels)):
                            y[n, i, j, c] = x[n, h, w, c]
                        is_first = False
                    else:
                        for c in range(unsigned(channels)):
                            y[n, i, j, c] += x[n, h, w, c]
            count = y.dtype.type(row_counts[i] * column_counts[j])
            for c in range(unsigned(channels)):
                y[n, i, j, c] /= count


@cuda_kernel
def _avg_pool_forward_cuda(x, rows, row_counts, columns, column_counts, y):
    """As the CPU twin. One thread an element of y."""
    images, out_height, out_width, channels = y.shape
    task = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    pixel, c = task // channels, task % channels
    n, i, j = pixel // (out_height * out_width), pixel // out_width % out_height, pixel % out_width
    if n < images:
        total = y.dtype.type(0)
        for h in range(rows[i, 0], rows[i, 1] + 1):
            for w in range(columns[j, 0], columns[j, 1] + 1):
                total += x[n, h, w, c]
        y[n, i, j, c] = total / y.dtype.type(row_counts[i] * column_counts[j])


avg_pool_forward = Kernel(
    cpu=_avg_pool_forward_cpu,
    cuda=_avg_pool_forward_cuda,
    tasks=lambda x, rows, row_counts, columns, column_counts, y: y.shape[0] * y.shape[1],
    work=lambda x, rows, row_counts, columns, column_counts, y: x.size + y.size,
    blocks=lambda x, rows, row_counts, columns, column_counts, y: -(-y.size // BLOCK),
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _avg_pool_backward_cpu(dy, rows, row_counts, columns, column_counts, dx, start, stop):
    """dy [N, OH, OW, C]; dx [N, H, W, C]; rows [H, 3] and columns [W, 3], ranges of windows. One task a row of dx."""
    _, height, width, channels = dx.shape
    for task in range(start, stop):
        n, h = task // height, task % height
        for w in range(width):
            is_first = True
            for i in range(rows[h, 0], rows[h, 1] + 1):
                for j in range(columns[w, 0], columns[w, 1] + 1):
                    part = dx.dtype.type(1) / dx.dtype.type(row_counts[i] * column_counts[j])
                    if is_first:
                        for c in range(unsigned(channels)):
                            dx[n, h, w, c] = dy[n, i, j, c] * part
                        is_first = False
                    else:
                        for c in range(unsigned(channels)):
                            dx[n, h, w, c] += dy[n, i, j, c] * part
            if is_first:
                for c in range(unsigned(channels)):
                    dx[n, h, w, c] = 0


@cuda_kernel
def _avg_pool_backward_cuda(dy, rows, row_counts, columns, column_counts, dx):
    """As the CPU twin. One thread an element of dx."""
    images, height, width, channels = dx.shape
    task = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    pixel, c = task // channels, task % channels
    n, h, w = pixel // (height * width), pixel // width % height, pixel % width
    if n < images:
        total = dx.dtype.type(0)
        for i in range(rows[h, 0], rows[h, 1] + 1):
            for j in range(columns[w, 0], columns[w, 1] + 1):
                total += dy[n, i, j, c] / dx.dtype.type(row_counts[i] * column_counts[j])
        dx[n, h, w, c] = total


avg_pool_backward = Kernel(
    cpu=_avg_pool_backward_cpu,
    cuda=_avg_pool_backward_cuda,
    tasks=lambda dy, rows, row_counts, columns, column_counts, dx: dx.shape[0] * dx.shape[1],
    work=lambda dy, rows, row_counts, columns, column_counts, dx: dx.size + dy.size,
    blocks=lambda dy, rows, row_counts, columns, column_counts, dx: -(-dx.size // BLOCK),
)

# ---------------------------------------------------------------- autograd


class AvgPoolOp(Op):
    """y of windows along `dims` last dimensions: saves nothing, the gradient does not depend on x."""

    @staticmethod
    def forward(ctx: Context, x, rows: Windows, columns: Windows, dims):
        ctx.rank, ctx.dims, ctx.windows = x.ndim, dims, (rows, columns)
        images = as_images(x, dims)
        ctx.image_shape = images.shape
        shape = (images.shape[0], len(rows.counts), len(columns.counts), images.shape[3])
        y = ctx.empty(*shape, dtype=x.dtype)
        if y.size:
            avg_pool_forward(images, rows.inputs, rows.counts, columns.inputs, columns.counts, y)
        return from_images(y, dims, ctx.rank)

    @staticmethod
    def backward(ctx: Context, dy):
        rows, columns = ctx.windows
        dx = ctx.empty(*ctx.image_shape, dtype=dy.dtype)
        if dx.size:
            dy = as_images(dy, ctx.dims)
            avg_pool_backward(dy, rows.outputs, rows.counts, columns.outputs, columns.counts, dx)
        return from_images(dx, ctx.dims, ctx.rank), None, None, None


# ---------------------------------------------------------------- public


def _avg_pool(
    input: Tensor,
    dims: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Either of the functions below."""
    check_image("input", input, dims)
    kernels = per_dimension("kernel_size", kernel_size, 1, dims)
    strides = kernels if stride is None else per_dimension("stride", stride, 1, dims, kernels)
    paddings = check_padding(per_dimension("padding", padding, 0, dims), kernels)
    divisors: list[int | None] = [None] * dims
    if divisor_override is not None:
        divisors = [check_int("divisor_override", divisor_override), 1]
        if divisor_override == 0:
            raise ArgumentError("divisor_override: expected an integer other than 0, got 0")
    windows = [
        sliding_windows(size, kernel, step, pad, 1, bool(ceil_mode), bool(count_include_pad), divisor)
        for size, kernel, step, pad, divisor in zip(
            input.shape[-dims:], kernels, strides, paddings, divisors, strict=True
        )
    ]
    return AvgPoolOp.apply(input, *lines_as_images(windows), dims)


def avg_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    r"""The mean of each window along the last dimension.

    $y_o = \frac1K \sum_k x_{o s - p + k}$ for $0 \le k < K$, elements of the padding being 0.

    Args:
        input: [N, C, L] or [C, L], float32 or float64; N may be 0.
        kernel_size: Elements of a window, K.
        stride: Step from window to window, s; the kernel size when None.
        padding: Zeros around the input, p: at most half the kernel size.
        ceil_mode: Also take a last window that is not whole, if it starts within the input or the padding before it.
        count_include_pad: Divide by the number of elements with those of the padding; else by those of the input.

    Returns:
        [N, C, OL] or [C, OL] with $OL = \lfloor (L + 2p - K) / s \rfloor + 1$, rounded up instead in ceil mode.

    Raises:
        ShapeError: The input has neither 2 nor 3 dimensions, or the kernel does not fit into the padded input.
        DTypeError: The input is not floating point.
        ArgumentError: A size or stride is not positive, or the padding is larger than half the kernel.

    Gradient:
        For input: dy divided evenly among the elements of each window, summed over windows.

    Example:
        >>> nbdl.ops.avg_pool1d(nbdl.tensor([[1.0, 3.0, 2.0, 6.0]]), 2)
        tensor([[2., 4.]])
    """
    return _avg_pool(input, 1, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    r"""The mean of each window of an image, channel by channel.

    $y_{ij} = \frac{1}{K^2} \sum_{k, l} x_{i s - p + k,\; j s - p + l}$ for $0 \le k, l < K$, elements of the padding
    being 0. Every size can differ between rows and columns.

    Args:
        input: [N, C, H, W] or [C, H, W], float32 or float64; N may be 0.
        kernel_size: Rows and columns of a window, K; one number for both or a pair.
        stride: Step from window to window, s; the kernel size when None.
        padding: Zeros around the image, p: at most half the kernel size.
        ceil_mode: Also take last windows that are not whole, if they start within the image or the padding before it.
        count_include_pad: Divide by the number of elements with those of the padding; else by those of the image.
        divisor_override: Divide every sum by this number instead.

    Returns:
        [N, C, OH, OW] or [C, OH, OW] with $OH = \lfloor (H + 2p - K) / s \rfloor + 1$, rounded up instead in ceil mode,
        and OW likewise.

    Raises:
        ShapeError: The input has neither 3 nor 4 dimensions, or the kernel does not fit into the padded image.
        DTypeError: The input is not floating point.
        ArgumentError: A size or stride is not positive, the padding is larger than half the kernel, or the divisor 0.

    Gradient:
        For input: dy divided evenly among the elements of each window, summed over windows.

    Example:
        >>> image = nbdl.arange(16.0).reshape(1, 1, 4, 4)
        >>> nbdl.ops.avg_pool2d(image, 2)
        tensor([[[[ 2.5000,  4.5000],
                  [10.5000, 12.5000]]]])

    Source:
        LeCun et al. (1998), "Gradient-Based Learning Applied to Document Recognition".
    """
    return _avg_pool(input, 2, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
