r"""Binary cross-entropy, of probabilities and of scores.

Forward, for a probability p and a target t in [0, 1]:

$$\ell = -\big( t \log p + (1 - t) \log (1 - p) \big),$$

the logarithms taken not under -100, as in PyTorch. For a score x with $p = \sigma(x)$ the same is written so that
nothing overflows,

$$\ell = (1 - t)\, x + \big( 1 + (w_+ - 1)\, t \big) \log(1 + e^{-x}),$$

where $w_+$ weighs the positive targets.

Backward:

$$
\frac{\partial \ell}{\partial p} = \frac{p - t}{p (1 - p)}, \qquad
\frac{\partial \ell}{\partial x} = (1 - t) - \big( 1 + (w_+ - 1)\, t \big) \sigma(-x)
$$
"""

from __future__ import annotations

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.casting import widened
from nbdl.ops.elementwise.layout import sum_to
from nbdl.ops.elementwise.maps import MapN
from nbdl.ops.loss.arguments import check_pair, chosen_reduction, reduced, reduced_reference, refuse_nan_of
from nbdl.ops.loss.pointwise import PointwiseLoss, PointwiseLossOp
from nbdl.ops.reduction.extremes import max_fold, min_fold
from nbdl.ops.reduction.sums import sum_fold
from nbdl.ops.shape.views import broadcast_to
from nbdl.runtime import arrays, looking
from nbdl.runtime.checks import check_same_dtype
from nbdl.runtime.errors import ArgumentError
from nbdl.runtime.jit import exact
from nbdl.runtime.vecmath import log, log1p, sigmoid, softplus

ONE = np.float32(1)
LOWEST_LOG = np.float32(-100)
LEAST_VARIANCE = np.float32(1e-12)

# ---------------------------------------------------------------- reference


