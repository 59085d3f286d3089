r"""Local response normalization: each channel damped by the squares of its neighbours.

Forward, at each place by itself, for channel c of C and a window of `size` channels, $\lfloor$size / 2$\rfloor$ of
them before c, with zeros beyond the ends:

$$
d_c = k + \tfrac{\alpha}{\text{size}} \sum_{j \in \text{window}(c)} x_j^2, \qquad
y_c = x_c\, d_c^{-\beta}
$$

Backward; channel c counts in the windows of those channels j whose window holds it:

$$
dx_c = dy_c\, d_c^{-\beta} - \tfrac{2 \alpha \beta}{\text{size}}\, x_c
    \sum_{j:\, c \in \text{window}(j)} dy_j\, y_j / d_j
$$

Letters: M places of all samples, C channels. Source: Krizhevsky, Sutskever and Hinton (2012), "ImageNet Classification
with Deep Convolutional Neural Networks", section 3.3, whose $\alpha$ is PyTorch's divided by the size.
"""

from __future__ import annotations

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.normalization.layout import arranged, restored
from nbdl.ops.reduction.fold import unsigned
from nbdl.runtime.checks import check_float, check_int, check_number
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar
from nbdl.runtime.vecmath import exp, log

# ---------------------------------------------------------------- reference


