r"""Where a convolution reads and writes: the mathematics of sizes, strides, padding and dilation.

Along one axis, output $i$ of a convolution reads the inputs $i\,s - p + r\,d$ for the taps $r = 0, \dots, R - 1$
(stride s, padding p in front, dilation d), so there are

$$O = \Big\lfloor \frac{H + p + p' - d\,(R - 1) - 1}{s} \Big\rfloor + 1$$

outputs. The gradient for the input runs the other way: input $h$ was read by the outputs $i = (h + p - r\,d) / s$
that are whole numbers. Which taps those are depends on $h \bmod s$ alone. Within one such *phase*, the inputs
$h = \phi, \phi + s, \dots$ step through the outputs one by one: each phase is a convolution of stride 1 with some of
the taps, in reverse order. So the forward pass (one phase) and the gradient (s phases an axis) are the same kernel.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from nbdl.runtime.checks import check_int
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError

Pair = tuple[int, int]


class Axis(NamedTuple):
    """One phase along one axis: result `first + i * step` reads the sources `source + i * stride + j * spread`.

    There j counts the taps, and tap j is multiplied with element `weight + j * weight_step` of the kernel.
    """

    first: int
    step: int
    results: int
    source: int
    stride: int
    taps: int
    spread: int
    weight: int
    weight_step: int


def forward_axes(size: int, taps: int, stride: int, padding: int, dilation: int) -> list[Axis]:
    """The one phase of the forward pass with `size` outputs."""
    return [Axis(0, 1, size, -padding, stride, taps, dilation, 0, 1)]


def gradient_axes(size: int, taps: int, stride: int, padding: int, dilation: int) -> list[Axis]:
    """The phases of the gradient for `size` inputs; phases without inputs are left out."""
    common = math.gcd(stride, dilation)
    period = stride // common  # of the taps that one phase uses
    axes = []
    for phase in range(min(stride, size)):
        count = -(-(size - phase) // stride)
        used = [tap for tap in range(min(period, taps)) if (phase + padding - tap * dilation) % stride == 0]
        if not used:
            axes.append(Axis(phase, stride, count, 0, 1, 0, 1, 0, 1))
            continue
        number = -(-(taps - used[0]) // period)
        last = used[0] + (number - 1) * period
        source = (phase + padding - last * dilation) // stride
        axes.append(Axis(phase, stride, count, source, 1, number, dilation // common, last, -period))
    return axes


# ---------------------------------------------------------------- arguments


def as_sizes(name: str, value: Any, rank: int, low: int) -> tuple[int, ...]:
    """An integer for all axes, or one for each axis."""
    if not isinstance(value, (tuple, list)):
        return (check_int(name, value, low=low),) * rank
    if len(value) == 1:
        return (check_int(name, value[0], low=low),) * rank
    if len(value) != rank:
        raise ArgumentError(f"{name}: expected an integer or {rank} integers, got {value!r}")
    return tuple(check_int(name, item, low=low) for item in value)


def as_padding(
    padding: Any, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[Pair, ...]:
    """Zeros in front of and behind each axis. 'same' puts the odd one behind, as PyTorch does."""
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * len(kernel)
        if padding != "same":
            raise ArgumentError(f"padding: expected integers, 'same' or 'valid', got {padding!r}")
        if any(step != 1 for step in stride):
            raise ArgumentError(f"padding: 'same' needs stride 1, got stride {stride}")
        totals = [spread * (taps - 1) for spread, taps in zip(dilation, kernel, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    if padding is None:
        raise ArgumentTypeError("padding: expected integers, 'same' or 'valid', got None")
    return tuple((size, size) for size in as_sizes("padding", padding, len(kernel), low=0))


def output_sizes(
    input_sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[Pair, ...],
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """The number of outputs along each axis. Raises ShapeError where the kernel does not fit into the padded input."""
    sizes = []
    for size, taps, step, (before, behind), spread in zip(input_sizes, kernel, stride, padding, dilation, strict=True):
        room = size + before + behind - spread * (taps - 1) - 1
        if room < 0 or taps < 1:
            raise ShapeError(
                f"input: expected sizes of at least those of the dilated kernel, "
                f"{[d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]}, "
                f"got {list(input_sizes)} with padding {[list(pair) for pair in padding]}"
            )
        sizes.append(room // step + 1)
    return tuple(sizes)
