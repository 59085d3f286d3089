r"""Losses of regression: squared, absolute, and the two that join them.

With $d = x - t$:

$$
\text{mse: } d^2, \qquad \text{l1: } |d|, \qquad
\text{smooth l1: } \begin{cases} d^2 / 2\beta & |d| < \beta \\ |d| - \beta/2 & \text{else} \end{cases}, \qquad
\text{huber: } \begin{cases} d^2 / 2 & |d| \le \delta \\ \delta(|d| - \delta/2) & \text{else} \end{cases}
$$

The derivatives with respect to x are $2d$, $\mathrm{sgn}(d)$, $d/\beta$ or $\mathrm{sgn}(d)$, and $d$ or
$\delta\,\mathrm{sgn}(d)$; those with respect to t are their negatives.

Source: Huber (1964), "Robust Estimation of a Location Parameter"; Girshick (2015), "Fast R-CNN", equation 3.
"""

from __future__ import annotations

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.loss.arguments import broadcast_pair, chosen_reduction, reduced, reduced_reference
from nbdl.ops.loss.pointwise import PointwiseLoss, PointwiseLossOp
from nbdl.ops.reduction.sums import sum
from nbdl.runtime.checks import check_number, check_shape
from nbdl.runtime.jit import exact

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)

# ---------------------------------------------------------------- reference


def mse_loss_reference(input, target, reduction="mean"):
    """The definition, in float64."""
    return reduced_reference((input - target) ** 2, reduction)


def l1_loss_reference(input, target, reduction="mean"):
    """The definition, in float64."""
    return reduced_reference(np.abs(input - target), reduction)


def smooth_l1_loss_reference(input, target, reduction="mean", beta=1.0):
    """The definition, in float64."""
    size = np.abs(input - target)
    squared = size**2 / (2 * beta) if beta else 0.0
    return reduced_reference(np.where(size < beta, squared, size - beta / 2), reduction)


def huber_loss_reference(input, target, reduction="mean", delta=1.0):
    """The definition, in float64."""
    size = np.abs(input - target)
    return reduced_reference(np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)), reduction)


# ---------------------------------------------------------------- scalar functions


@exact
def _squared(x, t):
    return (x - t) * (x - t)


@exact
def _squared_by_input(x, t):
    return (x - t) + (x - t)


@exact
def _squared_by_target(x, t):
    return (t - x) + (t - x)


@exact
def _absolute(x, t):
    return abs(x - t)


@exact
def _absolute_by_input(x, t):
    return ONE if x > t else -ONE if x < t else (x - t) * ZERO  # NaN stays


@exact
def _absolute_by_target(x, t):
    return -_absolute_by_input(x, t)


@exact
def _smooth(x, t, beta):
    size = abs(x - t)
    return HALF * size * size / beta if size < beta else size - HALF * beta


@exact
def _smooth_by_input(x, t, beta):
    return (x - t) / beta if abs(x - t) < beta else _absolute_by_input(x, t)


@exact
def _smooth_by_target(x, t, beta):
    return -_smooth_by_input(x, t, beta)


@exact
def _huber(x, t, delta):
    size = abs(x - t)
    return HALF * size * size if size <= delta else delta * (size - HALF * delta)


@exact
def _huber_by_input(x, t, delta):
    return x - t if abs(x - t) <= delta else delta * _absolute_by_input(x, t)


@exact
def _huber_by_target(x, t, delta):
    return -_huber_by_input(x, t, delta)


# ---------------------------------------------------------------- autograd


class MseLossOp(PointwiseLossOp):
    """The squared error."""

    loss = PointwiseLoss("mse_loss", _squared, _squared_by_input, _squared_by_target)


class L1LossOp(PointwiseLossOp):
    """The absolute error."""

    loss = PointwiseLoss("l1_loss", _absolute, _absolute_by_input, _absolute_by_target)


class SmoothL1LossOp(PointwiseLossOp):
    """Squared near 0, absolute beyond."""

    loss = PointwiseLoss("smooth_l1_loss", _smooth, _smooth_by_input, _smooth_by_target)


class HuberLossOp(PointwiseLossOp):
    """Squared near 0, absolute times delta beyond."""

    loss = PointwiseLoss("huber_loss", _huber, _huber_by_input, _huber_by_target)


# ---------------------------------------------------------------- public


