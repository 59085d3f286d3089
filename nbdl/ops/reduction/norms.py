r"""Vector norms over any dimensions.

Forward, for an order p:

$$
\|x\|_p = \Big( \sum_r |x_r|^p \Big)^{1/p}, \qquad
\|x\|_\infty = \max_r |x_r|, \qquad \|x\|_{-\infty} = \min_r |x_r|, \qquad \|x\|_0 = \sum_r [x_r \ne 0]
$$

Backward, with $y = \|x\|_p$:

$$dx_r = dy\, \mathrm{sgn}(x_r) \Big( \frac{|x_r|}{y} \Big)^{p-1}$$

and 0 where y is 0. For the infinite orders the elements that attain the norm share the gradient; order 0 has none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.maps import Map1, Map2
from nbdl.ops.reduction.arguments import Dims, check_elements, float_input
from nbdl.ops.reduction.arrangement import arrange
from nbdl.ops.reduction.extremes import max_fold, min_fold, shared_among_extremes
from nbdl.ops.reduction.fold import Fold, add, greater, lesser, maximum, minimum
from nbdl.ops.reduction.spread import Spread
from nbdl.ops.reduction.sums import ZERO, one_if_nonzero, sum_fold
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_dims
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError
from nbdl.runtime.jit import scalar

# ---------------------------------------------------------------- reference


def vector_norm_reference(input, ord=2.0, dim=None, keepdim=False):
    """The definition, in float64."""
    axis = dim if dim is None or isinstance(dim, int) else tuple(dim)
    size = np.abs(input)
    if ord == math.inf:
        return np.max(size, axis=axis, keepdims=keepdim)
    if ord == -math.inf:
        return np.min(size, axis=axis, keepdims=keepdim)
    if ord == 0:
        return np.sum(size != 0, axis=axis, keepdims=keepdim).astype(np.float64)
    return np.sum(size**ord, axis=axis, keepdims=keepdim) ** (1 / ord)


def norm_reference(input, p="fro", dim=None, keepdim=False):
    """The definition, in float64."""
    return vector_norm_reference(input, 2.0 if p == "fro" else p, dim, keepdim)


# ---------------------------------------------------------------- forward


@scalar
def _magnitude(x):
    return abs(x)


@scalar
def _square(x):
    return x * x


@scalar
def _root(total, count):
    return math.sqrt(total)


@scalar
def _power(x, p):
    return abs(x) ** p


@scalar
def _power_root(total, p):
    return total ** (p / (p * p))


_squares = Fold("square_sum", _square, add, 0, merge=sum_fold)
_roots = Fold("sum_root", lambda_plain := scalar(lambda x: x), add, 0, finish=_root, chunks=sum_fold)
norm_folds = {
    2.0: Fold("norm2", _square, add, 0, finish=_root, chunks=_squares, merge=_roots),
    1.0: Fold("norm1", _magnitude, add, 0, merge=sum_fold),
    0.0: Fold("norm0", one_if_nonzero, add, 0, merge=sum_fold),
    math.inf: Fold("norm_inf", _magnitude, maximum, 0, combine_cuda=greater, merge=max_fold),
    -math.inf: Fold("norm_minus_inf", _magnitude, minimum, np.inf, combine_cuda=lesser, merge=min_fold),
}
