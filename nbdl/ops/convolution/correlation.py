"""The kernel under every convolution: forward, and the gradient of the input, which is a forward pass in phases.

Implicit GEMM: a result row of pixels is a matrix product whose rows are pixels, whose columns are output channels, and
whose inner dimension runs over taps and input channels. In channels-last memory the inputs of one kernel row lie side
by side, so the matrix of patches exists in the strides of the tile driver alone. A task copies a few rows of the input,
with zeros around them, to memory that its caches keep: that reads the input in order, as fast as memory gives it.

Source: Chetlur et al. (2014), "cuDNN: Efficient Primitives for Deep Learning", section 3 (implicit GEMM).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops.convolution.plan import (
    BATCH,
    BLOCK_ROWS,
    BLOCKS,
    COLUMN_PHASES,
    COLUMNS,
    COUNT,
    FIRST,
    FORM,
    GROUPS,
    HEIGHT,
    IMAGES,
    INPUTS,
    LEFT,
    OFFSET,
    OUT_HEIGHT,
    OUT_WIDTH,
    OUTPUTS,
    PADDED_WIDTH,
    PANEL,
    ROW_PHASES,
    SOURCE,
    SPREAD,
    STEP,
    STRIDE,
    TAPS,
    WIDTH,
)
from nbdl.ops.convolution.tiles import CHANNELS, are_full, correlate_tile, tiles_of
from nbdl.runtime.cuda.compiler import resident
from nbdl.runtime.gemm import multiply_panel, register_tile_driver
from nbdl.runtime.gemm.plan import PARALLEL_WORK
from nbdl.runtime.gemm.tiles import SIDE, THREADS
from nbdl.runtime.jit import BLOCK, Kernel, cpu_function, cpu_kernel, cuda, cuda_device, cuda_kernel
from nbdl.runtime.simd import advance, null_pointer, pointer

# ---------------------------------------------------------------- rows of pixels


@cpu_function
def _pad_rows(image, low, high, height, width, groups, inputs, left, padded_width, target, zero):
    """Copies the rows [low, high) of an image [height, width, groups, inputs] into target [group, row, column, input].

    Rows and columns outside of the image are zeros; columns begin at -left.
    """
    channels = groups * inputs
    for group in range(groups):
        for row in range(low, high):
            line = advance(target, (group * (high - low) + row - low) * padded_width * inputs)
            if row < 0 or row >= height:
                for i in range(padded_width * inputs):
                    line[i] = zero
                continue
            source = advance(image, row * width * channels + group * inputs)
            inside = advance(line, left * inputs)
            for i in range(left * inputs):
                line[i] = zero
            if groups == 1:
                for i in range(width * inputs):
                    inside[i] = source[i]
            else:
                for column in range(width):
                    for c in range(inputs):
                        inside[column * inputs + c] = source[column * channels + c]
            for i in range(width * inputs, (padded_width - left) * inputs):
                inside[i] = zero


@cpu_function
def _multiply_taps(
    rows, taps, across, used, inputs, a, tap_row, tap_column, a_row, b, width, bias, floor, c, c_row, columns
):  # fmt: skip
    """The tile driver over `used` of the `across` taps of each kernel row.

    In one call where the inputs of a kernel row lie side by side.
    """
    if tap_column == inputs or taps * used == 0:
        multiply_panel(
            rows, taps, used * inputs, a, tap_row, a_row, 1, b, across * inputs * width, width,
            bias, floor, c, c_row, 0.0, columns,
        )  # fmt: skip
        return
    for r in range(taps):
        multiply_panel(
            rows, used, inputs, advance(a, r * tap_row), tap_column, a_row, 1,
            advance(b, r * across * inputs * width), inputs * width, width,
            bias if r == 0 else null_pointer(bias), floor if r == taps - 1 else -np.inf,
            c, c_row, 0.0 if r == 0 else 1.0, columns,
        )  # fmt: skip


@cpu_function
def _correlate_rows(x, packed, bias, y, own, sizes, phases, floor, zero, first, last):
    """Units [first, last): blocks of result rows of an image. The tile's rows are the pixels of a result row."""
    height, width, groups, inputs = sizes[HEIGHT], sizes[WIDTH], sizes[GROUPS], sizes[INPUTS]
    out_height, out_width, outputs, panel_width = sizes[OUT_HEIGHT], sizes[OUT_WIDTH], sizes[OUTPUTS], sizes[PANEL]
    blocks, block_rows = sizes[BLOCKS], sizes[BLOCK_ROWS]
    left, padded_width = sizes[LEFT], sizes[PADDED_WIDTH]
    panels = (outputs + panel_width - 1) // panel_width
    for unit in range(first, last):
        n, top = unit // blocks, unit % blocks * block_rows
        low, high = height, 0
        for phase in range(phases.shape[0]):
            stop = min(phases[phase, COUNT], top + block_rows)
            if stop > top and phases[phase, TAPS] > 0:
                source, stride = phases[phase, SOURCE], phases[phase, STRIDE]
                reach = (phases[phase, TAPS] - 1) * phases[phase, SPREAD]
                low = min(low, source + top * stride)
                high = max(high, source + (stop - 1) * stride + reach + 1)
        image = pointer(x, n * height * width * groups * inputs)
        _pad_rows(image, low, high, height, width, groups, inputs, left, padded_width, own, zero)
        for phase in range(phases.shape[0]):
            taps, spread = phases[phase, TAPS], phases[phase, SPREAD]
            across, between = phases[phase, COLUMNS + TAPS], phases[phase, COLUMNS + SPREAD]
            pixel_step = phases[phase, COLUMNS + STRIDE] * inputs
            column = left + phases[phase, COLUMNS + SOURCE]
            for group in range(groups):
                rows_of_group = advance(own, group * (high - low) * padded_width * inputs)
                for panel in range(panels):
                    channel = group * outputs + panel * panel_width
                    begin = (group * panels + panel) * taps * across * inputs * panel_width
                    b = pointer(packed, phases[phase, OFFSET] + begin)
                    for i in range(top, min(phases[phase, COUNT], top + block_rows)):
                        row = phases[phase, SOURCE] + i * phases[phase, STRIDE] - low
                        pixel = (n * out_height + phases[phase, FIRST] + i * phases[phase, STEP]) * out_width
                        pixel += phases[phase, COLUMNS + FIRST]
                        _multiply_taps(
                            phases[phase, COLUMNS + COUNT], taps, across, across, inputs,
                            advance(rows_of_group, (row * padded_width + column) * inputs),
                            spread * padded_width * inputs, between * inputs, pixel_step,
                            b, panel_width, pointer(bias, channel) if bias.shape[0] > 0 else null_pointer(b), floor,
                            pointer(y, pixel * groups * outputs + channel),
                            phases[phase, COLUMNS + STEP] * groups * outputs,
                            min(panel_width, outputs - panel * panel_width),
                        )  # fmt: skip


