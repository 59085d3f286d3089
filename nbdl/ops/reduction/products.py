r"""Products over everything or along a dimension.

Forward: $y = \prod_r x_r$.

Backward: the derivative for one factor is the product of the others, $\prod_{s \ne r} x_s$. Without zeros that is
$y / x_r$. With one zero it is the product $P$ of the nonzero factors for the zero, and 0 for the others; with more
zeros it is 0 for all. So backward counts the zeros of each line and multiplies the rest:

$$dx_r = dy\, P \cdot
\begin{cases} 1/x_r & \text{no zeros} \\ [x_r = 0] & \text{one zero} \\ 0 & \text{more} \end{cases}$$
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.reduction.arguments import with_dtype
from nbdl.ops.reduction.arrangement import arrange
from nbdl.ops.reduction.fold import Fold, multiply, plain
from nbdl.ops.reduction.spread import Spread
from nbdl.ops.reduction.sums import ZERO, sum_fold
from nbdl.runtime.checks import check_dims
from nbdl.runtime.dtypes import INT64
from nbdl.runtime.jit import exact

ONE = np.float32(1)

# ---------------------------------------------------------------- reference


def prod_reference(input, dim=None, keepdim=False):
    """The definition, in float64."""
    return np.prod(input, axis=dim, keepdims=keepdim)


# ---------------------------------------------------------------- forward

prod_fold = Fold("prod", plain, multiply, 1)

# ---------------------------------------------------------------- backward


@exact
def _one_if_zero(x):
    return ONE if x == 0 else ZERO


@exact
def _nonzero(x):
    return x if x != 0 else ONE


@exact
def _other_factors(x, zeros, product):
    if zeros == 0:
        return product / x
    return product if x == 0 and zeros == 1 else ZERO


one_if_zero_map = Map1(_one_if_zero)
nonzero_map = Map1(_nonzero)
prod_spread = Spread("prod_backward", _other_factors)
product_map = Map2(multiply)

# ---------------------------------------------------------------- autograd


class ProdOp(Op):
    """y = product of x: saves x."""

    @staticmethod
    def forward(ctx: Context, x, dims, keepdim):
        ctx.save(x)
        ctx.dims, ctx.keepdim = dims, keepdim
        return prod_fold.over(x, dims, keepdim)

    @staticmethod
    def backward(ctx: Context, dy):
        (x,) = ctx.saved
        lines, arrangement = arrange(x, ctx.dims)
        zeros, product = sum_fold(one_if_zero_map(lines)), prod_fold(nonzero_map(lines))
        product = product_map(arrangement.flat(dy, ctx.keepdim), product)
        return arrangement.full(prod_spread(lines, zeros, product)), None, None


# ---------------------------------------------------------------- public


def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    r"""Multiplies elements: $y = \prod_r x_r$ over everything or along a dimension.

    Args:
        input: [*], any dtype.
        dim: The dimension; everything when None.
        keepdim: Leave the reduced dimension in the result with size 1.
        dtype: Dtype to multiply in and to return; None for the input's, int64 for integers and bool.

    Returns:
        The products. Over no elements the product is 1.

    Raises:
        IndexRangeError: The input has no such dimension.

    Gradient:
        For input: the product of the other factors, right also where factors are 0.

    Example:
        >>> nbdl.ops.prod(nbdl.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1)
        tensor([ 2., 12.])
    """
    input = with_dtype(input, dtype)
    if input.dtype.kind != "f" and dtype is None:
        input = to_dtype(input, INT64)
    return ProdOp.apply(input, check_dims("dim", dim, input.ndim), keepdim)
