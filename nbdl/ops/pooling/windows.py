r"""Where the windows of a pooling layer lie: for each output its inputs, and for each input the outputs that use it.

Along one dimension of $I$ inputs, window $o$ of a kernel of size $K$ with stride $s$, padding $p$ and dilation $d$
covers the inputs $o s - p + k d$ for $0 \le k < K$, as far as they exist: a range with step $d$. The windows that hold
input $i$ are those with $i + p - o s = k d$, a range of $o$ with step $d / \gcd(s, d)$. An adaptive window covers the
inputs from $\lfloor o I / O \rfloor$ up to, and without, $\lceil (o + 1) I / O \rceil$; input $i$ lies in the windows
from $\lfloor i O / I \rfloor$ up to, and without, $\lceil (i + 1) O / I \rceil$. All of these are kept as tables of
ranges, so that a kernel needs no case for borders, and the backward pass, which asks which windows hold an input, reads
a table too. Windows of images are products: a window along the rows times one along the columns.

The tables depend on sizes alone. They are made once and kept, those of very long lines apart; what only a backward pass
asks for is made when it first asks.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_float, check_int, check_rank
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError

CACHED = 256
"""Tables that are kept: a deep network has a few dozens."""

LONGEST_KEPT = 1 << 15
"""Inputs of a line whose tables are kept. Those of longer lines take as much memory as the lines."""


class Windows:
    """The windows along one dimension.

    Attributes:
        inputs: [O, 3], of each window the first input, the last one and the step between; none if the last is less.
        counts: [O], how many inputs each window has; an average may count padding too.
    """

    def __init__(self, inputs: np.ndarray, counts: np.ndarray, holders: Callable[[], np.ndarray]) -> None:
        self.inputs, self.counts, self._holders = inputs, counts, holders

    @functools.cached_property
    def outputs(self) -> np.ndarray:
        """[I, 3], of each input the first window that holds it, the last one and the step between."""
        return self._holders()


def _kept(make: Callable[..., Windows]) -> Callable[..., Windows]:
    """Keeps the windows that the function made, unless the line is very long."""
    cached = functools.lru_cache(CACHED)(make)

    @functools.wraps(make)
    def windows(size: int, *options: Any) -> Windows:
        return (cached if size <= LONGEST_KEPT else make)(size, *options)

    return windows


def _ranges(first: np.ndarray, last: np.ndarray, step: int) -> np.ndarray:
    """[n, 3]: rows of first, last, step."""
    return np.stack([first, last, np.full_like(first, step)], axis=1)


@_kept
def sliding_windows(
    size: int,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    ceil_mode: bool,
    count_padding: bool = False,
    divisor: int | None = None,
) -> Windows:
    """Windows of one kernel, `stride` inputs apart. There is at least one, or ShapeError is raised.

    They count their inputs, with the padding on request, or the divisor if one is given.
    """
    reach = dilation * (kernel - 1) + 1
    count = (size + 2 * padding - reach + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1  # the last window would start in the padding on the right
    if count < 1:
        raise ShapeError(
            f"kernel_size: expected windows of at most {size + 2 * padding}, the size of the input with its padding, "
            f"got {reach}"
        )
    starts = np.arange(count, dtype=np.int64) * stride - padding
    first = starts - np.minimum(starts, 0) // dilation * dilation
    last = starts + np.minimum((size - 1 - starts) // dilation, kernel - 1) * dilation
    if divisor is not None:
        counts = np.full_like(starts, divisor)
    elif count_padding:
        counts = np.minimum(starts + kernel, size + padding) - starts
    else:
        counts = (last - first) // dilation + 1
    holders = functools.partial(_holders, size, count, kernel, stride, padding, dilation)
    return Windows(_ranges(first, last, dilation), counts, holders)


def _holders(size: int, count: int, kernel: int, stride: int, padding: int, dilation: int) -> np.ndarray:
    """[size, 3]: the sliding windows that hold each input."""
    step = dilation // math.gcd(stride, dilation)
    place = np.arange(size, dtype=np.int64) + padding
    lowest = np.maximum(-((dilation * (kernel - 1) - place) // stride), 0)
    highest = np.minimum(place // stride, count - 1)
    candidates = lowest[:, None] + np.arange(step)
    on_grid = (place[:, None] - candidates * stride) % dilation == 0
    first = np.where(on_grid.any(axis=1), lowest + on_grid.argmax(axis=1), count)
    return _ranges(first, highest - (highest - first) % step, step)


@_kept
def adaptive_windows(size: int, count: int) -> Windows:
    """`count` windows that share the inputs as evenly as they can; neighbours may overlap."""
    inputs = _shares(count, size)
    return Windows(inputs, inputs[:, 1] - inputs[:, 0] + 1, functools.partial(_shares, size, count))


def _shares(parts: int, size: int) -> np.ndarray:
    """[parts, 3]: the part of `size` elements that belongs to each part, elements on an edge to both neighbours."""
    part = np.arange(parts, dtype=np.int64)
    return _ranges(part * size // max(parts, 1), -(-(part + 1) * size // max(parts, 1)) - 1, 1)


def lines_as_images(windows: Sequence[Windows]) -> Sequence[Windows]:
    """Windows along rows and along columns; a line of samples is an image of one row."""
    return windows if len(windows) == 2 else (adaptive_windows(1, 1), *windows)


# ---------------------------------------------------------------- reference


def sliding_reference(sizes, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """For each dimension the list of windows, each the list of its members that exist."""
    options = [kernel_size, kernel_size if stride is None else stride, padding, dilation]
    along = [value if isinstance(value, (tuple, list)) else (value,) * len(sizes) for value in options]
    found = []
    for size, kernel, step, pad, gap in zip(sizes, *along, strict=True):
        room = size + 2 * pad - gap * (kernel - 1) - 1
        count = (math.ceil if ceil_mode else math.floor)(room / step) + 1
        starts = [start for start in range(-pad, count * step - pad, step) if start < size]
        members = [[start + k * gap for k in range(kernel)] for start in starts]
        found.append([[place for place in window if 0 <= place < size] for window in members])
    return found


# ---------------------------------------------------------------- arguments


def per_dimension(
    name: str, value: Any, low: int, dims: int, default: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """One integer for each dimension, from one for all or a sequence; an empty sequence means the default."""
    if isinstance(value, (tuple, list)):
        if len(value) == dims:
            return tuple([check_int(name, member, low) for member in value])
        if len(value) == 0 and default is not None:
            return default
        if len(value) != 1:
            raise ArgumentError(f"{name}: expected {dims} integers or one, got {value}")
        value = value[0]
    return (check_int(name, value, low),) * dims


def check_padding(paddings: tuple[int, ...], kernels: tuple[int, ...]) -> tuple[int, ...]:
    """The paddings, if each is at most half the kernel: a window must not lie in the padding altogether."""
    for padding, kernel in zip(paddings, kernels, strict=True):
        if padding > kernel // 2:
            raise ArgumentError(f"padding: expected at most half the kernel size of {kernel}, got {padding}")
    return paddings


def check_image(name: str, input: Tensor, dims: int) -> Tensor:
    """The input, if it is floating point, [N, C, *] or [C, *] with `dims` dimensions, none of them but N empty."""
    if not isinstance(input, Tensor):
        raise ArgumentTypeError(f"{name}: expected a Tensor, got {type(input).__name__}")
    check_float(name, input)
    check_rank(name, input, dims + 1, dims + 2)
    if 0 in input.shape[-dims - 1 :]:
        raise ShapeError(f"{name}: expected no empty dimension but that of the batch, got shape {list(input.shape)}")
    return input


# ---------------------------------------------------------------- layout


def as_images(array: Any, dims: int) -> Any:
    """[N, C, H, W], [N, C, L], or the same without N -> contiguous [N, H, W, C], H = 1 for lines."""
    if array.ndim == dims + 1:
        array = array[None]
    if dims == 1:
        array = array[:, :, None]
    return arrays.channels_last(array)


def from_images(images: Any, dims: int, rank: int) -> Any:
    """[N, H, W, C] -> a view of the shape that a tensor of that rank and so many dimensions has."""
    array = arrays.channels_first(images)
    if dims == 1:
        array = array[:, :, 0]
    return array[0] if rank == dims + 1 else array
