r"""The logarithm of a sum of exponentials over any dimensions.

Forward, with $m = \max_r x_r$ (0 where it is infinite), so that nothing overflows:

$$y = m + \log \sum_r e^{x_r - m}$$

Backward: the derivative is the softmax, $dx_r = dy\, e^{x_r - y}$; NaN for a line of nothing but minus infinity.
"""

from __future__ import annotations

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.reduction.arguments import Dims
from nbdl.ops.reduction.arrangement import arrange
from nbdl.ops.reduction.extremes import max_fold
from nbdl.ops.reduction.spread import Spread
from nbdl.ops.reduction.sums import ZERO, axes_of, sum_fold
from nbdl.runtime.checks import check_dims
from nbdl.runtime.dtypes import get_default_dtype
from nbdl.runtime.jit import exact
from nbdl.runtime.vecmath import exp, log

INFINITY = np.float32(np.inf)

# ---------------------------------------------------------------- reference


def logsumexp_reference(input, dim=None, keepdim=False):
    """The definition, in float64."""
    axis = axes_of(dim)
    highest = np.max(input, axis=axis, keepdims=True, initial=-np.inf)
    highest = np.where(np.isinf(highest), 0.0, highest)
    with np.errstate(divide="ignore"):
        y = np.log(np.sum(np.exp(input - highest), axis=axis, keepdims=True)) + highest
    return y if keepdim else np.squeeze(y, axis=axis)


# ---------------------------------------------------------------- forward


@exact
def _finite(highest):
    return ZERO if abs(highest) == INFINITY else highest


@exact
def _shifted_exp(x, highest, unused):
    return exp(x - highest)


@exact
def _shifted_log(total, highest):
    return log(total) + highest


finite_map = Map1(_finite)
shifted_exp_spread = Spread("shifted_exp", _shifted_exp)
shifted_log_map = Map2(_shifted_log)

# ---------------------------------------------------------------- backward


@exact
def _softmax_times(x, y, dy):
    return dy * exp(x - y)


softmax_spread = Spread("logsumexp_backward", _softmax_times)

# ---------------------------------------------------------------- autograd


class LogSumExpOp(Op):
    """y = log of the sum of exponentials: saves x and y."""

    @staticmethod
    def forward(ctx: Context, x, dims, keepdim):
        lines, arrangement = arrange(x, dims)
        highest = finite_map(max_fold(lines))
        y = shifted_log_map(sum_fold(shifted_exp_spread(lines, highest, highest)), highest)
        ctx.save(lines, y)
        ctx.arrangement, ctx.keepdim = arrangement, keepdim
        return arrangement.reduced(y, keepdim)

    @staticmethod
    def backward(ctx: Context, dy):
        lines, y = ctx.saved
        return ctx.arrangement.full(softmax_spread(lines, y, ctx.arrangement.flat(dy, ctx.keepdim))), None, None


# ---------------------------------------------------------------- public


def logsumexp(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    r"""The logarithm of the sum of exponentials over the given dimensions: $y = \log \sum_r e^{x_r}$.

    Args:
        input: [*], any dtype; integers are taken in the default dtype.
        dim: One dimension or several, counted from the front or the back; all when None.
        keepdim: Leave the reduced dimensions in the result with size 1.

    Returns:
        The logarithms, in nats. Over no elements minus infinity.

    Raises:
        IndexRangeError: The input has no such dimension.
        ArgumentError: A dimension is named twice.

    Gradient:
        For input: the softmax times the gradient.

    Example:
        >>> nbdl.ops.logsumexp(nbdl.tensor([0.0, 0.0]), dim=0)
        tensor(0.6931)
    """
    if input.dtype.kind != "f":
        input = to_dtype(input, get_default_dtype())
    return LogSumExpOp.apply(input, check_dims("dim", dim, input.ndim), keepdim)
