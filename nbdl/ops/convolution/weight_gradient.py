r"""The gradient of a convolution's weights.

$$dW_{k c r t} = \sum_{n, i, j} dy_{n k i j}\; x_{n,\, c,\; i s - p + r d,\; j s - p + t d}$$

A matrix product again, its inner dimension the pixels of all images. For one tap the inputs that meet a gradient are
a rectangle of x, read in place with its strides: nothing is padded. A task has its share of the taps and output
channels and adds up all images; where there are few of those, the images are cut into chunks as well, in numbers that
depend on the sizes alone, and `weights.fold_gradient` adds their results in order.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from nbdl.ops.convolution.geometry import Pair
from nbdl.ops.convolution.tiles import chunks_of, gradient_tile, tiles_of
from nbdl.runtime.cuda.compiler import resident
from nbdl.runtime.gemm import multiply_panel, register_tile_driver
from nbdl.runtime.gemm.plan import PARALLEL_WORK
from nbdl.runtime.gemm.tiles import THREADS
from nbdl.runtime.jit import Kernel, cpu_function, cpu_kernel, cuda_kernel
from nbdl.runtime.simd import advance, null_pointer, pointer, vector_unit

PIXELS, IMAGES, PATCHES, DEPTHWISE = 0, 1, 2, 3

# Places in the array `sizes`.
(
    BATCH, HEIGHT, WIDTH, GROUPS, INPUTS, OUT_HEIGHT, OUT_WIDTH, OUTPUTS, TAPS, ACROSS, STRIDE, STRIDE_ACROSS,
    PADDING, PADDING_ACROSS, DILATION, DILATION_ACROSS, CHUNKS, PANEL, FORM, COPY,
) = range(20)  # fmt: skip

FEW_INPUTS = 4
"""Input channels under which patches are built."""

FEW_PIXELS = 40
"""Pixels of a result under which a tile's inner loop runs over the images of the batch."""

ENOUGH = 16
"""Units of work that threads can share; with fewer, the images are cut into chunks."""


DEPTHWISE_CHUNKS = 16
"""Partial results of a depthwise convolution."""


class Plan(NamedTuple):
    """The launch of one gradient."""

    partial: tuple[int, int, int, int, int]
    workspace: tuple[int, int]
    sizes: np.ndarray
    is_depthwise: bool


