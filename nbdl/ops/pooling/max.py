r"""Max pooling: of each window the largest element, and back to its place goes the gradient.

Forward, with $\mathcal W_o$ the window of output $o$, and the place of its largest element kept:

$$
y_o = \max_{i \in \mathcal W_o} x_i, \qquad a_o = \operatorname*{arg\,max}_{i \in \mathcal W_o} x_i
$$

Backward: $\partial y_o / \partial x_i$ is 1 where $i = a_o$, else 0. An input collects from the windows that hold it:

$$
dx_i = \sum_{o :\, i \in \mathcal W_o} [a_o = i]\; dy_o
$$

As in PyTorch, of equal elements the first is the largest, and a NaN beats every number (of several the last is taken).

Each channel is pooled by itself, and channels lie side by side in memory, [N, H, W, C]: the innermost loops run over
them. A place is its number in the plane, h W + w. The backward pass gathers: each element of dx is written by one
task, which looks at the few windows around it, so that overlapping windows need no atomic additions. Windows of 2 x 2
that do not overlap, the most frequent ones, have kernels of their own; there a place is one byte, its number in the
window.

Letters: N images, H rows and W columns of pixels, C channels. Sources: Yamaguchi et al. (1990), "A Neural Network for
Speaker-Independent Isolated Word Recognition"; Ranzato et al. (2007), "Unsupervised Learning of Invariant Feature
Hierarchies with Applications to Object Recognition".
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
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar

__all__ = ["max_pool1d", "max_pool2d"]

# ---------------------------------------------------------------- reference


def max_pool_reference(input, windows, return_indices):
    """The definition, in float64: input [*, H, W]; for rows and columns the members of each window."""
    rows, columns = windows
    shape = (*input.shape[:-2], len(rows), len(columns))
    y, index = np.full(shape, -np.inf), np.full(shape, -1)
    for i, hs in enumerate(rows):
        for j, ws in enumerate(columns):
            for h in hs:
                for w in ws:
                    x = input[..., h, w]
                    better = (index[..., i, j] < 0) | (x > y[..., i, j]) | np.isnan(x)
                    y[..., i, j] = np.where(better, x, y[..., i, j])
                    index[..., i, j] = np.where(better, h * input.shape[-1] + w, index[..., i, j])
    return (y, index) if return_indices else y


def max_pool2d_reference(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Windows that slide over [*, H, W]."""
    windows = sliding_reference(input.shape[-2:], kernel_size, stride, padding, dilation, ceil_mode)
    return max_pool_reference(input, windows, return_indices)


