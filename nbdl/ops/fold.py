r"""Unfold and fold: the patches of images as columns, and columns added up to images again.

Output place $(i, j)$ of a window with stride s, padding p and dilation d sees, at its tap $(r, q)$, the pixel
$h = i\,s - p + r\,d$, $w = j\,s - p + q\,d$ (each axis with its own numbers; pixels outside are zero):

$$
\text{unfold: } y_{c,r,q,\,i,j} = x_{c,h,w}, \qquad
\text{fold: } x_{c,h,w} = \sum_{r,q,i,j\,\text{that see } (h, w)} y_{c,r,q,\,i,j}
$$

The columns have the shape [N, C * R * Q, I * J]. Each map is the transpose of the other, and so its gradient: a
convolution is a matrix product with the columns of unfold, a transposed convolution the fold of such a product.

Letters: N batch, C channels, H W image, R Q taps of the window, I J places of the window.
Source: Chellapilla, Puri and Simard (2006), "High Performance Convolutional Neural Networks for Document Processing".
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.convolution.geometry import as_sizes
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_float, check_rank
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar

# ---------------------------------------------------------------- reference


def unfold_reference(input, kernel_size, dilation=1, padding=0, stride=1):
    """The definition, in float64: the windows of the padded image, taps before places."""
    taps, spread, margin, step = (np.broadcast_to(v, 2) for v in (kernel_size, dilation, padding, stride))
    padded = np.pad(input, [(0, 0)] * (input.ndim - 2) + [(m, m) for m in margin])
    windows = np.lib.stride_tricks.sliding_window_view(padded, tuple(spread * (taps - 1) + 1), axis=(-2, -1))
    windows = windows[..., :: step[0], :: step[1], :: spread[0], :: spread[1]]
    places = math.prod(windows.shape[-4:-2])
    return np.moveaxis(windows, (-4, -3), (-2, -1)).reshape(*input.shape[:-3], input.shape[-3] * taps.prod(), places)


def fold_reference(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """The definition, in float64: each column is added to the pixels that unfold would take it from."""
    (height, width), taps = np.broadcast_to(output_size, 2), np.broadcast_to(kernel_size, 2)
    channels = input.shape[-2] // taps.prod()
    pixels = np.arange(channels * height * width, dtype=np.float64).reshape(channels, height, width) + 1
    seen = unfold_reference(pixels, kernel_size, dilation, padding, stride).astype(np.int64).reshape(-1)
    sums = [
        np.bincount(seen, column.reshape(-1), minlength=pixels.size + 1)[1:]  # 0 is the padding
        for column in input.reshape(-1, *input.shape[-2:])
    ]
    return np.reshape(sums, (*input.shape[:-2], channels, height, width))


# ---------------------------------------------------------------- kernels


@scalar
def _first_inside(offset, step):
    """The first j >= 0 for which j * step + offset >= 0."""
    return 0 if offset >= 0 else (step - 1 - offset) // step


@scalar
def _end_inside(offset, step, size, places):
    """One more than the last j < places for which j * step + offset < size."""
    return 0 if offset >= size else min(places, (size - 1 - offset) // step + 1)


@cpu_kernel
def _unfold_cpu(x, y, step_h, step_w, margin_h, margin_w, spread_h, spread_w, start, stop):
    """x [P, H, W], y [P, R, Q, I, J]. One task a tap of a plane: [I, J]."""
    _, height, width = x.shape
    _, taps_h, taps_w, rows, columns = y.shape
    source, target = x.reshape(x.size), y.reshape(y.size)
    for task in range(start, stop):
        plane, r, q = task // (taps_h * taps_w), task // taps_w % taps_h, task % taps_w
        shift = q * spread_w - margin_w
        first = _first_inside(shift, step_w)
        end = max(_end_inside(shift, step_w, width, columns), min(first, columns))
        first = min(first, end)
        for i in range(rows):
            h = i * step_h - margin_h + r * spread_h
            to = (task * rows + i) * columns
            if h < 0 or h >= height:
                for j in range(columns):
                    target[np.uint64(to + j)] = 0
                continue
            for j in range(first):
                target[np.uint64(to + j)] = 0
            origin = (plane * height + h) * width + shift + first * step_w
            if step_w == 1:
                for j in range(end - first):
                    target[np.uint64(to + first + j)] = source[np.uint64(origin + j)]
            else:
                for j in range(end - first):
                    target[np.uint64(to + first + j)] = source[np.uint64(origin + j * step_w)]
            for j in range(columns - end):
                target[np.uint64(to + end + j)] = 0


@cuda_kernel
def _unfold_cuda(x, y, step_h, step_w, margin_h, margin_w, spread_h, spread_w):
    """As the CPU twin. One thread an element of y."""
    index = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    _, height, width = x.shape
    _, taps_h, taps_w, rows, columns = y.shape
    if index < y.size:
        j, i, task = index % columns, index // columns % rows, index // (columns * rows)
        plane, r, q = task // (taps_h * taps_w), task // taps_w % taps_h, task % taps_w
        h, w = i * step_h - margin_h + r * spread_h, j * step_w - margin_w + q * spread_w
        y[plane, r, q, i, j] = x[plane, h, w] if 0 <= h < height and 0 <= w < width else x.dtype.type(0)


unfold_kernel = Kernel(
    cpu=_unfold_cpu,
    cuda=_unfold_cuda,
    tasks=lambda x, y, *_: y.shape[0] * y.shape[1] * y.shape[2],
    work=lambda x, y, *_: y.size,
    blocks=lambda x, y, *_: -(-y.size // BLOCK),
)


@cpu_kernel
def _fold_cpu(y, x, step_h, step_w, margin_h, margin_w, spread_h, spread_w, start, stop):
    """y [P, R, Q, I, J], x [P, H, W]. One task a row [W] of x."""
    _, height, width = x.shape
    _, taps_h, taps_w, rows, columns = y.shape
    source, target = y.reshape(y.size), x.reshape(x.size)
    for task in range(start, stop):
        plane, h = task // height, task % height
        to = task * width
        for w in range(width):
            target[np.uint64(to + w)] = 0
        for r in range(taps_h):
            ahead = h + margin_h - r * spread_h
            if ahead < 0 or ahead % step_h != 0 or ahead // step_h >= rows:
                continue
            for q in range(taps_w):
                shift = q * spread_w - margin_w
                first = _first_inside(shift, step_w)
                count = _end_inside(shift, step_w, width, columns) - first
                origin = (((plane * taps_h + r) * taps_w + q) * rows + ahead // step_h) * columns + first
                into = to + shift + first * step_w
                if step_w == 1:
                    for j in range(count):
                        target[np.uint64(into + j)] += source[np.uint64(origin + j)]
                else:
                    for j in range(count):
                        target[np.uint64(into + j * step_w)] += source[np.uint64(origin + j)]


@cuda_kernel
def _fold_cuda(y, x, step_h, step_w, margin_h, margin_w, spread_h, spread_w):
    """As the CPU twin. One thread an element of x."""
    index = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    _, height, width = x.shape
    _, taps_h, taps_w, rows, columns = y.shape
    if index < x.size:
        w, h, plane = index % width, index // width % height, index // (width * height)
        total = x.dtype.type(0)
        for r in range(taps_h):
            ahead = h + margin_h - r * spread_h
            if ahead >= 0 and ahead % step_h == 0 and ahead // step_h < rows:
                for q in range(taps_w):
                    beside = w + margin_w - q * spread_w
                    if beside >= 0 and beside % step_w == 0 and beside // step_w < columns:
                        total += y[plane, r, q, ahead // step_h, beside // step_w]
        x[plane, h, w] = total


fold_kernel = Kernel(
    cpu=_fold_cpu,
    cuda=_fold_cuda,
    tasks=lambda y, x, *_: x.shape[0] * x.shape[1],
    work=lambda y, x, *_: y.size,
    blocks=lambda y, x, *_: -(-x.size // BLOCK),
)

# ---------------------------------------------------------------- autograd


class _Window(NamedTuple):
    """Taps, steps, margins and spreads along both axes, and the places that it has on images of some size."""

    taps: tuple[int, ...]
    numbers: tuple[int, ...]
    image: tuple[int, ...]
    places: tuple[int, ...]


def _to_columns(x: Any, window: _Window) -> Any:
    """Images [*, C, H, W] -> columns [*, C * R * Q, I * J]."""
    x = arrays.contiguous(x)
    y = memory.empty((*x.shape[:-3], x.shape[-3] * math.prod(window.taps), math.prod(window.places)), x.dtype)
    planes = math.prod(x.shape[:-2])
    if y.size:
        unfold_kernel(
            x.reshape(planes, *window.image), y.reshape(planes, *window.taps, *window.places), *window.numbers
        )
    return y


def _to_images(y: Any, window: _Window) -> Any:
    """Columns [*, C * R * Q, I * J] -> images [*, C, H, W]."""
    y = arrays.contiguous(y)
    x = memory.empty((*y.shape[:-2], y.shape[-2] // math.prod(window.taps), *window.image), y.dtype)
    if x.size:
        fold_kernel(y.reshape(-1, *window.taps, *window.places), x.reshape(-1, *window.image), *window.numbers)
    return x


class UnfoldOp(Op):
    """Images to columns; keeps nothing but sizes."""

    @staticmethod
    def forward(ctx: Context, x, window):
        ctx.window = window
        return _to_columns(x, window)

    @staticmethod
    def backward(ctx: Context, dy):
        return _to_images(dy, ctx.window), None


class FoldOp(Op):
    """Columns to images; keeps nothing but sizes."""

    @staticmethod
    def forward(ctx: Context, y, window):
        ctx.window = window
        return _to_images(y, window)

    @staticmethod
    def backward(ctx: Context, dx):
        return _to_columns(dx, ctx.window), None


# ---------------------------------------------------------------- public


def _window(image: tuple[int, ...], kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> _Window:
    """The window on images of a size; raises ShapeError if it has no place there."""
    taps = as_sizes("kernel_size", kernel_size, 2, 1)
    spread, margin = as_sizes("dilation", dilation, 2, 1), as_sizes("padding", padding, 2, 0)
    step = as_sizes("stride", stride, 2, 1)
    places = tuple([(image[k] + 2 * margin[k] - spread[k] * (taps[k] - 1) - 1) // step[k] + 1 for k in (0, 1)])
    if min(places) < 1:
        raise ShapeError(
            f"kernel_size: expected a window, {taps} with dilation {spread}, that fits into the image "
            f"{tuple(image)} with padding {margin}"
        )
    return _Window(taps, (*step, *margin, *spread), tuple(image), places)


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    r"""Takes the patches that a sliding window sees, each as a column.

    $y_{c,r,q,\,i,j} = x_{c,\; i\,s - p + r\,d,\; j\,s - p + q\,d}$, zero outside of the image.

    Args:
        input: [N, C, H, W] or [C, H, W], float32 or float64.
        kernel_size: Size of the window, an integer or (height, width).
        dilation: Distance of the window's taps, an integer or one for each axis.
        padding: Zeros around the image, likewise.
        stride: Distance of two places of the window, likewise.

    Returns:
        [N, C * height * width, L], without N for a single image; L is the number of places. Dtype of the input.

    Raises:
        ShapeError: The input has another number of dimensions or an empty one, or the window does not fit.
        ArgumentError: A number is out of its range: padding at least 0, the others at least 1.
        DTypeError: The input is not floating point.

    Gradient:
        For input: fold of dy.

    Example:
        >>> x = nbdl.tensor([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
        >>> nbdl.ops.unfold(x, 2)
        tensor([[1., 2.],
                [2., 3.],
                [4., 5.],
                [5., 6.]])

    Source:
        Chellapilla, Puri and Simard (2006), "High Performance Convolutional Neural Networks for Document Processing".
    """
    check_rank("input", check_float("input", input), 3, 4)
    if 0 in input.shape[-3:]:
        raise ShapeError(f"input: expected elements in all dimensions but the batch, got shape {list(input.shape)}")
    return UnfoldOp.apply(input, _window(input.shape[-2:], kernel_size, dilation, padding, stride))


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    r"""Adds up columns to images: each number goes to the pixel that `unfold` takes it from.

    $x_{c,h,w} = \sum y_{c,r,q,\,i,j}$ over all $i\,s - p + r\,d = h$ and $j\,s - p + q\,d = w$.

    Args:
        input: [N, C * height * width, L] or [C * height * width, L], float32 or float64; L is the number of places.
        output_size: Size of the images, an integer or (H, W).
        kernel_size: Size of the window, an integer or (height, width).
        dilation: Distance of the window's taps, an integer or one for each axis.
        padding: Zeros around the image, likewise.
        stride: Distance of two places of the window, likewise.

    Returns:
        [N, C, H, W], without N for a single image. Dtype of the input.

    Raises:
        ShapeError: The input has another number of dimensions or an empty one, its columns are no multiple of the
            window's size, or L is not the number of places.
        ArgumentError: A number is out of its range: padding and output_size at least 0, the others at least 1.
        DTypeError: The input is not floating point.

    Gradient:
        For input: unfold of dy.

    Example:
        >>> x = nbdl.ones(1, 1, 3, 3)
        >>> nbdl.ops.fold(nbdl.ops.unfold(x, 2), 3, 2)
        tensor([[[[1., 2., 1.],
                  [2., 4., 2.],
                  [1., 2., 1.]]]])

    Source:
        Chellapilla, Puri and Simard (2006), "High Performance Convolutional Neural Networks for Document Processing".
    """
    check_rank("input", check_float("input", input), 2, 3)
    window = _window(as_sizes("output_size", output_size, 2, 0), kernel_size, dilation, padding, stride)
    size, places = math.prod(window.taps), math.prod(window.places)
    rows, columns = input.shape[-2:]
    if rows == 0 or rows % size:
        raise ShapeError(f"input: expected a multiple of {size}, the window's size, before last, got {input.shape}")
    if columns != places:
        expected = f"{places}, the {window.places[0]} x {window.places[1]} places of the window,"
        raise ShapeError(f"input: expected {expected} last, got shape {list(input.shape)}")
    return FoldOp.apply(input, window)
