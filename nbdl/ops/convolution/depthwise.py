"""Depthwise convolution: one channel a group, so each channel has a small filter of its own.

There is nothing to share between channels, so no matrix product. Vectors run along the channels, and a few neighbouring
pixels stay in registers while the taps go by, so that each weight is loaded once for all of them.

Source: Howard et al. (2017), "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications".
"""

from __future__ import annotations

from nbdl.ops.convolution.plan import (
    COLUMN_PHASES,
    COLUMNS,
    COUNT,
    FIRST,
    HEIGHT,
    OFFSET,
    OUT_HEIGHT,
    OUT_WIDTH,
    OUTPUTS,
    ROW_PHASES,
    SOURCE,
    SPREAD,
    STEP,
    STRIDE,
    TAPS,
    WIDTH,
)
from nbdl.ops.convolution.window import slide_window
from nbdl.runtime.jit import BLOCK, Kernel, cpu_function, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.simd import null_pointer, pointer


@cpu_function
def taps_inside(i, count, source, stride, taps, spread, size):
    """The taps [low, high) of result i that lie inside, and the first result after it that may have others."""
    first = source + i * stride
    low = (-first + spread - 1) // spread if first < 0 else 0
    high = min(taps, (size - 1 - first) // spread + 1) if first < size else 0
    end = i + 1
    if low == 0 and high == taps:
        end = max(end, min(count, (size - 1 - source - (taps - 1) * spread) // stride + 1))
    return min(low, high), high, end


@cpu_kernel
def _depthwise_cpu(x, packed, bias, y, workspace, sizes, phases, floor, start, stop):
    """x flat [N, H, W, C], packed [phase, r, s, C], bias [C] or empty, y flat [N, H', W', C]; y = max(floor, ...).

    workspace [tasks, 0]. One task a range of result rows, which are cut into rectangles whose pixels have the same
    taps inside of the image.
    """
    height, width, channels = sizes[HEIGHT], sizes[WIDTH], sizes[OUTPUTS]
    out_height, out_width = sizes[OUT_HEIGHT], sizes[OUT_WIDTH]
    tasks = workspace.shape[0]
    lines = y.shape[0] // (out_width * channels)
    line, last_line = lines * start // tasks, lines * stop // tasks
    start_values = pointer(bias, 0) if bias.shape[0] > 0 else null_pointer(pointer(bias, 0))
    while line < last_line:
        image, top = line // out_height, line % out_height
        bottom = min(out_height, top + last_line - line)
        line += bottom - top
        for phase in range(phases.shape[0]):
            first, step = phases[phase, FIRST], phases[phase, STEP]
            source, stride, spread = phases[phase, SOURCE], phases[phase, STRIDE], phases[phase, SPREAD]
            across = phases[phase, COLUMNS + TAPS]
            between, pixel_step = phases[phase, COLUMNS + SPREAD], phases[phase, COLUMNS + STRIDE]
            i, rows = max(top - first + step - 1, 0) // step, max(bottom - first + step - 1, 0) // step
            while i < rows:
                low, high, end = taps_inside(i, rows, source, stride, phases[phase, TAPS], spread, height)
                j = 0
                while j < phases[phase, COLUMNS + COUNT]:
                    left, right, side = taps_inside(
                        j, phases[phase, COLUMNS + COUNT], phases[phase, COLUMNS + SOURCE], pixel_step, across,
                        between, width,
                    )  # fmt: skip
                    row = image * height + source + i * stride + low * spread
                    column = phases[phase, COLUMNS + SOURCE] + j * pixel_step + left * between
                    out_row = image * out_height + first + i * step
                    out_column = phases[phase, COLUMNS + FIRST] + j * phases[phase, COLUMNS + STEP]
                    slide_window(
                        end - i, side - j, channels, high - low, right - left,
                        stride * width * channels, pixel_step * channels, spread * width * channels,
                        between * channels, across * channels, step * out_width * channels,
                        phases[phase, COLUMNS + STEP] * channels, pointer(x, (row * width + column) * channels),
                        pointer(packed, phases[phase, OFFSET] + (low * across + left) * channels),
                        start_values, floor, pointer(y, (out_row * out_width + out_column) * channels),
                    )  # fmt: skip
                    j = side
                i = end


@cuda_kernel
def _depthwise_cuda(x, packed, bias, y, workspace, sizes, phases, floor):
    """As the CPU twin. One thread a result, neighbours on neighbouring channels."""
    height, width, channels = sizes[HEIGHT], sizes[WIDTH], sizes[OUTPUTS]
    out_height, out_width = sizes[OUT_HEIGHT], sizes[OUT_WIDTH]
    element = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if element < y.shape[0]:
        c, place = element % channels, element // channels
        out_column, out_row = place % out_width, place // out_width % out_height
        image = place // (out_width * out_height) * height * width
        phase = out_row % sizes[ROW_PHASES] * sizes[COLUMN_PHASES] + out_column % sizes[COLUMN_PHASES]
        across = phases[phase, COLUMNS + TAPS]
        first_row = phases[phase, SOURCE] + out_row // phases[phase, STEP] * phases[phase, STRIDE]
        first_column = phases[phase, COLUMNS + SOURCE]
        first_column += out_column // phases[phase, COLUMNS + STEP] * phases[phase, COLUMNS + STRIDE]
        total = x.dtype.type(0)
        if bias.shape[0] > 0:
            total = bias[c]
        for r in range(phases[phase, TAPS]):
            row = first_row + r * phases[phase, SPREAD]
            if row >= 0 and row < height:
                for s in range(across):
                    column = first_column + s * phases[phase, COLUMNS + SPREAD]
                    if column >= 0 and column < width:
                        weight = packed[phases[phase, OFFSET] + (r * across + s) * channels + c]
                        total += x[(image + row * width + column) * channels + c] * weight
        y[element] = floor if floor > total else total


depthwise = Kernel(
    cpu=_depthwise_cpu,
    cuda=_depthwise_cuda,
    tasks=lambda x, packed, bias, y, workspace, *_: workspace.shape[0],
    work=lambda x, packed, bias, y, *_: 4 * y.shape[0],
    blocks=lambda x, packed, bias, y, *_: -(-y.shape[0] // BLOCK),
)
