r"""Connectionist temporal classification: the loss of a sequence of labels that says nothing about when each came.

A network gives log-probabilities $x_{tc}$ of C classes at T steps, one class of which, the blank, means "no label
here". A path is a class at every step; it spells a target $l_1 \ldots l_S$ if dropping repetitions, then blanks, leaves
it. The loss is the negative logarithm of the probability of all paths that do. With the target written as
$l' = (\text{blank}, l_1, \text{blank}, \ldots, l_S, \text{blank})$ of length $L = 2S + 1$, paths only stay, go one
place on, or skip a blank between different labels; so they are summed step by step, in logarithms:

$$
\alpha_{ts} = x_{t\, l'_s} + \operatorname{logsumexp}(\alpha_{t-1,s},\ \alpha_{t-1,s-1},\ \alpha_{t-1,s-2}
\text{ if } l'_s \ne l'_{s-2}), \qquad
\ell = -\operatorname{logsumexp}(\alpha_{T-1,L-1}, \alpha_{T-1,L-2})
$$

$\beta_{ts}$ is the same sum from the end. Both hold $x_{t\, l'_s}$, so that the probability of being at place s at step
t, given the target, is $\gamma_{ts} = e^{\alpha_{ts} + \beta_{ts} - x_{t\,l'_s} + \ell}$. Backward:

$$dx_{tc} = g \Big( e^{x_{tc}} - \sum_{s : l'_s = c} \gamma_{ts} \Big)$$

As in PyTorch this is the gradient for scores whose log-softmax is $x$, and it goes through log-softmax unchanged: the
term $e^{x_{tc}}$ is what normalizing adds, and a log-softmax in front takes it out again and puts it back. Steps from a
sequence's length on get none. A target that is too long for its sequence has no path: its loss is infinite, or 0 with
gradient 0 under `zero_infinity`.

Source: Graves, Fernández, Gomez and Schmidhuber (2006), "Connectionist Temporal Classification", equations 5 to 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.loss.arguments import REDUCTIONS
from nbdl.ops.reduction.fold import unsigned
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_choice, check_float, check_ids, check_int, check_integer, check_rank
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, scalar
from nbdl.runtime.vecmath import exp, log

# ---------------------------------------------------------------- reference


def ctc_loss_reference(
    log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False
):
    """The definition, in float64: log_probs [T, N, C] or [T, C]; the probabilities of paths are added one by one."""
    batched = log_probs.ndim == 3
    steps = log_probs if batched else log_probs[:, None]
    lengths, sizes = np.atleast_1d(input_lengths), np.atleast_1d(target_lengths)
    ends = np.cumsum(sizes)
    losses = np.zeros(steps.shape[1])
    for n, (length, size) in enumerate(zip(lengths, sizes, strict=True)):
        labels = targets[n, :size] if targets.ndim == 2 else targets[ends[n] - size : ends[n]]
        extended = np.full(2 * size + 1, blank)
        extended[1::2] = labels
        probability = np.zeros(2 * size + 1)
        probability[:1] = 1  # before the first step: in front of everything
        for t in range(length):
            moved = probability.copy()
            if t == 0:
                moved[1:2] = 1
            else:
                moved[1:] += probability[:-1]
                skips = extended[2:] != extended[:-2]
                moved[2:] += probability[:-2] * skips
            probability = moved * np.exp(steps[t, n, extended])
        reached = probability[-2:].sum() if length or size == 0 else 0.0
        with np.errstate(divide="ignore"):
            losses[n] = -np.log(reached)
        if zero_infinity and np.isinf(losses[n]):
            losses[n] = 0
    if reduction == "mean":
        return (losses / np.maximum(sizes, 1)).mean()
    return losses.sum() if reduction == "sum" else losses if batched else losses[0]


# ---------------------------------------------------------------- sums of paths


@scalar
def _log_sum(a, b, c):
    """log(e^a + e^b + e^c), minus infinity where all are."""
    highest = max(a, max(b, c))
    if highest == type(highest)(-np.inf):
        return highest
    return highest + log(exp(a - highest) + exp(b - highest) + exp(c - highest))


@scalar
def _label(targets, first, s, blank):
    """The class at place s of a target written with blanks, whose labels begin at `first`."""
    return targets[first + s // 2] if s % 2 == 1 else blank


# ---------------------------------------------------------------- forward


@cpu_kernel
def _ctc_forward_cpu(x, targets, firsts, sizes, lengths, blank, alpha, nll, start, stop):
    """x [T, N, C]; targets [K]; firsts, sizes, lengths [N]; alpha [N, T, L]; nll [N]. One task a sequence."""
    lowest = x.dtype.type(-np.inf)
    for n in range(start, stop):
        first, steps = firsts[n], lengths[n]
        places = 2 * sizes[n] + 1
        if steps == 0:
            nll[n] = x.dtype.type(0) if sizes[n] == 0 else x.dtype.type(np.inf)
            continue
        for s in range(places):
            alpha[n, 0, s] = x[0, n, _label(targets, first, s, blank)] if s < 2 else lowest
        for t in range(1, steps):
            for s in range(places):
                label = _label(targets, first, s, blank)
                one = alpha[n, t - 1, s - 1] if s > 0 else lowest
                two = lowest
                if s > 1 and label != _label(targets, first, s - 2, blank):
                    two = alpha[n, t - 1, s - 2]
                alpha[n, t, s] = _log_sum(alpha[n, t - 1, s], one, two) + x[t, n, label]
        before = alpha[n, steps - 1, places - 2] if places > 1 else lowest
        nll[n] = -_log_sum(alpha[n, steps - 1, places - 1], before, lowest)


@cuda_kernel
def _ctc_forward_cuda(x, targets, firsts, sizes, lengths, blank, alpha, nll):
    """As the CPU twin. One block a sequence; the threads share the places of a step."""
    n = cuda.blockIdx.x
    lowest = x.dtype.type(-np.inf)
    first, steps = firsts[n], lengths[n]
    places = 2 * sizes[n] + 1
    for t in range(steps):
        for s in range(cuda.threadIdx.x, places, BLOCK):
            label = _label(targets, first, s, blank)
            if t == 0:
                alpha[n, t, s] = x[t, n, label] if s < 2 else lowest
            else:
                one = alpha[n, t - 1, s - 1] if s > 0 else lowest
                two = lowest
                if s > 1 and label != _label(targets, first, s - 2, blank):
                    two = alpha[n, t - 1, s - 2]
                alpha[n, t, s] = _log_sum(alpha[n, t - 1, s], one, two) + x[t, n, label]
        cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        if steps == 0:
            nll[n] = x.dtype.type(0) if sizes[n] == 0 else x.dtype.type(np.inf)
        else:
            before = alpha[n, steps - 1, places - 2] if places > 1 else lowest
            nll[n] = -_log_sum(alpha[n, steps - 1, places - 1], before, lowest)


def _work(x, targets, firsts, sizes, lengths, blank, alpha, *_):
    return 40 * alpha.size


ctc_forward = Kernel(
    cpu=_ctc_forward_cpu,
    cuda=_ctc_forward_cuda,
    tasks=lambda x, *_: x.shape[1],
    work=_work,
)


@cpu_kernel
def _ctc_losses_cpu(nll, sizes, mean, zero_infinity, losses, start, stop):
    """nll, sizes, losses [N]: the share of each sequence in the loss. One task a sequence."""
    for n in range(start, stop):
        loss = nll[n]
        if zero_infinity and loss == np.inf:
            loss = nll.dtype.type(0)
        losses[n] = loss / nll.dtype.type(max(sizes[n], 1) * nll.shape[0]) if mean else loss


@cuda_kernel
def _ctc_losses_cuda(nll, sizes, mean, zero_infinity, losses):
    """As the CPU twin. One thread a sequence."""
    n = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if n < nll.shape[0]:
        loss = nll[n]
        if zero_infinity and loss == nll.dtype.type(np.inf):
            loss = nll.dtype.type(0)
        losses[n] = loss / nll.dtype.type(max(sizes[n], 1) * nll.shape[0]) if mean else loss


ctc_losses = Kernel(
    cpu=_ctc_losses_cpu,
    cuda=_ctc_losses_cuda,
    tasks=lambda nll, *_: nll.shape[0],
    blocks=lambda nll, *_: -(-nll.shape[0] // BLOCK),
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _ctc_backward_cpu(
    x, targets, firsts, sizes, lengths, blank, alpha, nll, dy, mean, zero_infinity, beta, dx, start, stop
):
    """As forward; dy [N] or [1]; beta [N, 2, L], room for two steps; dx [T, N, C]. One task a sequence."""
    lowest = x.dtype.type(-np.inf)
    classes = unsigned(x.shape[2])
    for n in range(start, stop):
        first, steps = firsts[n], lengths[n]
        places = 2 * sizes[n] + 1
        if zero_infinity and nll[n] == np.inf:
            steps = 0
        for t in range(steps, x.shape[0]):
            for c in range(classes):
                dx[t, n, c] = 0
        g = dy[n if dy.shape[0] > 1 else 0]
        if mean:
            g /= x.dtype.type(max(sizes[n], 1) * x.shape[1])
        for back in range(steps):
            t = steps - 1 - back
            now = t % 2
            for s in range(places):
                label = _label(targets, first, s, blank)
                if back == 0:
                    beta[n, now, s] = x[t, n, label] if s > places - 3 else lowest
                else:
                    one = beta[n, 1 - now, s + 1] if s + 1 < places else lowest
                    two = lowest
                    if s + 2 < places and label != _label(targets, first, s + 2, blank):
                        two = beta[n, 1 - now, s + 2]
                    beta[n, now, s] = _log_sum(beta[n, 1 - now, s], one, two) + x[t, n, label]
            if nll[n] == np.inf:
                for c in range(classes):
                    dx[t, n, c] = np.nan
                continue
            for c in range(classes):
                dx[t, n, c] = exp(x[t, n, c])
            for s in range(places):
                label = _label(targets, first, s, blank)
                dx[t, n, label] -= exp(alpha[n, t, s] + beta[n, now, s] - x[t, n, label] + nll[n])
            for c in range(classes):
                dx[t, n, c] *= g


@cuda_kernel
def _ctc_backward_cuda(x, targets, firsts, sizes, lengths, blank, alpha, nll, dy, mean, zero_infinity, beta, dx):
    """As the CPU twin. One block a sequence; the threads share the places of a step, then its classes."""
    n = cuda.blockIdx.x
    lowest = x.dtype.type(-np.inf)
    impossible = nll[n] == x.dtype.type(np.inf)
    first, steps = firsts[n], lengths[n]
    places = 2 * sizes[n] + 1
    if zero_infinity and impossible:
        steps = 0
    for t in range(steps, x.shape[0]):
        for c in range(cuda.threadIdx.x, x.shape[2], BLOCK):
            dx[t, n, c] = 0
    g = dy[n if dy.shape[0] > 1 else 0]
    if mean:
        g /= x.dtype.type(max(sizes[n], 1) * x.shape[1])
    for back in range(steps):
        t = steps - 1 - back
        now = t % 2
        for s in range(cuda.threadIdx.x, places, BLOCK):
            label = _label(targets, first, s, blank)
            if back == 0:
                beta[n, now, s] = x[t, n, label] if s > places - 3 else lowest
            else:
                one = beta[n, 1 - now, s + 1] if s + 1 < places else lowest
                two = lowest
                if s + 2 < places and label != _label(targets, first, s + 2, blank):
                    two = beta[n, 1 - now, s + 2]
                beta[n, now, s] = _log_sum(beta[n, 1 - now, s], one, two) + x[t, n, label]
        cuda.syncthreads()
        for c in range(cuda.threadIdx.x, x.shape[2], BLOCK):
            occupied = x.dtype.type(0)
            for s in range(places):
                if _label(targets, first, s, blank) == c:
                    occupied += exp(alpha[n, t, s] + beta[n, now, s] - x[t, n, c] + nll[n])
            dx[t, n, c] = x.dtype.type(np.nan) if impossible else (exp(x[t, n, c]) - occupied) * g
        cuda.syncthreads()  # the step after the next writes where this one reads


ctc_backward = Kernel(
    cpu=_ctc_backward_cpu,
    cuda=_ctc_backward_cuda,
    tasks=lambda x, *_: x.shape[1],
    work=_work,
)

# ---------------------------------------------------------------- autograd


class CtcLossOp(Op):
    """Saves the log-probabilities and the sums of paths from the beginning, [N, T, 2S + 1]."""

    @staticmethod
    def forward(ctx: Context, x, labels, reduction, zero_infinity):
        sizes = labels[2]
        steps = arrays.contiguous(x)
        t, n, _ = steps.shape
        places = 2 * int(sizes.max(initial=0)) + 1
        alpha, nll = memory.empty((n, t, places), x.dtype), memory.empty(n, x.dtype)
        losses = memory.empty(n, x.dtype)
        mean = reduction == "mean"
        ctc_forward(steps, *labels, alpha, nll)
        ctc_losses(nll, sizes, mean, zero_infinity, losses)
        ctx.save(steps)
        ctx.options = labels, alpha, nll, mean, zero_infinity
        if reduction == "none":
            return losses
        if n == 0:  # the mean of nothing is no number, as for the other losses
            return arrays.full((), np.nan if mean else 0.0, x.dtype)
        return arrays.sum_rows(losses.reshape(n, 1)).reshape(())

    @staticmethod
    def backward(ctx: Context, dy):
        (x,) = ctx.saved
        labels, alpha, nll, mean, zero_infinity = ctx.options
        beta = memory.empty((alpha.shape[0], 2, alpha.shape[2]), x.dtype)
        dx = memory.empty(x.shape, x.dtype)
        ctc_backward(x, *labels, alpha, nll, arrays.contiguous(dy).reshape(-1), mean, zero_infinity, beta, dx)
        return dx, None, None, None


# ---------------------------------------------------------------- public


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | tuple[int, ...],
    target_lengths: Tensor | tuple[int, ...],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    r"""The loss of label sequences whose places in time are not known: $-\log$ of the probability of all paths that
    spell the target.

    Args:
        log_probs: [T, N, C] or, for one sequence, [T, C]: log-probabilities, float32 or float64, from log_softmax.
        targets: [N, S] class ids, padded with any ids, or [sum of target_lengths], one target after the other;
            integers in [0, C), not the blank.
        input_lengths: [N] integers in [0, T], or one for [T, C]: the steps of each sequence.
        target_lengths: [N] integers, or one: the labels of each target.
        blank: The class that means "no label", in [0, C).
        reduction: 'mean' (each loss divided by its target's length, then over the batch), 'sum' or 'none'.
        zero_infinity: Make losses of targets longer than their sequence can spell 0, and their gradients.

    Returns:
        The loss in nats, a scalar; [N] for 'none' and a batch.

    Raises:
        DTypeError: log_probs is not floating-point, or ids or lengths are not integers.
        ShapeError: A rank or a length does not fit.
        IndexRangeError: A class id is out of range.
        ArgumentError: A length is out of range, the blank is no class, or an unknown reduction.

    Gradient:
        For log_probs, as PyTorch has it: that for scores whose log-softmax they are.

    Example:
        >>> always_one = nbdl.tensor([[0.0, 1.0], [0.0, 1.0]]).log()
        >>> nbdl.ops.ctc_loss(always_one, nbdl.tensor([1]), (2,), (1,)).item() == 0
        True

    Source:
        Graves, Fernández, Gomez and Schmidhuber (2006), "Connectionist Temporal Classification".
    """
    check_rank("log_probs", check_float("log_probs", log_probs), 2, 3)
    check_choice("reduction", reduction, REDUCTIONS)
    batched = log_probs.ndim == 3
    steps = log_probs if batched else log_probs.unsqueeze(1)
    t, n, c = steps.shape
    if c == 0:
        raise ShapeError("log_probs: expected at least one class, got none")
    blank = check_int("blank", blank, 0, c - 1)
    lengths = _checked_lengths("input_lengths", input_lengths, n, t)
    flat, firsts, sizes = _checked_targets(targets, target_lengths, n, batched)
    check_ids("targets", flat[_used(firsts, sizes)], c)
    loss = CtcLossOp.apply(steps, (flat, firsts, sizes, lengths, blank), reduction, bool(zero_infinity))
    return loss if batched or reduction != "none" else loss.squeeze(0)


def _checked_lengths(name: str, lengths: Any, count: int, most: int | None) -> np.ndarray:
    """The lengths as int64 [N], each from 0 up to `most`."""
    if isinstance(lengths, Tensor):
        numbers = np.atleast_1d(np.asarray(check_integer(name, lengths).detach().to("cpu")))
    elif isinstance(lengths, (int, np.integer, tuple, list, np.ndarray)) and not isinstance(lengths, bool):
        numbers = np.atleast_1d(np.asarray(lengths, None if np.size(lengths) else np.int64))
    else:
        raise ArgumentTypeError(f"{name}: expected integers, got {type(lengths).__name__}")
    if numbers.dtype.kind not in "iu":
        raise DTypeError(f"{name}: expected integers, got {numbers.dtype}")
    if numbers.shape != (count,):
        raise ShapeError(f"{name}: expected one length a sequence, [{count}], got {list(numbers.shape)}")
    outside = numbers[(numbers < 0) | (False if most is None else numbers > most)]
    if outside.size:
        expected = f"lengths in [0, {most}]" if most is not None else "lengths from 0 up"
        raise ArgumentError(f"{name}: expected {expected}, got {outside[0]}")
    return np.ascontiguousarray(numbers, np.int64)


def _checked_targets(
    targets: Any, target_lengths: Any, count: int, batched: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All class ids in a row, where each target begins among them, and the lengths."""
    if not isinstance(targets, Tensor):
        raise ArgumentTypeError(f"targets: expected a Tensor, got {type(targets).__name__}")
    check_rank("targets", check_integer("targets", targets), *((1, 2) if batched else (1,)))
    ids = np.ascontiguousarray(np.asarray(targets.detach().to("cpu")), np.int64)
    if ids.ndim == 2:
        if len(ids) != count:
            raise ShapeError(f"targets: expected {count} rows, one a sequence, got {len(ids)}")
        sizes = _checked_lengths("target_lengths", target_lengths, count, ids.shape[1])
        return ids.reshape(-1), np.arange(count) * ids.shape[1], sizes
    sizes = _checked_lengths("target_lengths", target_lengths, count, None)
    if sizes.sum() != len(ids) if batched else sizes.sum() > len(ids):
        raise ShapeError(f"target_lengths: expected lengths that add up to the {len(ids)} ids, got {sizes.sum()}")
    return ids, np.cumsum(sizes) - sizes, sizes


def _used(firsts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The places of the ids that belong to targets: padding may hold anything."""
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(firsts, sizes) + within
