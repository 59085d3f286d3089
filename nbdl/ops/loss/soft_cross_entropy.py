r"""Cross-entropy between scores and probabilities of the classes.

Forward, for scores $x$ and probabilities $t$ [N, C], class weights $w$ and label smoothing $\varepsilon$, with
$t'_{nc} = (1 - \varepsilon) t_{nc} + \varepsilon / C$ and $L_n = \log \sum_c e^{x_{nc}}$:

$$\ell_n = \sum_c t'_{nc} w_c (L_n - x_{nc}).$$

Backward, with $p$ the softmax of the scores and $g_n$ the gradient of $\ell_n$:

$$dx_{nc} = g_n \Big( p_{nc} \sum_k t'_{nk} w_k - t'_{nc} w_c \Big), \qquad
dt_{nc} = g_n (1 - \varepsilon)\, w_c (L_n - x_{nc}).$$

Source: Hinton, Vinyals and Dean (2015), "Distilling the Knowledge in a Neural Network", for targets that are
probabilities.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Context, Op
from nbdl.ops.loss.arguments import refuse_nan_of
from nbdl.ops.reduction.fold import maximum, unsigned
from nbdl.ops.reduction.sums import sum_fold
from nbdl.runtime import arrays, memory
from nbdl.runtime.cuda.primitives import WARP, warp_max, warp_sum
from nbdl.runtime.jit import Kernel, cpu_kernel, cuda, cuda_kernel, exact
from nbdl.runtime.vecmath import exp, log

EXP_WORK = 8
"""Scalar operations that an element costs, about."""

# ---------------------------------------------------------------- reference


def soft_cross_entropy_reference(input, target, weight=None, reduction="mean", label_smoothing=0.0):
    """The definition, in float64: input and target [N, C, ...] or [C]."""
    scores, wanted = (np.moveaxis(a, 1, -1) if a.ndim > 1 else a for a in (input, target))
    classes = scores.shape[-1]
    highest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    negative_log = highest + np.log(np.exp(scores - highest).sum(axis=-1, keepdims=True)) - scores
    smooth = (1 - label_smoothing) * wanted + label_smoothing / classes
    losses = (smooth * negative_log * (1.0 if weight is None else weight)).sum(axis=-1)
    if reduction == "none":
        return losses
    with np.errstate(invalid="ignore", divide="ignore"):
        return losses.sum() / np.float64(losses.size) if reduction == "mean" else losses.sum()


# ---------------------------------------------------------------- forward


@exact
def minus_log_probability(x, highest, logarithm):
    """In this order: to large scores a small logarithm could not be added."""
    return logarithm - (x - highest)


@cpu_kernel
def _soft_cross_entropy_forward_cpu(x, target, weight, smoothing, losses, highest, sums, start, stop):
    """x, target [N, C]; weight [C] or [0]; smoothing [1]; losses, highest, sums [N]. One task a row."""
    c = unsigned(x.shape[1])
    weighted = weight.shape[0] > 0
    sharp = x.dtype.type(1) - smoothing[0]
    share = smoothing[0] / x.dtype.type(x.shape[1])
    for row in range(start, stop):
        high = x.dtype.type(-np.inf)
        for j in range(c):
            high = maximum(high, x[row, j])
        total = x.dtype.type(0)
        for j in range(c):
            total += exp(x[row, j] - high)
        logarithm = log(total)
        loss = x.dtype.type(0)
        if weighted:
            for j in range(c):
                value = (sharp * target[row, j] + share) * weight[j]
                loss += value * minus_log_probability(x[row, j], high, logarithm)
        else:
            for j in range(c):
                value = sharp * target[row, j] + share
                loss += value * minus_log_probability(x[row, j], high, logarithm)
        highest[row] = high
        sums[row] = total
        losses[row] = loss


@cuda_kernel
def _soft_cross_entropy_forward_cuda(x, target, weight, smoothing, losses, highest, sums):
    """As the CPU twin. One warp a row."""
    row = cuda.blockIdx.x
    c = x.shape[1]
    sharp = x.dtype.type(1) - smoothing[0]
    share = smoothing[0] / x.dtype.type(c)
    high = x.dtype.type(-np.inf)
    for j in range(cuda.threadIdx.x, c, WARP):
        if x[row, j] > high or x[row, j] != x[row, j]:
            high = x[row, j]
    high = warp_max(high)
    total = x.dtype.type(0)
    for j in range(cuda.threadIdx.x, c, WARP):
        total += exp(x[row, j] - high)
    total = warp_sum(total)
    logarithm = log(total)
    loss = x.dtype.type(0)
    for j in range(cuda.threadIdx.x, c, WARP):
        value = (sharp * target[row, j] + share) * minus_log_probability(x[row, j], high, logarithm)
        loss += value * weight[j] if weight.shape[0] > 0 else value
    loss = warp_sum(loss)
    if cuda.threadIdx.x == 0:
        highest[row] = high
        sums[row] = total
        losses[row] = loss


soft_cross_entropy_forward = Kernel(
    cpu=_soft_cross_entropy_forward_cpu,
    cuda=_soft_cross_entropy_forward_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: EXP_WORK * x.size,
    threads=WARP,
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _soft_cross_entropy_backward_cpu(dy, rows, x, target, weight, smoothing, highest, sums, dx, dtarget, start, stop):
    """dy [N] or [1], divided by `rows`; x, target, dx [N, C]; weight [C] or [0]; smoothing [1]; highest, sums [N].

    dtarget [N, C], or [0, 0] if it is not wanted. One task a row.
    """
    c = unsigned(x.shape[1])
    weighted = weight.shape[0] > 0
    sharp = x.dtype.type(1) - smoothing[0]
    share = smoothing[0] / x.dtype.type(x.shape[1])
    for row in range(start, stop):
        g = dy[row if dy.shape[0] > 1 else 0] / x.dtype.type(rows)
        high, total = highest[row], sums[row]
        logarithm = log(total)
        mass = x.dtype.type(0)
        for j in range(c):
            w = weight[j] if weighted else x.dtype.type(1)
            mass += (sharp * target[row, j] + share) * w
        for j in range(c):
            w = weight[j] if weighted else x.dtype.type(1)
            dx[row, j] = g * (exp(x[row, j] - high) * (mass / total) - (sharp * target[row, j] + share) * w)
        if dtarget.shape[0] > 0:
            for j in range(c):
                w = weight[j] if weighted else x.dtype.type(1)
                dtarget[row, j] = g * sharp * w * minus_log_probability(x[row, j], high, logarithm)


@cuda_kernel
def _soft_cross_entropy_backward_cuda(dy, rows, x, target, weight, smoothing, highest, sums, dx, dtarget):
    """As the CPU twin. One warp a row."""
    row = cuda.blockIdx.x
    c = x.shape[1]
    weighted = weight.shape[0] > 0
    sharp = x.dtype.type(1) - smoothing[0]
    share = smoothing[0] / x.dtype.type(c)
    g = dy[row if dy.shape[0] > 1 else 0] / x.dtype.type(rows)
    mass = x.dtype.type(0)
    for j in range(cuda.threadIdx.x, c, WARP):
        w = weight[j] if weighted else x.dtype.type(1)
        mass += (sharp * target[row, j] + share) * w
    mass = warp_sum(mass) / sums[row]
    logarithm = log(sums[row])
    for j in range(cuda.threadIdx.x, c, WARP):
        w = weight[j] if weighted else x.dtype.type(1)
        dx[row, j] = g * (exp(x[row, j] - highest[row]) * mass - (sharp * target[row, j] + share) * w)
        if dtarget.shape[0] > 0:
            dtarget[row, j] = g * sharp * w * minus_log_probability(x[row, j], highest[row], logarithm)


soft_cross_entropy_backward = Kernel(
    cpu=_soft_cross_entropy_backward_cpu,
    cuda=_soft_cross_entropy_backward_cuda,
    tasks=lambda dy, rows, x, *_: x.shape[0],
    work=lambda dy, rows, x, *_: EXP_WORK * x.size,
    threads=WARP,
)

# ---------------------------------------------------------------- autograd


def rows_of(x: Any) -> Any:
    """Scores [C], [N, C] or [N, C, d1, ...] as contiguous rows [N d1 ..., C]."""
    if x.ndim == 2:
        return arrays.contiguous(x)
    if x.ndim == 1:
        return arrays.contiguous(x).reshape(1, -1)
    return arrays.contiguous(x.transpose(0, *range(2, x.ndim), 1)).reshape(-1, x.shape[1])


def from_rows(rows: Any, shape: tuple[int, ...]) -> Any:
    """Rows [N d1 ..., C] in the shape of the scores they came from: a view."""
    if len(shape) < 3:
        return rows.reshape(shape)
    rank = len(shape)
    return rows.reshape(shape[0], *shape[2:], shape[1]).transpose(0, rank - 1, *range(1, rank - 1))


class SoftCrossEntropyOp(Op):
    """Cross-entropy with probabilities: saves scores, probabilities and two numbers for each row."""

    @staticmethod
    def forward(ctx: Context, x, target, weight, smoothing, reduction):
        rows, wanted = rows_of(x), rows_of(target)
        n = rows.shape[0]
        losses, highest, sums = memory.empty((3, n), x.dtype)
        soft_cross_entropy_forward(rows, wanted, weight, smoothing, losses, highest, sums)
        ctx.save(rows, wanted)
        ctx.options = x.shape, weight, smoothing, highest, sums, n if reduction == "mean" else 1
        line = losses.reshape(1, n, 1)
        y = sum_fold(line, n if reduction == "mean" else 1).reshape(())
        refuse_nan_of(y, target)
        return losses.reshape(x.shape[:1] + x.shape[2:] if x.ndim > 1 else ()) if reduction == "none" else y

    @staticmethod
    def backward(ctx: Context, dy):
        rows, wanted = ctx.saved
        shape, weight, smoothing, highest, sums, count = ctx.options
        dx = memory.empty(rows.shape, rows.dtype)
        dtarget = memory.empty(rows.shape if ctx.needs_input_grad[1] else (0, 0), rows.dtype)
        dy = arrays.contiguous(dy).reshape(-1)
        soft_cross_entropy_backward(dy, count, rows, wanted, weight, smoothing, highest, sums, dx, dtarget)
        return from_rows(dx, shape), (from_rows(dtarget, shape) if dtarget.size else None), None, None, None