def local_response_norm_reference(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """The definition, in float64: input [N, C, *] -> [N, C, *]."""
    channels = input.shape[1]
    squares = np.zeros_like(input)
    for c in range(channels):
        squares[:, c] = np.sum(input[:, max(c - size // 2, 0) : c + (size - 1) // 2 + 1] ** 2, axis=1)
    return input / (k + alpha * squares / size) ** beta


# ---------------------------------------------------------------- forward


@scalar
def _damping(d, beta):
    """d ** -beta, for d from 0 up."""
    return exp(-beta * log(d))


@cpu_kernel
def _local_response_forward_cpu(x, size, share, beta, k, y, d, start, stop):
    """x, y, d [M, C]; share = alpha / size. One task a place. A window is added offset by offset: all its channels."""
    channels = x.shape[1]
    for row in range(start, stop):
        for c in range(unsigned(channels)):
            d[row, c] = 0
        for offset in range(-min(size // 2, channels), min((size - 1) // 2, channels) + 1):
            first = max(-offset, 0)
            for c in range(unsigned(max(channels - abs(offset), 0))):
                neighbour = x[row, c + unsigned(first + offset)]
                d[row, c + unsigned(first)] += neighbour * neighbour
        for c in range(unsigned(channels)):
            d[row, c] = k + share * d[row, c]
            y[row, c] = x[row, c] * _damping(d[row, c], beta)


@cuda_kernel
def _local_response_forward_cuda(x, size, share, beta, k, y, d):
    """As the CPU twin. One block a place."""
    channels = x.shape[1]
    row = cuda.blockIdx.x
    for c in range(cuda.threadIdx.x, channels, BLOCK):
        squares = x.dtype.type(0)
        for j in range(max(c - size // 2, 0), min(c + (size - 1) // 2 + 1, channels)):
            squares += x[row, j] * x[row, j]
        d[row, c] = k + share * squares
        y[row, c] = x[row, c] * _damping(d[row, c], beta)


local_response_forward = Kernel(
    cpu=_local_response_forward_cpu,
    cuda=_local_response_forward_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, size, *_: (20 + size) * x.size,
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _local_response_backward_cpu(dy, x, d, size, share, beta, dx, flow, start, stop):
    """dy, x, d, dx, flow [M, C]; share = alpha / size; flow is room for dy y / d. One task a place."""
    channels = x.shape[1]
    factor = x.dtype.type(-2) * share * beta
    for row in range(start, stop):
        for c in range(unsigned(channels)):
            flow[row, c] = dy[row, c] * x[row, c] * _damping(d[row, c], beta) / d[row, c]
            dx[row, c] = 0
        for offset in range(-min((size - 1) // 2, channels), min(size // 2, channels) + 1):
            first = max(-offset, 0)
            for c in range(unsigned(max(channels - abs(offset), 0))):
                dx[row, c + unsigned(first)] += flow[row, c + unsigned(first + offset)]
        for c in range(unsigned(channels)):
            dx[row, c] = dy[row, c] * _damping(d[row, c], beta) + factor * x[row, c] * dx[row, c]


@cuda_kernel
def _local_response_backward_cuda(dy, x, d, size, share, beta, dx, flow):
    """As the CPU twin; the room is not used. One block a place."""
    channels = x.shape[1]
    row = cuda.blockIdx.x
    factor = x.dtype.type(-2) * share * beta
    for c in range(cuda.threadIdx.x, channels, BLOCK):
        total = x.dtype.type(0)
        for j in range(max(c - (size - 1) // 2, 0), min(c + size // 2 + 1, channels)):
            total += dy[row, j] * x[row, j] * _damping(d[row, j], beta) / d[row, j]
        dx[row, c] = dy[row, c] * _damping(d[row, c], beta) + factor * x[row, c] * total


local_response_backward = Kernel(
    cpu=_local_response_backward_cpu,
    cuda=_local_response_backward_cuda,
    tasks=lambda dy, x, *_: x.shape[0],
    work=lambda dy, x, d, size, *_: (40 + size) * x.size,
)

# ---------------------------------------------------------------- autograd


class LocalResponseNormOp(Op):
    """y = local_response_norm(x), in channels-last memory: saves x and d."""

    @staticmethod
    def forward(ctx: Context, x, size, alpha, beta, k):
        ctx.shape = x.shape
        number = x.dtype.type
        x = arranged(x, last=True).reshape(-1, x.shape[1])
        y, d = ctx.empty_like(x), ctx.empty_like(x)
        ctx.numbers = size, number(alpha / size), number(beta)
        local_response_forward(x, *ctx.numbers, number(k), y, d)
        ctx.save(x, d)
        return restored(y, ctx.shape, last=True)

    @staticmethod
    def backward(ctx: Context, dy):
        x, d = ctx.saved
        dy = arranged(dy, last=True).reshape(x.shape)
        dx, flow = ctx.empty_like(x), ctx.empty_like(x)
        local_response_backward(dy, x, d, *ctx.numbers, dx, flow)
        return restored(dx, ctx.shape, last=True), None, None, None, None


# ---------------------------------------------------------------- public


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    r"""Divides each element by a power of the squares of its neighbours in other channels.

    $y_c = x_c \Big( k + \tfrac{\alpha}{\text{size}} \sum_j x_j^2 \Big)^{-\beta}$, the sum over `size` channels
    around c, with zeros beyond the ends.

    Args:
        input: [N, C, *] with at least 3 dimensions, float32 or float64.
        size: Number of channels in a window, size // 2 of them before the channel itself.
        alpha: Weight of the mean of the squares.
        beta: The exponent.
        k: Added to the mean of the squares, so that nothing is divided by 0.

    Returns:
        [N, C, *], dtype of the input, in channels-last memory.

    Raises:
        ShapeError: The input has fewer than 3 dimensions.
        DTypeError: The input is not floating point.
        ArgumentError: size is not positive, or alpha or k is negative.

    Gradient:
        For input.

    Example:
        >>> nbdl.ops.local_response_norm(nbdl.ones(1, 3, 1), 3, alpha=3.0, beta=1.0).flatten()
        tensor([0.3333, 0.2500, 0.3333])

    Source:
        Krizhevsky, Sutskever and Hinton (2012), "ImageNet Classification with Deep Convolutional Neural Networks",
        section 3.3.
    """
    check_float("input", input)
    if input.ndim < 3:
        raise ShapeError(f"input: expected at least 3 dimensions, [N, C, *], got shape {list(input.shape)}")
    check_int("size", size, low=1)
    check_number("alpha", alpha, low=0)
    check_number("beta", beta)
    check_number("k", k, low=0)
    if not input._array.size:
        return input
    return LocalResponseNormOp.apply(input, int(size), alpha, beta, k)
