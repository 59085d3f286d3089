r"""Counting and searching: unique, unique_consecutive, bincount, histc, searchsorted, bucketize and isin.

None of them has a gradient: what they return are integers, or counts that do not move with the input.

Letters: N elements, B bins, R edges of a sorted row, K values looked up in it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops.creation.data import device_of
from nbdl.ops.creation.lines import arange
from nbdl.ops.creation.values import full, ones
from nbdl.ops.elementwise.casting import cast, to_dtype, widened
from nbdl.ops.elementwise.operands import meet
from nbdl.ops.indexing.elements import gather
from nbdl.ops.ordering.sorting import pick
from nbdl.ops.ordering.stable_order import stable_order
from nbdl.ops.shape.joining import cat
from nbdl.ops.shape.views import movedim, reshape
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_choice, check_dim, check_int, check_integer, check_number, check_rank
from nbdl.runtime.dtypes import BOOL, FLOAT32, FLOAT64, INT64, promote_types
from nbdl.runtime.errors import ArgumentError, DTypeError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel, exact, scalar

# ---------------------------------------------------------------- groups of equal values


@scalar
def _group_in_order(x, order, inverse, firsts, counts, found):
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


@cpu_kernel
def _group_cpu(x, order, inverse, firsts, counts, found, start, stop):
    """x, order, inverse, firsts, counts [R]; found [1], the number of different values. One task."""
    for _ in range(start, stop):
        _group_in_order(x, order, inverse, firsts, counts, found)


@cuda_kernel
def _group_cuda(x, order, inverse, firsts, counts, found):
    """As the CPU twin. One thread: a group's number depends on all values before it."""
    if cuda.threadIdx.x == 0:
        _group_in_order(x, order, inverse, firsts, counts, found)


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


@exact
def _place_among(edges, line, value, right):
    low, high = 0, edges.shape[1]
    while low < high:
        middle = (low + high) // 2
        edge = edges[line, middle]
        before = edge <= value if right else edge < value
        if before or (value != value and (right or edge == edge)):
            low = middle + 1
        else:
            high = middle
    return low


@cpu_kernel
def _search_cpu(edges, values, right, y, start, stop):
    """edges [N or 1, R], sorted; values, y [N, K]: the first place whose edge is >= value (> when right).

    One task a row.
    """
    for row in range(start, stop):
        line = row if edges.shape[0] > 1 else 0
        for i in range(values.shape[1]):
            y[row, i] = _place_among(edges, line, values[row, i], right)


@cuda_kernel
def _search_cuda(edges, values, right, y):
    """As the CPU twin. One block a row."""
    row = cuda.blockIdx.x
    line = row if edges.shape[0] > 1 else 0
    for i in range(cuda.threadIdx.x, values.shape[1], BLOCK):
        y[row, i] = _place_among(edges, line, values[row, i], right)


_search = Kernel(
    cpu=_search_cpu,
    cuda=_search_cuda,
    tasks=lambda edges, values, *_: values.shape[0],
    work=lambda edges, values, *_: values.size * max(1, edges.shape[1].bit_length()),
)


@exact
def _is_among(known, steps, value):
    """Whether a value is in a sorted array of 2^steps elements or more, but not twice as many.

    The last element up to the value is sought, among the first or the last 2^steps. What is found decides on no branch:
    the searches for several values run side by side.
    """
    rest = np.uint64(known.shape[0]) - (np.uint64(1) << np.uint64(steps))
    first = rest if known[rest] <= value else np.uint64(0)
    for step in range(steps):
        shift = np.uint64(steps - 1 - step)
        middle = first + (np.uint64(1) << shift)
        first += np.uint64(known[middle] <= value) << shift
    return known[first] == value


@cpu_kernel
def _membership_cpu(x, known, steps, inverted, y, start, stop):
    """x, y [N]; known [R], sorted, R from 2^steps: whether each element is among them, or not. One task an element."""
    for i in range(start, stop):
        y[i] = _is_among(known, steps, x[i]) != inverted


@cuda_kernel
def _membership_cuda(x, known, steps, inverted, y):
    """As the CPU twin. One thread an element."""
    i = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if i < x.shape[0]:
        y[i] = _is_among(known, steps, x[i]) != inverted


