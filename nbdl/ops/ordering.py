r"""Order: sort, argsort, topk, kthvalue, median, unique, searchsorted, bincount and histc.

Everything starts from the stable order $\pi$ of a row, $y_i = x_{\pi(i)}$. A permutation's transpose is its inverse,
so each gradient goes back to the place that its value came from:

$$dx_{\pi(i)} = dy_i, \qquad \text{and } 0 \text{ for elements that were not chosen.}$$

A NaN counts as greater than every number. On the CPU a row is sorted by merging runs (John von Neumann, 1945). In the
CUDA twin each thread counts how many elements come before its own: more comparisons, none of which waits for another.

Letters: N rows, R elements along the dimension, K of them chosen.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.casting import to_dtype
from nbdl.ops.rows import as_rows, from_rows
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_dim, check_int, check_integer, check_number, check_rank
from nbdl.runtime.dtypes import INT64
from nbdl.runtime.errors import ArgumentError, DTypeError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, exact

__all__ = [
    "argsort",
    "bincount",
    "bucketize",
    "histc",
    "kthvalue",
    "median",
    "searchsorted",
    "sort",
    "topk",
    "unique",
]

# ---------------------------------------------------------------- reference


def sort_reference(input, dim=-1, descending=False, stable=False):
    """The definition: values and indices, equal values in their old order."""
    order = argsort_reference(input, dim, descending)
    return (np.take_along_axis(input, order, axis=dim) if input.ndim else input), order


def argsort_reference(input, dim=-1, descending=False, stable=False):
    """The definition: the stable order."""
    if input.ndim == 0:
        return np.zeros((), np.int64)
    return np.argsort(-input if descending else input, axis=dim, kind="stable")


def topk_reference(input, k, dim=-1, largest=True, sorted=True):
    """The definition: the first k of the order."""
    if input.ndim == 0:
        return input, np.zeros((), np.int64)
    order = np.take(argsort_reference(input, dim, largest), np.arange(k), axis=dim)
    return np.take_along_axis(input, order, axis=dim), order


# ---------------------------------------------------------------- the order of a row


@exact
def _comes_before(a, b, descending):
    """Whether a stands strictly before b; NaN is the greatest."""
    if descending:
        a, b = b, a
    return a < b or (b != b and a == a)


@cpu_kernel
def _order_cpu(x, order, scratch, descending, start, stop):
    """x, order, scratch [N, R]: order = the stable order of each row. One task a row."""
    size = x.shape[1]
    for row in range(start, stop):
        for i in range(size):
            order[row, i] = i
        width = 1
        while width < size:
            for low in range(0, size, 2 * width):
                middle, high = min(low + width, size), min(low + 2 * width, size)
                left, right = low, middle
                for i in range(low, high):
                    take_right = left >= middle
                    if not take_right and right < high:
                        take_right = _comes_before(x[row, order[row, right]], x[row, order[row, left]], descending)
                    if take_right:
                        scratch[row, i] = order[row, right]
                        right += 1
                    else:
                        scratch[row, i] = order[row, left]
                        left += 1
            for i in range(size):
                order[row, i] = scratch[row, i]
            width *= 2


@cuda_kernel
def _order_cuda(x, order, scratch, descending):
    """As the CPU twin. One block a row; a thread counts the elements before each of its own."""
    row = cuda.blockIdx.x
    size = x.shape[1]
    for i in range(cuda.threadIdx.x, size, BLOCK):
        rank = 0
        for j in range(size):
            before = _comes_before(x[row, j], x[row, i], descending)
            equal = not before and not _comes_before(x[row, i], x[row, j], descending)
            if before or (equal and j < i):
                rank += 1
        order[row, rank] = i


_order = Kernel(
    cpu=_order_cpu,
    cuda=_order_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, *_: x.size * max(1, x.shape[1].bit_length()),
)

# ---------------------------------------------------------------- values there and gradients back


@cpu_kernel
def _pick_cpu(x, places, y, start, stop):
    """x [N, R]; places, y [N, K]: y = x[place]. One task a row."""
    for row in range(start, stop):
        for i in range(y.shape[1]):
            y[row, i] = x[row, places[row, i]]


@cuda_kernel
def _pick_cuda(x, places, y):
    """As the CPU twin. One block a row."""
    row = cuda.blockIdx.x
    for i in range(cuda.threadIdx.x, y.shape[1], BLOCK):
        y[row, i] = x[row, places[row, i]]


_pick = Kernel(cpu=_pick_cpu, cuda=_pick_cuda, tasks=lambda x, *_: x.shape[0], work=lambda x, places, y: y.size)


@cpu_kernel
def _put_cpu(dy, places, dx, start, stop):
    """dy, places [N, K], no place twice in a row; dx [N, R]. One task a row."""
    for row in range(start, stop):
        for i in range(dx.shape[1]):
            dx[row, i] = 0
        for i in range(dy.shape[1]):
            dx[row, places[row, i]] = dy[row, i]


@cuda_kernel
def _put_cuda(dy, places, dx):
    """As the CPU twin. One block a row."""
    row = cuda.blockIdx.x
    for i in range(cuda.threadIdx.x, dx.shape[1], BLOCK):
        dx[row, i] = 0
    cuda.syncthreads()
    for i in range(cuda.threadIdx.x, dy.shape[1], BLOCK):
        dx[row, places[row, i]] = dy[row, i]


_put = Kernel(
    cpu=_put_cpu, cuda=_put_cuda, tasks=lambda dy, places, dx: dx.shape[0], work=lambda dy, places, dx: dx.size
)

# ---------------------------------------------------------------- groups of equal values


@cpu_kernel
def _group_cpu(x, order, inverse, firsts, counts, found, start, stop):
    """x, order, inverse, firsts, counts [R]; found [1], the number of different values. One task."""
    for _ in range(start, stop):
        group = -1
        for i in range(x.shape[0]):
            place = order[i]
            if i == 0 or x[place] != x[order[i - 1]]:
                group += 1
                firsts[group] = place
                counts[group] = 0
            counts[group] += 1
            inverse[place] = group
        found[0] = group + 1


@cuda_kernel
def _group_cuda(x, order, inverse, firsts, counts, found):
    """As the CPU twin. One thread: a group's number depends on all values before it."""
    if cuda.threadIdx.x == 0:
        group = -1
        for i in range(x.shape[0]):
            place = order[i]
            if i == 0 or x[place] != x[order[i - 1]]:
                group += 1
                firsts[group] = place
                counts[group] = 0
            counts[group] += 1
            inverse[place] = group
        found[0] = group + 1


