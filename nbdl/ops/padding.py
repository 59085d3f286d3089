r"""Padding: rows, columns and planes put around a tensor, or, by negative amounts, cut off.

Along one dimension of n elements, with l new ones before and r after, element $j \in [0,\, l + n + r)$ of the result is

$$
y_j = \begin{cases} x_{s(j)} & s(j) \ge 0 \\ v & \text{otherwise} \end{cases}
\qquad \text{with} \quad i = j - l \quad \text{and}
$$

$$
\begin{aligned}
\text{constant:}\quad & s = i \text{ inside } [0, n), \text{ else } -1 &
\text{replicate:}\quad & s = \min(\max(i, 0),\, n - 1) \\
\text{reflect:}\quad & s = |i|, \text{ beyond } n - 1 \text{ mirrored: } 2(n - 1) - i &
\text{circular:}\quad & s = i \bmod n \text{ (n and i counted after cutting)}
\end{aligned}
$$

Several dimensions are padded at once, each by its own $s$. Backward, an element collects from every place it went to:

$$
dx_i = \sum_{j\,:\, s(j) = i} dy_j
$$

Kernels see contiguous memory [O, A, B, D, I]: up to three dimensions with sources of their own, A, B and D, and what
lies outside and inside of them. Channels-last images are [N, 1, H, W, C], channels-first ones [N * C, 1, H, W, 1].
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbdl.autograd import Context, Op, Tensor
from nbdl.ops.elementwise.layout import dense_order, inverse
from nbdl.runtime import arrays, memory
from nbdl.runtime.checks import check_choice, check_int
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel

MODES = ("constant", "reflect", "replicate", "circular")

STEP = 3
"""Dimensions that one launch pads."""

# ---------------------------------------------------------------- reference


def pad_reference(input, pad, mode="constant", value=None):
    """The definition, in float64: NumPy's pad by the positive numbers, then a cut by the negative ones."""
    pairs = [(0, 0)] * (input.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    grown = np.maximum(pairs, 0)
    if mode == "constant":
        return np.pad(_cut(input, pairs), grown, constant_values=value or 0)
    if mode == "circular":
        return np.pad(_cut(input, pairs), grown, "wrap")
    return _cut(np.pad(input, grown, "edge" if mode == "replicate" else mode), pairs)


def _cut(array, pairs):
    """What is left of an array without the elements that negative amounts cut off."""
    slices = [slice(max(-before, 0), n - max(-after, 0)) for n, (before, after) in zip(array.shape, pairs, strict=True)]
    return array[tuple(slices)]


# ---------------------------------------------------------------- forward


@cpu_kernel
def _pad_cpu(x, value, a_sources, b_sources, d_sources, left, right, y, start, stop):
    """x [O, A, B, D, I]; y [O, A', B', D', I]; sources [A'], [B'], [D'], -1 for none. One task a row [D', I] of y.

    The sources of the places left to right lie side by side: most of a row is one copy. Counters stand for o and the
    places in A' and B', for divisions would take longer than a short row.
    """
    _, a_size, b_size, d, inner = x.shape
    _, a_places, b_places, places, _ = y.shape
    source, target = x.reshape(x.size), y.reshape(y.size)
    run = (right - left) * inner
    o, a_place, b_place = start // (a_places * b_places), start // b_places % a_places, start % b_places
    for row in range(start, stop):
        a, b = a_sources[a_place], b_sources[b_place]
        to = row * places * inner
        if a < 0 or b < 0:
            for i in range(places * inner):
                target[np.uint64(to + i)] = value
        else:
            origin = ((o * a_size + a) * b_size + b) * d * inner
            if run > 0:
                first = origin + d_sources[left] * inner
                for i in range(run):
                    target[np.uint64(to + left * inner + i)] = source[np.uint64(first + i)]
            for j in range(places - (right - left)):
                place = j if j < left else j + right - left
                s = d_sources[place]
                if s < 0:
                    for i in range(inner):
                        target[np.uint64(to + place * inner + i)] = value
                else:
                    for i in range(inner):
                        target[np.uint64(to + place * inner + i)] = source[np.uint64(origin + s * inner + i)]
        b_place += 1
        if b_place == b_places:
            b_place = 0
            a_place += 1
            if a_place == a_places:
                a_place = 0
                o += 1


@cuda_kernel
def _pad_cuda(x, value, a_sources, b_sources, d_sources, left, right, y):
    """As the CPU twin. One thread an element of y."""
    index = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    _, a_places, b_places, places, inner = y.shape
    if index < y.size:
        i, j, row = index % inner, index // inner % places, index // (inner * places)
        o, ja, jb = row // (a_places * b_places), row // b_places % a_places, row % b_places
        a, b, s = a_sources[ja], b_sources[jb], d_sources[j]
        y[o, ja, jb, j, i] = x[o, a, b, s, i] if a >= 0 and b >= 0 and s >= 0 else value


pad_forward = Kernel(
    cpu=_pad_cpu,
    cuda=_pad_cuda,
    tasks=lambda *args: math.prod(args[-1].shape[:3]),
    work=lambda *args: args[-1].size,
    blocks=lambda *args: -(-args[-1].size // BLOCK),
)

# ---------------------------------------------------------------- backward


@cpu_kernel
def _pad_backward_cpu(dy, a_first, a_used, b_first, b_used, d_sources, left, right, dx, start, stop):
    """dy [O, A', B', D', I]; dx [O, A, B, D, I]. One task a row [D, I] of dx.

    a went to the places a_used[a_first[a]:a_first[a + 1]], likewise b; d_sources [D'] says where the others came from.
    """
    _, a_places, b_places, places, _ = dy.shape
    _, a_size, b_size, d, inner = dx.shape
    source, target = dy.reshape(dy.size), dx.reshape(dx.size)
    run = (right - left) * inner
    head = d_sources[left] * inner if run > 0 else 0
    o, a, b = start // (a_size * b_size), start // b_size % a_size, start % b_size
    for row in range(start, stop):
        to = row * d * inner
        filled = False
        for p in range(a_first[a], a_first[a + 1]):
            for q in range(b_first[b], b_first[b + 1]):
                origin = ((o * a_places + a_used[p]) * b_places + b_used[q]) * places * inner
                first = origin + left * inner
                if filled:
                    for i in range(run):
                        target[np.uint64(to + head + i)] += source[np.uint64(first + i)]
                else:
                    for i in range(run):
                        target[np.uint64(to + head + i)] = source[np.uint64(first + i)]
                    for i in range(head):
                        target[np.uint64(to + i)] = 0
                    for i in range(head + run, d * inner):
                        target[np.uint64(to + i)] = 0
                    filled = True
                for j in range(places - (right - left)):
                    place = j if j < left else j + right - left
                    s = d_sources[place]
                    if s >= 0:
                        for i in range(inner):
                            target[np.uint64(to + s * inner + i)] += source[np.uint64(origin + place * inner + i)]
        if not filled:
            for i in range(d * inner):
                target[np.uint64(to + i)] = 0
        b += 1
        if b == b_size:
            b = 0
            a += 1
            if a == a_size:
                a = 0
                o += 1


@cuda_kernel
def _pad_backward_cuda(dy, a_first, a_used, b_first, b_used, d_sources, left, right, dx):
    """As the CPU twin. One thread an element of dx."""
    index = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    places = dy.shape[3]
    _, a_size, b_size, d, inner = dx.shape
    if index < dx.size:
        i, s, row = index % inner, index // inner % d, index // (inner * d)
        o, a, b = row // (a_size * b_size), row // b_size % a_size, row % b_size
        total = dx.dtype.type(0)
        for p in range(a_first[a], a_first[a + 1]):
            for q in range(b_first[b], b_first[b + 1]):
                ja, jb = a_used[p], b_used[q]
                if left < right and 0 <= s - d_sources[left] < right - left:
                    total += dy[o, ja, jb, left + s - d_sources[left], i]
                for j in range(places - (right - left)):
                    place = j if j < left else j + right - left
                    if d_sources[place] == s:
                        total += dy[o, ja, jb, place, i]
        dx[o, a, b, s, i] = total


pad_backward = Kernel(
    cpu=_pad_backward_cpu,
    cuda=_pad_backward_cuda,
    tasks=lambda *args: math.prod(args[-1].shape[:3]),
    work=lambda *args: max(args[0].size, args[-1].size),
    blocks=lambda *args: -(-args[-1].size // BLOCK),
)

# ---------------------------------------------------------------- where elements come from


def _sources(mode: str, size: int, before: int, after: int) -> np.ndarray:
    """For each place along a padded dimension, the element that stands there; -1 for the constant."""
    i = np.arange(size + before + after) - before
    if mode == "constant":
        return np.where((i >= 0) & (i < size), i, -1)
    if mode == "replicate":
        return i.clip(0, size - 1)
    if mode == "reflect":
        i = abs(i)
        return np.where(i < size, i, 2 * (size - 1) - i)
    cut = max(-before, 0)
    return cut + (np.arange(i.size) - max(before, 0)) % max(size - cut - max(-after, 0), 1)


def _uses(sources: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The inverse: the places of element i are used[first[i]:first[i + 1]]."""
    used = np.argsort(sources, kind="stable")
    used = used[sources[used] >= 0]
    return np.searchsorted(sources[used], np.arange(size + 1)), used


class _Plan(NamedTuple):
    """A padding as the kernels see it."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    sources: tuple[np.ndarray, np.ndarray, np.ndarray]
    run: tuple[int, int]
    uses: tuple[np.ndarray, ...]


@functools.lru_cache(maxsize=1024)
def _plan(shape: tuple[int, ...], pairs: tuple[tuple[int, int], ...], mode: str) -> _Plan | None:
    """The plan for contiguous memory of the shape; None if the padded dimensions lie too far apart for one launch."""
    padded = [dim for dim, pair in enumerate(pairs) if pair != (0, 0)] or [len(shape)]
    first, last = padded[0], padded[-1] + 1
    sizes, amounts = [1] * STEP, [(0, 0)] * STEP
    for dim in range(first, min(last, len(shape))):
        if amounts[-1] == pairs[dim] == (0, 0):
            sizes[-1] *= shape[dim]
        elif sizes[0] == 1 and amounts[0] == (0, 0):
            sizes, amounts = [*sizes[1:], shape[dim]], [*amounts[1:], pairs[dim]]
        else:
            return None
    outer, inner = math.prod(shape[:first]), math.prod(shape[last:])
    sources = [_sources(mode, size, *pair) for size, pair in zip(sizes, amounts, strict=True)]
    places = [len(s) for s in sources]
    left = min(max(amounts[-1][0], 0), places[-1])
    right = min(max(left + sizes[-1] + min(amounts[-1][0], 0) + min(amounts[-1][1], 0), left), places[-1])
    return _Plan(
        (outer, *sizes, inner),
        (outer, *places, inner),
        (sources[0], sources[1], sources[2]),
        (left, right),
        (*_uses(sources[0], sizes[0]), *_uses(sources[1], sizes[1])),
    )


# ---------------------------------------------------------------- autograd


class PadOp(Op):
    """y = x padded by pairs (before, after), one for each dimension. Memory keeps its order of dimensions."""

    @staticmethod
    def forward(ctx: Context, x, pairs, mode, value):
        order = None if x.flags.c_contiguous else dense_order(x)
        plan = None
        if order is not None:
            moved = x.transpose(order)
            plan = _plan(moved.shape, tuple([pairs[dim] for dim in order]), mode)
        if plan is None:
            order, moved = None, arrays.contiguous(x)
            plan = _plan(x.shape, pairs, mode)
            assert plan is not None, "neighbours, at most three"
        ctx.order, ctx.plan, ctx.shape = order, plan, moved.shape
        sizes = [size + before + after for size, (before, after) in zip(x.shape, pairs, strict=True)]
        y = memory.empty(tuple(sizes if order is None else [sizes[dim] for dim in order]), x.dtype)
        if y.size:
            pad_forward(
                moved.reshape(plan.before), x.dtype.type(value), *plan.sources, *plan.run, y.reshape(plan.after)
            )
        return y if order is None else y.transpose(inverse(order))

    @staticmethod
    def backward(ctx: Context, dy):
        order, plan = ctx.order, ctx.plan
        dy = arrays.contiguous(dy if order is None else dy.transpose(order))
        dx = memory.empty(ctx.shape, dy.dtype)
        if dx.size:
            pad_backward(dy.reshape(plan.after), *plan.uses, plan.sources[2], *plan.run, dx.reshape(plan.before))
        return (dx if order is None else dx.transpose(inverse(order))), None, None, None


# ---------------------------------------------------------------- public


def _fill_value(value: Any, dtype: np.dtype) -> Any:
    """The value that a constant padding writes, if the dtype can hold it; fractions are cut off for integers."""
    if not isinstance(value, (bool, int, float, np.number, np.bool_)) or np.iscomplexobj(value):
        raise ArgumentTypeError(f"value: expected a number, got {type(value).__name__}")
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        if not math.isfinite(value) or not bounds.min <= int(value) <= bounds.max:
            raise ArgumentError(f"value: expected a number that {dtype} can hold, got {value}")
        return int(value)
    return value


def _check_pair(mode: str, dim: int, size: int, before: int, after: int) -> None:
    """Raises unless the mode can pad a dimension of that size so."""
    cut = max(-before, 0) + max(-after, 0)
    where = f"pad: ({before}, {after}) for dimension {dim} of size {size}: "
    if mode in ("constant", "circular") and cut > size:
        raise ArgumentError(f"{where}expected to cut off at most {size} elements, got {cut}")
    if mode == "circular" and max(before, after) > size - cut:
        raise ArgumentError(f"{where}expected to wrap around once at most, {size - cut} elements")
    if mode == "reflect" and max(before, after) >= size:
        raise ArgumentError(f"{where}expected less than the size, the edge itself is not repeated")
    if size + before + after < 0:
        raise ArgumentError(f"{where}expected to cut off no more elements than there are")


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    r"""Pads the last dimensions of a tensor, or cuts them by negative amounts.

    $y_j = x_{s(j)}$, or the value where there is no source; along one dimension with l elements before, $s(j) = j - l$,
    outside of the tensor mirrored ("reflect"), brought to the edge ("replicate") or taken modulo the size ("circular").

    Args:
        input: [*], any dtype. For modes other than "constant": one or two dimensions more than are padded.
        pad: Elements before and after, in pairs from the last dimension on: (left, right, top, bottom, front, back)
            pads the last three. Any number of dimensions for "constant", 1 to 3 for the others.
        mode: "constant", "reflect", "replicate" or "circular".
        value: What "constant" writes; 0 when None.

    Returns:
        [*], each padded dimension longer by its two numbers, dtype and memory order of the input.

    Raises:
        ArgumentError: The mode is unknown, pad has an odd length, or its numbers do not fit: "reflect" needs less than
            the size, "circular" at most the size, and no more can be cut off than there is; a value with another mode.
        ShapeError: The input has another number of dimensions than the mode can pad, or an empty one.
        ArgumentTypeError: pad holds something other than integers, or value is no number.

    Gradient:
        For input: the sum of dy over the places where an element stands, 0 for what was cut off.

    Example:
        >>> x = nbdl.tensor([[1, 2, 3]])
        >>> nbdl.ops.pad(x, (1, 1))
        tensor([[0, 1, 2, 3, 0]])
        >>> nbdl.ops.pad(x, (2, 1), mode="reflect")
        tensor([[3, 2, 1, 2, 3, 2]])
        >>> nbdl.ops.pad(x, (-1, 2), mode="replicate")
        tensor([[2, 3, 3, 3]])
    """
    if not isinstance(input, Tensor):
        raise ArgumentTypeError(f"input: expected a Tensor, got {type(input).__name__}")
    if not isinstance(pad, (tuple, list)):
        raise ArgumentTypeError(f"pad: expected a tuple of integers, got {type(pad).__name__}")
    amounts = tuple([p if type(p) is int else check_int("pad", p) for p in pad])
    steps = _steps(input._array.shape, amounts, mode)
    fill = _fill_value(value, input._array.dtype) if value else 0
    if fill and mode != "constant":
        raise ArgumentError(f"value: expected None with mode {mode!r}, got {value!r}")
    for pairs in steps:
        input = PadOp.apply(input, pairs, mode, fill)
    return input


@functools.lru_cache(maxsize=1024)
def _steps(shape: tuple[int, ...], amounts: tuple[int, ...], mode: str) -> tuple[tuple[tuple[int, int], ...], ...]:
    """The padding as launches, each a pair of numbers for every dimension; raises if the shape does not admit it."""
    check_choice("mode", mode, MODES)
    rank, count = len(shape), len(amounts) // 2
    if len(amounts) % 2:
        raise ArgumentError(f"pad: expected pairs, got {len(amounts)} numbers")
    if mode != "constant":
        _check_shape(mode, shape, count)
    elif count > rank:
        raise ArgumentError(f"pad: expected at most {2 * rank} numbers for shape {list(shape)}, got {2 * count}")
    pairs = [(0, 0)] * (rank - count) + [(amounts[2 * k], amounts[2 * k + 1]) for k in reversed(range(count))]
    padded = range(rank - count, rank)
    for dim in padded:
        _check_pair(mode, dim, shape[dim], *pairs[dim])
    if mode in ("reflect", "replicate") and all(shape[dim] + sum(pairs[dim]) == 0 for dim in padded):
        raise ArgumentError(f"pad: expected elements to be left of shape {list(shape)}, got {amounts}")
    return tuple(
        tuple([pair if last - STEP <= dim < last else (0, 0) for dim, pair in enumerate(pairs)])
        for last in range(rank, min(rank - count, rank - 1), -STEP)
    )


def _check_shape(mode: str, shape: tuple[int, ...], count: int) -> None:
    """Raises unless modes other than "constant" can pad so many dimensions of a tensor of this shape."""
    rank = len(shape)
    if not 1 <= count <= STEP:
        raise ArgumentError(f"pad: expected 2, 4 or 6 numbers with mode {mode!r}, got {2 * count}")
    if rank not in (count + 1, count + 2):
        raise ShapeError(
            f"input: expected {count + 1} or {count + 2} dimensions for {2 * count} numbers of padding, "
            f"got shape {list(shape)}"
        )
    if mode != "circular" and 0 in shape[rank - count - 1 :]:
        raise ShapeError(f"input: expected elements in all dimensions but the batch, got shape {list(shape)}")