@functools.lru_cache(maxsize=1024)
def plan_weight_gradient(
    batch: int, source: Pair, inputs: int, result: Pair, outputs: int, kernel: Pair, stride: Pair,
    padding: Pair, dilation: Pair, groups: int, itemsize: int, threads: int,
) -> Plan:  # fmt: skip
    """The plan for x [batch, *source, inputs] and dy [batch, *result, outputs]."""
    inputs, outputs = inputs // groups, outputs // groups
    lanes = vector_unit().bytes // itemsize
    panel = 2 * lanes if outputs > lanes else lanes
    panels = -(-outputs // panel)
    taps, pixels = kernel[0] * kernel[1], result[0] * result[1]
    patches = inputs < FEW_INPUTS and taps > 1
    units = groups * panels * (1 if patches else taps)
    chunks = max(1, min(batch, -(-ENOUGH // max(units, 1))))
    if patches:
        form = PATCHES
    else:
        form = IMAGES if pixels < FEW_PIXELS and batch // chunks >= 8 else PIXELS
    copy = outputs % lanes != 0
    scratch = 0
    if copy:
        scratch += panel * pixels * (-(-batch // chunks) if form == IMAGES else 1)
    if patches:
        scratch += (pixels + 16) * taps * inputs
    is_depthwise = groups > 1 and inputs == outputs == 1
    if is_depthwise:  # its channels are the columns of one wide panel
        form, chunks, units = DEPTHWISE, min(batch * result[0], DEPTHWISE_CHUNKS), 1
        groups, outputs, panel = 1, groups, groups
        scratch = 0
    work = batch * groups * outputs * inputs * taps * pixels
    workers = min(threads, max(work // PARALLEL_WORK, 1), max(units * chunks, 1))
    sizes = (
        *(batch, *source, groups, inputs, *result, outputs, *kernel),
        *(*stride, *padding, *dilation, chunks, panel, form, int(copy)),
    )
    return Plan(
        (chunks, groups, taps, inputs, outputs),
        (workers, -(-scratch // lanes) * lanes),
        np.array(sizes, np.int64),
        is_depthwise,
    )


@cpu_function
def _copy_panel(source, pixels, channels, columns, width, target):
    """Copies a panel of dy, whose last rows the tile driver could not read in whole vectors where they are."""
    for pixel in range(pixels):
        for j in range(columns):
            target[pixel * width + j] = source[pixel * channels + j]


@cpu_function
def _met(tap, stride, padding, dilation, size, results):
    """The results [low, high) whose input at the tap lies inside, 0 <= i * stride - padding + tap * dilation < size."""
    first = tap * dilation - padding
    low = (-first + stride - 1) // stride if first < 0 else 0
    high = min(results, (size - 1 - first) // stride + 1) if first < size else 0
    return low, max(low, high)


@cpu_function
def _add_taps(
    sizes, images, x, image_step, dy, dy_image, dy_pixel, group, tap_first, tap_last, target, columns, beta
):  # fmt: skip
    """Adds images to the gradient [tap, input, output] of some taps; in the inner loop pixels, or images."""
    height, width, groups, inputs = sizes[HEIGHT], sizes[WIDTH], sizes[GROUPS], sizes[INPUTS]
    out_height, out_width, outputs = sizes[OUT_HEIGHT], sizes[OUT_WIDTH], sizes[OUTPUTS]
    channels = groups * inputs
    stride, across_stride = sizes[STRIDE], sizes[STRIDE_ACROSS]
    for tap in range(tap_first, tap_last):
        r, s = tap // sizes[ACROSS], tap % sizes[ACROSS]
        top, bottom = _met(r, stride, sizes[PADDING], sizes[DILATION], height, out_height)
        left, right = _met(s, across_stride, sizes[PADDING_ACROSS], sizes[DILATION_ACROSS], width, out_width)
        row = top * stride - sizes[PADDING] + r * sizes[DILATION]
        column = left * across_stride - sizes[PADDING_ACROSS] + s * sizes[DILATION_ACROSS]
        a = advance(x, (row * width + column) * channels + group * inputs)
        b = advance(dy, (top * out_width + left) * dy_pixel)
        c = advance(target, tap * inputs * outputs)
        if sizes[FORM] == IMAGES:
            for i in range(max(bottom - top, 1)):
                multiply_panel(
                    inputs, images if bottom > top else 0, right - left,
                    advance(a, i * stride * width * channels), image_step, 1, across_stride * channels,
                    advance(b, i * out_width * dy_pixel), dy_image, dy_pixel,
                    null_pointer(c), -np.inf, c, outputs, beta if i == 0 else 1.0, columns,
                )  # fmt: skip
        else:
            multiply_panel(
                inputs, bottom - top, right - left, a, stride * width * channels, 1, across_stride * channels,
                b, out_width * dy_pixel, dy_pixel, null_pointer(c), -np.inf, c, outputs, beta, columns,
            )  # fmt: skip


@cpu_function
def _patch_length(pixels):
    """Elements from one row of patches to the next: no multiple of a page, all in one set of a cache."""
    return pixels + 16 if pixels % 512 == 0 else pixels


@cpu_function
def _gather_patches(image, sizes, patches, length, zero):
    """Row (r, s, c) of patches [depth, length]: the inputs that tap (r, s) meets at each pixel of the result.

    Zeros where the tap lies outside of the image. So a tap's row is the image, shifted and cut: long copies.
    """
    height, width, inputs, pixels = sizes[HEIGHT], sizes[WIDTH], sizes[INPUTS], sizes[OUT_WIDTH]
    channels = sizes[GROUPS] * inputs
    step = sizes[STRIDE_ACROSS] * channels
    for tap in range(sizes[TAPS] * sizes[ACROSS]):
        r, s = tap // sizes[ACROSS], tap % sizes[ACROSS]
        top, bottom = _met(r, sizes[STRIDE], sizes[PADDING], sizes[DILATION], height, sizes[OUT_HEIGHT])
        left, right = _met(s, sizes[STRIDE_ACROSS], sizes[PADDING_ACROSS], sizes[DILATION_ACROSS], width, pixels)
        column = s * sizes[DILATION_ACROSS] - sizes[PADDING_ACROSS]
        for c in range(inputs):
            for i in range(sizes[OUT_HEIGHT]):
                target = advance(patches, (tap * inputs + c) * length + i * pixels)
                if i < top or i >= bottom:
                    for j in range(pixels):
                        target[j] = zero
                    continue
                row = i * sizes[STRIDE] - sizes[PADDING] + r * sizes[DILATION]
                source = advance(image, (row * width + column) * channels + c)
                for j in range(left):
                    target[j] = zero
                if step == 1:
                    for j in range(left, right):
                        target[j] = source[j]
                else:
                    for j in range(left, right):
                        target[j] = source[j * step]
                for j in range(right, pixels):
                    target[j] = zero


@cpu_function
def add_rows(dy, rows, row_step, columns, total):
    """total[j] += the sum of column j of dy [rows, columns]: four rows at a time, a fourth of the loads and stores."""
    whole = rows // 4 * 4
    for row in range(0, whole, 4):
        first = advance(dy, row * row_step)
        second, third, fourth = advance(first, row_step), advance(first, 2 * row_step), advance(first, 3 * row_step)
        for j in range(columns):
            total[j] += (first[j] + second[j]) + (third[j] + fourth[j])
    for row in range(whole, rows):
        for j in range(columns):
            total[j] += dy[row * row_step + j]


@cpu_kernel
def _weight_gradient_cpu(x, dy, partial, sums, workspace, sizes, start, stop):
    """x, dy flat [N, H, W, C], [N, H', W', K]; partial flat [chunks, groups, R S, C / groups, K / groups].

    sums [chunks, K] for the sums of dy, the gradient of a bias, or [0, K]. workspace [tasks, elements]. One task a
    range of units (chunk, group, panel, tap), or of units without taps where patches hold them all; no two units write
    one element.
    """
    height, width, groups, inputs = sizes[HEIGHT], sizes[WIDTH], sizes[GROUPS], sizes[INPUTS]
    outputs, panel_width, chunks = sizes[OUTPUTS], sizes[PANEL], sizes[CHUNKS]
    pixels, all_taps = sizes[OUT_HEIGHT] * sizes[OUT_WIDTH], sizes[TAPS] * sizes[ACROSS]
    form, copy = sizes[FORM], sizes[COPY] != 0
    panels, channels, dy_channels = (outputs + panel_width - 1) // panel_width, groups * inputs, groups * outputs
    taps = 1 if form == PATCHES else all_taps
    tasks = workspace.shape[0]
    units = chunks * groups * panels * taps
    first, last = units * start // tasks, units * stop // tasks
    own = pointer(workspace, start * workspace.shape[1])
    gathered = -1  # the image and group whose patches lie in own: its panels share them
    for chunk in range(chunks):
        from_image, to_image = sizes[BATCH] * chunk // chunks, sizes[BATCH] * (chunk + 1) // chunks
        at_once = to_image - from_image if form == IMAGES else 1
        own_patches = advance(own, panel_width * pixels * at_once if copy else 0)
        for n in range(from_image, to_image, max(at_once, 1)):
            for group_panel in range(groups * panels):
                begin = (chunk * groups * panels + group_panel) * taps
                tap_first, tap_last = max(first - begin, 0), min(last - begin, taps)
                if tap_first >= tap_last:
                    continue
                group, panel = group_panel // panels, group_panel % panels
                columns = min(panel_width, outputs - panel * panel_width)
                image = pointer(x, n * height * width * channels)
                gradient = pointer(dy, n * pixels * dy_channels + group * outputs + panel * panel_width)
                dy_pixel = dy_channels
                if copy:
                    _copy_panel(gradient, pixels * at_once, dy_channels, columns, panel_width, own)
                    gradient, dy_pixel = own, panel_width
                target = (chunk * groups + group) * all_taps * inputs * outputs + panel * panel_width
                beta = 0.0 if n == from_image else 1.0
                if tap_first == 0 and sums.shape[0] > 0:
                    total = pointer(sums, chunk * dy_channels + group * outputs + panel * panel_width)
                    if n == from_image:
                        for j in range(columns):
                            total[j] = x.dtype.type(0)
                    add_rows(gradient, pixels * at_once, dy_pixel, columns, total)
                if form == PATCHES:
                    length = _patch_length(pixels)
                    if gathered != n * groups + group:
                        _gather_patches(advance(image, group * inputs), sizes, own_patches, length, x.dtype.type(0))
                        gathered = n * groups + group
                    c = pointer(partial, target)
                    multiply_panel(
                        all_taps * inputs, 1, pixels, own_patches, 0, length, 1, gradient, 0, dy_pixel,
                        null_pointer(c), -np.inf, c, outputs, beta, columns,
                    )  # fmt: skip
                else:
                    _add_taps(
                        sizes, at_once, image, height * width * channels, gradient, pixels * dy_pixel, dy_pixel,
                        group, tap_first, tap_last, pointer(partial, target), columns, beta,
                    )  # fmt: skip


@resident(THREADS, 2)
@cuda_kernel
def _weight_gradient_cuda(x, dy, partial, sums, workspace, sizes):
    """As the CPU twin, without its forms; chunks are cut anywhere between places. One block a tile of a chunk."""
    rows = (sizes[TAPS], sizes[STRIDE], sizes[PADDING], sizes[DILATION])
    columns = (sizes[ACROSS], sizes[STRIDE_ACROSS], sizes[PADDING_ACROSS], sizes[DILATION_ACROSS])
    gradient_tile(
        x, dy, partial, sums, sizes[BATCH], (sizes[HEIGHT], sizes[WIDTH]), sizes[GROUPS], sizes[INPUTS],
        (sizes[OUT_HEIGHT], sizes[OUT_WIDTH]), sizes[OUTPUTS], sizes[CHUNKS], (rows, columns),
    )  # fmt: skip


def _blocks(x: Any, dy: Any, partial: Any, sums: Any, workspace: Any, sizes: Any) -> int:
    return int(sizes[CHUNKS] * sizes[GROUPS]) * _tiles(sizes)


def _tiles(sizes: Any) -> int:
    return tiles_of(int(sizes[TAPS] * sizes[ACROSS] * sizes[INPUTS]), int(sizes[OUTPUTS]))


def more_chunks(plan: Plan) -> Plan:
    """The plan for a GPU, whose multiprocessors are many: more chunks, unless it is depthwise."""
    if plan.is_depthwise:
        return plan
    sizes = plan.sizes.copy()
    chunks = chunks_of(int(sizes[GROUPS]) * _tiles(sizes), int(sizes[BATCH] * sizes[OUT_HEIGHT] * sizes[OUT_WIDTH]))
    sizes[CHUNKS] = chunks
    return plan._replace(partial=(chunks, *plan.partial[1:]), workspace=(1, 0), sizes=sizes)


weight_gradient_kernel = Kernel(
    cpu=_weight_gradient_cpu,
    cuda=_weight_gradient_cuda,
    tasks=lambda x, dy, partial, sums, workspace, sizes: workspace.shape[0],
    work=lambda x, dy, partial, sums, workspace, sizes: workspace.shape[0] * PARALLEL_WORK,
    blocks=_blocks,
    threads=THREADS,
    requires=register_tile_driver,
)
