r"""Negative log-likelihood: the log-probability of the right class, with the sign turned.

Forward, for log-probabilities $x$ [N, C], class ids $t$ [N] and class weights $w$ [C]:

$$\ell_n = -w_{t_n} x_{n t_n}, \qquad \ell = \frac{\sum_n \ell_n}{\sum_n w_{t_n}}$$

(the mean; the sum leaves the divisor out). Rows of class `ignore_index` count in neither sum.

Backward: $dx_{nc} = -g_n w_{t_n} [c = t_n]$, with $g_n$ the gradient of $\ell_n$.
"""

from __future__ import annotations

import math

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.loss.arguments import check_class_ids, chosen_reduction, class_weight
from nbdl.ops.loss.cross_entropy import rows_of_ids, total_of_class_losses
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_float
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

# ---------------------------------------------------------------- reference


def nll_loss_reference(input, target, weight=None, ignore_index=-100, reduction="mean"):
    """The definition, in float64: input [N, C, ...], target [N, ...] class ids, or [C] and one id."""
    log_p = np.moveaxis(input, 1, -1) if input.ndim > 1 else input
    w = np.ones(log_p.shape[-1]) if weight is None else weight
    kept = target != ignore_index
    ids = np.where(kept, target, 0)
    weights = np.where(kept, w[ids], 0.0)
    losses = -weights * np.take_along_axis(log_p, ids[..., None], axis=-1)[..., 0]
    if reduction == "none":
        return losses
    with np.errstate(invalid="ignore", divide="ignore"):
        return losses.sum() / weights.sum() if reduction == "mean" else losses.sum()


# ---------------------------------------------------------------- forward


@cpu_kernel
def _nll_forward_cpu(x, target, weight, ignore, losses, start, stop):
    """x [N, C, I]; target, losses [N * I]; weight [C] or [0]. One task an id; no class gives the loss NaN."""
    _, classes, inner = x.shape
    for place in range(start, stop):
        t = target[place]
        if t == ignore:
            losses[place] = 0
        elif t < 0 or t >= classes:
            losses[place] = np.nan
        else:
            value = x[place // inner, t, place % inner]
            losses[place] = -(value * weight[t] if weight.shape[0] > 0 else value)


@cuda_kernel
def _nll_forward_cuda(x, target, weight, ignore, losses):
    """As the CPU twin. One thread an id."""
    _, classes, inner = x.shape
    place = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if place < losses.shape[0]:
        t = target[place]
        if t == ignore:
            losses[place] = 0
        elif t < 0 or t >= classes:
            losses[place] = x.dtype.type(np.nan)
        else:
            value = x[place // inner, t, place % inner]
            losses[place] = -(value * weight[t] if weight.shape[0] > 0 else value)


nll_forward = Kernel(
    cpu=_nll_forward_cpu,
    cuda=_nll_forward_cuda,
    tasks=lambda x, target, *_: target.shape[0],
    work=lambda x, target, *_: 4 * target.shape[0],
    blocks=lambda x, target, *_: -(-target.shape[0] // BLOCK),
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _nll_backward_cpu(dy, tally, target, weight, ignore, dx, start, stop):
    """dy [N * I] or [1]; tally [2]; target [N * I]; weight [C] or [0]; dx [N, C, I]. One task a sample."""
    _, classes, inner = dx.shape
    for n in range(start, stop):
        for c in range(classes):
            for i in range(inner):
                dx[n, c, i] = 0
        for i in range(inner):
            place = n * inner + i
            t = target[place]
            if t != ignore and t >= 0 and t < classes:
                g = dy[place if dy.shape[0] > 1 else 0] / tally[0]
                dx[n, t, i] = -g * weight[t] if weight.shape[0] > 0 else -g


@cuda_kernel
def _nll_backward_cuda(dy, tally, target, weight, ignore, dx):
    """What the CPU twin does. One block a row of I elements, each of which is written once."""
    _, classes, inner = dx.shape
    n = cuda.blockIdx.x // classes
    c = cuda.blockIdx.x - n * classes
    w = weight[c] if weight.shape[0] > 0 else dx.dtype.type(1)
    for i in range(cuda.threadIdx.x, inner, BLOCK):
        place = n * inner + i
        g = dy[place if dy.shape[0] > 1 else 0] / tally[0]
        dx[n, c, i] = -g * w if target[place] == c and c != ignore else dx.dtype.type(0)


nll_backward = Kernel(
    cpu=_nll_backward_cpu,
    cuda=_nll_backward_cuda,
    tasks=lambda dy, tally, target, weight, ignore, dx: dx.shape[0],
    work=lambda dy, tally, target, weight, ignore, dx: dx.size,
    blocks=lambda dy, tally, target, weight, ignore, dx: dx.shape[0] * dx.shape[1],
)

# ---------------------------------------------------------------- autograd


class NllLossOp(Op):
    """Negative log-likelihood: saves the ids."""

    @staticmethod
    def forward(ctx: Context, x, target, options):
        weight, ignore, reduction = options
        ids = rows_of_ids(target)
        sizes = (x.shape[0], x.shape[1], math.prod(x.shape[2:])) if x.ndim > 1 else (1, x.shape[0], 1)
        lines = arrays.contiguous(x).reshape(sizes)
        losses = memory.empty(ids.shape, x.dtype)
        nll_forward(lines, ids, weight, ignore, losses)
        y, tally = total_of_class_losses(losses, ids, weight, ignore, sizes[1], reduction == "mean")
        ctx.save(ids)
        ctx.options = x.shape, sizes, weight, ignore, tally
        return losses.reshape(target.shape) if reduction == "none" else y

    @staticmethod
    def backward(ctx: Context, dy):
        (ids,) = ctx.saved
        shape, sizes, weight, ignore, tally = ctx.options
        dx = memory.empty(sizes, dy.dtype)
        nll_backward(arrays.contiguous(dy).reshape(-1), tally, ids, weight, ignore, dx)
        return dx.reshape(shape), None, None


# ---------------------------------------------------------------- public


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""The negative log-likelihood of the right classes: $-w_t x_t$.

    Args:
        input: Log-probabilities [C], [N, C] or [N, C, d1, ...], float32 or float64.
        target: Class ids [], [N] or [N, d1, ...], integers in [0, C).
        weight: [C] weights of the classes, the input's dtype.
        size_average: PyTorch's old name for reduction='mean'.
        ignore_index: An id whose rows do not count.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean' (over the rows' weights), 'sum' or 'none'.

    Returns:
        The loss in nats; a tensor of the ids' shape for 'none'. The mean over no rows is NaN.

    Raises:
        ShapeError: The target's shape does not fit the input's.
        DTypeError: The input is not floating point, the ids are no integers, or weight is of another dtype.
        IndexRangeError: A class id lies outside [0, C) and is not ignore_index.
        ArgumentError: An unknown reduction.

    Gradient:
        For input; not for weight.

    Example:
        >>> nbdl.ops.nll_loss(nbdl.tensor([[-0.5, -1.0]]), nbdl.tensor([1]))
        tensor(1.)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    check_float("input", input)
    shape = input.shape
    if not shape:
        raise ShapeError("input: expected [C], [N, C] or [N, C, d1, ...], got a tensor of no dimensions")
    weights = class_weight(input, weight, shape[1] if len(shape) > 1 else shape[0])
    check_class_ids(target, shape)
    return NllLossOp.apply(input, target, (weights, ignore_index, reduction))
