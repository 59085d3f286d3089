r"""Batch normalization: each channel brought to mean 0 and variance 1 over the batch, then scaled and shifted.

Forward, for a channel c with m = N S elements $x_i$ in all samples and places:

$$
\mu = \tfrac1m \sum_i x_i, \qquad
\sigma^2 = \tfrac1m \sum_i (x_i - \mu)^2, \qquad
r = (\sigma^2 + \varepsilon)^{-1/2}, \qquad
\hat x_i = (x_i - \mu)\, r, \qquad
y_i = w \hat x_i + b
$$

Backward; $\mu$ and $r$ depend on every $x_i$:

$$
dw = \sum_i dy_i\, \hat x_i, \qquad
db = \sum_i dy_i, \qquad
dx_i = w\, r \Big( dy_i - \tfrac1m db - \hat x_i\, \tfrac1m dw \Big)
$$

The two subtracted terms take out of dy what a shift and a scale of the channel would do: the forward pass has removed
both. In evaluation $\mu$ and $\sigma^2$ are the running moments, constants, and $dx_i = w\, r\, dy_i$.

The running moments follow the batch's, $\bar\mu \leftarrow (1 - \alpha) \bar\mu + \alpha \mu$, the variance the
unbiased one, $\sigma^2 m / (m - 1)$.

Planes, [N, C, S], are worked on a channel at a time, start to end; columns, [N S, C], by the steps of `batch_columns`.

Letters: N batch, C channels, S places of an image (H W). Source: Ioffe and Szegedy (2015), "Batch Normalization:
Accelerating Deep Network Training by Reducing Internal Covariate Shift", algorithms 1 and 2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.normalization.batch_columns import batch_gradients, batch_moments, scale_columns
from nbdl.ops.normalization.layout import arranged, check_parameters, given_or, lies_last, restored, zeros
from nbdl.ops.normalization.scalars import reciprocal_root
from nbdl.ops.reduction.fold import unsigned
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_float, check_number
from nbdl.runtime.cuda.primitives import block_sum
from nbdl.runtime.errors import ArgumentError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- reference


def batch_norm_reference(
    input, running_mean=None, running_var=None, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """The definition, in float64: input [N, C, *], the others [C] -> [N, C, *]. Moves the running moments."""
    if not input.size:
        return input
    axes = (0, *range(2, input.ndim))
    shape = (-1, *(1,) * (input.ndim - 2))
    mean, variance = running_mean, running_var
    if training:
        mean, variance = np.mean(input, axis=axes), np.var(input, axis=axes)
        count = input.size // input.shape[1]
        if running_mean is not None:
            running_mean += momentum * (mean - running_mean)
        if running_var is not None:
            running_var += momentum * (variance * count / (count - 1) - running_var)
    normal = (input - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + eps)
    return normal * (1 if weight is None else weight.reshape(shape)) + (0 if bias is None else bias.reshape(shape))


# ---------------------------------------------------------------- forward


@cpu_kernel
def _batch_norm_planes_cpu(
    x, weight, bias, eps, momentum, y, mean, rstd, scale, running_mean, running_var, start, stop
):
    """x, y [N, C, S]; the others [C]. One task a channel.

    The variance takes a pass of its own: E[x^2] - mean^2 loses every digit where the mean is large.
    """
    n, _, places = x.shape
    count = x.dtype.type(n * places)
    for c in range(start, stop):
        total = x.dtype.type(0)
        for i in range(n):
            for s in range(unsigned(places)):
                total += x[i, c, s]
        mu = total / count
        squares = x.dtype.type(0)
        for i in range(n):
            for s in range(unsigned(places)):
                squares += (x[i, c, s] - mu) * (x[i, c, s] - mu)
        r = reciprocal_root(squares / count + eps)
        factor, shift = r * weight[c], bias[c]
        for i in range(n):
            for s in range(unsigned(places)):
                y[i, c, s] = (x[i, c, s] - mu) * factor + shift
        mean[c] = mu
        rstd[c] = r
        scale[c] = factor
        running_mean[c] += momentum * (mu - running_mean[c])
        running_var[c] += momentum * (squares / max(count - 1, x.dtype.type(1)) - running_var[c])


@cuda_kernel
def _batch_norm_planes_cuda(x, weight, bias, eps, momentum, y, mean, rstd, scale, running_mean, running_var):
    """As the CPU twin. One block a channel."""
    c = cuda.blockIdx.x
    n, _, places = x.shape
    one = x.dtype.type(1)
    count = x.dtype.type(n * places)
    total = x.dtype.type(0)
    for i in range(n):
        for s in range(cuda.threadIdx.x, places, BLOCK):
            total += x[i, c, s]
    mu = block_sum(total) / count
    squares = x.dtype.type(0)
    for i in range(n):
        for s in range(cuda.threadIdx.x, places, BLOCK):
            squares += (x[i, c, s] - mu) * (x[i, c, s] - mu)
    squares = block_sum(squares)
    r = reciprocal_root(squares / count + eps)
    factor, shift = r * weight[c], bias[c]
    for i in range(n):
        for s in range(cuda.threadIdx.x, places, BLOCK):
            y[i, c, s] = (x[i, c, s] - mu) * factor + shift
    if cuda.threadIdx.x == 0:
        mean[c] = mu
        rstd[c] = r
        scale[c] = factor
        running_mean[c] += momentum * (mu - running_mean[c])
        running_var[c] += momentum * (squares / max(count - one, one) - running_var[c])


batch_norm_planes = Kernel(
    cpu=_batch_norm_planes_cpu,
    cuda=_batch_norm_planes_cuda,
    tasks=lambda x, *_: x.shape[1],
    work=lambda x, *_: 4 * x.size,
)


@cpu_kernel
def _scale_planes_cpu(x, mean, scale, bias, y, start, stop):
    """x, y [N, C, S]; mean, scale, bias [C]: y = (x - mean) scale + bias. One task a plane."""
    _, channels, places = x.shape
    for plane in range(start, stop):
        i, c = plane // channels, plane % channels
        mu, factor, shift = mean[c], scale[c], bias[c]
        for s in range(unsigned(places)):
            y[i, c, s] = (x[i, c, s] - mu) * factor + shift


@cuda_kernel
def _scale_planes_cuda(x, mean, scale, bias, y):
    """As the CPU twin. One block a plane."""
    _, channels, places = x.shape
    i, c = cuda.blockIdx.x // channels, cuda.blockIdx.x % channels
    for s in range(cuda.threadIdx.x, places, BLOCK):
        y[i, c, s] = (x[i, c, s] - mean[c]) * scale[c] + bias[c]


scale_planes = Kernel(
    cpu=_scale_planes_cpu,
    cuda=_scale_planes_cuda,
    tasks=lambda x, *_: x.shape[0] * x.shape[1],
    work=lambda x, *_: x.size,
)


@cpu_kernel
def _running_scale_cpu(running_var, weight, eps, rstd, scale, start, stop):
    """All [C]: rstd = 1 / sqrt(running_var + eps), scale = weight rstd. One task a channel."""
    for c in range(start, stop):
        r = reciprocal_root(running_var[c] + eps)
        rstd[c] = r
        scale[c] = r * weight[c]


@cuda_kernel
def _running_scale_cuda(running_var, weight, eps, rstd, scale):
    """As the CPU twin. One thread a channel."""
    c = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if c < rstd.shape[0]:
        r = reciprocal_root(running_var[c] + eps)
        rstd[c] = r
        scale[c] = r * weight[c]


running_scale = Kernel(
    cpu=_running_scale_cpu,
    cuda=_running_scale_cuda,
    tasks=lambda running_var, *_: running_var.shape[0],
    blocks=lambda running_var, *_: -(-running_var.shape[0] // BLOCK),
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _batch_norm_planes_backward_cpu(dy, x, share, mean, rstd, scale, dx, dweight, dbias, start, stop):
    """dy, x, dx [N, C, S]; the others [C]. One task a channel.

    `share` is 1 / (N S), or 0 when the moments were not the batch's: then they carry no gradient back to x.
    """
    n, _, places = x.shape
    for c in range(start, stop):
        mu, r, factor = mean[c], rstd[c], scale[c]
        total = x.dtype.type(0)
        products = x.dtype.type(0)
        for i in range(n):
            for s in range(unsigned(places)):
                total += dy[i, c, s]
                products += dy[i, c, s] * (x[i, c, s] - mu)
        dbias[c] = total
        dweight[c] = products * r
        slope = x.dtype.type(0)
        offset = x.dtype.type(0)
        if share > 0:
            slope = -share * factor * r * (products * r)
            offset = -share * factor * total
        for i in range(n):
            for s in range(unsigned(places)):
                dx[i, c, s] = factor * dy[i, c, s] + slope * (x[i, c, s] - mu) + offset


@cuda_kernel
def _batch_norm_planes_backward_cuda(dy, x, share, mean, rstd, scale, dx, dweight, dbias):
    """As the CPU twin. One block a channel."""
    c = cuda.blockIdx.x
    n, _, places = x.shape
    mu, r, factor = mean[c], rstd[c], scale[c]
    total = x.dtype.type(0)
    products = x.dtype.type(0)
    for i in range(n):
        for s in range(cuda.threadIdx.x, places, BLOCK):
            total += dy[i, c, s]
            products += dy[i, c, s] * (x[i, c, s] - mu)
    total = block_sum(total)
    products = block_sum(products)
    slope = x.dtype.type(0)
    offset = x.dtype.type(0)
    if share > 0:
        slope = -share * factor * r * (products * r)
        offset = -share * factor * total
    for i in range(n):
        for s in range(cuda.threadIdx.x, places, BLOCK):
            dx[i, c, s] = factor * dy[i, c, s] + slope * (x[i, c, s] - mu) + offset
    if cuda.threadIdx.x == 0:
        dbias[c] = total
        dweight[c] = products * r


batch_norm_planes_backward = Kernel(
    cpu=_batch_norm_planes_backward_cpu,
    cuda=_batch_norm_planes_backward_cuda,
    tasks=lambda dy, x, *_: x.shape[1],
    work=lambda dy, x, *_: 4 * x.size,
)

# ---------------------------------------------------------------- autograd


class BatchNormOp(Op):
    """y = batch_norm(x): saves x and three numbers a channel, not the normalized x: recomputing it is free."""

    @staticmethod
    def forward(ctx: Context, x, running_mean, running_var, weight, bias, training, momentum, eps):
        channels, dtype = x.shape[1], x.dtype
        ctx.shape, ctx.batch = x.shape, training
        if not x.size:
            return ctx.empty_like(x)
        ctx.last = lies_last(x)
        x = arranged(x, ctx.last)
        if ctx.last:
            x = x.reshape(-1, channels)
        elif channels == 1:
            x = x.reshape(1, 1, -1)
        y = ctx.empty_like(x)
        weight = given_or(weight, 1, channels, dtype)
        bias = given_or(bias, 0, channels, dtype)
        eps = dtype.type(eps)
        mean, rstd, scale = memory.empty((3, channels), dtype)
        if training:
            running = [_followed(values, channels, dtype) for values in (running_mean, running_var)]
            if ctx.last:
                batch_moments(x, weight, eps, dtype.type(momentum), mean, rstd, scale, running)
                scale_columns(x, mean, scale, bias, y)
            else:
                batch_norm_planes(x, weight, bias, eps, dtype.type(momentum), y, mean, rstd, scale, *running)
            for values, moved in zip((running_mean, running_var), running, strict=True):
                if values is not None and values is not moved:
                    arrays.copy_into(values, moved)
        else:
            arrays.copy_into(mean, running_mean)
            running_scale(arrays.contiguous(running_var), weight, eps, rstd, scale)
            (scale_columns if ctx.last else scale_planes)(x, mean, scale, bias, y)
        ctx.save(x, mean, rstd, scale)
        return restored(y, ctx.shape, ctx.last)

    @staticmethod
    def backward(ctx: Context, dy):
        channels = ctx.shape[1]
        if not dy.size:
            dx = ctx.empty_like(dy)
            return dx, None, None, zeros(channels, dtype=dy.dtype), zeros(channels, dtype=dy.dtype), None, None, None
        x, mean, rstd, scale = ctx.saved
        dy = arranged(dy, ctx.last).reshape(x.shape)
        dx = ctx.empty_like(x)
        dweight, dbias = memory.empty((channels,), x.dtype), memory.empty((channels,), x.dtype)
        if ctx.last:
            batch_gradients(dy, x, ctx.batch, mean, rstd, scale, dx, dweight, dbias)
        else:
            share = x.dtype.type(channels / x.size if ctx.batch else 0)
            batch_norm_planes_backward(dy, x, share, mean, rstd, scale, dx, dweight, dbias)
        return restored(dx, ctx.shape, ctx.last), None, None, dweight, dbias, None, None, None


def _followed(values: Any, channels: int, dtype: Any) -> Any:
    """Running moments for a kernel to move: the array itself where it is contiguous; waste paper for None."""
    return memory.empty((channels,), dtype) if values is None else arrays.contiguous(values)


# ---------------------------------------------------------------- public


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    r"""Brings each channel to mean 0 and variance 1 over the batch, then scales and shifts it.

    $y = \frac{x - \mathrm{E}[x]}{\sqrt{\mathrm{Var}[x] + \varepsilon}} \cdot w + b$, the moments of a channel taken
    over all samples and places, the variance biased. In evaluation the running moments stand in their place.

    Args:
        input: [N, C, *], float32 or float64; its memory may lie channels-first or channels-last.
        running_mean: [C], moved towards the batch's mean in training; needed in evaluation.
        running_var: [C], moved towards the batch's unbiased variance in training; needed in evaluation.
        weight: [C], the scale; ones when None.
        bias: [C], the shift; zeros when None.
        training: Whether the moments are those of the input.
        momentum: How far the running moments move, from 0 (not at all) to 1 (to the batch's).
        eps: Added to the variance.

    Returns:
        [N, C, *], dtype and memory order of the input.

    Raises:
        ShapeError: The input has fewer than 2 dimensions; a parameter's shape is not [C]; or in training there is one
            value a channel only, whose variance says nothing.
        DTypeError: The input is not floating point, or a parameter is of another dtype.
        ArgumentError: eps is negative, or 0 in training; in evaluation a running moment is missing, in training one.

    Gradient:
        For input, weight and bias. A channel of one repeated value gives zero, not NaN, because of eps.

    Example:
        >>> x = nbdl.tensor([[1.0, 10.0], [3.0, 30.0]])
        >>> nbdl.ops.batch_norm(x, None, None, training=True)
        tensor([[-1.0000, -1.0000],
                [ 1.0000,  1.0000]])

    Source:
        Ioffe and Szegedy (2015), "Batch Normalization", algorithms 1 and 2.
    """
    check_float("input", input)
    if input.ndim < 2:
        raise ShapeError(f"input: expected [N, C, *], got shape {list(input.shape)}")
    check_parameters(
        input, (input.shape[1],), running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    check_number("momentum", momentum)
    check_number("eps", eps, low=0, open_low=bool(training))
    if not training:
        for name, moment in (("running_mean", running_mean), ("running_var", running_var)):
            if moment is None:
                raise ArgumentError(f"{name}: expected a tensor in evaluation (training=False), got None")
    elif (running_mean is None) != (running_var is None):
        raise ArgumentError("running_mean, running_var: expected both or neither, got one")
    elif math.prod(input.shape[2:]) * input.shape[0] == 1:
        raise ShapeError(f"input: expected more than 1 value per channel when training, got shape {list(input.shape)}")
    y = BatchNormOp.apply(input, running_mean, running_var, weight, bias, bool(training), momentum, eps)
    if training:
        for moment in (running_mean, running_var):
            if moment is not None:
                moment._version[0] += 1
    return y