# ---------------------------------------------------------------- images of the batch


@cpu_function
def _inside(first, step, taps, size):
    """The taps j for which 0 <= first + j * step < size, as a half-open range."""
    low = (-first + step - 1) // step if first < 0 else 0
    high = min(taps, (size - 1 - first) // step + 1) if first < size else 0
    return low, max(low, high)


@cpu_function
def _correlate_images(x, packed, bias, y, sizes, phases, floor, first, last):
    """Units [first, last): a panel at a pixel. The tile's rows are the images; taps outside of them are left out."""
    batch, height, width, groups, inputs = sizes[BATCH], sizes[HEIGHT], sizes[WIDTH], sizes[GROUPS], sizes[INPUTS]
    out_height, out_width, outputs, panel_width = sizes[OUT_HEIGHT], sizes[OUT_WIDTH], sizes[OUTPUTS], sizes[PANEL]
    panels, channels = (outputs + panel_width - 1) // panel_width, groups * inputs
    unit = 0
    for group_panel in range(groups * panels):
        group, panel = group_panel // panels, group_panel % panels
        channel = group * outputs + panel * panel_width
        for phase in range(phases.shape[0]):
            spread, across = phases[phase, SPREAD], phases[phase, COLUMNS + TAPS]
            between, pixels = phases[phase, COLUMNS + SPREAD], phases[phase, COLUMNS + COUNT]
            begin = phases[phase, OFFSET] + group_panel * phases[phase, TAPS] * across * inputs * panel_width
            for place in range(phases[phase, COUNT] * pixels):
                unit += 1
                if unit <= first or unit > last:
                    continue
                i, pixel = place // pixels, place % pixels
                row = phases[phase, SOURCE] + i * phases[phase, STRIDE]
                column = phases[phase, COLUMNS + SOURCE] + pixel * phases[phase, COLUMNS + STRIDE]
                top, bottom = _inside(row, spread, phases[phase, TAPS], height)
                left, right = _inside(column, between, across, width)
                out_row = phases[phase, FIRST] + i * phases[phase, STEP]
                out_column = phases[phase, COLUMNS + FIRST] + pixel * phases[phase, COLUMNS + STEP]
                b = pointer(packed, begin + (top * across + left) * inputs * panel_width)
                source = ((row + top * spread) * width + column + left * between) * channels + group * inputs
                _multiply_taps(
                    batch, bottom - top, across, right - left, inputs, pointer(x, source),
                    spread * width * channels, between * channels, height * width * channels, b, panel_width,
                    pointer(bias, channel) if bias.shape[0] > 0 else null_pointer(b), floor,
                    pointer(y, (out_row * out_width + out_column) * groups * outputs + channel),
                    out_height * out_width * groups * outputs,
                    min(panel_width, outputs - panel * panel_width),
                )  # fmt: skip


# ---------------------------------------------------------------- the pair


@cpu_kernel
def _correlate_cpu(x, packed, bias, y, workspace, sizes, phases, floor, start, stop):
    """x flat [N, H, W, C], packed weights, bias [K] or empty, y flat [N, H', W', K]; y = max(floor, ...).

    workspace [tasks, elements]. One task a range of units; no two units write one element.
    """
    tasks = workspace.shape[0]
    own = pointer(workspace, start * workspace.shape[1])
    zero = x.dtype.type(0)
    if sizes[FORM] == IMAGES:
        units = 0
        for phase in range(phases.shape[0]):
            units += phases[phase, COUNT] * phases[phase, COLUMNS + COUNT]
        units *= sizes[GROUPS] * ((sizes[OUTPUTS] + sizes[PANEL] - 1) // sizes[PANEL])
        _correlate_images(x, packed, bias, y, sizes, phases, floor, units * start // tasks, units * stop // tasks)
        return
    units = sizes[BATCH] * sizes[BLOCKS]
    first, last = units * start // tasks, units * stop // tasks
    _correlate_rows(x, packed, bias, y, own, sizes, phases, floor, zero, first, last)


@cuda_kernel
def _correlate_cuda(x, packed, bias, y, workspace, sizes, phases, floor):
    """As the CPU twin, without its forms. One thread a result, neighbours on neighbouring output channels."""
    height, width, groups, inputs = sizes[HEIGHT], sizes[WIDTH], sizes[GROUPS], sizes[INPUTS]
    out_height, out_width, outputs, panel_width = sizes[OUT_HEIGHT], sizes[OUT_WIDTH], sizes[OUTPUTS], sizes[PANEL]
    panels, channels = (outputs + panel_width - 1) // panel_width, groups * inputs
    element = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if element < y.shape[0]:
        k, place = element % (groups * outputs), element // (groups * outputs)
        out_column, out_row = place % out_width, place // out_width % out_height
        image = place // (out_width * out_height) * height * width
        phase = out_row % sizes[ROW_PHASES] * sizes[COLUMN_PHASES] + out_column % sizes[COLUMN_PHASES]
        taps, across = phases[phase, TAPS], phases[phase, COLUMNS + TAPS]
        group, panel, j = k // outputs, k % outputs // panel_width, k % outputs % panel_width
        weight = phases[phase, OFFSET] + (group * panels + panel) * taps * across * inputs * panel_width + j
        first_row = phases[phase, SOURCE] + out_row // phases[phase, STEP] * phases[phase, STRIDE]
        first_column = phases[phase, COLUMNS + SOURCE]
        first_column += out_column // phases[phase, COLUMNS + STEP] * phases[phase, COLUMNS + STRIDE]
        total = x.dtype.type(0)
        if bias.shape[0] > 0:
            total = bias[k]
        for r in range(taps):
            row = first_row + r * phases[phase, SPREAD]
            if row >= 0 and row < height:
                for s in range(across):
                    column = first_column + s * phases[phase, COLUMNS + SPREAD]
                    if column >= 0 and column < width:
                        source = (image + row * width + column) * channels + group * inputs
                        at = weight + (r * across + s) * inputs * panel_width
                        for c in range(inputs):
                            total += x[source + c] * packed[at + c * panel_width]
        y[element] = floor if floor > total else total


@cuda_device
def _tiles_of_phase(sizes, phases, phase):
    """The tiles of a phase's results, of all groups."""
    places = sizes[BATCH] * phases[phase, COUNT] * phases[phase, COLUMNS + COUNT]
    return (places + SIDE - 1) // SIDE * ((sizes[OUTPUTS] + CHANNELS - 1) // CHANNELS) * sizes[GROUPS]


@resident(THREADS, 2)
@cuda_kernel
def _correlate_tiles_cuda(x, packed, bias, y, workspace, sizes, phases, floor):
    """As the CPU twin, without its forms. One block a tile of a phase."""
    tile, phase = cuda.blockIdx.x, 0
    while tile >= _tiles_of_phase(sizes, phases, phase):
        tile -= _tiles_of_phase(sizes, phases, phase)
        phase += 1
    rows = (
        phases[phase, FIRST], phases[phase, STEP], phases[phase, COUNT], phases[phase, SOURCE],
        phases[phase, STRIDE], phases[phase, TAPS], phases[phase, SPREAD],
    )  # fmt: skip
    columns = (
        phases[phase, COLUMNS + FIRST], phases[phase, COLUMNS + STEP], phases[phase, COLUMNS + COUNT],
        phases[phase, COLUMNS + SOURCE], phases[phase, COLUMNS + STRIDE], phases[phase, COLUMNS + TAPS],
        phases[phase, COLUMNS + SPREAD],
    )  # fmt: skip
    correlate_tile(
        x, packed, bias, y, floor, tile, sizes[BATCH], (sizes[HEIGHT], sizes[WIDTH]), sizes[GROUPS], sizes[INPUTS],
        (sizes[OUT_HEIGHT], sizes[OUT_WIDTH]), sizes[OUTPUTS], sizes[PANEL], phases[phase, OFFSET], (rows, columns),
    )  # fmt: skip


def _blocks_of_tiles(x: Any, packed: Any, bias: Any, y: Any, workspace: Any, sizes: Any, phases: Any, *_: Any) -> int:
    tiles = (
        tiles_of(int(sizes[BATCH] * phase[COUNT] * phase[COLUMNS + COUNT]), int(sizes[OUTPUTS])) for phase in phases
    )
    return int(sizes[GROUPS]) * sum(tiles)


def _tasks(x: Any, packed: Any, bias: Any, y: Any, workspace: Any, *_: Any) -> int:
    return int(workspace.shape[0])


def _work(*arguments: Any) -> int:
    return _tasks(*arguments) * PARALLEL_WORK


correlate = Kernel(
    cpu=_correlate_cpu,
    cuda=_correlate_cuda,
    tasks=_tasks,
    work=_work,
    blocks=lambda x, packed, bias, y, *_: -(-y.shape[0] // BLOCK),
    requires=register_tile_driver,
)

correlate_tiles = Kernel(
    cpu=_correlate_cpu,
    cuda=_correlate_tiles_cuda,
    tasks=_tasks,
    work=_work,
    blocks=_blocks_of_tiles,
    threads=THREADS,
    requires=register_tile_driver,
)


def choose_kernel(x: Any, sizes: np.ndarray, phases: np.ndarray) -> Kernel:
    """The kernel of a correlation that is not depthwise: they differ on CUDA only, by the rule of `tiles.are_full`."""
    if isinstance(x, np.ndarray):
        return correlate
    places = max(int(sizes[BATCH] * phase[COUNT] * phase[COLUMNS + COUNT]) for phase in phases)
    return correlate_tiles if are_full(places, int(sizes[OUTPUTS])) else correlate
