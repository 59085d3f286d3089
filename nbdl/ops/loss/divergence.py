r"""Losses that measure how far a predicted distribution is from what was observed.

Kullback-Leibler divergence of log-probabilities x from probabilities t, the Poisson and the Gaussian negative
log-likelihood, and the logistic loss of a margin:

$$
\text{kl: } t (\log t - x), \qquad \text{poisson: } e^x - t x, \qquad
\text{gaussian: } \tfrac12 \Big( \log v + \frac{(x - t)^2}{v} \Big), \qquad
\text{soft margin: } \log(1 + e^{-t x})
$$

Backward, with respect to x: $-t$, $\; e^x - t$, $\; (x - t) / v$ and $-t\, \sigma(-t x)$.

Source: Kullback and Leibler (1951), "On Information and Sufficiency"; Nix and Weigend (1994), "Estimating the Mean and
Variance of the Target Probability Distribution".
"""

from __future__ import annotations

import math

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.elementwise import clamp, log
from nbdl.ops.elementwise.casting import widened
from nbdl.ops.loss.arguments import broadcast_quietly, check_pair, chosen_reduction, reduced, reduced_reference
from nbdl.ops.loss.pointwise import PointwiseLoss, PointwiseLossOp
from nbdl.ops.reduction.extremes import min_fold
from nbdl.ops.shape.views import unsqueeze
from nbdl.runtime import arrays, looking, placement
from nbdl.runtime.checks import check_choice, check_float, check_number, check_same_dtype
from nbdl.runtime.errors import ArgumentError, ShapeError
from nbdl.runtime.jit import exact
from nbdl.runtime.vecmath import exp, sigmoid, softplus
from nbdl.runtime.vecmath import log as log_of

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)

# ---------------------------------------------------------------- reference


def kl_div_reference(input, target, reduction="mean", log_target=False):
    """The definition, in float64."""
    if log_target:
        losses = np.exp(target) * (target - input)
    else:
        losses = np.where(target > 0, target * np.log(np.where(target > 0, target, 1.0)), 0.0) - target * input
    if reduction == "batchmean":
        with np.errstate(invalid="ignore"):  # over no samples it is NaN
            return losses.sum() / losses.shape[0] if losses.ndim else losses
    return reduced_reference(losses, reduction)


def poisson_nll_loss_reference(input, target, log_input=True, full=False, eps=1e-8, reduction="mean"):
    """The definition, in float64."""
    losses = np.exp(input) - target * input if log_input else input - target * np.log(input + eps)
    if full:
        t = np.where(target > 1, target, 1.0)
        losses = losses + np.where(target > 1, t * np.log(t) - t + 0.5 * np.log(2 * np.pi * t), 0.0)
    return reduced_reference(losses, reduction)


