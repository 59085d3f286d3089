r"""Scatter with a reduction: what falls on one place is summed, multiplied, averaged, or the extreme of it is kept.

With $S_m$ the elements that fall on place m (and the input there, when it is included) and $y_m$ their result, the
gradient of an element $v \in S_m$ is

$$
\text{sum: } dy_m, \qquad \text{mean: } \frac{dy_m}{|S_m|}, \qquad
\text{prod: } dy_m \prod_{u \in S_m \setminus v} u, \qquad
\text{amax, amin: } \frac{[v = y_m]\, dy_m}{|\{u \in S_m : u = y_m\}|}.
$$

So beside y one number a place is kept: the size of $S_m$, how many of it are zero, or how many equal y. For products
a second one is the product of those that are not zero: it is what is left when a single zero is taken out.
"""

from __future__ import annotations

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.ops.elementwise.division import floor_divide
from nbdl.ops.indexing.elements import (
    COLUMNS,
    column_kernel,
    columns_of,
    copied,
    part_of,
    spread_part,
)
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_choice, check_same_dtype
from nbdl.runtime.dtypes import BOOL, INT64
from nbdl.runtime.errors import DTypeError
from nbdl.runtime.jit import BLOCK, cpu_kernel, cuda, cuda_kernel, scalar

SUM, PROD, MEAN, AMAX, AMIN = range(5)
REDUCTIONS = {"sum": SUM, "prod": PROD, "mean": MEAN, "amax": AMAX, "amin": AMIN}

# ---------------------------------------------------------------- reference


def scatter_reduce_reference(input, dim, index, src, reduce, include_self=True):
    """Collects what falls on each place, then reduces it."""
    function = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    fallen: dict[tuple[int, ...], list[float]] = {}
    for place in np.ndindex(index.shape):
        target = list(place)
        target[dim] = index[place]
        fallen.setdefault(tuple(target), []).append(src[place])
    result = input.copy()
    for place, values in fallen.items():
        result[place] = function([input[place], *values] if include_self else values)
    return result


# ---------------------------------------------------------------- forward


@scalar
def reduce_column(values, ids, y, counts, products, o, i, kind, include_self):
    """One column (o, i) of values, ids [O, K, I] and y, counts, products [O, M, I]; y comes as the input.

    counts: -1 for places on which nothing fell, else how many fell (mean), are zero (prod) or equal y (amax, amin).
    """
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for m in range(y.shape[1]):
        counts[o, m, i] = -one
    for k in range(ids.shape[1]):
        m, v = ids[o, k, i], values[o, k, i]
        if counts[o, m, i] < zero:  # the first to fall here
            if include_self:
                x = y[o, m, i]
                counts[o, m, i] = (one if x == zero else zero) if kind == PROD else one
                products[o, m, i] = one if x == zero else x
            else:
                y[o, m, i] = v
                counts[o, m, i] = (one if v == zero else zero) if kind == PROD else one
                products[o, m, i] = one if v == zero else v
                continue
        x = y[o, m, i]
        if kind in (SUM, MEAN):
            y[o, m, i] = x + v
            counts[o, m, i] += one
        elif kind == PROD:
            y[o, m, i] = x * v
            if v == zero:
                counts[o, m, i] += one
            else:
                products[o, m, i] *= v
        elif v != v or ((v > x) if kind == AMAX else (v < x)):
            y[o, m, i] = v
            counts[o, m, i] = one
        elif v == x:
            counts[o, m, i] += one
    if kind == MEAN:
        for m in range(y.shape[1]):
            if counts[o, m, i] > zero:
                y[o, m, i] /= counts[o, m, i]


@cpu_kernel
def _reduce_cpu(values, ids, y, counts, products, kind, include_self, start, stop):
    """values, ids [O, K, I]; y, counts, products [O, M, I]. One task a block of columns."""
    blocks = (y.shape[2] + COLUMNS - 1) // COLUMNS
    for task in range(start, stop):
        o, first = task // blocks, task % blocks * COLUMNS
        for i in range(first, min(first + COLUMNS, y.shape[2])):
            reduce_column(values, ids, y, counts, products, o, i, kind, include_self)


@cuda_kernel
def _reduce_cuda(values, ids, y, counts, products, kind, include_self):
    """As the CPU twin. One thread a column."""
    column = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if column < y.shape[0] * y.shape[2]:
        o, i = column // y.shape[2], column % y.shape[2]
        reduce_column(values, ids, y, counts, products, o, i, kind, include_self)


reduce_elements = column_kernel(_reduce_cpu, _reduce_cuda)

# ---------------------------------------------------------------- backward


@scalar
def share(v, y, dy, count, product, kind, zero, one):
    """The gradient of an element v that fell on a place with result y."""
    if kind == SUM:
        return dy
    if kind == MEAN:
        return dy / count
    if kind == PROD:
        if count == zero:
            return dy * (product / v)
        return dy * product if count == one and v == zero else zero
    return dy / count if v == y else zero