_membership = Kernel(
    cpu=_membership_cpu,
    cuda=_membership_cuda,
    tasks=lambda x, *_: x.shape[0],
    work=lambda x, known, steps, *_: x.shape[0] * (steps + 1),
    blocks=lambda x, *_: max(1, -(-x.shape[0] // BLOCK)),
)

# ---------------------------------------------------------------- public


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different values, in ascending order; with a dimension, the different slices, in the order of their elements.

    Args:
        input: [*].
        sorted: Accepted for PyTorch's sake: they always are.
        return_inverse: Also where each element's value (or slice) stands among them: [*] (or [N]), int64.
        return_counts: Also how often each occurs: [U], int64.
        dim: The dimension whose slices are compared; single elements when None.

    Returns:
        [U], or with a dimension the input with size U there; or a tuple with what else was asked for.

    Raises:
        IndexRangeError: There is no such dimension.

    Example:
        >>> nbdl.unique(nbdl.tensor([3, 1, 3]))
        tensor([1, 3])
    """
    if dim is not None:
        return _unique_slices(input, check_dim("dim", dim, input.ndim), return_inverse, return_counts)
    flat = arrays.contiguous(widened(input._array)).reshape(-1)
    order = stable_order(flat.reshape(1, -1)).reshape(-1)
    inverse, firsts, counts = (arrays.empty_beside(flat, flat.shape, INT64) for _ in range(3))
    found = arrays.empty_beside(flat, (1,), INT64)
    _group(flat, order, inverse, firsts, counts, found)
    groups = int(found[0])
    values = pick(flat.reshape(1, -1), arrays.contiguous(firsts[:groups]).reshape(1, -1))
    results = [Tensor(cast(values.reshape(-1), input.dtype))]
    if return_inverse:
        results.append(Tensor(inverse.reshape(input.shape)))
    if return_counts:
        results.append(Tensor(arrays.contiguous(counts[:groups])))
    return results[0] if len(results) == 1 else tuple(results)


def _unique_slices(input: Tensor, dim: int, return_inverse: bool, return_counts: bool) -> Any:
    slices = movedim(input.detach(), dim, 0)
    columns = reshape(slices, (slices.shape[0], -1 if slices.numel() else 0)).unbind(1)
    order = arange(slices.shape[0], device=device_of(input))
    for column in reversed(columns):  # stable sorts from the last element to the first: the order of the rows
        order = order[column[order].argsort()]
    values, inverse, counts = unique_consecutive(slices[order], True, True, 0)
    results = [movedim(values, 0, dim)]
    if return_inverse:
        results.append(inverse.scatter(0, order, inverse))
    if return_counts:
        results.append(counts)
    return results[0] if len(results) == 1 else tuple(results)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The values without those that equal the one before them; with a dimension, the slices.

    Args:
        input: [*].
        return_inverse: Also where each element's value (or slice) stands among them: [*] (or [N]), int64.
        return_counts: Also how many in a row each stands for: [U], int64.
        dim: The dimension whose slices are compared; single elements, row by row, when None.

    Returns:
        [U], or with a dimension the input with size U there; or a tuple with what else was asked for.

    Raises:
        IndexRangeError: There is no such dimension.

    Example:
        >>> nbdl.unique_consecutive(nbdl.tensor([1, 1, 2, 1]))
        tensor([1, 2, 1])
    """
    plain = input.detach()
    dim = None if dim is None else check_dim("dim", dim, input.ndim)
    slices = reshape(plain, (-1,)) if dim is None else movedim(plain, dim, 0)
    size = slices.shape[0]
    rows = reshape(slices, (size, -1 if slices.numel() else 0))
    changes = cat([ones(min(size, 1), dtype=BOOL, device=device_of(input)), (rows[1:] != rows[:-1]).any(1)])
    starts = changes.nonzero().reshape(-1)
    values = slices[starts]
    results = [values if dim is None else movedim(values, 0, dim)]
    if return_inverse:
        inverse = changes.cumsum(0) - 1
        results.append(reshape(inverse, input.shape) if dim is None else inverse)
    if return_counts:
        ends = cat([starts[1:], full((min(size, 1),), size, dtype=INT64, device=device_of(input))])
        results.append(ends - starts)
    return results[0] if len(results) == 1 else tuple(results)


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where values belong in sorted sequences: the first index whose element is >= the value (> when right).

    Args:
        sorted_sequence: [R], or [*, R] with the leading sizes of the input; ascending.
        input: [*, K], or a number; where the dtypes differ, both are compared in the one that they promote to.
        out_int32: Return int32 instead of int64.
        right: Behind equal elements instead of before them.
        side: "left" or "right", another way to say `right`.
        sorter: The shape of sorted_sequence, integers: the order that sorts it, when it is not sorted itself.

    Returns:
        [*, K], int64 or int32.

    Raises:
        ShapeError: The leading sizes differ, or sorter has another shape.
        DTypeError: The sorter has no integer dtype.
        ArgumentError: side is unknown, or contradicts right.

    Example:
        >>> nbdl.searchsorted(nbdl.tensor([1.0, 3.0, 5.0]), nbdl.tensor([3.0, 4.0]))
        tensor([1, 2])
    """
    if side is not None:
        check_choice("side", side, ("left", "right"))
        if right and side == "left":
            raise ArgumentError("side: expected 'right', since right is True, got 'left'")
        right = side == "right"
    check_rank("sorted_sequence", sorted_sequence, *range(1, 65))
    if sorter is not None:
        if check_integer("sorter", sorter).shape != sorted_sequence.shape:
            raise ShapeError(f"sorter: expected shape {list(sorted_sequence.shape)}, got {list(sorter.shape)}")
        sorted_sequence = gather(sorted_sequence.detach(), -1, sorter.to(INT64))
    if isinstance(input, Tensor):
        values = input.detach()
    else:
        number = np.array(input)
        known = sorted_sequence.dtype.kind == number.dtype.kind == "f"
        values = Tensor(number.astype(sorted_sequence.dtype) if known else number)
    if values.dtype != sorted_sequence.dtype:
        dtype = promote_types(values.dtype, sorted_sequence.dtype)
        values, sorted_sequence = to_dtype(values, dtype), to_dtype(sorted_sequence.detach(), dtype)
    if sorted_sequence.ndim != 1 and sorted_sequence.shape[:-1] != values.shape[:-1]:
        raise ShapeError(
            f"sorted_sequence: expected the leading sizes of input {list(values.shape[:-1])}, "
            f"got shape {list(sorted_sequence.shape)}"
        )
    edges = arrays.contiguous(widened(sorted_sequence._array))
    edges = edges.reshape(math.prod(edges.shape[:-1]), edges.shape[-1])
    flat = arrays.contiguous(widened(values._array))
    flat = flat.reshape((1, flat.size) if sorted_sequence.ndim == 1 else (edges.shape[0], values.shape[-1]))
    y = arrays.empty_beside(flat, flat.shape, INT64)
    _search(edges, flat, bool(right), y)
    return to_dtype(Tensor(y.reshape(values.shape)), np.dtype(np.int32) if out_int32 else INT64)


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """The number of the interval between boundaries that each value falls into (see `searchsorted`)."""
    check_rank("boundaries", boundaries, 1)
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Where elements occur among others. NaN occurs nowhere.

    Args:
        elements: [*], any dtype: a tensor or a number.
        test_elements: [*], what to look for: a tensor or a number.
        assume_unique: Accepted for PyTorch's sake: it changes no result.
        invert: Where they do not occur instead.

    Returns:
        [*], bool, the shape of elements.

    Raises:
        ArgumentTypeError: Neither is a tensor.

    Example:
        >>> nbdl.isin(nbdl.tensor([1, 2, 3]), nbdl.tensor([2, 5]))
        tensor([False,  True, False])
    """
    _, (wanted, known) = meet(("elements", "test_elements"), (elements, test_elements))
    wanted, known = (x.detach() if isinstance(x, Tensor) else Tensor(np.array(x)) for x in (wanted, known))
    if known.numel() == 0:
        return full(wanted.shape, bool(invert), dtype=BOOL)
    ordered = arrays.contiguous(widened(known.reshape(-1).sort().values._array))
    x = arrays.contiguous(widened(wanted._array))
    y = arrays.empty_beside(x, x.shape, BOOL)
    _membership(x.reshape(-1), ordered, known.numel().bit_length() - 1, bool(invert), y.reshape(-1))
    return Tensor(y)


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
    bins = arrays.contiguous(cast(input._array, INT64))
    known = arrays.on_host(bins)
    if known.size and known.min() < 0:
        raise ArgumentError(f"input: expected integers of at least 0, got {int(known.min())}")
    if weights is not None and weights.shape != input.shape:
        raise ShapeError(f"weights: expected shape {list(input.shape)}, got {list(weights.shape)}")
    if weights is not None and weights.dtype not in (FLOAT32, FLOAT64):
        weights = to_dtype(weights, FLOAT64)
    added = np.ones(1, np.int64) if weights is None else arrays.contiguous(weights._array)
    y = arrays.empty_beside(bins, (max(int(known.max()) + 1 if known.size else 0, minlength),), added.dtype)
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
    flat = arrays.contiguous(widened(input._array)).reshape(-1)
    if high < low:
        raise ArgumentError(f"max: expected at least min ({low}), got {high}")
    if low == high and flat.size:
        known = arrays.on_host(flat)
        low, high = float(known.min()), float(known.max())
        check_number("input", low)
        check_number("input", high)
    if low == high:
        low, high = low - 1, high + 1
    places = arrays.empty_beside(flat, flat.shape, INT64)
    kind = flat.dtype.type
    _bin_of(flat, kind(low), kind(high), np.int64(bins), places)
    y = arrays.empty_beside(flat, (bins,))
    _count(places, np.ones(1, flat.dtype), y)
    return Tensor(cast(y, input.dtype))
