r"""Gated and learned activations: GLU, whose gate is half of the input, and PReLU, whose slopes are parameters.

GLU splits the input into halves a and b along a dimension:

$$y = a\, \sigma(b), \qquad da = dy\, \sigma(b), \qquad db = dy\, a\, \sigma(b) (1 - \sigma(b)).$$

PReLU has one slope w for each channel, or one for all:

$$y = \max(0, x) + w \min(0, x), \qquad
  dx = dy\, [x > 0] + w\, dy\, [x \le 0], \qquad dw = \sum_{x \le 0} x\, dy.$$

The sum for dw is taken over fixed chunks of rows, and then over the chunks: it does not depend on threads.

Letters: O outer, I inner size around the split dimension; N samples, C channels, S elements of a channel. Sources:
Dauphin et al. (2017), "Language Modeling with Gated Convolutional Networks"; He et al. (2015), "Delving Deep into
Rectifiers".
"""

from __future__ import annotations

import math

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_dim, check_float, check_same_dtype
from nbdl.runtime.cuda.primitives import block_sum
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar
from nbdl.runtime.vecmath import exp

# ---------------------------------------------------------------- reference


def glu_reference(input, dim=-1):
    """The definition, in float64."""
    a, b = np.split(input, 2, dim)
    return a / (1 + np.exp(-b))


def prelu_reference(input, weight):
    """The definition, in float64."""
    slopes = weight.reshape(-1, *(1 for _ in input.shape[2:])) if input.ndim > 1 else weight.reshape(-1)
    return np.where(input > 0, input, slopes * input) if input.ndim else np.where(input > 0, input, slopes[0] * input)


# ---------------------------------------------------------------- GLU


@scalar
def _gate(x):
    return type(x)(1) / (type(x)(1) + exp(-x))


@cpu_kernel
def _glu_forward_cpu(x, y, start, stop):
    """x [O, 2, I]; y [O, I]. One task a row of y."""
    for row in range(start, stop):
        for j in range(y.shape[1]):
            y[row, j] = x[row, 0, j] * _gate(x[row, 1, j])


@cuda_kernel
def _glu_forward_cuda(x, y):
    """As the CPU twin. One block a row."""
    row = cuda.blockIdx.x
    for j in range(cuda.threadIdx.x, y.shape[1], BLOCK):
        y[row, j] = x[row, 0, j] * _gate(x[row, 1, j])


@cpu_kernel
def _glu_backward_cpu(dy, x, dx, start, stop):
    """dy [O, I]; x, dx [O, 2, I]. One task a row of dy."""
    for row in range(start, stop):
        for j in range(dy.shape[1]):
            dx[row, 0, j] = dy[row, j] * _gate(x[row, 1, j])
        for j in range(dy.shape[1]):  # a loop of its own: LLVM makes no vectors where one fills both halves
            gate = _gate(x[row, 1, j])
            dx[row, 1, j] = dy[row, j] * gate * x[row, 0, j] * (x.dtype.type(1) - gate)


@cuda_kernel
def _glu_backward_cuda(dy, x, dx):
    """As the CPU twin. One block a row."""
    row = cuda.blockIdx.x
    for j in range(cuda.threadIdx.x, dy.shape[1], BLOCK):
        gate = _gate(x[row, 1, j])
        da = dy[row, j] * gate
        dx[row, 0, j] = da
        dx[row, 1, j] = da * x[row, 0, j] * (x.dtype.type(1) - gate)


glu_forward = Kernel(
    cpu=_glu_forward_cpu,
    cuda=_glu_forward_cuda,
    tasks=lambda x, y: y.shape[0],
    work=lambda x, y: 8 * y.size,
)
glu_backward = Kernel(
    cpu=_glu_backward_cpu,
    cuda=_glu_backward_cuda,
    tasks=lambda dy, *_: dy.shape[0],
    work=lambda dy, *_: 8 * dy.size,
)