def max_pool1d_reference(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Windows that slide over [*, L], an image of one row."""
    windows = sliding_reference(input.shape[-1:], kernel_size, stride, padding, dilation, ceil_mode)
    result = max_pool_reference(input[..., None, :], ([[0]], *windows), True)
    y, index = (array[..., 0, :] for array in result)
    return (y, index) if return_indices else y


# ---------------------------------------------------------------- forward


@scalar
def _larger(value, here, best, where):
    """The larger of two elements and its place: of two equal ones the second, a NaN rather than any number."""
    is_better = (value > best) | (value != value)
    return (value if is_better else best), (here if is_better else where)


@cpu_kernel
def _max_pool_forward_cpu(x, rows, columns, y, place, start, stop):
    """x [N, H, W, C]; y, place [N, OH, OW, C]; rows [OH, 3], columns [OW, 3], ranges of inputs. One task a row of y.

    Three columns go together: y and place are then fetched and stored a third as often. Where fewer are left, the last
    one is looked at again, which changes nothing.
    """
    _, out_height, out_width, channels = y.shape
    width = x.shape[2]
    for task in range(start, stop):
        n, i = task // out_height, task % out_height
        for j in range(out_width):
            first, last, step = columns[j, 0], columns[j, 1], columns[j, 2]
            is_first = True
            h = rows[i, 0]
            while h <= rows[i, 1]:
                u = first
                while u <= last:
                    v, w = min(u + step, last), min(u + 2 * step, last)
                    place_u = place.dtype.type(h * width + u)
                    place_v = place.dtype.type(h * width + v)
                    place_w = place.dtype.type(h * width + w)
                    if is_first:
                        for c in range(unsigned(channels)):
                            best, where = _larger(x[n, h, v, c], place_v, x[n, h, u, c], place_u)
                            best, where = _larger(x[n, h, w, c], place_w, best, where)
                            y[n, i, j, c] = best
                            place[n, i, j, c] = where
                        is_first = False
                    else:
                        for c in range(unsigned(channels)):
                            best, where = _larger(x[n, h, u, c], place_u, y[n, i, j, c], place[n, i, j, c])
                            best, where = _larger(x[n, h, v, c], place_v, best, where)
                            best, where = _larger(x[n, h, w, c], place_w, best, where)
                            y[n, i, j, c] = best
                            place[n, i, j, c] = where
                    u += 3 * step
                h += rows[i, 2]
            if is_first:  # steps of a dilated kernel can miss the whole input
                for c in range(unsigned(channels)):
                    y[n, i, j, c] = -np.inf
                    place[n, i, j, c] = -1


@cuda_kernel
def _max_pool_forward_cuda(x, rows, columns, y, place):
    """As the CPU twin. One thread an element of y."""
    images, out_height, out_width, channels = y.shape
    task = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    pixel, c = task // channels, task % channels
    n, i, j = pixel // (out_height * out_width), pixel // out_width % out_height, pixel % out_width
    if n < images:
        best = y.dtype.type(-np.inf)
        where = place.dtype.type(-1)
        h = rows[i, 0]
        while h <= rows[i, 1]:
            w = columns[j, 0]
            while w <= columns[j, 1]:
                value = x[n, h, w, c]
                if value > best or value != value or where < 0:
                    best = value
                    where = place.dtype.type(h * x.shape[2] + w)
                w += columns[j, 2]
            h += rows[i, 2]
        y[n, i, j, c] = best
        place[n, i, j, c] = where


max_pool_forward = Kernel(
    cpu=_max_pool_forward_cpu,
    cuda=_max_pool_forward_cuda,
    tasks=lambda x, rows, columns, y, place: y.shape[0] * y.shape[1],
    work=lambda x, rows, columns, y, place: x.size + y.size,
    blocks=lambda x, rows, columns, y, place: -(-y.size // BLOCK),
)

TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT, BOTTOM_RIGHT = (np.uint8(place) for place in range(4))


@cpu_kernel
def _max_pool_2x2_forward_cpu(x, y, place, start, stop):
    """x [N, H, W, C]; y, place [N, H // 2, W // 2, C]. One task a row of y."""
    _, out_height, out_width, channels = y.shape
    for task in range(start, stop):
        n, i = task // out_height, task % out_height
        for j in range(out_width):
            for c in range(unsigned(channels)):
                best, where = x[n, 2 * i, 2 * j, c], TOP_LEFT
                best, where = _larger(x[n, 2 * i, 2 * j + 1, c], TOP_RIGHT, best, where)
                best, where = _larger(x[n, 2 * i + 1, 2 * j, c], BOTTOM_LEFT, best, where)
                best, where = _larger(x[n, 2 * i + 1, 2 * j + 1, c], BOTTOM_RIGHT, best, where)
                y[n, i, j, c] = best
                place[n, i, j, c] = where


@cuda_kernel
def _max_pool_2x2_forward_cuda(x, y, place):
    """As the CPU twin. One thread an element of y."""
    images, out_height, out_width, channels = y.shape
    task = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    pixel, c = task // channels, task % channels
    n, i, j = pixel // (out_height * out_width), pixel // out_width % out_height, pixel % out_width
    if n < images:
        best = x[n, 2 * i, 2 * j, c]
        where = TOP_LEFT
        for k in range(1, 4):
            value = x[n, 2 * i + k // 2, 2 * j + k % 2, c]
            if value > best or value != value:
                best = value
                where = np.uint8(k)
        y[n, i, j, c] = best
        place[n, i, j, c] = where


max_pool_2x2_forward = Kernel(
    cpu=_max_pool_2x2_forward_cpu,
    cuda=_max_pool_2x2_forward_cuda,
    tasks=lambda x, y, place: y.shape[0] * y.shape[1],
    work=lambda x, y, place: x.size,
    blocks=lambda x, y, place: -(-y.size // BLOCK),
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _max_pool_backward_cpu(dy, place, rows, columns, dx, start, stop):
    """dy, place [N, OH, OW, C]; dx [N, H, W, C]; rows [H, 3], columns [W, 3], ranges of windows. One task a row."""
    _, height, width, channels = dx.shape
    for task in range(start, stop):
        n, h = task // height, task % height
        for w in range(width):
            here = place.dtype.type(h * width + w)
            is_first = True
            i = rows[h, 0]
            while i <= rows[h, 1]:
                j = columns[w, 0]
                while j <= columns[w, 1]:
                    if is_first:
                        for c in range(unsigned(channels)):
                            gradient = dy[n, i, j, c]
                            dx[n, h, w, c] = gradient if place[n, i, j, c] == here else dx.dtype.type(0)
                        is_first = False
                    else:
                        for c in range(unsigned(channels)):
                            gradient = dy[n, i, j, c]
                            dx[n, h, w, c] += gradient if place[n, i, j, c] == here else dx.dtype.type(0)
                    j += columns[w, 2]
                i += rows[h, 2]
            if is_first:
                for c in range(unsigned(channels)):
                    dx[n, h, w, c] = 0


@cuda_kernel
def _max_pool_backward_cuda(dy, place, rows, columns, dx):
    """As the CPU twin. One thread an element of dx."""
    images, height, width, channels = dx.shape
    task = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    pixel, c = task // channels, task % channels
    n, h, w = pixel // (height * width), pixel // width % height, pixel % width
    if n < images:
        total = dx.dtype.type(0)
        i = rows[h, 0]
        while i <= rows[h, 1]:
            j = columns[w, 0]
            while j <= columns[w, 1]:
                if place[n, i, j, c] == h * width + w:
                    total += dy[n, i, j, c]
                j += columns[w, 2]
            i += rows[h, 2]
        dx[n, h, w, c] = total


max_pool_backward = Kernel(
    cpu=_max_pool_backward_cpu,
    cuda=_max_pool_backward_cuda,
    tasks=lambda dy, place, rows, columns, dx: dx.shape[0] * dx.shape[1],
    work=lambda dy, place, rows, columns, dx: dx.size + dy.size,
    blocks=lambda dy, place, rows, columns, dx: -(-dx.size // BLOCK),
)


@cpu_kernel
def _max_pool_2x2_backward_cpu(dy, place, dx, start, stop):
    """dy, place [N, H // 2, W // 2, C]; dx [N, H, W, C]. One task a row of dx; an odd last row or column is zero."""
    _, height, width, channels = dx.shape
    for task in range(start, stop):
        n, h = task // height, task % height
        i = h // 2
        left = np.uint8(h % 2 * 2)
        right = np.uint8(h % 2 * 2 + 1)
        pairs = dy.shape[2] if i < dy.shape[1] else 0
        for j in range(pairs):  # two loops: with two rows written in one, LLVM makes no vectors
            for c in range(unsigned(channels)):
                gradient = dy[n, i, j, c]
                dx[n, h, 2 * j, c] = gradient if place[n, i, j, c] == left else dx.dtype.type(0)
            for c in range(unsigned(channels)):
                gradient = dy[n, i, j, c]
                dx[n, h, 2 * j + 1, c] = gradient if place[n, i, j, c] == right else dx.dtype.type(0)
        for w in range(2 * pairs, width):
            for c in range(unsigned(channels)):
                dx[n, h, w, c] = 0


@cuda_kernel
def _max_pool_2x2_backward_cuda(dy, place, dx):
    """As the CPU twin. One thread an element of dx."""
    images, height, width, channels = dx.shape
    task = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    pixel, c = task // channels, task % channels
    n, h, w = pixel // (height * width), pixel // width % height, pixel % width
    if n < images:
        gradient = dx.dtype.type(0)
        if h // 2 < dy.shape[1] and w // 2 < dy.shape[2] and place[n, h // 2, w // 2, c] == h % 2 * 2 + w % 2:
            gradient = dy[n, h // 2, w // 2, c]
        dx[n, h, w, c] = gradient


max_pool_2x2_backward = Kernel(
    cpu=_max_pool_2x2_backward_cpu,
    cuda=_max_pool_2x2_backward_cuda,
    tasks=lambda dy, place, dx: dx.shape[0] * dx.shape[1],
    work=lambda dy, place, dx: dx.size,
    blocks=lambda dy, place, dx: -(-dx.size // BLOCK),
)

# ---------------------------------------------------------------- autograd

MOST_INT32 = 2**31 - 1


class MaxPoolOp(Op):
    """y, and on request the places, of windows along `dims` last dimensions: saves the places."""

    @staticmethod
    def forward(ctx: Context, x, rows: Windows, columns: Windows, dims, return_indices):
        ctx.rank, ctx.dims, ctx.windows = x.ndim, dims, (rows, columns)
        images = as_images(x, dims)
        ctx.image_shape = images.shape
        n, height, width, channels = images.shape
        shape = (n, len(rows.counts), len(columns.counts), channels)
        kind = np.int64 if return_indices or height * width > MOST_INT32 else np.int32
        y, place = ctx.empty(*shape, dtype=x.dtype), ctx.empty(*shape, dtype=kind)
        if y.size:
            max_pool_forward(images, rows.inputs, columns.inputs, y, place)
        ctx.save(place)
        y = from_images(y, dims, ctx.rank)
        return (y, from_images(place, dims, ctx.rank)) if return_indices else y

    @staticmethod
    def backward(ctx: Context, dy, *_):
        (place,) = ctx.saved
        rows, columns = ctx.windows
        dx = ctx.empty(*ctx.image_shape, dtype=dy.dtype)
        if dx.size:
            dy = as_images(dy, ctx.dims)
            max_pool_backward(dy, place, rows.outputs, columns.outputs, dx)
        return from_images(dx, ctx.dims, ctx.rank), None, None, None, None


class MaxPool2x2Op(Op):
    """y of windows of 2 x 2 that do not overlap: saves the places, a byte each."""

    @staticmethod
    def forward(ctx: Context, x):
        ctx.rank = x.ndim
        images = as_images(x, 2)
        ctx.image_shape = n, height, width, channels = images.shape
        shape = (n, height // 2, width // 2, channels)
        y, place = ctx.empty(*shape, dtype=x.dtype), ctx.empty(*shape, dtype=np.uint8)
        if y.size:
            max_pool_2x2_forward(images, y, place)
        ctx.save(place)
        return from_images(y, 2, ctx.rank)

    @staticmethod
    def backward(ctx: Context, dy):
        (place,) = ctx.saved
        dx = ctx.empty(*ctx.image_shape, dtype=dy.dtype)
        if dx.size:
            max_pool_2x2_backward(as_images(dy, 2), place, dx)
        return from_images(dx, 2, ctx.rank)


# ---------------------------------------------------------------- public


def _max_pool(
    input: Tensor,
    dims: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    """Either of the functions below."""
    check_image("input", input, dims)
    kernels = per_dimension("kernel_size", kernel_size, 1, dims)
    strides = kernels if stride is None else per_dimension("stride", stride, 1, dims, kernels)
    paddings = check_padding(per_dimension("padding", padding, 0, dims), kernels)
    dilations = per_dimension("dilation", dilation, 1, dims)
    sizes = input.shape[-dims:]
    windows = [
        sliding_windows(*along, bool(ceil_mode))
        for along in zip(sizes, kernels, strides, paddings, dilations, strict=True)
    ]
    is_pairs = kernels == strides == (2, 2) and paddings == (0, 0) and dilations == (1, 1) and not return_indices
    if is_pairs and all(len(along.counts) == size // 2 for along, size in zip(windows, sizes, strict=True)):
        return MaxPool2x2Op.apply(input)
    return MaxPoolOp.apply(input, *lines_as_images(windows), dims, bool(return_indices))


def max_pool1d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    r"""The largest element of each window along the last dimension.

    $y_o = \max_k x_{o s - p + k d}$ for $0 \le k < K$, over the elements that exist.

    Args:
        input: [N, C, L] or [C, L], float32 or float64; N may be 0.
        kernel_size: Elements of a window, K.
        stride: Step from window to window, s; the kernel size when None.
        padding: Places around the input that a window may cover, p: at most half the kernel size. They count as minus
            infinity.
        dilation: Step from element to element of a window, d.
        ceil_mode: Also take a last window that is not whole, if it starts within the input or the padding before it.
        return_indices: Also return where the largest elements stand.

    Returns:
        [N, C, OL] or [C, OL] with $OL = \lfloor (L + 2p - d (K - 1) - 1) / s \rfloor + 1$, rounded up instead in ceil
        mode. With `return_indices` a pair: that, and int64 positions in L of the same shape, for `max_unpool1d`.

    Raises:
        ShapeError: The input has neither 2 nor 3 dimensions, or the kernel does not fit into the padded input.
        DTypeError: The input is not floating point.
        ArgumentError: A size, stride or dilation is not positive, or the padding is larger than half the kernel.

    Gradient:
        For input: dy to the first of the largest elements of each window, summed over windows.

    Example:
        >>> nbdl.ops.max_pool1d(nbdl.tensor([[1.0, 3.0, 2.0, 5.0]]), 2)
        tensor([[3., 5.]])

    Source:
        Yamaguchi et al. (1990), "A Neural Network for Speaker-Independent Isolated Word Recognition".
    """
    return _max_pool(input, 1, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    r"""The largest element of each window of an image, channel by channel.

    $y_{ij} = \max_{k, l} x_{i s - p + k d,\; j s - p + l d}$ for $0 \le k, l < K$, over the elements that exist. Every
    size can differ between rows and columns.

    Args:
        input: [N, C, H, W] or [C, H, W], float32 or float64; N may be 0.
        kernel_size: Rows and columns of a window, K; one number for both or a pair.
        stride: Step from window to window, s; the kernel size when None.
        padding: Places around the image that a window may cover, p: at most half the kernel size. They count as minus
            infinity.
        dilation: Step from element to element of a window, d.
        ceil_mode: Also take last windows that are not whole, if they start within the image or the padding before it.
        return_indices: Also return where the largest elements stand.

    Returns:
        [N, C, OH, OW] or [C, OH, OW] with $OH = \lfloor (H + 2p - d (K - 1) - 1) / s \rfloor + 1$, rounded up instead
        in ceil mode, and OW likewise. With `return_indices` a pair: that, and int64 positions h W + w of the same
        shape, for `max_unpool2d`.

    Raises:
        ShapeError: The input has neither 3 nor 4 dimensions, or the kernel does not fit into the padded image.
        DTypeError: The input is not floating point.
        ArgumentError: A size, stride or dilation is not positive, or the padding is larger than half the kernel.

    Gradient:
        For input: dy to the first of the largest elements of each window, summed over windows.

    Example:
        >>> image = nbdl.arange(16.0).reshape(1, 1, 4, 4)
        >>> nbdl.ops.max_pool2d(image, 2)
        tensor([[[[ 5.,  7.],
                  [13., 15.]]]])

    Source:
        Ranzato et al. (2007), "Unsupervised Learning of Invariant Feature Hierarchies with Applications to Object
        Recognition".
    """
    return _max_pool(input, 2, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
