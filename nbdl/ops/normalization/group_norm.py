r"""Group and instance normalization: in each sample, groups of channels brought to mean 0 and variance 1.

Forward, for a sample n and a group g of m = S C / G elements $x_{ci}$ (channels c of the group, places i):

$$
\mu = \tfrac1m \sum_{ci} x_{ci}, \qquad
\sigma^2 = \tfrac1m \sum_{ci} (x_{ci} - \mu)^2, \qquad
r = (\sigma^2 + \varepsilon)^{-1/2}, \qquad
\hat x_{ci} = (x_{ci} - \mu)\, r, \qquad
y_{ci} = w_c \hat x_{ci} + b_c
$$

Backward:

$$
dw_c = \sum_{ni} dy_{ci}\, \hat x_{ci}, \qquad
db_c = \sum_{ni} dy_{ci}, \qquad
dx_{ci} = r \Big( w_c\, dy_{ci} - \tfrac1m \sum_{kj} w_k\, dy_{kj}
    - \hat x_{ci}\, \tfrac1m \sum_{kj} w_k\, dy_{kj}\, \hat x_{kj} \Big)
$$

One group is layer normalization of whole samples; a group for each channel is instance normalization, which may follow
its moments as batch normalization does and use them in evaluation.

Letters: N batch, C channels, S places of an image, G groups. Sources: Wu and He (2018), "Group Normalization",
equations 1, 2 and 7; Ulyanov, Vedaldi and Lempitsky (2016), "Instance Normalization: The Missing Ingredient for Fast
Stylization", equation 2.
"""

from __future__ import annotations

import math

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.normalization.batch_norm import batch_norm, batch_norm_reference
from nbdl.ops.normalization.fetching import fetch_row
from nbdl.ops.normalization.layout import arranged, check_parameters, given_or, lies_last, restored, zeros
from nbdl.ops.normalization.scalars import reciprocal_root
from nbdl.ops.reduction.fold import unsigned
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_float, check_int, check_number
from nbdl.runtime.cuda.primitives import block_sum
from nbdl.runtime.errors import ArgumentError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- reference


def group_norm_reference(input, num_groups, weight=None, bias=None, eps=1e-5):
    """The definition, in float64: input [N, C, *], weight and bias [C] -> [N, C, *]."""
    if not input.size:
        return input
    grouped = input.reshape(input.shape[0], num_groups, -1)
    mean = grouped.mean(axis=2, keepdims=True)
    variance = ((grouped - mean) ** 2).mean(axis=2, keepdims=True)
    normal = ((grouped - mean) / np.sqrt(variance + eps)).reshape(input.shape)
    shape = (-1, *(1,) * (input.ndim - 2))
    return normal * (1 if weight is None else weight.reshape(shape)) + (0 if bias is None else bias.reshape(shape))


def instance_norm_reference(
    input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
):
    """The definition, in float64. The running moments follow the means, over the batch, of those of the instances."""
    if not use_input_stats:
        return batch_norm_reference(input, running_mean, running_var, weight, bias, False, momentum, eps)
    axes = tuple(range(2, input.ndim))
    if running_mean is not None:
        running_mean += momentum * (np.mean(input, axis=axes).mean(axis=0) - running_mean)
    if running_var is not None:
        running_var += momentum * (np.var(input, axis=axes, ddof=1).mean(axis=0) - running_var)
    return group_norm_reference(input, input.shape[1], weight, bias, eps)


# ---------------------------------------------------------------- forward


@cpu_kernel
def _group_norm_planes_cpu(x, weight, bias, eps, y, mean, variance, rstd, start, stop):
    """x, y [N, C, S]; weight, bias [C]; mean, variance, rstd [N, G]. One task a group of a sample."""
    _, channels, places = x.shape
    groups = mean.shape[1]
    size = channels // groups
    count = x.dtype.type(size * places)
    for task in range(start, stop):
        n, g = task // groups, task % groups
        total = x.dtype.type(0)
        for c in range(g * size, (g + 1) * size):
            for s in range(unsigned(places)):
                total += x[n, c, s]
        mu = total / count
        squares = x.dtype.type(0)
        for c in range(g * size, (g + 1) * size):
            for s in range(unsigned(places)):
                squares += (x[n, c, s] - mu) * (x[n, c, s] - mu)
        r = reciprocal_root(squares / count + eps)
        for c in range(g * size, (g + 1) * size):
            scale, shift = r * weight[c], bias[c]
            for s in range(unsigned(places)):
                y[n, c, s] = (x[n, c, s] - mu) * scale + shift
        mean[n, g] = mu
        variance[n, g] = squares / count
        rstd[n, g] = r


