r"""Where the windows of a pooling layer lie: for each output its inputs, and for each input the outputs that use it.

Along one dimension of $I$ inputs, window $o$ of a kernel of size $K$ with stride $s$, padding $p$ and dilation $d$
covers the inputs $o s - p + k d$ for $0 \le k < K$, as far as they exist; an adaptive one those from
$\lfloor o I / O \rfloor$ up to, and without, $\lceil (o + 1) I / O \rceil$. Both are kept as lists, so that a
kernel needs no case for borders, and the backward pass, which asks which windows hold an input, is a walk along a list
too. Windows of images are products: a window along the rows times one along the columns.

The tables depend on sizes alone. They are made once and kept.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nbdl.autograd import Tensor
from nbdl.runtime import arrays
from nbdl.runtime.checks import check_float, check_int, check_rank
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError

CACHED = 512
"""Tables that are kept: a deep network has a few dozens."""


class Windows(NamedTuple):
    """The windows along one dimension.

    Attributes:
        input_ends: [O + 1]: the inputs of window o are `inputs[input_ends[o]:input_ends[o + 1]]`.
        inputs: The inputs of all windows, one window after the other.
        output_ends: [I + 1]: the windows that hold input i are `outputs[output_ends[i]:output_ends[i + 1]]`.
        outputs: The windows of all inputs.
        counts: [O], how many inputs each window has; an average may count padding too.
    """

    input_ends: np.ndarray
    inputs: np.ndarray
    output_ends: np.ndarray
    outputs: np.ndarray
    counts: np.ndarray


def _windows(members: Sequence[Sequence[int]], size: int, counts: Sequence[int]) -> Windows:
    """The table of windows, from the inputs of each."""
    users: list[list[int]] = [[] for _ in range(size)]
    for output, inputs in enumerate(members):
        for place in inputs:
            users[place].append(output)
    return Windows(*_listed(members), *_listed(users), np.array(counts, np.int64))


def _listed(lists: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    ends = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return ends, np.array([member for members in lists for member in members], np.int64)


@functools.lru_cache(CACHED)
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
    starts = range(-padding, count * stride - padding, stride)
    members = [[place for place in range(start, start + reach, dilation) if 0 <= place < size] for start in starts]
    counts = [min(start + kernel, size + padding) - start for start in starts] if count_padding else map(len, members)
    return _windows(members, size, [divisor] * count if divisor is not None else list(counts))


@functools.lru_cache(CACHED)
def adaptive_windows(size: int, count: int) -> Windows:
    """`count` windows that share the inputs as evenly as they can; neighbours may overlap by one."""
    members = [range(output * size // count, -(-(output + 1) * size // count)) for output in range(count)]
    return _windows(members, size, [len(window) for window in members])


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