class GluOp(Op):
    """y = a sigmoid(b). Saves x."""

    @staticmethod
    def forward(ctx: Context, x, dim):
        x = arrays.contiguous(x)
        half = x.shape[dim] // 2
        y = memory.empty((*x.shape[:dim], half, *x.shape[dim + 1 :]), x.dtype)
        ctx.flat = (math.prod(x.shape[:dim]), half * math.prod(x.shape[dim + 1 :]))
        ctx.save(x)
        if y.size:
            glu_forward(x.reshape(ctx.flat[0], 2, ctx.flat[1]), y.reshape(ctx.flat))
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        (x,) = ctx.saved
        dx = ctx.empty_like(x)
        if x.size:
            halves = (ctx.flat[0], 2, ctx.flat[1])
            glu_backward(arrays.contiguous(dy).reshape(ctx.flat), x.reshape(halves), dx.reshape(halves))
        return dx, None


# ---------------------------------------------------------------- PReLU

ROWS = 64
"""Samples summed into one partial result: fixed, so that the order of additions is."""


@scalar
def _prelu(x, weight):
    return x if x > type(x)(0) else x * weight


@scalar
def _prelu_slope(dy, x, weight):
    return dy if x > type(x)(0) else dy * weight


@scalar
def _prelu_weight_gradient(dy, x):
    return type(x)(0) if x > type(x)(0) else dy * x


@cpu_kernel
def _prelu_forward_cpu(x, weight, y, start, stop):
    """x, y [N, C, S]; weight [C]. One task a sample."""
    _, channels, size = x.shape
    for n in range(start, stop):
        if size == 1:  # a loop over channels is the one to vectorise
            for c in range(channels):
                y[n, c, 0] = _prelu(x[n, c, 0], weight[c])
        else:
            for c in range(channels):
                w = weight[c]
                for i in range(size):
                    y[n, c, i] = _prelu(x[n, c, i], w)


@cuda_kernel
def _prelu_forward_cuda(x, weight, y):
    """As the CPU twin. One block a sample."""
    n = cuda.blockIdx.x
    _, channels, size = x.shape
    for j in range(cuda.threadIdx.x, channels * size, BLOCK):
        c, i = j // size, j % size
        y[n, c, i] = _prelu(x[n, c, i], weight[c])


@cpu_kernel
def _prelu_backward_cpu(dy, x, weight, dx, dweight, start, stop):
    """dy, x, dx [N, C, S]; weight [C]; dweight [ceil(N / ROWS), C]. One task ROWS samples."""
    samples, channels, size = x.shape
    for chunk in range(start, stop):
        for c in range(channels):
            dweight[chunk, c] = 0
        for n in range(chunk * ROWS, min(samples, (chunk + 1) * ROWS)):
            if size == 1:
                for c in range(channels):
                    dx[n, c, 0] = _prelu_slope(dy[n, c, 0], x[n, c, 0], weight[c])
                    dweight[chunk, c] += _prelu_weight_gradient(dy[n, c, 0], x[n, c, 0])
            else:
                for c in range(channels):
                    w = weight[c]
                    total = x.dtype.type(0)
                    for i in range(size):
                        dx[n, c, i] = _prelu_slope(dy[n, c, i], x[n, c, i], w)
                        total += _prelu_weight_gradient(dy[n, c, i], x[n, c, i])
                    dweight[chunk, c] += total


@cuda_kernel
def _prelu_backward_cuda(dy, x, weight, dx, dweight):
    """As the CPU twin. One block ROWS samples, channel after channel."""
    chunk = cuda.blockIdx.x
    samples, channels, size = x.shape
    first = chunk * ROWS
    count = (min(samples, first + ROWS) - first) * size
    for c in range(channels):
        total = x.dtype.type(0)
        for j in range(cuda.threadIdx.x, count, BLOCK):
            n, i = first + j // size, j % size
            dx[n, c, i] = _prelu_slope(dy[n, c, i], x[n, c, i], weight[c])
            total += _prelu_weight_gradient(dy[n, c, i], x[n, c, i])
        total = block_sum(total)
        if cuda.threadIdx.x == 0:
            dweight[chunk, c] = total