@cpu_kernel
def _reduce_backward_cpu(values, ids, x, y, dy, counts, products, kind, include_self, dx, dvalues, start, stop):
    """values, ids, dvalues [O, K, I]; x, y, dy, counts, products, dx [O, M, I]. One task a block of columns."""
    zero, one = y.dtype.type(0), y.dtype.type(1)
    blocks = (y.shape[2] + COLUMNS - 1) // COLUMNS
    for task in range(start, stop):
        o, first = task // blocks, task % blocks * COLUMNS
        for i in range(first, min(first + COLUMNS, y.shape[2])):
            for k in range(ids.shape[1]):
                m = ids[o, k, i]
                dvalues[o, k, i] = share(
                    values[o, k, i], y[o, m, i], dy[o, m, i], counts[o, m, i], products[o, m, i], kind, zero, one
                )
            for m in range(y.shape[1]):
                count = counts[o, m, i]
                if count < zero:
                    dx[o, m, i] = dy[o, m, i]
                elif include_self:
                    dx[o, m, i] = share(x[o, m, i], y[o, m, i], dy[o, m, i], count, products[o, m, i], kind, zero, one)
                else:
                    dx[o, m, i] = zero


@cuda_kernel
def _reduce_backward_cuda(values, ids, x, y, dy, counts, products, kind, include_self, dx, dvalues):
    """As the CPU twin. One thread a column."""
    zero, one = y.dtype.type(0), y.dtype.type(1)
    column = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if column < y.shape[0] * y.shape[2]:
        o, i = column // y.shape[2], column % y.shape[2]
        for k in range(ids.shape[1]):
            m = ids[o, k, i]
            dvalues[o, k, i] = share(
                values[o, k, i], y[o, m, i], dy[o, m, i], counts[o, m, i], products[o, m, i], kind, zero, one
            )
        for m in range(y.shape[1]):
            count = counts[o, m, i]
            if count < zero:
                dx[o, m, i] = dy[o, m, i]
            elif include_self:
                dx[o, m, i] = share(x[o, m, i], y[o, m, i], dy[o, m, i], count, products[o, m, i], kind, zero, one)
            else:
                dx[o, m, i] = zero


reduce_backward = column_kernel(_reduce_backward_cpu, _reduce_backward_cuda)

# ---------------------------------------------------------------- autograd


class ScatterReduceOp(Op):
    """y = x with what falls on each place reduced; keeps y and one or two numbers a place."""

    @staticmethod
    def forward(ctx: Context, x, src, columns, kind, include_self):
        ctx.options = src.shape, columns, kind, include_self
        y = copied(x)
        if columns.ids.size == 0:
            ctx.save(None, None, None, None, None)
            return y
        values = columns.tables(arrays.contiguous(part_of(src, columns.shape)))
        before = columns.covered(x)
        part = copied(before)
        counts, products = memory.empty(part.shape, x.dtype), memory.empty(part.shape, x.dtype)
        reduce_elements(values, columns.ids, part, counts, products, kind, include_self)
        columns.place(part, y)
        ctx.save(values, before, part, counts, products)
        return y

    @staticmethod
    def backward(ctx: Context, dy):
        src_shape, columns, kind, include_self = ctx.options
        values, before, part, counts, products = ctx.saved
        if values is None:
            return dy, arrays.full(src_shape, 0, dy.dtype), None, None, None
        dx = copied(dy)
        dpart = memory.empty(part.shape, dy.dtype)
        dvalues = memory.empty(columns.shape, dy.dtype)
        reduce_backward(
            values,
            columns.ids,
            before,
            part,
            columns.covered(dy),
            counts,
            products,
            kind,
            include_self,
            dpart,
            columns.tables(dvalues),
        )
        columns.place(dpart, dx)
        return dx, spread_part(dvalues, src_shape), None, None, None


# ---------------------------------------------------------------- public


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Reduces what the index sends to each place along a dimension.

    Args:
        input: [*], any dtype.
        dim: The dimension.
        index: [*] integers in [0, size of dim), not longer than src, nor than input in the other dimensions.
        src: [*] of the input's dtype.
        reduce: "sum", "prod", "mean", "amax" or "amin".
        include_self: Whether the input's own element counts at places to which something is sent.

    Returns:
        The shape and dtype of the input; the mean of integers is rounded down.

    Raises:
        ArgumentError: Another reduction.
        DTypeError: The index has no integer dtype, src another than the input, or the mean is of bools.
        ShapeError: The ranks differ or the index is too long.
        IndexRangeError: A number of the index or dim is out of range.

    Gradient:
        For input and src: the formulas of the module; equal extremes share the gradient.

    Example:
        >>> x, src = nbdl.tensor([1.0, 2.0]), nbdl.tensor([5.0, 6.0, 7.0])
        >>> nbdl.ops.scatter_reduce(x, 0, nbdl.tensor([0, 0, 1]), src, "amax")
        tensor([6., 7.])
    """
    kind = REDUCTIONS[check_choice("reduce", reduce, REDUCTIONS)]
    check_same_dtype("src", src, "input", input)
    columns = columns_of(input, dim, index, src)
    dtype = input.dtype
    if dtype.kind == "f":
        return ScatterReduceOp.apply(input, src, columns, kind, bool(include_self))
    if dtype == BOOL and kind == MEAN:
        raise DTypeError("input: expected numbers for the mean, got bool")
    x, v = to_dtype(input, INT64), to_dtype(src, INT64)  # the kernel counts in the dtype of its input
    if kind != MEAN:
        return to_dtype(ScatterReduceOp.apply(x, v, columns, kind, bool(include_self)), dtype)
    total = ScatterReduceOp.apply(x, v, columns, SUM, bool(include_self))
    ones, of_src = (Tensor(arrays.full(t.shape, 1, INT64)) for t in (x, v))
    counts = ScatterReduceOp.apply(ones, of_src, columns, SUM, bool(include_self))
    return to_dtype(floor_divide(total, counts), dtype)
