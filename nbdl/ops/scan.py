r"""Scans: running sums, products, log-sums of exponentials and extremes along a dimension.

$$\text{cumsum: } y_i = \sum_{j \le i} x_j, \qquad dx_j = \sum_{i \ge j} dy_i$$

$$\text{cumprod: } y_i = \prod_{j \le i} x_j, \qquad dx_j = \sum_{i \ge j} dy_i \prod_{k \le i, k \ne j} x_k$$

$$\text{logcumsumexp: } y_i = \log \sum_{j \le i} e^{x_j}, \qquad
  dx_j = e^{x_j - y_j} g_j, \quad g_j = dy_j + e^{y_j - y_{j+1}} g_{j+1}$$

cummax and cummin hand each gradient to the element that they chose, the last one among equals. Without a zero
in the row, the gradient of cumprod is $\sum_{i \ge j} dy_i y_i / x_j$; behind the first zero all others vanish.

Letters: N rows, R elements along the dimension.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.arithmetic import sub
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.ops.elementwise.comparison import ne
from nbdl.ops.indexing.elements import add_elements
from nbdl.ops.indexing.selection import narrow
from nbdl.ops.reduction.arrangement import arrange_rows, rows_like
from nbdl.ops.shape.joining import cat
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_dim, check_float, check_int
from nbdl.runtime.dtypes import INT64, as_dtype
from nbdl.runtime.errors import ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, exact, scalar
from nbdl.runtime.vecmath import exp, log1p

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "diff", "logcumsumexp"]

# ---------------------------------------------------------------- reference


def cumsum_reference(input, dim, dtype=None):
    """The definition, in float64."""
    return np.cumsum(input, axis=dim) if input.ndim else input


def cumprod_reference(input, dim, dtype=None):
    """The definition, in float64."""
    return np.cumprod(input, axis=dim) if input.ndim else input


def logcumsumexp_reference(input, dim):
    """The definition, in float64."""
    return np.logaddexp.accumulate(input, axis=dim) if input.ndim else input


def cummax_reference(input, dim):
    """The values and the places of the running maxima."""
    return _running(input, dim, np.greater_equal)


def cummin_reference(input, dim):
    """The values and the places of the running minima."""
    return _running(input, dim, np.less_equal)


def _running(input, dim, wins):
    if input.ndim == 0:
        return input, np.zeros((), np.int64)
    rows = np.moveaxis(input, dim, -1)
    places = np.zeros(rows.shape, np.int64)
    for index in np.ndindex(rows.shape):
        before = index[-1] - 1
        places[index] = index[-1]
        if before >= 0:
            best = places[(*index[:-1], before)]
            if not wins(rows[index], rows[(*index[:-1], best)]):
                places[index] = best
    values = np.take_along_axis(rows, places, axis=-1)
    return np.moveaxis(values, -1, dim), np.moveaxis(places, -1, dim)


# ---------------------------------------------------------------- rows
# A scan goes through its row in order, on both targets the same: the twins share one function of a row.


def _over_rows(cpu: Any, cuda_twin: Any) -> Kernel:
    return Kernel(
        cpu=cpu,
        cuda=cuda_twin,
        tasks=lambda x, *_: x.shape[0],
        work=lambda x, *_: x.size,
        blocks=lambda x, *_: -(-x.shape[0] // BLOCK),
    )


# ---------------------------------------------------------------- sums


@exact
def _add_exactly(total, lost, value):
    """total + value as rounded, and `lost` with what the rounding took from it added (Knuth's two-sum)."""
    sum = total + value
    added = sum - total
    return sum, lost + ((total - (sum - added)) + (value - added))


@exact
def _rounded(total, lost):
    """The sum of both; of an infinity, beside which nothing that was lost is a number, the infinity itself."""
    return total + lost if total - total == 0 else total


@scalar
def _cumsum_row(x, y, backwards, row):
    """One sum of n numbers carries n roundings; with what they lost kept beside it, it carries one."""
    size = x.shape[1]
    total, lost = y.dtype.type(0), y.dtype.type(0)
    for step in range(size):
        i = size - 1 - step if backwards else step
        total, lost = _add_exactly(total, lost, y.dtype.type(x[row, i]))
        y[row, i] = _rounded(total, lost)


@cpu_kernel
def _cumsum_cpu(x, y, backwards, start, stop):
    """x, y [N, R]; from the end when `backwards`. One task a row."""
    for row in range(start, stop):
        _cumsum_row(x, y, backwards, row)


@cuda_kernel
def _cumsum_cuda(x, y, backwards):
    """As the CPU twin. One thread a row."""
    row = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if row < x.shape[0]:
        _cumsum_row(x, y, backwards, row)


_cumsum = _over_rows(_cumsum_cpu, _cumsum_cuda)

# ---------------------------------------------------------------- products


@scalar
def _cumprod_row(x, y, row):
    product = y.dtype.type(1)
    for i in range(x.shape[1]):
        product *= x[row, i]
        y[row, i] = product


@cpu_kernel
def _cumprod_forward_cpu(x, y, start, stop):
    """x, y [N, R]. One task a row."""
    for row in range(start, stop):
        _cumprod_row(x, y, row)


@cuda_kernel
def _cumprod_forward_cuda(x, y):
    """As the CPU twin. One thread a row."""
    row = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if row < x.shape[0]:
        _cumprod_row(x, y, row)


_cumprod_forward = _over_rows(_cumprod_forward_cpu, _cumprod_forward_cuda)


@scalar
def _cumprod_row_gradient(x, y, dy, dx, row):
    size = x.shape[1]
    zero = 0
    while zero < size and x[row, zero] != 0:
        zero += 1
    total = y.dtype.type(0)
    for step in range(zero):
        i = zero - 1 - step
        total += dy[row, i] * y[row, i]
        dx[row, i] = total / x[row, i]
    product = y[row, zero - 1] if zero > 0 else y.dtype.type(1)
    total = y.dtype.type(0)
    for i in range(zero, size):  # the zero itself left out of every product
        if i > zero:
            product *= x[row, i]
            dx[row, i] = 0
        total += dy[row, i] * product
    if zero < size:
        dx[row, zero] = total


@cpu_kernel
def _cumprod_backward_cpu(x, y, dy, dx, start, stop):
    """x, y, dy, dx [N, R]. One task a row."""
    for row in range(start, stop):
        _cumprod_row_gradient(x, y, dy, dx, row)


@cuda_kernel
def _cumprod_backward_cuda(x, y, dy, dx):
    """As the CPU twin. One thread a row."""
    row = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if row < x.shape[0]:
        _cumprod_row_gradient(x, y, dy, dx, row)


_cumprod_backward = _over_rows(_cumprod_backward_cpu, _cumprod_backward_cuda)

# ---------------------------------------------------------------- log-sums of exponentials


@scalar
def _logcumsumexp_row(x, y, row):
    """log(e^a + e^b) = max + log1p(e^(min - max))."""
    total = x[row, 0]
    y[row, 0] = total
    for i in range(1, x.shape[1]):
        high, low = max(total, x[row, i]), min(total, x[row, i])
        # equal infinities have no difference; a NaN must win
        total = high if high == low and math.isinf(high) else high + log1p(exp(low - high))
        total = x[row, i] + total if x[row, i] != x[row, i] else total
        y[row, i] = total


@cpu_kernel
def _logcumsumexp_forward_cpu(x, y, start, stop):
    """x, y [N, R], R at least 1. One task a row."""
    for row in range(start, stop):
        _logcumsumexp_row(x, y, row)


@cuda_kernel
def _logcumsumexp_forward_cuda(x, y):
    """As the CPU twin. One thread a row."""
    row = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if row < x.shape[0]:
        _logcumsumexp_row(x, y, row)


_logcumsumexp_forward = _over_rows(_logcumsumexp_forward_cpu, _logcumsumexp_forward_cuda)


@scalar
def _logcumsumexp_row_gradient(x, y, dy, dx, row):
    size = x.shape[1]
    g = x.dtype.type(0)
    for step in range(size):
        i = size - 1 - step
        if step > 0 and not math.isinf(y[row, i]):
            g *= exp(y[row, i] - y[row, i + 1])
        g += dy[row, i]
        # nothing but e^-inf so far: the sum does not move with any of them
        nothing = math.isinf(y[row, i]) and y[row, i] < 0
        dx[row, i] = x.dtype.type(0) if nothing else exp(x[row, i] - y[row, i]) * g


@cpu_kernel
def _logcumsumexp_backward_cpu(x, y, dy, dx, start, stop):
    """x, y, dy, dx [N, R]. One task a row."""
    for row in range(start, stop):
        _logcumsumexp_row_gradient(x, y, dy, dx, row)


@cuda_kernel
def _logcumsumexp_backward_cuda(x, y, dy, dx):
    """As the CPU twin. One thread a row."""
    row = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if row < x.shape[0]:
        _logcumsumexp_row_gradient(x, y, dy, dx, row)


_logcumsumexp_backward = _over_rows(_logcumsumexp_backward_cpu, _logcumsumexp_backward_cuda)

# ---------------------------------------------------------------- extremes


@scalar
def _cumextreme_row(x, y, places, greatest, row):
    best = 0
    for i in range(x.shape[1]):
        value, held = x[row, i], x[row, best]
        wins = value >= held if greatest else value <= held
        if value != value or (wins and held == held):
            best = i
        y[row, i] = x[row, best]
        places[row, i] = best


@cpu_kernel
def _cumextreme_cpu(x, y, places, greatest, start, stop):
    """x, y, places [N, R]; a NaN stays once it is met. One task a row."""
    for row in range(start, stop):
        _cumextreme_row(x, y, places, greatest, row)


@cuda_kernel
def _cumextreme_cuda(x, y, places, greatest):
    """As the CPU twin. One thread a row."""
    row = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if row < x.shape[0]:
        _cumextreme_row(x, y, places, greatest, row)


_cumextreme = _over_rows(_cumextreme_cpu, _cumextreme_cuda)

# ---------------------------------------------------------------- autograd


class CumsumOp(Op):
    """Backward is the same scan from the other end."""

    @staticmethod
    def forward(ctx: Context, x, dim):
        ctx.dim = dim
        return CumsumOp.scan(x, dim, False)

    @staticmethod
    def backward(ctx: Context, dy):
        return CumsumOp.scan(dy, ctx.dim, True), None

    @staticmethod
    def scan(x, dim, backwards):
        rows, arrangement = arrange_rows(x, dim)
        y = Context.empty_like(rows)
        _cumsum(rows, y, backwards)
        return arrangement.full(y)


class CumprodOp(Op):
    """Saves the rows of x and y."""

    @staticmethod
    def forward(ctx: Context, x, dim):
        rows, ctx.arrangement = arrange_rows(x, dim)
        y = ctx.empty_like(rows)
        _cumprod_forward(rows, y)
        ctx.save(rows, y)
        return ctx.arrangement.full(y)

    @staticmethod
    def backward(ctx: Context, dy):
        rows, y = ctx.saved
        dx = ctx.empty_like(rows)
        _cumprod_backward(rows, y, rows_like(dy, ctx.arrangement), dx)
        return ctx.arrangement.full(dx), None


class LogCumsumExpOp(Op):
    """Saves the rows of x and y."""

    @staticmethod
    def forward(ctx: Context, x, dim):
        rows, ctx.arrangement = arrange_rows(x, dim)
        y = ctx.empty_like(rows)
        if rows.size:
            _logcumsumexp_forward(rows, y)
        ctx.save(rows, y)
        return ctx.arrangement.full(y)

    @staticmethod
    def backward(ctx: Context, dy):
        rows, y = ctx.saved
        dx = ctx.empty_like(rows)
        _logcumsumexp_backward(rows, y, rows_like(dy, ctx.arrangement), dx)
        return ctx.arrangement.full(dx), None


class CumExtremeOp(Op):
    """Saves the places."""

    @staticmethod
    def forward(ctx: Context, x, dim, greatest):
        rows, ctx.arrangement = arrange_rows(x, dim)
        y, places = ctx.empty_like(rows), ctx.empty_like(rows, INT64)
        if rows.size:
            _cumextreme(rows, y, places, greatest)
        ctx.save(places)
        return ctx.arrangement.full(y), ctx.arrangement.full(places)

    @staticmethod
    def backward(ctx: Context, dy, _):
        (places,) = ctx.saved
        dx = arrays.full(ctx.arrangement.sizes, 0, dy.dtype)
        add_elements(ctx.arrangement.like(dy), places.reshape(dx.shape), dx)
        return ctx.arrangement.full(dx), None, None


# ---------------------------------------------------------------- public


class CumResult(NamedTuple):
    """The running extremes along a dimension, and where they stood."""

    values: Tensor
    indices: Tensor


def _working(input: Tensor, dtype: Any) -> Tensor:
    """The input in the dtype to add up in: integers and booleans in int64."""
    if dtype is not None:
        return to_dtype(input, as_dtype(dtype))
    return to_dtype(input, INT64) if input.dtype.kind in "iub" else input


def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    r"""Running sums along a dimension: $y_i = \sum_{j \le i} x_j$.

    Args:
        input: [*].
        dim: The dimension.
        dtype: What to add up in; by default the input's dtype, int64 for integers and booleans.

    Returns:
        [*], the shape of the input.

    Raises:
        IndexRangeError: There is no such dimension.

    Gradient:
        For input.

    Example:
        >>> nbdl.cumsum(nbdl.tensor([1.0, 2.0, 3.0]), 0)
        tensor([1., 3., 6.])
    """
    return CumsumOp.apply(_working(input, dtype), check_dim("dim", dim, input.ndim))


def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    r"""Running products along a dimension: $y_i = \prod_{j \le i} x_j$. Arguments as for `cumsum`.

    Gradient:
        For input; exact also where elements are zero.
    """
    return CumprodOp.apply(_working(input, dtype), check_dim("dim", dim, input.ndim))


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    r"""Logarithms of running sums of exponentials: $y_i = \log \sum_{j \le i} e^{x_j}$, without overflow.

    Args:
        input: [*], float32 or float64.
        dim: The dimension.

    Returns:
        [*], the shape of the input.

    Raises:
        DTypeError: The input is not floating point.
        IndexRangeError: There is no such dimension.

    Gradient:
        For input.
    """
    return LogCumsumExpOp.apply(check_float("input", input), check_dim("dim", dim, input.ndim))


def cummax(input: Tensor, dim: int) -> CumResult:
    """Running maxima along a dimension, and the last places that attain them.

    Args:
        input: [*].
        dim: The dimension.

    Returns:
        values: [*], and indices: [*], int64.

    Raises:
        IndexRangeError: dim is out of range.

    Gradient:
        For input: to the element chosen.

    Example:
        >>> nbdl.cummax(nbdl.tensor([1.0, 3.0, 2.0]), 0).values
        tensor([1., 3., 3.])
    """
    return CumResult(*CumExtremeOp.apply(input, check_dim("dim", dim, input.ndim), True))


def cummin(input: Tensor, dim: int) -> CumResult:
    """Running minima along a dimension, and the last places that attain them. Arguments as for `cummax`."""
    return CumResult(*CumExtremeOp.apply(input, check_dim("dim", dim, input.ndim), False))


# ---------------------------------------------------------------- differences


def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    r"""Differences of neighbours along a dimension: $y_i = x_{i+1} - x_i$. What `cumsum` adds up again.

    Args:
        input: [*], at least one dimension; of booleans the difference is "not equal".
        n: How many times to take differences; with 0 the result is the input, nothing before or behind it.
        dim: The dimension.
        prepend: Elements to put before the input's along the dimension.
        append: Elements to put behind them.

    Returns:
        [*], n elements fewer along the dimension, none at the least.

    Raises:
        ShapeError: The input has no dimension, or what is put before or behind has other sizes.
        ArgumentError: n is negative.
        IndexRangeError: There is no such dimension.

    Gradient:
        For input, prepend and append.

    Example:
        >>> nbdl.diff(nbdl.tensor([1.0, 4.0, 9.0]))
        tensor([3., 5.])
    """
    if input.ndim == 0:
        raise ShapeError("input: expected at least 1 dimension, got shape []")
    n, dim = check_int("n", n, 0), check_dim("dim", dim, input.ndim)
    if n == 0:
        return input
    parts = [part for part in (prepend, input, append) if part is not None]
    y = cat(parts, dim) if len(parts) > 1 else input
    for _ in range(min(n, y.shape[dim])):
        size = y.shape[dim]
        left, right = narrow(y, dim, 0, size - 1), narrow(y, dim, 1, size - 1)
        y = ne(right, left) if y.dtype.kind == "b" else sub(right, left)
    return y