_group = Kernel(cpu=_group_cpu, cuda=_group_cuda, tasks=lambda *_: 1)

# ---------------------------------------------------------------- counting into bins


@cpu_kernel
def _count_cpu(bins, weights, y, start, stop):
    """bins [N], -1 for none; weights [N] or [1] for all; y [B]. One task: additions keep their order."""
    for _ in range(start, stop):
        for b in range(y.shape[0]):
            y[b] = 0
        for i in range(bins.shape[0]):
            if bins[i] >= 0:
                y[bins[i]] += weights[i if weights.shape[0] > 1 else 0]


@cuda_kernel
def _count_cuda(bins, weights, y):
    """As the CPU twin. One block; a thread owns the bins threadIdx.x, + BLOCK, ..."""
    for b in range(cuda.threadIdx.x, y.shape[0], BLOCK):
        total = y.dtype.type(0)
        for i in range(bins.shape[0]):
            if bins[i] == b:
                total += weights[i if weights.shape[0] > 1 else 0]
        y[b] = total


_count = Kernel(cpu=_count_cpu, cuda=_count_cuda, tasks=lambda *_: 1)


@cpu_kernel
def _bin_of_cpu(x, low, high, bins, y, start, stop):
    """x, y [N]: the number of the bin among `bins` equal parts of [low, high]; -1 outside. One task an element."""
    for i in range(start, stop):
        place = np.int64((x[i] - low) * x.dtype.type(bins) / (high - low))
        inside = x[i] >= low and x[i] <= high
        y[i] = min(place, bins - 1) if inside else -1


@cuda_kernel
def _bin_of_cuda(x, low, high, bins, y):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < x.shape[0]:
        inside = x[i] >= low and x[i] <= high
        y[i] = -1
        if inside:
            y[i] = min(np.int64((x[i] - low) * x.dtype.type(bins) / (high - low)), bins - 1)