def _weighted(losses: Tensor, weight: Tensor, reduction: str, by_weight: bool) -> Tensor:
    """Losses of single elements times their weights, reduced; the mean over the weights or over the elements."""
    weighted = losses * check_shape("weight", weight, losses.shape)
    if reduction == "mean" and by_weight:
        return sum(weighted) / sum(weight)
    return reduced(weighted, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    r"""The squared error: $(x - t)^2$.

    Args:
        input: [*], float32 or float64.
        target: The shape and dtype of the input.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.
        weight: Weights of the elements, the shape of the input; the mean is then over the weights.

    Returns:
        The loss; a tensor of the input's shape for 'none'. The mean over no elements is NaN.

    Raises:
        ShapeError: Input and target do not broadcast to each other.
        DTypeError: The input is not floating point, or the target is of another dtype.
        ArgumentError: A target is NaN, or an unknown reduction.

    Gradient:
        For input, target and weight.

    Example:
        >>> nbdl.ops.mse_loss(nbdl.tensor([1.0, 2.0]), nbdl.tensor([1.0, 4.0]))
        tensor(2.)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    input, target = broadcast_pair(input, target)
    if weight is not None:
        return _weighted(MseLossOp.apply(input, target, (), "none"), weight, reduction, by_weight=True)
    return MseLossOp.apply(input, target, (), reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    r"""The absolute error: $|x - t|$.

    Args:
        input: [*], float32 or float64.
        target: The shape and dtype of the input.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.
        weight: Weights of the elements, the shape of the input; the mean is then over the weights.

    Returns:
        The loss; a tensor of the input's shape for 'none'. The mean over no elements is NaN.

    Raises:
        ShapeError: Input and target do not broadcast to each other.
        DTypeError: The input is not floating point, or the target is of another dtype.
        ArgumentError: A target is NaN, or an unknown reduction.

    Gradient:
        For input, target and weight; 0 where input and target are equal.

    Example:
        >>> nbdl.ops.l1_loss(nbdl.tensor([1.0, 2.0]), nbdl.tensor([1.0, 4.0]))
        tensor(1.)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    input, target = broadcast_pair(input, target)
    if weight is not None:
        return _weighted(L1LossOp.apply(input, target, (), "none"), weight, reduction, by_weight=True)
    return L1LossOp.apply(input, target, (), reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    r"""The absolute error, rounded off near 0: $d^2 / 2\beta$ where $|d| < \beta$, else $|d| - \beta/2$.

    Args:
        input: [*], float32 or float64.
        target: The shape and dtype of the input.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.
        beta: Where the two parts meet, at least 0; with 0 it is `l1_loss`.

    Returns:
        The loss; a tensor of the input's shape for 'none'. The mean over no elements is NaN.

    Raises:
        ShapeError: Input and target do not broadcast to each other.
        DTypeError: The input is not floating point, or the target is of another dtype.
        ArgumentError: A target is NaN, an unknown reduction, or a negative beta.

    Gradient:
        For input and target.

    Example:
        >>> nbdl.ops.smooth_l1_loss(nbdl.tensor([0.5, 3.0]), nbdl.tensor([0.0, 0.0]), reduction="none")
        tensor([0.1250, 2.5000])

    Source:
        Girshick (2015), "Fast R-CNN", equation 3.
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    check_number("beta", beta, 0.0)
    input, target = broadcast_pair(input, target)
    if beta == 0:
        return L1LossOp.apply(input, target, (), reduction)
    return SmoothL1LossOp.apply(input, target, (input.dtype.type(beta),), reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    r"""Huber's loss: $d^2 / 2$ where $|d| \le \delta$, else $\delta (|d| - \delta / 2)$.

    Args:
        input: [*], float32 or float64.
        target: The shape and dtype of the input.
        reduction: 'mean', 'sum' or 'none'.
        delta: Where the two parts meet, over 0.
        weight: Weights of the elements, the shape of the input; the mean stays over the elements.

    Returns:
        The loss; a tensor of the input's shape for 'none'. The mean over no elements is NaN.

    Raises:
        ShapeError: Input and target do not broadcast to each other.
        DTypeError: The input is not floating point, or the target is of another dtype.
        ArgumentError: A target is NaN, an unknown reduction, or a delta of 0 or less.

    Gradient:
        For input, target and weight.

    Example:
        >>> nbdl.ops.huber_loss(nbdl.tensor([0.5, 3.0]), nbdl.tensor([0.0, 0.0]), delta=2.0, reduction="none")
        tensor([0.1250, 4.0000])

    Source:
        Huber (1964), "Robust Estimation of a Location Parameter".
    """
    reduction = chosen_reduction(reduction, None, None)
    check_number("delta", delta, 0.0, open_low=True)
    input, target = broadcast_pair(input, target)
    numbers = (input.dtype.type(delta),)
    if weight is not None:
        return _weighted(HuberLossOp.apply(input, target, numbers, "none"), weight, reduction, by_weight=False)
    return HuberLossOp.apply(input, target, numbers, reduction)
