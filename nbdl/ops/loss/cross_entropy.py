r"""Cross-entropy between scores and classes, softmax included: the loss of classification.

Forward, for scores $x$ [N, C], class ids $t$ [N], class weights $w$ [C] and label smoothing $\varepsilon$, with
$L_n = \log \sum_c e^{x_{nc}}$:

$$
\ell_n = (1 - \varepsilon)\, w_{t_n} (L_n - x_{n t_n}) + \frac{\varepsilon}{C} \sum_c w_c (L_n - x_{nc}), \qquad
\ell = \frac{\sum_n \ell_n}{\sum_n w_{t_n}}
$$

(the mean; the sum leaves the divisor out). Rows of class `ignore_index` count in neither sum.

Backward: $\partial L_n / \partial x_{nc} = p_{nc}$, the softmax, so with $g_n$ the gradient of $\ell_n$ and
$W = \sum_c w_c$

$$
dx_{nc} = g_n \Big( p_{nc} \big( (1 - \varepsilon)\, w_{t_n} + \tfrac{\varepsilon}{C} W \big)
  - (1 - \varepsilon)\, w_{t_n} [c = t_n] - \tfrac{\varepsilon}{C} w_c \Big).
$$

One kernel computes log-sum-exp and loss of each row, one the gradient. Long rows are read again in backward and their
exponentials recomputed: that is cheaper than storing them. Short rows would leave most lanes of a vector idle, so
their exponentials are taken many rows at a time, in one flat loop, and kept.

Source: Szegedy et al. (2016), "Rethinking the Inception Architecture", section 7, for label smoothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.casting import cast
from nbdl.ops.loss.arguments import (
    NO_SMOOTHING,
    NO_WEIGHT,
    REDUCTIONS,
    check_class_ids,
    chosen_reduction,
    class_weight,
)
from nbdl.ops.loss.soft_cross_entropy import SoftCrossEntropyOp, from_rows, minus_log_probability, rows_of
from nbdl.ops.reduction.fold import maximum, unsigned
from nbdl.runtime import arrays, looking, memory
from nbdl.runtime.checks import check_float, check_ids, check_number, check_same_dtype, check_shape
from nbdl.runtime.cuda.primitives import WARP, warp_max, warp_sum
from nbdl.runtime.dtypes import INT64
from nbdl.runtime.errors import ArgumentError, ShapeError
from nbdl.runtime.jit import Kernel, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.vecmath import exp, log

SHORT = 128
"""Classes under which a row is short."""

GROUP = 2048
"""Elements of short rows that are worked on together: they stay in the nearest cache."""

LOSS, HIGHEST, SUM = 0, 1, 2
"""What is noted of each row: its loss, its greatest score, the sum of the exponentials of its scores less that."""

# ---------------------------------------------------------------- reference


def cross_entropy_reference(input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """The definition, in float64: input [N, C, ...], target [N, ...] class ids, or [C] and one id."""
    scores = np.moveaxis(input, 1, -1) if input.ndim > 1 else input
    classes = scores.shape[-1]
    w = np.ones(classes) if weight is None else weight
    highest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    negative_log = highest + np.log(np.exp(scores - highest).sum(axis=-1, keepdims=True)) - scores
    kept = target != ignore_index
    ids = np.where(kept, target, 0)
    weights = np.where(kept, w[ids], 0.0)
    picked = np.take_along_axis(negative_log, ids[..., None], axis=-1)[..., 0]
    smooth = (negative_log * w).sum(axis=-1) / classes
    losses = np.where(kept, (1 - label_smoothing) * weights * picked + label_smoothing * smooth, 0.0)
    if reduction == "none":
        return losses
    with np.errstate(invalid="ignore", divide="ignore"):
        return losses.sum() / weights.sum() if reduction == "mean" else losses.sum()


# ---------------------------------------------------------------- forward


@cpu_kernel
def _cross_entropy_forward_cpu(x, target, weight, ignore, smoothing, notes, e, start, stop):
    """x [N, C]; target [N]; weight [C] or [0]; smoothing [1]; notes [3, N]. One task a row.

    notes takes the rows' losses, their greatest scores and the sums of their exponentials; e takes those exponentials
    if it is [N, C], for short rows, and not [0, 0]. A row whose id is no class gets the loss NaN.
    """
    c = unsigned(x.shape[1])
    weighted = weight.shape[0] > 0
    flat = e.reshape(e.size)
    rows = max(GROUP // max(x.shape[1], 1), 1)
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        # 1. The logarithms of the sums of exponentials, in place of the losses.
        if e.shape[0] > 0:
            for row in range(first, last):
                high = x.dtype.type(-np.inf)
                for j in range(c):
                    high = maximum(high, x[row, j])
                for j in range(c):
                    e[row, j] = x[row, j] - high
                notes[HIGHEST, row] = high
            for i in range(unsigned(first * x.shape[1]), unsigned(last * x.shape[1])):
                flat[i] = exp(flat[i])
            for row in range(first, last):
                total = x.dtype.type(0)
                for j in range(c):
                    total += e[row, j]
                notes[SUM, row] = total
        else:
            for row in range(first, last):
                high = x.dtype.type(-np.inf)
                total = x.dtype.type(0)
                if target[row] != ignore:
                    for j in range(c):
                        high = maximum(high, x[row, j])
                    for j in range(c):
                        total += exp(x[row, j] - high)
                notes[HIGHEST, row] = high
                notes[SUM, row] = total
        for row in range(unsigned(first), unsigned(last)):
            notes[LOSS, row] = log(notes[SUM, row])
        # 2. The losses.
        for row in range(first, last):
            t = target[row]
            if t == ignore:
                notes[LOSS, row] = 0
            elif t < 0 or t >= x.shape[1]:
                notes[LOSS, row] = np.nan
            else:
                high, logarithm = notes[HIGHEST, row], notes[LOSS, row]
                loss = (x.dtype.type(1) - smoothing[0]) * minus_log_probability(x[row, t], high, logarithm)
                if weighted:
                    loss *= weight[t]
                if smoothing[0] > 0:
                    smooth = x.dtype.type(0)
                    for j in range(c):
                        value = minus_log_probability(x[row, j], high, logarithm)
                        smooth += value * weight[j] if weighted else value
                    loss += smoothing[0] / x.dtype.type(x.shape[1]) * smooth
                notes[LOSS, row] = loss


@cuda_kernel
def _cross_entropy_forward_cuda(x, target, weight, ignore, smoothing, notes, e):
    """As the CPU twin. One warp a row."""
    row = cuda.blockIdx.x
    c = x.shape[1]
    weighted = weight.shape[0] > 0
    high = x.dtype.type(-np.inf)
    for j in range(cuda.threadIdx.x, c, WARP):
        if x[row, j] > high or x[row, j] != x[row, j]:
            high = x[row, j]
    high = warp_max(high)
    total = x.dtype.type(0)
    for j in range(cuda.threadIdx.x, c, WARP):
        value = exp(x[row, j] - high)
        total += value
        if e.shape[0] > 0:
            e[row, j] = value
    total = warp_sum(total)
    logarithm = log(total)
    smooth = x.dtype.type(0)
    if smoothing[0] > 0:
        for j in range(cuda.threadIdx.x, c, WARP):
            value = minus_log_probability(x[row, j], high, logarithm)
            smooth += value * weight[j] if weighted else value
        smooth = warp_sum(smooth) * smoothing[0] / x.dtype.type(c)
    if cuda.threadIdx.x == 0:
        t = target[row]
        notes[HIGHEST, row] = high
        notes[SUM, row] = total
        if t == ignore:
            notes[LOSS, row] = 0
        elif t < 0 or t >= c:
            notes[LOSS, row] = x.dtype.type(np.nan)
        else:
            loss = (x.dtype.type(1) - smoothing[0]) * minus_log_probability(x[row, t], high, logarithm)
            if weighted:
                loss *= weight[t]
            notes[LOSS, row] = loss + smooth


EXP_WORK = 8
"""Scalar operations that an element costs, about."""

cross_entropy_forward = Kernel(
    cpu=_cross_entropy_forward_cpu,
    cuda=_cross_entropy_forward_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: EXP_WORK * x.size,
    threads=WARP,
)


@cpu_kernel
def _class_loss_total_cpu(losses, target, weight, ignore, classes, mean, y, tally, start, stop):
    """losses, target [N]; weight [C] or [0]; y [1]; tally [2]. One task: the whole.

    y takes the sum of the losses, divided by the sum of the rows' weights if `mean`. tally takes the number divided
    by, and the number of ids that are neither a class nor `ignore`.
    """
    weighted = weight.shape[0] > 0
    for task in range(start, stop):
        total = losses.dtype.type(0)
        for row in range(unsigned(losses.shape[0])):
            total += losses[row]
        amount = losses.dtype.type(0)
        kept = 0
        outside = 0
        for row in range(unsigned(target.shape[0])):
            t = target[row]
            kept += 1 if t != ignore else 0
            outside += 1 if t != ignore and (t < 0 or t >= classes) else 0
        if weighted and outside == 0:
            for row in range(target.shape[0]):
                if target[row] != ignore:
                    amount += weight[target[row]]
        else:
            amount = losses.dtype.type(kept)
        y[task] = total / amount if mean else total
        tally[0] = amount if mean else losses.dtype.type(1)
        tally[1] = outside


@cuda_kernel
def _class_loss_total_cuda(losses, target, weight, ignore, classes, mean, y, tally):
    """As the CPU twin. One warp."""
    total = losses.dtype.type(0)
    amount = losses.dtype.type(0)
    outside = 0
    for row in range(cuda.threadIdx.x, target.shape[0], WARP):
        total += losses[row]
        t = target[row]
        if t != ignore:
            if t < 0 or t >= classes:
                outside += 1
            else:
                amount += weight[t] if weight.shape[0] > 0 else losses.dtype.type(1)
    total = warp_sum(total)
    amount = warp_sum(amount)
    outside = warp_sum(outside)
    if cuda.threadIdx.x == 0:
        y[0] = total / amount if mean else total
        tally[0] = amount if mean else losses.dtype.type(1)
        tally[1] = losses.dtype.type(outside)


class_loss_total = Kernel(
    cpu=_class_loss_total_cpu,
    cuda=_class_loss_total_cuda,
    tasks=lambda *_: 1,
    threads=WARP,
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _cross_entropy_backward_cpu(dy, tally, x, kept, target, weight, ignore, smoothing, notes, dx, start, stop):
    """dy [N] or [1]; tally [2]; smoothing [1]; x, dx [N, C]; target [N]; notes [3, N]; weight [C] or [0].

    x holds the exponentials if `kept`, else the scores. One task a row.
    """
    c = unsigned(x.shape[1])
    weighted = weight.shape[0] > 0
    share = smoothing[0] / x.dtype.type(x.shape[1])
    all_weights = x.dtype.type(x.shape[1])
    if weighted and smoothing[0] > 0:
        all_weights = x.dtype.type(0)
        for j in range(c):
            all_weights += weight[j]
    for row in range(start, stop):
        t = target[row]
        if t == ignore:
            for j in range(c):
                dx[row, j] = 0
            continue
        g = dy[row if dy.shape[0] > 1 else 0] / tally[0]
        sharp = (x.dtype.type(1) - smoothing[0]) * (weight[t] if weighted else x.dtype.type(1))
        factor = g * (sharp + share * all_weights) / notes[SUM, row]
        if kept:
            for j in range(c):
                dx[row, j] = factor * x[row, j]
        else:
            high = notes[HIGHEST, row]
            for j in range(c):
                dx[row, j] = factor * exp(x[row, j] - high)
        if smoothing[0] > 0:
            for j in range(c):
                dx[row, j] -= g * share * (weight[j] if weighted else x.dtype.type(1))
        dx[row, t] -= g * sharp


@cuda_kernel
def _cross_entropy_backward_cuda(dy, tally, x, kept, target, weight, ignore, smoothing, notes, dx):
    """As the CPU twin. One warp a row."""
    row = cuda.blockIdx.x
    c = x.shape[1]
    weighted = weight.shape[0] > 0
    t = target[row]
    share = smoothing[0] / x.dtype.type(c)
    all_weights = x.dtype.type(c)
    if weighted and smoothing[0] > 0:
        all_weights = x.dtype.type(0)
        for j in range(cuda.threadIdx.x, c, WARP):
            all_weights += weight[j]
        all_weights = warp_sum(all_weights)
    if t == ignore:
        for j in range(cuda.threadIdx.x, c, WARP):
            dx[row, j] = 0
    else:
        g = dy[row if dy.shape[0] > 1 else 0] / tally[0]
        sharp = (x.dtype.type(1) - smoothing[0]) * (weight[t] if weighted else x.dtype.type(1))
        factor = g * (sharp + share * all_weights) / notes[SUM, row]
        for j in range(cuda.threadIdx.x, c, WARP):
            value = factor * (x[row, j] if kept else exp(x[row, j] - notes[HIGHEST, row]))
            if smoothing[0] > 0:
                value -= g * share * (weight[j] if weighted else x.dtype.type(1))
            if j == t:
                value -= g * sharp
            dx[row, j] = value


cross_entropy_backward = Kernel(
    cpu=_cross_entropy_backward_cpu,
    cuda=_cross_entropy_backward_cuda,
    tasks=lambda dy, tally, x, *_: x.shape[0],
    work=lambda dy, tally, x, kept, *_: (2 if kept else EXP_WORK) * x.size,
    threads=WARP,
)

# ---------------------------------------------------------------- autograd


def rows_of_ids(target: Any) -> Any:
    """Class ids as a contiguous int64 array [N d1 ...]."""
    if target.dtype != INT64:
        target = cast(target, INT64)
    return arrays.contiguous(target).reshape(-1)


def total_of_class_losses(
    losses: Any, target: Any, weight: Any, ignore: int, classes: int, mean: bool
) -> tuple[Any, Any]:
    """The sum or mean of the losses, and the tally that backward needs; refuses ids that are no class."""
    y, tally = memory.empty((), losses.dtype), memory.empty(2, losses.dtype)  # type: tuple[Any, Any]
    class_loss_total(losses, target, weight, ignore, classes, mean, y.reshape(1), tally)
    if looking.waits(tally) or tally[1]:
        check_ids("target", target, classes, ignore)
    return y, tally


class CrossEntropyOp(Op):
    """Cross-entropy with class ids: saves the scores or their exponentials, and a number for each row."""

    @staticmethod
    def forward(ctx: Context, x, target, options):
        weight, ignore, reduction, smoothing = options
        rows = rows_of(x)
        n, c = rows.shape
        ids = rows_of_ids(target)
        kept = c < SHORT
        notes = memory.empty((3, n), x.dtype)
        e = memory.empty((n, c) if kept else (0, 0), x.dtype)
        cross_entropy_forward(rows, ids, weight, ignore, smoothing, notes, e)
        losses = notes[LOSS]
        y, tally = total_of_class_losses(losses, ids, weight, ignore, c, reduction == "mean")
        ctx.save(e if kept else rows, ids)
        ctx.options = x.shape, kept, weight, ignore, smoothing, notes, tally
        return losses.reshape(target.shape) if reduction == "none" else y

    @staticmethod
    def backward(ctx: Context, dy):
        scores, ids = ctx.saved
        shape, kept, weight, ignore, smoothing, notes, tally = ctx.options
        dx = memory.empty(scores.shape, scores.dtype)
        dy = arrays.contiguous(dy).reshape(-1)
        cross_entropy_backward(dy, tally, scores, kept, ids, weight, ignore, smoothing, notes, dx)
        return (dx if dx.shape == shape else from_rows(dx, shape)), None, None


# ---------------------------------------------------------------- public


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""Cross-entropy between scores and classes: $-\log p_t$ with $p$ the softmax of the scores.

    Args:
        input: Scores (logits) [C], [N, C] or [N, C, d1, ...], float32 or float64.
        target: Class ids [], [N] or [N, d1, ...], integers in [0, C); or probabilities of the input's shape and dtype.
        weight: [C] weights of the classes, the input's dtype.
        size_average: PyTorch's old name for reduction='mean'.
        ignore_index: An id whose rows do not count, with class ids.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean' (over the rows' weights; with probabilities over the rows), 'sum' or 'none'.
        label_smoothing: Share of the target that is spread evenly over the classes, in [0, 1].

    Returns:
        The loss in nats; a tensor of the ids' shape for 'none'. The mean over no rows is NaN.

    Raises:
        ShapeError: The target's shape does not fit the input's.
        DTypeError: The input is not floating point, or weight or probabilities are of another dtype.
        IndexRangeError: A class id lies outside [0, C) and is not ignore_index.
        ArgumentError: A probability is NaN, an unknown reduction, or label_smoothing outside [0, 1].

    Gradient:
        For input, and for target where it holds probabilities; not for weight.

    Example:
        >>> nbdl.ops.cross_entropy(nbdl.tensor([[0.0, 0.0]]), nbdl.tensor([1]))
        tensor(0.6931)

    Source:
        Szegedy et al. (2016), "Rethinking the Inception Architecture", section 7, for label smoothing.
    """
    if size_average is not None or reduce is not None or reduction not in REDUCTIONS:
        reduction = chosen_reduction(reduction, size_average, reduce)
    check_float("input", input)
    shape = input.shape
    if not shape:
        raise ShapeError("input: expected [C], [N, C] or [N, C, d1, ...], got a tensor of no dimensions")
    classes = shape[1] if len(shape) > 1 else shape[0]
    weights = NO_WEIGHT[input.dtype] if weight is None else class_weight(input, weight, classes)
    if label_smoothing:
        check_number("label_smoothing", label_smoothing, 0.0, 1.0)
        smoothing = np.array([label_smoothing], input.dtype)
    else:
        smoothing = NO_SMOOTHING[input.dtype]
    if target.dtype.kind == "f":
        check_same_dtype("target", target, "input", input)
        check_shape("target", target, shape)
        if ignore_index >= 0:
            raise ArgumentError(f"ignore_index: expected no class when target holds probabilities, got {ignore_index}")
        return SoftCrossEntropyOp.apply(input, target, weights, smoothing, reduction)
    check_class_ids(target, shape)
    return CrossEntropyOp.apply(input, target, (weights, ignore_index, reduction, smoothing))