_bin_of = Kernel(
    cpu=_bin_of_cpu, cuda=_bin_of_cuda, tasks=lambda x, *_: x.shape[0], blocks=lambda x, *_: -(-x.shape[0] // BLOCK)
)


@cpu_kernel
def _search_cpu(edges, values, right, y, start, stop):
    """edges [N or 1, R], sorted; values, y [N, K]: the first place whose edge is >= value (> when right).

    One task a row.
    """
    for row in range(start, stop):
        line = row if edges.shape[0] > 1 else 0
        for i in range(values.shape[1]):
            low, high = 0, edges.shape[1]
            while low < high:
                middle = (low + high) // 2
                edge, value = edges[line, middle], values[row, i]
                before = edge <= value if right else edge < value
                if before or (value != value and (right or edge == edge)):
                    low = middle + 1
                else:
                    high = middle
            y[row, i] = low


@cuda_kernel
def _search_cuda(edges, values, right, y):
    """As the CPU twin. One block a row."""
    row = cuda.blockIdx.x
    line = row if edges.shape[0] > 1 else 0
    for i in range(cuda.threadIdx.x, values.shape[1], BLOCK):
        low, high = 0, edges.shape[1]
        while low < high:
            middle = (low + high) // 2
            edge, value = edges[line, middle], values[row, i]
            before = edge <= value if right else edge < value
            if before or (value != value and (right or edge == edge)):
                low = middle + 1
            else:
                high = middle
        y[row, i] = low


_search = Kernel(
    cpu=_search_cpu,
    cuda=_search_cuda,
    tasks=lambda edges, values, *_: values.shape[0],
    work=lambda edges, values, *_: values.size * max(1, edges.shape[1].bit_length()),
)

# ---------------------------------------------------------------- autograd


class ChooseOp(Op):
    """The elements at places [first, first + count) of the order along a dimension, and those places."""

    @staticmethod
    def forward(ctx: Context, x, dim, descending, first, count):
        rows = as_rows(x, dim)
        order = _stable_order(rows, descending)
        if first or count != rows.shape[1]:
            order = arrays.contiguous(order[:, first : first + count])
        y = memory.empty(order.shape, x.dtype)
        _pick(rows, order, y)
        ctx.dim, ctx.shape = dim, x.shape
        ctx.save(order)
        return from_rows(y, x.shape, dim), from_rows(order, x.shape, dim)

    @staticmethod
    def backward(ctx: Context, dy, _):
        (order,) = ctx.saved
        rows = as_rows(dy, ctx.dim)
        size = ctx.shape[ctx.dim] if ctx.shape else 1
        dx = memory.empty((rows.shape[0], size), dy.dtype)
        _put(arrays.contiguous(rows), order, dx)
        return from_rows(dx, ctx.shape, ctx.dim), None, None, None, None


def _stable_order(rows: Any, descending: bool) -> Any:
    order = memory.empty(rows.shape, INT64)
    _order(rows, order, memory.empty(rows.shape, INT64), descending)
    return order


# ---------------------------------------------------------------- public: sorting


class OrderResult(NamedTuple):
    """Elements chosen by their order, and where they stood."""

    values: Tensor
    indices: Tensor


def _length(input: Tensor, dim: int) -> int:
    return input.shape[dim] if input.ndim else 1


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> OrderResult:
    """Sorts along a dimension. Equal elements keep their order, whether `stable` is asked for or not.

    Args:
        input: [*].
        dim: The dimension.
        descending: From the greatest to the least.
        stable: Accepted for PyTorch's sake: the sort always is.

    Returns:
        values: [*], and indices: [*], int64: where they stood.

    Raises:
        IndexRangeError: There is no such dimension.

    Gradient:
        For input: each gradient goes back to where its value came from.

    Example:
        >>> nbdl.sort(nbdl.tensor([3.0, 1.0, 2.0])).values
        tensor([1., 2., 3.])
    """
    dim = check_dim("dim", dim, input.ndim)
    return OrderResult(*ChooseOp.apply(input, dim, bool(descending), 0, _length(input, dim)))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort along a dimension. Arguments as for `sort`."""
    return sort(input.detach(), dim, descending).indices


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> OrderResult:
    """The k greatest, or least, elements along a dimension, in order.

    Args:
        input: [*].
        k: How many.
        dim: The dimension.
        largest: The greatest, else the least.
        sorted: Accepted for PyTorch's sake: they always come in order.

    Returns:
        values and indices, with size k along the dimension.

    Raises:
        ArgumentError: k is more than there are.

    Gradient:
        For input.
    """
    dim = check_dim("dim", dim, input.ndim)
    k = check_int("k", k, 0, _length(input, dim))
    return OrderResult(*ChooseOp.apply(input, dim, bool(largest), 0, k))


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> OrderResult:
    """The k-th least element along a dimension, counted from 1.

    Args:
        input: [*].
        k: Which.
        dim: The dimension.
        keepdim: Keep the dimension with size 1.

    Returns:
        values and indices, without the dimension.

    Gradient:
        For input.
    """
    dim = check_dim("dim", dim, input.ndim)
    k = check_int("k", k, 1, _length(input, dim))
    return _one_of_order(input, dim, k - 1, keepdim)


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element, the lower of two: over everything, or along a dimension with its index. NaN if there is one.

    Args:
        input: [*], not empty.
        dim: The dimension; None for all elements, and then the value alone is returned.
        keepdim: Keep the dimension with size 1.

    Raises:
        ShapeError: There are no elements.

    Gradient:
        For input: to the element chosen.
    """
    flat = input if dim is not None else input.reshape(-1)
    chosen = check_dim("dim", 0 if dim is None else dim, flat.ndim)
    size = _length(flat, chosen)
    if size == 0:
        raise ShapeError(f"input: expected elements, got shape {list(input.shape)}")
    if flat.dtype.kind == "f" and np.isnan(flat._array).any():
        result = _median_with_nan(flat, chosen, size, keepdim)
    else:
        result = _one_of_order(flat, chosen, (size - 1) // 2, keepdim)
    return result.values if dim is None else result


def _median_with_nan(input: Tensor, dim: int, size: int, keepdim: bool) -> OrderResult:
    """NaN sorts last: a row whose last element is NaN has it for its median."""
    last, middle = (_one_of_order(input, dim, place, keepdim) for place in (size - 1, (size - 1) // 2))
    missing = last.values.isnan()
    return OrderResult(last.values.where(missing, middle.values), last.indices.where(missing, middle.indices))


def _one_of_order(input: Tensor, dim: int, place: int, keepdim: bool) -> OrderResult:
    result = OrderResult(*ChooseOp.apply(input, dim, False, place, 1))
    if keepdim or input.ndim == 0:
        return result
    return OrderResult(result.values.squeeze(dim), result.indices.squeeze(dim))


def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False) -> Any:
    """The different values, in ascending order.

    Args:
        input: [*].
        sorted: Accepted for PyTorch's sake: they always are.
        return_inverse: Also where each element's value stands among them: [*], int64.
        return_counts: Also how often each occurs: [U], int64.

    Returns:
        [U], or a tuple with what else was asked for.
    """
    flat = arrays.contiguous(input._array).reshape(-1)
    order = _stable_order(flat.reshape(1, -1), False).reshape(-1)
    inverse, firsts, counts = (memory.empty(flat.shape, INT64) for _ in range(3))
    found = memory.empty((1,), INT64)
    _group(flat, order, inverse, firsts, counts, found)
    groups = int(found[0])
    places = arrays.contiguous(firsts[:groups]).reshape(1, -1)
    values = memory.empty(places.shape, flat.dtype)
    _pick(flat.reshape(1, -1), places, values)
    results = [Tensor(values.reshape(-1))]
    if return_inverse:
        results.append(Tensor(inverse.reshape(input.shape)))
    if return_counts:
        results.append(Tensor(arrays.contiguous(counts[:groups])))
    return results[0] if len(results) == 1 else tuple(results)


# ---------------------------------------------------------------- public: places and counts


def searchsorted(sorted_sequence: Tensor, input: Any, *, right: bool = False) -> Tensor:
    """Where values belong in sorted sequences: the first index whose element is >= the value (> when right).

    Args:
        sorted_sequence: [R], or [*, R] with the leading sizes of the input; ascending.
        input: [*, K], or a number.
        right: Behind equal elements instead of before them.

    Returns:
        [*, K], int64.

    Raises:
        ShapeError: The leading sizes differ.
        DTypeError: The dtypes differ.
    """
    values = input if isinstance(input, Tensor) else Tensor(np.array(input, sorted_sequence.dtype))
    if values.dtype != sorted_sequence.dtype:
        raise DTypeError(f"input: expected {sorted_sequence.dtype}, got {values.dtype}")
    if sorted_sequence.ndim != 1 and sorted_sequence.shape[:-1] != values.shape[:-1]:
        raise ShapeError(
            f"sorted_sequence: expected the leading sizes of input {list(values.shape[:-1])}, "
            f"got shape {list(sorted_sequence.shape)}"
        )
    check_rank("sorted_sequence", sorted_sequence, *range(1, 65))
    edges = arrays.contiguous(sorted_sequence._array).reshape(-1, sorted_sequence.shape[-1])
    flat = arrays.contiguous(values._array)
    flat = flat.reshape(1, -1) if sorted_sequence.ndim == 1 else flat.reshape(edges.shape[0], -1)
    y = memory.empty(flat.shape, INT64)
    _search(edges, flat, bool(right), y)
    return Tensor(y.reshape(values.shape))


def bucketize(input: Any, boundaries: Tensor, *, right: bool = False) -> Tensor:
    """The number of the interval between boundaries that each value falls into (see `searchsorted`)."""
    check_rank("boundaries", boundaries, 1)
    return searchsorted(boundaries, input, right=right)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each of the integers 0, 1, ... occurs, or the sum of its weights.

    Args:
        input: [N], integers, none negative.
        weights: [N], what each occurrence counts.
        minlength: Length of the result at least.

    Returns:
        [max(input) + 1], int64, or the weights' dtype.

    Raises:
        ArgumentError: An integer is negative.
        ShapeError: The input is not one-dimensional, or weights has another shape.
    """
    check_rank("input", check_integer("input", input), 1)
    minlength = check_int("minlength", minlength, 0)
    bins = arrays.contiguous(input._array).astype(np.int64, copy=False)
    if bins.size and bins.min() < 0:
        raise ArgumentError(f"input: expected integers of at least 0, got {int(bins.min())}")
    if weights is not None and weights.shape != input.shape:
        raise ShapeError(f"weights: expected shape {list(input.shape)}, got {list(weights.shape)}")
    if weights is not None and weights.dtype.kind != "f":
        weights = to_dtype(weights, np.dtype(np.float64))
    added = np.ones(1, np.int64) if weights is None else arrays.contiguous(weights._array)
    y = memory.empty((max(int(bins.max()) + 1 if bins.size else 0, minlength),), added.dtype)
    _count(bins, added, y)
    return Tensor(y)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall into each of `bins` equal parts of [min, max]; others, and NaN, do not count.

    Args:
        input: [*], float32 or float64.
        bins: How many parts.
        min: The lower end.
        max: The upper end; with min == max the range of the data.

    Returns:
        [bins], dtype of the input.

    Raises:
        ArgumentError: max is less than min, or the range is not finite.
    """
    if input.dtype.kind != "f":
        raise DTypeError(f"input: expected float32 or float64, got {input.dtype}")
    bins = check_int("bins", bins, 1)
    low, high = check_number("min", min), check_number("max", max)
    flat = arrays.contiguous(input._array).reshape(-1)
    if high < low:
        raise ArgumentError(f"max: expected at least min ({low}), got {high}")
    if low == high and flat.size:
        low, high = float(flat.min()), float(flat.max())
        check_number("input", low)
        check_number("input", high)
    if low == high:
        low, high = low - 1, high + 1
    places = memory.empty(flat.shape, INT64)
    kind = flat.dtype.type
    _bin_of(flat, kind(low), kind(high), np.int64(bins), places)
    y = memory.empty((bins,), flat.dtype)
    _count(places, np.ones(1, flat.dtype), y)
    return Tensor(y)