@cuda_kernel
def _group_norm_planes_cuda(x, weight, bias, eps, y, mean, variance, rstd):
    """As the CPU twin. One block a group of a sample."""
    _, channels, places = x.shape
    groups = mean.shape[1]
    size = channels // groups
    n, g = cuda.blockIdx.x // groups, cuda.blockIdx.x % groups
    count = x.dtype.type(size * places)
    total = x.dtype.type(0)
    for i in range(cuda.threadIdx.x, size * places, BLOCK):
        total += x[n, g * size + i // places, i % places]
    mu = block_sum(total) / count
    squares = x.dtype.type(0)
    for i in range(cuda.threadIdx.x, size * places, BLOCK):
        apart = x[n, g * size + i // places, i % places] - mu
        squares += apart * apart
    squares = block_sum(squares)
    r = reciprocal_root(squares / count + eps)
    for i in range(cuda.threadIdx.x, size * places, BLOCK):
        c, s = g * size + i // places, i % places
        y[n, c, s] = (x[n, c, s] - mu) * (r * weight[c]) + bias[c]
    if cuda.threadIdx.x == 0:
        mean[n, g] = mu
        variance[n, g] = squares / count
        rstd[n, g] = r


group_norm_planes = Kernel(
    cpu=_group_norm_planes_cpu,
    cuda=_group_norm_planes_cuda,
    tasks=lambda x, weight, bias, eps, y, mean, *_: mean.size,
    work=lambda x, *_: 4 * x.size,
)


@cpu_kernel
def _group_norm_columns_cpu(x, weight, bias, eps, y, mean, variance, rstd, total, factor, start, stop):
    """x, y [N, S, C]; weight, bias [C]; mean, variance, rstd [N, G]; total, factor [N, C], room. One task a sample."""
    _, places, channels = x.shape
    groups = mean.shape[1]
    size = channels // groups
    count = x.dtype.type(size * places)
    columns = unsigned(channels)
    fours = places // 4 * 4
    for n in range(start, stop):
        for c in range(columns):
            total[n, c] = 0
        for s in range(0, fours, 4):
            for ahead in range(s, s + 4):
                fetch_row(x, n * places + ahead)
            for c in range(columns):
                total[n, c] += (x[n, s, c] + x[n, s + 1, c]) + (x[n, s + 2, c] + x[n, s + 3, c])
        for s in range(fours, places):
            for c in range(columns):
                total[n, c] += x[n, s, c]
        for g in range(groups):
            amount = x.dtype.type(0)
            for c in range(g * size, (g + 1) * size):
                amount += total[n, c]
            mean[n, g] = amount / count
            for c in range(g * size, (g + 1) * size):
                total[n, c] = mean[n, g]
                factor[n, c] = 0
        for s in range(0, fours, 4):
            for c in range(columns):
                mu = total[n, c]
                p, q = x[n, s, c] - mu, x[n, s + 1, c] - mu
                u, v = x[n, s + 2, c] - mu, x[n, s + 3, c] - mu
                factor[n, c] += (p * p + q * q) + (u * u + v * v)
        for s in range(fours, places):
            for c in range(columns):
                factor[n, c] += (x[n, s, c] - total[n, c]) * (x[n, s, c] - total[n, c])
        for g in range(groups):
            squares = x.dtype.type(0)
            for c in range(g * size, (g + 1) * size):
                squares += factor[n, c]
            variance[n, g] = squares / count
            rstd[n, g] = reciprocal_root(squares / count + eps)
            for c in range(g * size, (g + 1) * size):
                factor[n, c] = rstd[n, g] * weight[c]
        for s in range(places):
            fetch_row(y, n * places + s)
            for c in range(columns):
                y[n, s, c] = (x[n, s, c] - total[n, c]) * factor[n, c] + bias[c]


@cuda_kernel
def _group_norm_columns_cuda(x, weight, bias, eps, y, mean, variance, rstd, total, factor):
    """As the CPU twin; the room is not used. One block a group of a sample."""
    _, places, channels = x.shape
    groups = mean.shape[1]
    size = channels // groups
    n, g = cuda.blockIdx.x // groups, cuda.blockIdx.x % groups
    count = x.dtype.type(size * places)
    amount = x.dtype.type(0)
    for i in range(cuda.threadIdx.x, size * places, BLOCK):
        amount += x[n, i // size, g * size + i % size]
    mu = block_sum(amount) / count
    squares = x.dtype.type(0)
    for i in range(cuda.threadIdx.x, size * places, BLOCK):
        apart = x[n, i // size, g * size + i % size] - mu
        squares += apart * apart
    squares = block_sum(squares)
    r = reciprocal_root(squares / count + eps)
    for i in range(cuda.threadIdx.x, size * places, BLOCK):
        s, c = i // size, g * size + i % size
        y[n, s, c] = (x[n, s, c] - mu) * (r * weight[c]) + bias[c]
    if cuda.threadIdx.x == 0:
        mean[n, g] = mu
        variance[n, g] = squares / count
        rstd[n, g] = r


group_norm_columns = Kernel(
    cpu=_group_norm_columns_cpu,
    cuda=_group_norm_columns_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: 4 * x.size,
    blocks=lambda x, weight, bias, eps, y, mean, *_: mean.size,
)


@cpu_kernel
def _follow_cpu(moments, momentum, factor, running, start, stop):
    """moments [N, C]; running [C] moves by the momentum towards `factor` times the moments' sum. One task a channel."""
    for c in range(start, stop):
        total = moments.dtype.type(0)
        for n in range(moments.shape[0]):
            total += moments[n, c]
        running[c] += momentum * (total * factor - running[c])


@cuda_kernel
def _follow_cuda(moments, momentum, factor, running):
    """As the CPU twin. One thread a channel."""
    c = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if c < running.shape[0]:
        total = moments.dtype.type(0)
        for n in range(moments.shape[0]):
            total += moments[n, c]
        running[c] += momentum * (total * factor - running[c])


follow = Kernel(
    cpu=_follow_cpu,
    cuda=_follow_cuda,
    tasks=lambda moments, *_: moments.shape[1],
    work=lambda moments, *_: moments.size,
    blocks=lambda moments, *_: -(-moments.shape[1] // BLOCK),
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _group_norm_planes_backward_cpu(dy, x, weight, mean, rstd, dx, dweight, dbias, start, stop):
    """dy, x, dx [N, C, S]; weight [C]; mean, rstd [N, G]; dweight, dbias [N, C], a sample's sums.

    One task a group of a sample.
    """
    _, channels, places = x.shape
    groups = mean.shape[1]
    size = channels // groups
    count = x.dtype.type(size * places)
    for task in range(start, stop):
        n, g = task // groups, task % groups
        mu, r = mean[n, g], rstd[n, g]
        sum_g = x.dtype.type(0)
        sum_gx = x.dtype.type(0)
        for c in range(g * size, (g + 1) * size):
            total = x.dtype.type(0)
            products = x.dtype.type(0)
            for s in range(unsigned(places)):
                total += dy[n, c, s]
                products += dy[n, c, s] * (x[n, c, s] - mu)
            dbias[n, c] = total
            dweight[n, c] = products * r
            sum_g += weight[c] * total
            sum_gx += weight[c] * (products * r)
        slope = -r * r * sum_gx / count
        offset = -r * sum_g / count
        for c in range(g * size, (g + 1) * size):
            scale = r * weight[c]
            for s in range(unsigned(places)):
                dx[n, c, s] = scale * dy[n, c, s] + slope * (x[n, c, s] - mu) + offset


@cuda_kernel
def _group_norm_planes_backward_cuda(dy, x, weight, mean, rstd, dx, dweight, dbias):
    """As the CPU twin. One block a group of a sample."""
    _, channels, places = x.shape
    groups = mean.shape[1]
    size = channels // groups
    n, g = cuda.blockIdx.x // groups, cuda.blockIdx.x % groups
    count = x.dtype.type(size * places)
    mu, r = mean[n, g], rstd[n, g]
    sum_g = x.dtype.type(0)
    sum_gx = x.dtype.type(0)
    for c in range(g * size, (g + 1) * size):
        total = x.dtype.type(0)
        products = x.dtype.type(0)
        for s in range(cuda.threadIdx.x, places, BLOCK):
            total += dy[n, c, s]
            products += dy[n, c, s] * (x[n, c, s] - mu)
        total = block_sum(total)
        products = block_sum(products) * r
        if cuda.threadIdx.x == 0:
            dbias[n, c] = total
            dweight[n, c] = products
        sum_g += weight[c] * total
        sum_gx += weight[c] * products
    slope = -r * r * sum_gx / count
    offset = -r * sum_g / count
    for i in range(cuda.threadIdx.x, size * places, BLOCK):
        c, s = g * size + i // places, i % places
        dx[n, c, s] = r * weight[c] * dy[n, c, s] + slope * (x[n, c, s] - mu) + offset


group_norm_planes_backward = Kernel(
    cpu=_group_norm_planes_backward_cpu,
    cuda=_group_norm_planes_backward_cuda,
    tasks=lambda dy, x, weight, mean, *_: mean.size,
    work=lambda dy, x, *_: 4 * x.size,
)


@cpu_kernel
def _group_norm_columns_backward_cpu(dy, x, weight, mean, rstd, dx, dweight, dbias, centre, slope, offset, start, stop):
    """dy, x, dx [N, S, C]; weight [C]; mean, rstd [N, G]; dweight, dbias [N, C], a sample's sums.

    centre, slope, offset [N, C], room. One task a sample.
    """
    _, places, channels = x.shape
    groups = mean.shape[1]
    size = channels // groups
    count = x.dtype.type(size * places)
    columns = unsigned(channels)
    fours = places // 4 * 4
    for n in range(start, stop):
        for g in range(groups):
            for c in range(g * size, (g + 1) * size):
                centre[n, c] = mean[n, g]
                dweight[n, c] = 0
                dbias[n, c] = 0
        for s in range(0, fours, 4):
            for ahead in range(s, s + 4):
                fetch_row(x, n * places + ahead)
                fetch_row(dy, n * places + ahead)
            for c in range(columns):
                mu = centre[n, c]
                p, q, u, v = dy[n, s, c], dy[n, s + 1, c], dy[n, s + 2, c], dy[n, s + 3, c]
                dbias[n, c] += (p + q) + (u + v)
                dweight[n, c] += (p * (x[n, s, c] - mu) + q * (x[n, s + 1, c] - mu)) + (
                    u * (x[n, s + 2, c] - mu) + v * (x[n, s + 3, c] - mu)
                )
        for s in range(fours, places):
            for c in range(columns):
                dbias[n, c] += dy[n, s, c]
                dweight[n, c] += dy[n, s, c] * (x[n, s, c] - centre[n, c])
        for g in range(groups):
            r = rstd[n, g]
            sum_g = x.dtype.type(0)
            sum_gx = x.dtype.type(0)
            for c in range(g * size, (g + 1) * size):
                dweight[n, c] *= r
                sum_g += weight[c] * dbias[n, c]
                sum_gx += weight[c] * dweight[n, c]
            for c in range(g * size, (g + 1) * size):
                slope[n, c] = -r * r * sum_gx / count
                offset[n, c] = -r * sum_g / count
        for g in range(groups):
            for c in range(g * size, (g + 1) * size):
                offset[n, c] -= slope[n, c] * centre[n, c]
                centre[n, c] = rstd[n, g] * weight[c]
        for s in range(places):
            fetch_row(dx, n * places + s)
            for c in range(columns):
                dx[n, s, c] = centre[n, c] * dy[n, s, c] + slope[n, c] * x[n, s, c] + offset[n, c]


@cuda_kernel
def _group_norm_columns_backward_cuda(dy, x, weight, mean, rstd, dx, dweight, dbias, centre, slope, offset):
    """As the CPU twin; the room is not used. One block a group of a sample."""
    _, places, channels = x.shape
    groups = mean.shape[1]
    size = channels // groups
    n, g = cuda.blockIdx.x // groups, cuda.blockIdx.x % groups
    count = x.dtype.type(size * places)
    mu, r = mean[n, g], rstd[n, g]
    sum_g = x.dtype.type(0)
    sum_gx = x.dtype.type(0)
    for c in range(g * size + cuda.threadIdx.x, (g + 1) * size, BLOCK):
        total = x.dtype.type(0)
        products = x.dtype.type(0)
        for s in range(places):
            total += dy[n, s, c]
            products += dy[n, s, c] * (x[n, s, c] - mu)
        dbias[n, c] = total
        dweight[n, c] = products * r
        sum_g += weight[c] * total
        sum_gx += weight[c] * (products * r)
    factor = -r * r * block_sum(sum_gx) / count
    shift = -r * block_sum(sum_g) / count
    for i in range(cuda.threadIdx.x, size * places, BLOCK):
        s, c = i // size, g * size + i % size
        dx[n, s, c] = r * weight[c] * dy[n, s, c] + factor * (x[n, s, c] - mu) + shift


group_norm_columns_backward = Kernel(
    cpu=_group_norm_columns_backward_cpu,
    cuda=_group_norm_columns_backward_cuda,
    tasks=lambda dy, x, *_: x.shape[0],
    work=lambda dy, x, *_: 4 * x.size,
    blocks=lambda dy, x, weight, mean, *_: mean.size,
)

# ---------------------------------------------------------------- autograd


class GroupNormOp(Op):
    """y = group_norm(x), and running moments moved where they are given: saves x, weight, two numbers a group."""

    @staticmethod
    def forward(ctx: Context, x, running_mean, running_var, weight, bias, groups, momentum, eps):
        n, channels = x.shape[:2]
        dtype = x.dtype
        ctx.shape = x.shape
        if not x.size:
            return ctx.empty_like(x)
        ctx.last = lies_last(x)
        x = arranged(x, ctx.last)
        y = ctx.empty_like(x)
        weight = given_or(weight, 1, channels, dtype)
        bias = given_or(bias, 0, channels, dtype)
        mean, variance, rstd = memory.empty((3, n, groups), dtype)
        if ctx.last:
            total, factor = memory.empty((2, n, channels), dtype)
            group_norm_columns(x, weight, bias, dtype.type(eps), y, mean, variance, rstd, total, factor)
        else:
            group_norm_planes(x, weight, bias, dtype.type(eps), y, mean, variance, rstd)
        count = x.size // (n * groups)
        unbiased = count / max(count - 1, 1) / n
        for moments, running, factor in ((mean, running_mean, 1 / n), (variance, running_var, unbiased)):
            if running is not None:
                moved = arrays.contiguous(running)
                follow(moments, dtype.type(momentum), dtype.type(factor), moved)
                if moved is not running:
                    arrays.copy_into(running, moved)
        ctx.save(x, weight, mean, rstd)
        return restored(y, ctx.shape, ctx.last)

    @staticmethod
    def backward(ctx: Context, dy):
        n, channels = ctx.shape[:2]
        if not dy.size:
            dx = ctx.empty_like(dy)
            return dx, None, None, zeros(channels, dtype=dy.dtype), zeros(channels, dtype=dy.dtype), None, None, None
        x, weight, mean, rstd = ctx.saved
        dy = arranged(dy, ctx.last)
        dx = ctx.empty_like(x)
        dweight, dbias = memory.empty((2, n, channels), x.dtype)
        if ctx.last:
            centre, slope, offset = memory.empty((3, n, channels), x.dtype)
            group_norm_columns_backward(dy, x, weight, mean, rstd, dx, dweight, dbias, centre, slope, offset)
        else:
            group_norm_planes_backward(dy, x, weight, mean, rstd, dx, dweight, dbias)
        dx = restored(dx, ctx.shape, ctx.last)
        return dx, None, None, arrays.sum_rows(dweight), arrays.sum_rows(dbias), None, None, None


# ---------------------------------------------------------------- public


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    r"""Brings groups of channels of each sample to mean 0 and variance 1, then scales and shifts each channel.

    $y = \frac{x - \mathrm{E}[x]}{\sqrt{\mathrm{Var}[x] + \varepsilon}} \cdot w + b$, the moments taken over the C / G
    channels of a group and all places, the variance biased. Nothing depends on other samples.

    Args:
        input: [N, C, *], float32 or float64; its memory may lie channels-first or channels-last.
        num_groups: Number of groups G; it divides C.
        weight: [C], the scale; ones when None.
        bias: [C], the shift; zeros when None.
        eps: Added to the variance.

    Returns:
        [N, C, *], dtype and memory order of the input.

    Raises:
        ShapeError: The input has fewer than 2 dimensions, a parameter's shape is not [C], or there is one value in all.
        DTypeError: The input is not floating point, or a parameter is of another dtype.
        ArgumentError: num_groups does not divide the number of channels.

    Gradient:
        For input, weight and bias.

    Example:
        >>> nbdl.ops.group_norm(nbdl.tensor([[1.0, 3.0, 10.0, 30.0]]), 2)
        tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])

    Source:
        Wu and He (2018), "Group Normalization", equations 1, 2 and 7.
    """
    check_float("input", input)
    if input.ndim < 2:
        raise ShapeError(f"input: expected [N, C, *], got shape {list(input.shape)}")
    n, channels = input.shape[:2]
    groups = check_int("num_groups", num_groups, low=1)
    if channels % groups:
        raise ArgumentError(f"num_groups: expected a divisor of the {channels} channels, got {num_groups}")
    check_parameters(input, (channels,), weight=weight, bias=bias)
    if n * channels // groups * math.prod(input.shape[2:]) == 1:
        raise ShapeError(f"input: expected more than 1 value, got shape {list(input.shape)} in {groups} groups")
    return GroupNormOp.apply(input, None, None, weight, bias, groups, 0.0, check_number("eps", eps))


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    r"""Brings each channel of each sample to mean 0 and variance 1, then scales and shifts it.

    $y = \frac{x - \mathrm{E}[x]}{\sqrt{\mathrm{Var}[x] + \varepsilon}} \cdot w + b$, the moments taken over all places
    of one channel of one sample, the variance biased.

    Args:
        input: [N, C, *], float32 or float64; its memory may lie channels-first or channels-last.
        running_mean: [C], moved towards the mean of the instances' means.
        running_var: [C], moved towards the mean of the instances' unbiased variances.
        weight: [C], the scale; ones when None.
        bias: [C], the shift; zeros when None.
        use_input_stats: Whether the moments are the input's; if not, they are the running ones, as in `batch_norm`.
        momentum: How far the running moments move, from 0 (not at all) to 1.
        eps: Added to the variance.

    Returns:
        [N, C, *], dtype and memory order of the input.

    Raises:
        ShapeError: The input has fewer than 2 dimensions, a parameter's shape is not [C], or the moments are the
            input's and there is one place only.
        DTypeError: The input is not floating point, or a parameter is of another dtype.
        ArgumentError: One running moment is given without the other, or they are needed and missing.

    Gradient:
        For input, weight and bias.

    Example:
        >>> nbdl.ops.instance_norm(nbdl.tensor([[[1.0, 3.0], [10.0, 30.0]]]))
        tensor([[[-1.0000,  1.0000],
                 [-1.0000,  1.0000]]])

    Source:
        Ulyanov, Vedaldi and Lempitsky (2016), "Instance Normalization", equation 2.
    """
    check_float("input", input)
    if input.ndim < 2:
        raise ShapeError(f"input: expected [N, C, *], got shape {list(input.shape)}")
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    channels = input.shape[1]
    check_parameters(input, (channels,), running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    check_number("momentum", momentum)
    check_number("eps", eps)
    if (running_mean is None) != (running_var is None):
        raise ArgumentError("running_mean, running_var: expected both or neither, got one")
    if math.prod(input.shape[2:]) == 1:
        raise ShapeError(f"input: expected more than 1 spatial element when training, got shape {list(input.shape)}")
    y = GroupNormOp.apply(input, running_mean, running_var, weight, bias, channels, momentum, eps)
    for moment in (running_mean, running_var):
        if moment is not None:
            moment._version[0] += 1
    return y