prelu_forward = Kernel(
    cpu=_prelu_forward_cpu,
    cuda=_prelu_forward_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: x.size,
)
prelu_backward = Kernel(
    cpu=_prelu_backward_cpu,
    cuda=_prelu_backward_cuda,
    tasks=lambda dy, x, weight, dx, dweight: dweight.shape[0],
    work=lambda dy, *_: dy.size,
)


class PreluOp(Op):
    """y = x, or w x where x is negative. Saves x and the slopes."""

    @staticmethod
    def forward(ctx: Context, x, weight):
        x, weight = arrays.contiguous(x), arrays.contiguous(weight)
        y = ctx.empty_like(x)
        if x.size:
            shape = _by_channel(x.shape, weight.size)
            prelu_forward(x.reshape(shape), weight.reshape(-1), y.reshape(shape))
        ctx.save(x, weight)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        x, weight = ctx.saved
        if x.size == 0:
            return ctx.empty_like(x), arrays.full(weight.shape, 0, weight.dtype)
        shape = _by_channel(x.shape, weight.size)
        dx, dweight = ctx.empty_like(x), ctx.empty(-(-shape[0] // ROWS), weight.size, dtype=x.dtype)
        dy = arrays.contiguous(dy)
        prelu_backward(dy.reshape(shape), x.reshape(shape), weight.reshape(-1), dx.reshape(shape), dweight)
        return dx, arrays.sum_rows(dweight).reshape(weight.shape)


def _by_channel(shape: tuple[int, ...], channels: int) -> tuple[int, int, int]:
    """[N, C, S] for an input of a shape; with one slope for all, rows of elements that make good tasks."""
    size = math.prod(shape)
    if channels == 1:
        rows = shape[0] if len(shape) > 1 else 1
        return rows, 1, size // rows
    return shape[0], channels, size // (shape[0] * channels)


# ---------------------------------------------------------------- public


def glu(input: Tensor, dim: int = -1) -> Tensor:
    r"""Multiplies one half of the input with the sigmoid of the other: $y = a\, \sigma(b)$.

    Args:
        input: [*, 2D, *], float32 or float64; a is the first half along `dim`, b the second.
        dim: The dimension to split.

    Returns:
        [*, D, *], dtype of the input.

    Raises:
        ShapeError: The input has no dimensions, or the size of `dim` is odd.
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input: dy sigmoid(b) for a, and dy a sigmoid(b) (1 - sigmoid(b)) for b.

    Example:
        >>> nbdl.ops.glu(nbdl.tensor([1.0, 2.0, 0.0, 0.0]))
        tensor([0.5000, 1.0000])
    """
    check_float("input", input)
    if input.ndim == 0:
        raise ShapeError("input: expected at least 1 dimension, got shape []")
    dim = check_dim("dim", dim, input.ndim)
    if input.shape[dim] % 2:
        raise ShapeError(f"input: expected an even size of dimension {dim}, got shape {list(input.shape)}")
    return GluOp.apply(input, dim)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    r"""Shrinks negative elements by learned slopes: $y = \max(0, x) + w \min(0, x)$.

    Args:
        input: [N, C, *], float32 or float64; [*] with one slope.
        weight: [C] or [1] or [], dtype of the input.

    Returns:
        The shape and dtype of the input.

    Raises:
        DTypeError: The dtypes differ, or are not floating point.
        ShapeError: The number of slopes is neither 1 nor that of the channels.

    Gradient:
        For input: dy where x > 0, else w dy. For weight: the sum of x dy over elements that are not positive.

    Example:
        >>> nbdl.ops.prelu(nbdl.tensor([-2.0, 3.0]), nbdl.tensor([0.25]))
        tensor([-0.5000,  3.0000])
    """
    check_float("input", input)
    check_same_dtype("weight", weight, "input", input)
    if weight.ndim > 1:
        raise ShapeError(f"weight: expected at most 1 dimension, got shape {list(weight.shape)}")
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.numel() != 1 and (input.ndim == 0 or weight.numel() != channels):
        raise ShapeError(f"weight: expected 1 or {channels} slopes, got {weight.numel()}")
    return PreluOp.apply(input, weight)
