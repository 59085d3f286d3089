r"""Quantiles: the values below which given parts of the elements lie, and the median that leaves NaN out.

With the R elements of a row in order, $x_{(0)} \le \dots \le x_{(R-1)}$, the quantile q lies at the rank
$r = q (R - 1)$:

$$y = x_{(\lfloor r \rfloor)} + (r - \lfloor r \rfloor)\,
      \big( x_{(\lceil r \rceil)} - x_{(\lfloor r \rfloor)} \big)$$

Its gradient goes to the two elements between which it lies, in these parts. All is made of `sort`, `gather` and `lerp`.

The references are NumPy's quantile, nanquantile and nanmedian.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.elementwise.blending import lerp
from nbdl.ops.indexing.elements import gather
from nbdl.ops.indexing.selection import masked_select
from nbdl.ops.ordering.sorting import OrderResult, median, sort
from nbdl.ops.shape.views import movedim, reshape
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_choice, check_dim, check_float, check_number, check_rank, check_same_dtype
from nbdl.runtime.dtypes import INT64
from nbdl.runtime.errors import ArgumentError, ShapeError

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def quantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """The values below which given parts of the elements lie. NaN in a row makes its quantiles NaN.

    Args:
        input: [*], float32 or float64.
        q: A number in [0, 1], or a tensor [] or [Q] of such numbers and the input's dtype.
        dim: The dimension; all elements when None.
        keepdim: Leave the reduced dimension in the result with size 1.
        interpolation: Between two elements: "linear", their "midpoint", the "lower", the "higher" or the "nearest".

    Returns:
        The input's shape without the dimension; for q of shape [Q] with a leading dimension of size Q.

    Raises:
        ArgumentError: q is outside of [0, 1], or the interpolation is unknown.
        ShapeError: There are no elements, or q has more than one dimension.
        DTypeError: The input is not floating point, or q has another dtype.
        IndexRangeError: There is no such dimension.

    Gradient:
        For input: to the elements on both sides of the rank.

    Example:
        >>> nbdl.quantile(nbdl.tensor([3.0, 1.0, 2.0, 4.0]), 0.5)
        tensor(2.5000)
    """
    return _quantile(input, q, dim, keepdim, interpolation, False)


def nanquantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Quantiles of the elements that are not NaN; NaN where there are none. Arguments as for `quantile`.

    Example:
        >>> nbdl.nanquantile(nbdl.tensor([3.0, 1.0, float("nan")]), 0.5)
        tensor(2.)
    """
    return _quantile(input, q, dim, keepdim, interpolation, True)


def _quantile(input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignore_nan: bool) -> Tensor:
    check_float("input", input)
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    if not isinstance(q, Tensor):
        q = Tensor(arrays.sent_beside(input._array, np.array(check_number("q", q, 0, 1), input.dtype)))
    check_rank("q", check_same_dtype("q", q, "input", input), 0, 1)
    parts = arrays.on_host(q._array)
    if not ((parts >= 0) & (parts <= 1)).all():
        raise ArgumentError(f"q: expected numbers in [0, 1], got {parts.tolist()}")
    if dim is not None:
        dim = check_dim("dim", dim, input.ndim)
    if dim is None or input.ndim == 0:
        rows, kept = reshape(input, (-1,)), (1,) * input.ndim
    else:
        rows, kept = movedim(input, dim, -1), (*input.shape[:dim], 1, *input.shape[dim + 1 :])
    size = rows.shape[-1]
    if size == 0:
        raise ShapeError(f"input: expected elements, got shape {list(input.shape)}")
    rows = sort(rows).values
    missing = rows.detach().isnan()
    q = reshape(q.detach(), (-1,))
    if ignore_nan:
        ranks = (q * (missing.logical_not().sum(-1, keepdim=True) - 1)).clamp(min=0)
    else:  # NaN is last in order
        ranks = (q * (size - 1)).where(missing[..., -1:].logical_not(), float(size - 1))
    if interpolation in ("lower", "higher", "nearest"):
        ranks = {"lower": ranks.floor, "higher": ranks.ceil, "nearest": ranks.round}[interpolation]()
        values = gather(rows, -1, ranks.to(INT64))
    else:
        below = ranks.floor()
        weight = ranks - below if interpolation == "linear" else 0.5
        values = lerp(gather(rows, -1, below.to(INT64)), gather(rows, -1, ranks.ceil().to(INT64)), weight)
    values = movedim(values, -1, 0)
    shape = kept if keepdim else tuple(rows.shape[:-1])
    return reshape(values, (values.shape[0], *shape) if parts.ndim else shape)


def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The median of the elements that are not NaN; NaN where there are none.

    Args:
        input: [*].
        dim: The dimension; None for all elements, and then the value alone is returned.
        keepdim: Keep the dimension with size 1.

    Returns:
        The median of everything; with a dimension the values and indices without it.

    Raises:
        ShapeError: There are no elements along the dimension, or no integers at all.
        IndexRangeError: There is no such dimension.

    Gradient:
        For input: along a dimension to the element chosen; of everything shared evenly by elements equal to it.

    Example:
        >>> nbdl.nanmedian(nbdl.tensor([3.0, float("nan"), 2.0]))
        tensor(2.)
    """
    if input.dtype.kind != "f":
        return median(input, dim, keepdim)
    present = input.detach().isnan().logical_not()
    if dim is None:
        return median(masked_select(input, present))
    dim = check_dim("dim", dim, input.ndim)
    if input.ndim == 0:
        return median(input, dim)
    if input.shape[dim] == 0:
        raise ShapeError(f"input: expected elements along dimension {dim}, got shape {list(input.shape)}")
    values, indices = sort(input, dim)
    places = ((present.sum(dim, keepdim=True) - 1).clamp(min=0) / 2).floor().to(INT64)
    values, indices = gather(values, dim, places), gather(indices, dim, places)
    return OrderResult(values, indices) if keepdim else OrderResult(values.squeeze(dim), indices.squeeze(dim))