def gaussian_nll_loss_reference(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """The definition, in float64."""
    variance = np.maximum(var, eps)
    losses = 0.5 * (np.log(variance) + (input - target) ** 2 / variance) + (0.5 * np.log(2 * np.pi) if full else 0.0)
    return reduced_reference(losses, reduction)


def soft_margin_loss_reference(input, target, reduction="mean"):
    """The definition, in float64."""
    return reduced_reference(np.logaddexp(0, -target * input), reduction)


# ---------------------------------------------------------------- scalar functions


@exact
def _divergence(x, t):
    return (t * log_of(t) if t != 0 else ZERO) - t * x


@exact
def _divergence_by_input(x, t):
    return -t


@exact
def _divergence_by_target(x, t):
    return log_of(t) + ONE - x


@exact
def _log_divergence(x, t):
    return exp(t) * (t - x)


@exact
def _log_divergence_by_input(x, t):
    return -exp(t)


@exact
def _log_divergence_by_target(x, t):
    return exp(t) * (t - x + ONE)


@exact
def _stirling(t, full, half_log_2pi):
    """Stirling's approximation of log t!, for counts over 1, if wanted."""
    return (t + HALF) * log_of(t) - t + half_log_2pi if full != 0 and t > 1 else ZERO


@exact
def _stirling_by_target(t, full):
    return log_of(t) + HALF / t if full != 0 and t > 1 else ZERO


@exact
def _log_rate(x, t, full, half_log_2pi):
    return exp(x) - t * x + _stirling(t, full, half_log_2pi)


@exact
def _log_rate_by_input(x, t, full, half_log_2pi):
    return exp(x) - t


@exact
def _log_rate_by_target(x, t, full, half_log_2pi):
    return _stirling_by_target(t, full) - x


@exact
def _rate(x, t, full, half_log_2pi, eps):
    return x - t * log_of(x + eps) + _stirling(t, full, half_log_2pi)


@exact
def _rate_by_input(x, t, full, half_log_2pi, eps):
    return ONE - t / (x + eps)


@exact
def _rate_by_target(x, t, full, half_log_2pi, eps):
    return _stirling_by_target(t, full) - log_of(x + eps)


@exact
def _soft_margin(x, t):
    return softplus(-t * x)


@exact
def _soft_margin_by_input(x, t):
    return -t * sigmoid(-t * x)


@exact
def _soft_margin_by_target(x, t):
    return -x * sigmoid(-t * x)


# ---------------------------------------------------------------- autograd


class KlDivOp(PointwiseLossOp):
    """Divergence from probabilities."""

    loss = PointwiseLoss("kl_div", _divergence, _divergence_by_input, _divergence_by_target)


class KlDivLogTargetOp(PointwiseLossOp):
    """Divergence from log-probabilities."""

    loss = PointwiseLoss("kl_div_log_target", _log_divergence, _log_divergence_by_input, _log_divergence_by_target)


class PoissonNllLossOp(PointwiseLossOp):
    """Likelihood of counts, given the rate."""

    loss = PointwiseLoss("poisson_nll_loss", _rate, _rate_by_input, _rate_by_target)


class PoissonNllLossLogInputOp(PointwiseLossOp):
    """Likelihood of counts, given the logarithm of the rate."""

    loss = PointwiseLoss("poisson_nll_loss_log_input", _log_rate, _log_rate_by_input, _log_rate_by_target)


class SoftMarginLossOp(PointwiseLossOp):
    """The logistic loss of a margin."""

    loss = PointwiseLoss("soft_margin_loss", _soft_margin, _soft_margin_by_input, _soft_margin_by_target)


# ---------------------------------------------------------------- public


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    r"""The Kullback-Leibler divergence of log-probabilities from probabilities: $t (\log t - x)$.

    Args:
        input: [*] log-probabilities x, float32 or float64.
        target: Probabilities t, or their logarithms; broadcast with the input.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean' (over the elements), 'batchmean' (over the first dimension, which is the divergence's
            definition), 'sum' or 'none'.
        log_target: Whether the target holds logarithms.

    Returns:
        The divergence in nats; a tensor of the broadcast shape for 'none'.

    Raises:
        ShapeError: Input and target do not broadcast to each other.
        DTypeError: The input is not floating point, or the target is of another dtype.
        ArgumentError: A target is NaN, or an unknown reduction.

    Gradient:
        For input and target.

    Example:
        >>> log_p = nbdl.tensor([[0.5, 0.5]]).log()
        >>> nbdl.ops.kl_div(log_p, nbdl.tensor([[1.0, 0.0]]), reduction="batchmean")
        tensor(0.6931)

    Source:
        Kullback and Leibler (1951), "On Information and Sufficiency".
    """
    if size_average is not None or reduce is not None:
        reduction = chosen_reduction(reduction, size_average, reduce)
    check_choice("reduction", reduction, ("mean", "batchmean", "sum", "none"))
    input, target = broadcast_quietly(input, target)
    op = KlDivLogTargetOp if log_target else KlDivOp
    loss = op.apply(input, target, (), "sum" if reduction == "batchmean" else reduction)
    return loss / input.shape[0] if reduction == "batchmean" and input.ndim else loss


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""The negative log-likelihood of counts t under a Poisson distribution: $e^x - t x$, or $x - t \log x$.

    Args:
        input: [*] the logarithm of the rate, or the rate itself; float32 or float64.
        target: Counts, the dtype of the input; broadcast with it.
        log_input: Whether the input is the logarithm of the rate.
        full: Whether to add Stirling's approximation of log t! for counts over 1.
        size_average: PyTorch's old name for reduction='mean'.
        eps: Added to the rate before its logarithm is taken.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss in nats; a tensor of the broadcast shape for 'none'.

    Raises:
        ShapeError: Input and target do not broadcast to each other.
        DTypeError: The input is not floating point, or the target is of another dtype.
        ArgumentError: A target is NaN, an unknown reduction, or a negative eps.

    Gradient:
        For input and target.

    Example:
        >>> nbdl.ops.poisson_nll_loss(nbdl.tensor([0.0]), nbdl.tensor([3.0]))
        tensor(1.)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    check_number("eps", eps, 0.0)
    input, target = broadcast_quietly(input, target)
    number = input.dtype.type
    stirling = number(bool(full)), number(0.5 * math.log(2 * math.pi))
    if log_input:
        return PoissonNllLossLogInputOp.apply(input, target, stirling, reduction)
    return PoissonNllLossOp.apply(input, target, (*stirling, number(eps)), reduction)


def _check_variance(least: np.ndarray) -> None:
    if not least.item() >= 0:
        raise ArgumentError("var: expected variances of at least 0, got a negative one or NaN")


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    r"""The negative log-likelihood under a Gaussian: $\tfrac12 (\log v + (x - t)^2 / v)$.

    Args:
        input: [*] the means x, float32 or float64.
        target: Observations t, the dtype of the input; broadcast with it.
        var: The variances v: the input's shape, that shape without its last dimension or with one dimension of size 1,
            or one number.
        full: Whether to add the constant log(2 pi) / 2.
        eps: Lower bound of the variances; the gradient takes no notice of it.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss in nats; a tensor of the input's shape for 'none'.

    Raises:
        ShapeError: The variances' shape does not fit.
        DTypeError: The input is not floating point, or another tensor is of another dtype.
        ArgumentError: A variance is negative, an unknown reduction, or an eps of 0 or less.

    Gradient:
        For input, target and var.

    Example:
        >>> nbdl.ops.gaussian_nll_loss(nbdl.tensor([0.0]), nbdl.tensor([2.0]), nbdl.tensor([1.0]))
        tensor(2.)

    Source:
        Nix and Weigend (1994), "Estimating the Mean and Variance of the Target Probability Distribution".
    """
    reduction = chosen_reduction(reduction, None, None)
    check_float("input", input)
    check_same_dtype("target", target, "input", input)
    check_number("eps", eps, 0.0, open_low=True)
    if not isinstance(var, Tensor):
        with placement.beside(input._array):
            var = Tensor(arrays.full(input.shape, check_number("var", var, 0.0), input.dtype))
    check_same_dtype("var", var, "input", input)
    if var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = unsqueeze(var, -1)
        differing = [v for v, n in zip(var.shape, input.shape, strict=False) if v != n]
        if var.ndim != input.ndim or differing not in ([], [1]):
            raise ShapeError(f"var: expected a shape that fits the input's {list(input.shape)}, got {list(var.shape)}")
    if var._array.size:
        looking.look(min_fold(arrays.contiguous(widened(var._array)).reshape(1, -1, 1)), _check_variance)
    variance = var + (clamp(var.detach(), min=eps) - var.detach())
    losses = 0.5 * (log(variance) + (input - target) ** 2 / variance)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(losses, reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""The logistic loss of targets 1 and -1: $\log(1 + e^{-t x})$.

    Args:
        input: [*] scores x, float32 or float64.
        target: Targets 1 or -1, the shape and dtype of the input.
        size_average: PyTorch's old name for reduction='mean'.
        reduce: PyTorch's old name for reduction other than 'none'.
        reduction: 'mean', 'sum' or 'none'.

    Returns:
        The loss in nats; a tensor of the input's shape for 'none'.

    Raises:
        ShapeError: The target has another shape.
        DTypeError: The input is not floating point, or the target is of another dtype.
        ArgumentError: A target is NaN, or an unknown reduction.

    Gradient:
        For input and target.

    Example:
        >>> nbdl.ops.soft_margin_loss(nbdl.tensor([0.0]), nbdl.tensor([1.0]))
        tensor(0.6931)
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    check_pair(input, target)
    return SoftMarginLossOp.apply(input, target, (), reduction)