def binary_cross_entropy_reference(input, target, weight=None, reduction="mean"):
    """The definition, in float64."""
    with np.errstate(divide="ignore"):
        log_p, log_q = np.maximum(np.log(input), -100), np.maximum(np.log1p(-input), -100)
    losses = -(target * log_p + (1 - target) * log_q)
    return reduced_reference(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits_reference(input, target, weight=None, reduction="mean", pos_weight=None):
    """The definition, in float64."""
    positive = 1.0 if pos_weight is None else pos_weight
    losses = (1 - target) * input + (1 + (positive - 1) * target) * np.logaddexp(0, -input)
    return reduced_reference(losses if weight is None else losses * weight, reduction)


# ---------------------------------------------------------------- scalar functions


@exact
def _clamped_log(p):
    y = log(p)
    return LOWEST_LOG if y < LOWEST_LOG else y


@exact
def _clamped_log1m(p):
    y = log1p(-p)
    return LOWEST_LOG if y < LOWEST_LOG else y


@exact
def _entropy(p, t):
    return (t - ONE) * _clamped_log1m(p) - t * _clamped_log(p)


@exact
def _entropy_by_input(p, t):
    variance = (ONE - p) * p
    return (p - t) / (LEAST_VARIANCE if variance < LEAST_VARIANCE else variance)


@exact
def _entropy_by_target(p, t):
    return _clamped_log1m(p) - _clamped_log(p)


@exact
def _logit_entropy(x, t):
    return (ONE - t) * x + softplus(-x)


@exact
def _logit_entropy_by_input(x, t):
    return sigmoid(x) - t


@exact
def _logit_entropy_by_target(x, t):
    return -x


@exact
def _weighted_logit_entropy(x, t, positive):
    return (ONE - t) * x + (ONE + (positive - ONE) * t) * softplus(-x)


@exact
def _weighted_logit_by_input(x, t, positive, dy):
    return dy * ((ONE - t) - (ONE + (positive - ONE) * t) * sigmoid(-x))


@exact
def _weighted_logit_by_target(x, t, positive, dy):
    return dy * ((positive - ONE) * softplus(-x) - x)


@exact
def _weighted_logit_by_weight(x, t, positive, dy):
    return dy * t * softplus(-x)


weighted_logit_map = MapN(_weighted_logit_entropy)
weighted_logit_input_map = MapN(_weighted_logit_by_input)
weighted_logit_target_map = MapN(_weighted_logit_by_target)
weighted_logit_weight_map = MapN(_weighted_logit_by_weight)

# ---------------------------------------------------------------- autograd


class BinaryCrossEntropyOp(PointwiseLossOp):
    """Cross-entropy of probabilities."""

    loss = PointwiseLoss("binary_cross_entropy", _entropy, _entropy_by_input, _entropy_by_target)


class BinaryCrossEntropyWithLogitsOp(PointwiseLossOp):
    """Cross-entropy of scores."""

    loss = PointwiseLoss(
        "binary_cross_entropy_with_logits", _logit_entropy, _logit_entropy_by_input, _logit_entropy_by_target
    )


class WeightedLogitsOp(Op):
    """Cross-entropy of scores with weights of the positive targets, element by element."""

    @staticmethod
    def forward(ctx: Context, x, t, positive):
        ctx.save(x, t, positive)
        y = weighted_logit_map(x, t, positive)
        total = sum_fold(arrays.contiguous(y).reshape(1, -1, 1))
        refuse_nan_of(total, t)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        x, t, positive = ctx.saved
        wanted = ctx.needs_input_grad
        return (
            weighted_logit_input_map(x, t, positive, dy) if wanted[0] else None,
            weighted_logit_target_map(x, t, positive, dy) if wanted[1] else None,
            sum_to(weighted_logit_weight_map(x, t, positive, dy), positive.shape) if wanted[2] else None,
        )


# ---------------------------------------------------------------- public


def _check_probabilities(name: str, tensor: Tensor) -> None:
    if tensor._array.size == 0:
        return
    line = arrays.contiguous(widened(tensor._array)).reshape(1, -1, 1)
    low, high = min_fold(line), max_fold(line)
    if looking.waits(low):
        looking.look(low, lambda value: _check_range(name, value.item(), 1.0))
        looking.look(high, lambda value: _check_range(name, 0.0, value.item()))
    else:
        _check_range(name, low[0, 0], high[0, 0])


def _check_range(name: str, low: float, high: float) -> None:
    if not (low >= 0 and high <= 1):
        raise ArgumentError(f"{name}: expected probabilities in [0, 1], got values from {low} to {high}")


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy of probabilities p and targets t: $-(t \log p + (1 - t) \log(1 - p))$.

    Args:
        input: [*], probabilities, float32 or float64.
        target: The shape and dtype of the input, probabilities in [0, 1].
        weight: Weights that broadcast to the target's shape; the mean stays over the elements.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss in nats, at most 100 per element; a tensor of the input's shape for 'none'.

    Raises:
        ShapeError: The target has another shape.
        DTypeError: The input is not floating point, or target or weight is of another dtype.
        ArgumentError: An input or a target lies outside [0, 1] or is NaN, or an unknown reduction.

    Gradient:
        For input, target and weight.

    Example:
        >>> nbdl.ops.binary_cross_entropy(nbdl.tensor([0.5]), nbdl.tensor([1.0]))
        tensor(0.6931)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    check_pair(input, target)
    _check_probabilities("input", input)
    _check_probabilities("target", target)
    if weight is None:
        return BinaryCrossEntropyOp.apply(input, target, (), reduction)
    check_same_dtype("weight", weight, "input", input)
    losses = BinaryCrossEntropyOp.apply(input, target, (), "none")
    return reduced(losses * broadcast_to(weight, input.shape), reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    r"""Cross-entropy of scores x and targets t, with $p = \sigma(x)$: $-(t \log p + (1 - t) \log(1 - p))$.

    Args:
        input: [*], scores (logits), float32 or float64.
        target: The shape and dtype of the input, as a rule in [0, 1].
        weight: Weights that broadcast to the input's shape; the mean stays over the elements.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.
        pos_weight: Weights of the positive targets, which broadcast to the input's shape.

    Returns:
        The loss in nats; a tensor of the input's shape for 'none'.

    Raises:
        ShapeError: The target has another shape, or a weight does not broadcast to it.
        DTypeError: The input is not floating point, or target or a weight is of another dtype.
        ArgumentError: A target is NaN, or an unknown reduction.

    Gradient:
        For input, target and the weights.

    Example:
        >>> nbdl.ops.binary_cross_entropy_with_logits(nbdl.tensor([0.0]), nbdl.tensor([1.0]))
        tensor(0.6931)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    check_pair(input, target)
    if weight is None and pos_weight is None:
        return BinaryCrossEntropyWithLogitsOp.apply(input, target, (), reduction)
    if pos_weight is None:
        losses = BinaryCrossEntropyWithLogitsOp.apply(input, target, (), "none")
    else:
        check_same_dtype("pos_weight", pos_weight, "input", input)
        broadcast_to(pos_weight, input.shape)
        losses = WeightedLogitsOp.apply(input, target, pos_weight)
    if weight is not None:
        check_same_dtype("weight", weight, "input", input)
        losses = losses * broadcast_to(weight, input.shape)
    return reduced(losses, reduction)
