r"""Pixel shuffle: channels become pixels, and back; and channels change places.

Forward, with an upscale factor $r$: the $r^2$ channels that stand for one are laid out as squares of $r \times r$
pixels,

$$
y_{c,\; h r + i,\; w r + j} = x_{c r^2 + i r + j,\; h,\; w}, \qquad 0 \le i, j < r
$$

Backward is the inverse map, which is the forward pass of unshuffling, and the other way round: each element is moved,
none is changed. A convolution followed by a shuffle makes an image larger without computing on the larger image.

Channel shuffle regards C channels as g groups of C / g, [g, C / g], and transposes: it lets grouped convolutions
exchange what they have found.

Letters: N images, C channels, H rows and W columns of pixels. Sources: Shi et al. (2016), "Real-Time Single Image and
Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network"; Zhang et al. (2018), "ShuffleNet".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.shape import reshape, transpose
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_int
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

__all__ = ["channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]

# ---------------------------------------------------------------- reference


def pixel_shuffle_reference(input, upscale_factor):
    """The definition: [*, C r^2, H, W] -> [*, C, H r, W r]."""
    r = upscale_factor
    *outer, channels, height, width = input.shape
    y = np.empty((*outer, channels // r**2, height * r, width * r), input.dtype)
    for i in range(r):
        for j in range(r):
            y[..., i::r, j::r] = input[..., i * r + j :: r**2, :, :]
    return y


def pixel_unshuffle_reference(input, downscale_factor):
    """The definition: [*, C, H r, W r] -> [*, C r^2, H, W]."""
    r = downscale_factor
    *outer, channels, height, width = input.shape
    y = np.empty((*outer, channels * r**2, height // r, width // r), input.dtype)
    for i in range(r):
        for j in range(r):
            y[..., i * r + j :: r**2, :, :] = input[..., i::r, j::r]
    return y


def channel_shuffle_reference(input, groups):
    """The definition: channel a of group b goes to place a g + b."""
    size = input.shape[1] // groups
    return input[:, [b * size + a for a in range(size) for b in range(groups)]]


# ---------------------------------------------------------------- kernels


@cpu_kernel
def _shuffle_pixels_cpu(x, r, y, start, stop):
    """x [P, r, r, H, W] -> y [P, H r, W r], P planes. One task a row of y."""
    height, width = x.shape[3:]
    for task in range(start, stop):
        p, row = task // (height * r), task % (height * r)
        h, i = row // r, row % r
        for j in range(r):
            for w in range(width):
                y[p, row, w * r + j] = x[p, i, j, h, w]


@cuda_kernel
def _shuffle_pixels_cuda(x, r, y):
    """As the CPU twin. One block a row."""
    height, width = x.shape[3:]
    p, row = cuda.blockIdx.x // (height * r), cuda.blockIdx.x % (height * r)
    for column in range(cuda.threadIdx.x, width * r, BLOCK):
        y[p, row, column] = x[p, row % r, column % r, row // r, column // r]


shuffle_pixels = Kernel(
    cpu=_shuffle_pixels_cpu,
    cuda=_shuffle_pixels_cuda,
    tasks=lambda x, r, y: y.shape[0] * y.shape[1],
    work=lambda x, r, y: y.size,
)


@cpu_kernel
def _unshuffle_pixels_cpu(x, r, y, start, stop):
    """x [P, H r, W r] -> y [P, r, r, H, W], P planes. One task a row of x."""
    height, width = y.shape[3:]
    for task in range(start, stop):
        p, row = task // (height * r), task % (height * r)
        h, i = row // r, row % r
        for j in range(r):
            for w in range(width):
                y[p, i, j, h, w] = x[p, row, w * r + j]


@cuda_kernel
def _unshuffle_pixels_cuda(x, r, y):
    """As the CPU twin. One block a row."""
    height, width = y.shape[3:]
    p, row = cuda.blockIdx.x // (height * r), cuda.blockIdx.x % (height * r)
    for column in range(cuda.threadIdx.x, width * r, BLOCK):
        y[p, row % r, column % r, row // r, column // r] = x[p, row, column]


unshuffle_pixels = Kernel(
    cpu=_unshuffle_pixels_cpu,
    cuda=_unshuffle_pixels_cuda,
    tasks=lambda x, r, y: x.shape[0] * x.shape[1],
    work=lambda x, r, y: x.size,
)


def _shuffled(x: Any, r: int) -> Any:
    *outer, channels, height, width = x.shape
    planes = math.prod(outer) * (channels // r**2)
    x = arrays.contiguous(x)
    y = Context.empty(*outer, channels // r**2, height * r, width * r, dtype=x.dtype)
    if y.size:
        shuffle_pixels(x.reshape(planes, r, r, height, width), r, y.reshape(planes, height * r, width * r))
    return y


def _unshuffled(x: Any, r: int) -> Any:
    *outer, channels, height, width = x.shape
    planes = math.prod(outer) * channels
    x = arrays.contiguous(x)
    y = Context.empty(*outer, channels * r**2, height // r, width // r, dtype=x.dtype)
    if y.size:
        unshuffle_pixels(x.reshape(planes, height, width), r, y.reshape(planes, r, r, height // r, width // r))
    return y


# ---------------------------------------------------------------- autograd


class PixelShuffleOp(Op):
    """Channels become pixels: saves nothing."""

    @staticmethod
    def forward(ctx: Context, x, r):
        ctx.r = r
        return _shuffled(x, r)

    @staticmethod
    def backward(ctx: Context, dy):
        return _unshuffled(dy, ctx.r), None


class PixelUnshuffleOp(Op):
    """Pixels become channels: saves nothing."""

    @staticmethod
    def forward(ctx: Context, x, r):
        ctx.r = r
        return _unshuffled(x, r)

    @staticmethod
    def backward(ctx: Context, dy):
        return _shuffled(dy, ctx.r), None


# ---------------------------------------------------------------- public


def _check_planes(input: Tensor) -> Tensor:
    """The input, if it has channels, rows and columns."""
    if not isinstance(input, Tensor):
        raise ArgumentTypeError(f"input: expected a Tensor, got {type(input).__name__}")
    if input.ndim < 3:
        raise ShapeError(f"input: expected at least 3 dimensions, [*, C, H, W], got shape {list(input.shape)}")
    return input


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    r"""Makes images r times as high and wide out of their channels.

    $y_{c,\; h r + i,\; w r + j} = x_{c r^2 + i r + j,\; h,\; w}$.

    Args:
        input: [*, C r r, H, W], any dtype.
        upscale_factor: r.

    Returns:
        [*, C, H r, W r], dtype of the input.

    Raises:
        ShapeError: The input has fewer than 3 dimensions, or its channels are no multiple of r^2.
        ArgumentError: The factor is not positive.

    Gradient:
        For input: the elements of dy, moved back.

    Example:
        >>> nbdl.ops.pixel_shuffle(nbdl.arange(4.0).reshape(4, 1, 1), 2)
        tensor([[[0., 1.],
                 [2., 3.]]])

    Source:
        Shi et al. (2016), "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
        Neural Network", equation 4.
    """
    r = check_int("upscale_factor", upscale_factor, 1)
    if _check_planes(input).shape[-3] % r**2:
        raise ShapeError(f"input: expected channels in a multiple of {r**2}, got shape {list(input.shape)}")
    return PixelShuffleOp.apply(input, r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    r"""Turns squares of r x r pixels into channels: the inverse of `pixel_shuffle`.

    $y_{c r^2 + i r + j,\; h,\; w} = x_{c,\; h r + i,\; w r + j}$.

    Args:
        input: [*, C, H r, W r], any dtype.
        downscale_factor: r.

    Returns:
        [*, C r r, H, W], dtype of the input.

    Raises:
        ShapeError: The input has fewer than 3 dimensions, or its rows or columns are no multiple of r.
        ArgumentError: The factor is not positive.

    Gradient:
        For input: the elements of dy, moved back.

    Example:
        >>> nbdl.ops.pixel_unshuffle(nbdl.arange(4.0).reshape(1, 2, 2), 2).flatten()
        tensor([0., 1., 2., 3.])

    Source:
        Shi et al. (2016), "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
        Neural Network", equation 4, read from right to left.
    """
    r = check_int("downscale_factor", downscale_factor, 1)
    if _check_planes(input).shape[-2] % r or input.shape[-1] % r:
        raise ShapeError(f"input: expected rows and columns in multiples of {r}, got shape {list(input.shape)}")
    return PixelUnshuffleOp.apply(input, r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    r"""Takes one channel of each group in turn: place $a g + b$ gets channel $a$ of group $b$.

    Args:
        input: [N, C, *] with at least one dimension behind the channels, any dtype.
        groups: Number of groups, g, a divisor of C.

    Returns:
        The shape and dtype of the input.

    Raises:
        ShapeError: The input has fewer than 3 dimensions.
        ArgumentError: The number of groups is not positive or does not divide the channels.

    Gradient:
        For input: the elements of dy, moved back.

    Example:
        >>> nbdl.ops.channel_shuffle(nbdl.arange(4.0).reshape(1, 4, 1), 2).flatten()
        tensor([0., 2., 1., 3.])

    Source:
        Zhang et al. (2018), "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
        section 3.1.
    """
    groups = check_int("groups", groups, 1)
    n, channels, *sizes = _check_planes(input).shape
    if channels % groups:
        raise ArgumentError(f"groups: expected a divisor of the {channels} channels, got {groups}")
    grouped = reshape(input, (n, groups, channels // groups, *sizes))
    return reshape(transpose(grouped, 1, 2), input.shape)
