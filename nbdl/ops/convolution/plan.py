"""What the kernels of a convolution need besides its arrays: decided from the sizes, once for each combination.

A convolution goes one of several ways, each with its own inner loop:

    ROWS      the register tile over the pixels of a result row, reading a padded copy of a few input rows that the
              second cache holds: no matrix of patches is ever built
    IMAGES    the register tile over the images of the batch, where rows are too short for a tile; taps outside of the
              image are left out, so nothing is padded
    DEPTHWISE one channel a group: nothing to share in registers, one vector loop over the channels

A convolution with a 1x1 kernel, stride 1 and no padding sees no rows: its pixels are arranged in longer ones.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np

from nbdl.ops.convolution.geometry import Axis, Pair, forward_axes, gradient_axes
from nbdl.runtime.gemm.plan import PARALLEL_WORK
from nbdl.runtime.simd import vector_unit

ROWS, IMAGES, DEPTHWISE = 0, 1, 2

# Places in the array `sizes` of a correlation.
(
    BATCH, HEIGHT, WIDTH, GROUPS, INPUTS, OUT_HEIGHT, OUT_WIDTH, OUTPUTS, PANEL, FORM, BLOCKS, BLOCK_ROWS,
    LEFT, PADDED_WIDTH, GROUP_STEP, OUTPUT_STEP, INPUT_STEP, KERNEL_WIDTH, ROW_PHASES, COLUMN_PHASES,
) = range(20)  # fmt: skip

# Places in a row of the array `phases`: the fields of `geometry.Axis` for rows, for columns, and where the phase's
# weights begin.
FIRST, STEP, COUNT, SOURCE, STRIDE, TAPS, SPREAD, WEIGHT, WEIGHT_STEP = range(9)
COLUMNS = 9
OFFSET = 18

SHORT_ROW = 10
"""Pixels of a row under which a tile takes its rows from the images of the batch."""

SCRATCH = 1 << 18
"""Bytes of padded input that a task works on at a time: they stay in the second cache."""


class Correlation(NamedTuple):
    """The launch of one correlation, forward or for the gradient of the input."""

    packed: int
    """Elements of the packed weights."""
    workspace: tuple[int, int]
    sizes: np.ndarray
    phases: np.ndarray
    is_depthwise: bool


LONG_ROW = 256
"""Pixels up to which the rows of a convolution are made longer that does not see them."""


@functools.lru_cache(maxsize=1024)
def merged(source: Pair, result: Pair, kernel: Pair, stride: Pair, padding: Pair) -> tuple[Pair, Pair]:
    """The sizes of source and result, or, where each pixel is for itself, as many pixels in the longest good rows."""
    if not (kernel == stride == (1, 1) and padding == (0, 0) and source == result):
        return source, result
    pixels = source[0] * source[1]
    width = max((width for width in range(1, min(LONG_ROW, pixels) + 1) if pixels % width == 0), default=1)
    width = max(width, source[1])
    return (pixels // width, width), (pixels // width, width)


@functools.lru_cache(maxsize=1024)
def plan_correlation(
    backward: bool, batch: int, source: Pair, inputs: int, result: Pair, outputs: int, kernel: Pair, stride: Pair,
    padding: Pair, dilation: Pair, groups: int, itemsize: int, threads: int,
) -> Correlation:  # fmt: skip
    """The plan for `inputs` channels of `source` sizes and `outputs` channels of `result` sizes.

    `backward` means the gradient of the input: the source is dY, the result dX.
    """
    axes = gradient_axes if backward else forward_axes
    rows, columns = (axes(*numbers) for numbers in zip(result, kernel, stride, padding, dilation, strict=True))
    inputs, outputs = inputs // groups, outputs // groups
    lanes = vector_unit().bytes // itemsize
    panel = 2 * lanes if outputs > lanes else lanes
    is_depthwise = groups > 1 and inputs == outputs == 1
    if is_depthwise:  # its channels are the columns of one wide panel
        groups, outputs, panel = 1, groups, groups
    padded_outputs = -(-outputs // panel) * panel
    area = kernel[0] * kernel[1]
    table, offset = [], 0
    for row, column in itertools.product(rows, columns):
        table.append((*row, *column, offset))
        offset += groups * padded_outputs * row.taps * column.taps * inputs

    work = (
        batch * groups * outputs * inputs * sum(r.results * c.results * r.taps * c.taps for r in rows for c in columns)
    )
    workers = min(threads, max(work // PARALLEL_WORK, 1))
    longest = max((axis.results for axis in columns), default=0)
    left, padded_width = _padded(columns, source[1])
    blocks, block_rows, scratch = 1, max((axis.results for axis in rows), default=0), 0
    if is_depthwise:
        form = DEPTHWISE
        units = batch * result[0]
    elif longest < SHORT_ROW and batch > longest:
        form = IMAGES
        units = groups * (padded_outputs // panel) * sum(r.results * c.results for r in rows for c in columns)
    else:
        form = ROWS
        blocks, block_rows, scratch = _row_blocks(rows, padded_width * inputs * groups, itemsize, batch, workers)
        units = batch * blocks
    sizes = (
        *(batch, *source, groups, inputs, *result, outputs, panel, form, blocks, block_rows),
        *(left, padded_width),
    )
    if is_depthwise:
        steps = (0, area, 0)
    elif backward:  # the weight [K, C / groups, R, S] read with its channels exchanged
        steps = (inputs * outputs * area, area, outputs * area)
    else:
        steps = (inputs * outputs * area, inputs * area, area)
    return Correlation(
        offset,
        (max(min(workers, units), 1), -(-scratch // lanes) * lanes),
        np.array((*sizes, *steps, kernel[1], len(rows), len(columns)), np.int64),
        np.array(table, np.int64).reshape(-1, OFFSET + 1),
        is_depthwise,
    )


def _padded(axes: list[Axis], size: int) -> tuple[int, int]:
    """Zeros in front of the source along one axis, and its size with those on both sides."""
    used = [axis for axis in axes if axis.taps and axis.results]
    before = max([-axis.source for axis in used] + [0])
    last = max([axis.source + (axis.results - 1) * axis.stride + (axis.taps - 1) * axis.spread for axis in used] + [0])
    return before, before + max(size, last + 1)


def _row_blocks(rows: list[Axis], row_elements: int, itemsize: int, batch: int, workers: int) -> tuple[int, int, int]:
    """Blocks of result rows whose sources fit into the second cache: their number, their rows, elements of scratch."""
    most = max((axis.results for axis in rows), default=0)
    if not most:
        return 1, 0, 0

    def elements(count: int) -> int:
        used = [axis for axis in rows if axis.taps] or rows
        low = min(axis.source for axis in used)
        high = max(axis.source + (count - 1) * axis.stride + (axis.taps - 1) * axis.spread for axis in used)
        return (high - low + 1) * row_elements

    blocks = max(1, -(-workers // max(batch, 1)))
    while blocks < most and elements(-(-most // blocks)) * itemsize > SCRATCH:
        blocks += 1
    block_rows = -(-most // min(blocks, most))
    return -(-most // block_rows), block_rows, elements(block_rows)
