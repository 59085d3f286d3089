r"""3x3 convolutions with fewer multiplications: minimal filtering, tile by tile.

A tile of $m \times m$ results needs $t \times t$ inputs, $t = m + 2$. With constant matrices $A$, $B$, $G$

$$Y = A^\top \big[ (G\, w\, G^\top) \odot (B^\top d\, B) \big] A ,$$

so a tile costs $t^2$ products for each pair of channels, where the definition takes $9 m^2$: 16 for 36 with $m = 2$, 36
for 144 with $m = 4$. Over many tiles and channels the products are $t^2$ matrix products of the transformed tiles
[tiles, C] by the transformed weights [C, K]. Backward, with $d$ and $dY$ transformed the same way:

$$dw = G^\top \Big[ \sum_{\text{tiles}} (B^\top d\, B) \odot (A\, dY A^\top) \Big] G .$$

The transforms lose digits, the shorter sums save some. With [32, 64, 32, 32] random images in float32, the largest
error of a result of size 1 was 2.0e-6 for $m = 2$, 3.5e-5 for $m = 4$ and 9.5e-6 for the definition summed by the
register tile; `nbdl.set_precision` chooses.

Sources: Winograd (1980), "Arithmetic Complexity of Computations"; Lavin and Gray (2016), "Fast Algorithms for
Convolutional Neural Networks", equations 6 to 12.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from nbdl.ops.convolution.geometry import Pair
from nbdl.runtime.gemm import multiply_panel, register_tile_driver
from nbdl.runtime.gemm.plan import PARALLEL_WORK
from nbdl.runtime.jit import BLOCK, Kernel, cpu_function, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.sandwich import sandwich, sandwich_and_bias
from nbdl.runtime.simd import advance, null_pointer, pointer, vector_lanes, vector_unit

# ---------------------------------------------------------------- the matrices

TAPS = 3


class Filtering(NamedTuple):
    """The matrices for tiles of m x m results: those of the results (A^T), the inputs (B^T) and the weights (G)."""

    results: np.ndarray
    inputs: np.ndarray
    weights: np.ndarray


TWO = Filtering(
    np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float),
    np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float),
    np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]], float),
)

FOUR = Filtering(
    np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float),
    np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        float,
    ),
    np.array(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        float,
    ),
)

# ---------------------------------------------------------------- the plan

(
    BATCH, HEIGHT, WIDTH, INPUTS, OUT_HEIGHT, OUT_WIDTH, OUTPUTS, PANEL, ROW_SHIFT, COLUMN_SHIFT, SIDE, AT_ONCE,
    BLOCKS, CHUNKS,
) = range(14)  # fmt: skip
"""Places in the array `numbers`. The shifts are those from a result's place to the first input it needs."""

SCRATCH = 3 << 17
"""Bytes of transformed tiles and their products that a task works on at a time: they stay in the second cache."""

FEW_TILES = 14
"""Tiles under which there is nothing to share: the rows of a register tile."""

AT_LEAST = 42
"""Tiles in a block at least: a panel of weights is then read for three register tiles."""

ENOUGH_TILES = 256
"""Tiles from which on a gradient of the weights pays for turning it back; fewer where channels are few."""

MOST_WEIGHTS = 1 << 16
"""Pairs of channels up to which the transformed gradient of the weights stays in the caches."""

MOST_PARTIAL = 1 << 22
"""Elements of transformed gradients at most, unless two chunks of images have more."""

MOST_CHUNKS = 16


class Plan(NamedTuple):
    """The launches over the tiles of one convolution."""

    workspace: tuple[int, int]
    numbers: np.ndarray
    chunks: int


@functools.lru_cache(maxsize=1024)
def plan_tiles(
    side: int, batch: int, source: Pair, inputs: int, result: Pair, outputs: int, padding: Pair, itemsize: int,
    threads: int, gradient: bool = False,
) -> Plan | None:  # fmt: skip
    """The plan for results in tiles of `side`; None where the definition's own products are as quick, or more exact.

    `padding` is that in front of the source. `gradient` means that of the weights.
    """
    lanes = vector_unit().bytes // itemsize
    if not side or itemsize != 4 or inputs % lanes or outputs % lanes:
        return None
    taken = side + TAPS - 1
    tiles = batch * -(-result[0] // side) * -(-result[1] // side)
    if tiles < FEW_TILES:
        return None
    if gradient and (tiles < min(ENOUGH_TILES, inputs * outputs // 4) or inputs * outputs > MOST_WEIGHTS):
        return None
    panel = 2 * lanes if outputs > lanes else lanes
    padded_outputs = -(-outputs // panel) * panel
    at_once = SCRATCH // (itemsize * taken * taken * (inputs + outputs)) // FEW_TILES * FEW_TILES
    at_once = min(max(AT_LEAST, at_once), tiles)
    blocks = -(-tiles // at_once)
    chunks = max(2, min(MOST_CHUNKS, MOST_PARTIAL // (taken * taken * inputs * outputs)))
    chunks = min(chunks, tiles // FEW_TILES)
    weights = inputs * (outputs if gradient else padded_outputs)
    elements = taken * taken * (weights + at_once * (inputs + outputs) + 2 * lanes + max(inputs, outputs))
    work = tiles * taken * taken * inputs * outputs
    workers = min(threads, max(work // PARALLEL_WORK, 1), chunks if gradient else blocks)
    numbers = (batch, *source, inputs, *result, outputs, panel, -padding[0], -padding[1], side, at_once, blocks, chunks)
    return Plan((workers, elements), np.array(numbers, np.int64), chunks)


# ---------------------------------------------------------------- tiles


@cpu_function
def _gather(image, row, column, height, width, channels, side, target, zero):
    """Copies a tile [side, side, channels] whose corner lies at (row, column); zeros outside of the image."""
    for i in range(side):
        for j in range(side):
            place = advance(target, (i * side + j) * channels)
            if 0 <= row + i < height and 0 <= column + j < width:
                source = advance(image, ((row + i) * width + column + j) * channels)
                for c in range(channels):
                    place[c] = source[c]
            else:
                for c in range(channels):
                    place[c] = zero


@cpu_function
def _scatter(tile, row, column, height, width, channels, side, image):
    """Copies the part of a tile [side, side, channels] that lies inside of the image."""
    for i in range(min(side, height - row)):
        for j in range(min(side, width - column)):
            source = advance(tile, (i * side + j) * channels)
            place = advance(image, ((row + i) * width + column + j) * channels)
            for c in range(channels):
                place[c] = source[c]


def _transform_tiles(transform: Any, side: int, apart: int) -> Any:
    """A function that transforms a block of tiles [side, side] whose corners lie `apart` from each other."""
    turned = transform.shape[0]
    turn = sandwich(transform)

    @cpu_function
    def transform_tiles(x, first, count, down, across, shift, height, width, channels, target, step, edge, zero):
        lanes = vector_lanes(target)
        for i in range(count):
            tile = first + i
            image = pointer(x, tile // (down * across) * height * width * channels)
            row = tile // across % down * apart + shift[0]
            column = tile % across * apart + shift[1]
            if row >= 0 and column >= 0 and row + side <= height and column + side <= width:
                source, row_step = advance(image, (row * width + column) * channels), width * channels
            else:
                _gather(image, row, column, height, width, channels, side, edge, zero)
                source, row_step = edge, side * channels
            for c in range(0, channels, lanes):
                turn(advance(source, c), row_step, channels, advance(target, i * channels + c), turned * step, step)

    return transform_tiles


# ---------------------------------------------------------------- forward, and the gradient of the input


def _correlation_in_tiles(filtering: Filtering) -> Any:
    """The forward pass over blocks [first, last) of `at_once` tiles."""
    side, taken = filtering.results.shape
    transform_tiles = _transform_tiles(filtering.inputs, taken, side)
    turn_weights = sandwich(filtering.weights)
    turn_results = sandwich_and_bias(filtering.results)

    @cpu_function
    def correlate_tiles(x, packed, bias, y, own, numbers, floor, first, last):
        """packed [panel, 3, 3, inputs, column]; own: transformed weights, tiles, their products, one tile."""
        lanes = vector_lanes(own)
        zero = x.dtype.type(0)
        batch, height, width, inputs = numbers[BATCH], numbers[HEIGHT], numbers[WIDTH], numbers[INPUTS]
        out_height, out_width, outputs = numbers[OUT_HEIGHT], numbers[OUT_WIDTH], numbers[OUTPUTS]
        panel_width, at_once = numbers[PANEL], numbers[AT_ONCE]
        shift = numbers[ROW_SHIFT], numbers[COLUMN_SHIFT]
        down, across = -(-out_height // side), -(-out_width // side)
        panels = -(-outputs // panel_width)
        step, product_step = at_once * inputs + lanes, at_once * outputs + lanes
        tiles = advance(own, taken * taken * inputs * panels * panel_width)
        products = advance(tiles, taken * taken * step)
        edge = advance(products, taken * taken * product_step)
        for panel in range(panels):
            for place in range(0, inputs * panel_width, lanes):
                turn_weights(
                    pointer(packed, panel * TAPS * TAPS * inputs * panel_width + place),
                    TAPS * inputs * panel_width, inputs * panel_width,
                    advance(own, panel * taken * taken * inputs * panel_width + place),
                    taken * inputs * panel_width, inputs * panel_width,
                )  # fmt: skip
        for block in range(first, last):
            begin = block * at_once
            count = min(at_once, batch * down * across - begin)
            transform_tiles(x, begin, count, down, across, shift, height, width, inputs, tiles, step, edge, zero)
            for place in range(taken * taken):
                for panel in range(panels):
                    multiply_panel(
                        count, 1, inputs, advance(tiles, place * step), 0, inputs, 1,
                        advance(own, (panel * taken * taken + place) * inputs * panel_width), 0, panel_width,
                        null_pointer(own), -np.inf, advance(products, place * product_step + panel * panel_width),
                        outputs, 0.0, min(panel_width, outputs - panel * panel_width),
                    )  # fmt: skip
            for i in range(count):
                tile = begin + i
                image = pointer(y, tile // (down * across) * out_height * out_width * outputs)
                row, column = tile // across % down * side, tile % across * side
                whole = row + side <= out_height and column + side <= out_width
                target, row_step = edge, side * outputs
                if whole:
                    target, row_step = advance(image, (row * out_width + column) * outputs), out_width * outputs
                for k in range(0, outputs, lanes):
                    turn_results(
                        advance(products, i * outputs + k), taken * product_step, product_step,
                        advance(target, k), row_step, outputs,
                        pointer(bias, k) if bias.shape[0] > 0 else null_pointer(own), floor,
                    )  # fmt: skip
                if not whole:
                    _scatter(edge, row, column, out_height, out_width, outputs, side, image)

    return correlate_tiles


_correlate_twos = _correlation_in_tiles(TWO)
_correlate_fours = _correlation_in_tiles(FOUR)


@cpu_kernel
def _correlate_in_tiles_cpu(x, packed, bias, y, workspace, numbers, floor, start, stop):
    """x flat [N, H, W, C], packed weights, bias [K] or empty, y flat [N, H', W', K]; y = max(floor, ...).

    workspace [tasks, elements]. One task a range of blocks of tiles; no two blocks write one element.
    """
    tasks, blocks = workspace.shape[0], numbers[BLOCKS]
    own = pointer(workspace, start * workspace.shape[1])
    first, last = blocks * start // tasks, blocks * stop // tasks
    if numbers[SIDE] == 2:
        _correlate_twos(x, packed, bias, y, own, numbers, floor, first, last)
    else:
        _correlate_fours(x, packed, bias, y, own, numbers, floor, first, last)


@cuda_kernel
def _correlate_in_tiles_cuda(x, packed, bias, y, workspace, numbers, floor):
    """The definition, without tiles. One thread a result, neighbours on neighbouring output channels.

    A GPU multiplies faster than it could keep transformed tiles, so convolutions there go to `correlation`: this twin
    says what the CPU's has to compute, to checks in the interpreter.
    """
    height, width, inputs = numbers[HEIGHT], numbers[WIDTH], numbers[INPUTS]
    out_height, out_width, outputs, panel_width = (
        numbers[OUT_HEIGHT], numbers[OUT_WIDTH], numbers[OUTPUTS], numbers[PANEL],
    )  # fmt: skip
    element = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if element < y.shape[0]:
        k, pixel = element % outputs, element // outputs
        first_row = pixel // out_width % out_height + numbers[ROW_SHIFT]
        first_column = pixel % out_width + numbers[COLUMN_SHIFT]
        image = pixel // (out_width * out_height) * height
        weight = k // panel_width * TAPS * TAPS * inputs * panel_width + k % panel_width
        total = x.dtype.type(0)
        if bias.shape[0] > 0:
            total = bias[k]
        for r in range(TAPS):
            for s in range(TAPS):
                row, column = first_row + r, first_column + s
                if row >= 0 and row < height and column >= 0 and column < width:
                    for c in range(inputs):
                        value = x[((image + row) * width + column) * inputs + c]
                        total += value * packed[weight + ((r * TAPS + s) * inputs + c) * panel_width]
        y[element] = floor if floor > total else total


correlate_in_tiles = Kernel(
    cpu=_correlate_in_tiles_cpu,
    cuda=_correlate_in_tiles_cuda,
    tasks=lambda x, packed, bias, y, workspace, *_: workspace.shape[0],
    work=lambda x, packed, bias, y, workspace, *_: workspace.shape[0] * PARALLEL_WORK,
    blocks=lambda x, packed, bias, y, *_: -(-y.shape[0] // BLOCK),
    requires=register_tile_driver,
)

# ---------------------------------------------------------------- the gradient of the weights


def _gradient_in_tiles(filtering: Filtering) -> Any:
    """The gradient of the weights from the tiles [first, last), in the order of `weights.fold_gradient`."""
    side, taken = filtering.results.shape
    transform_tiles = _transform_tiles(filtering.inputs, taken, side)
    transform_results = _transform_tiles(filtering.results.T, side, side)
    turn_back = sandwich(filtering.weights.T)

    @cpu_function
    def add_tiles(x, dy, partial, own, numbers, first, last):
        """partial [3, 3, inputs, outputs]; own: the transformed gradient, tiles of x, tiles of dy, one tile."""
        lanes = vector_lanes(own)
        zero = x.dtype.type(0)
        height, width, inputs = numbers[HEIGHT], numbers[WIDTH], numbers[INPUTS]
        out_height, out_width, outputs = numbers[OUT_HEIGHT], numbers[OUT_WIDTH], numbers[OUTPUTS]
        panel_width, at_once = numbers[PANEL], numbers[AT_ONCE]
        shift = numbers[ROW_SHIFT], numbers[COLUMN_SHIFT]
        down, across = -(-out_height // side), -(-out_width // side)
        panels = -(-outputs // panel_width)
        area = inputs * outputs
        step, result_step = at_once * inputs + lanes, at_once * outputs + lanes
        tiles = advance(own, taken * taken * area)
        results = advance(tiles, taken * taken * step)
        edge = advance(results, taken * taken * result_step)
        for begin in range(first, last, at_once):
            count = min(at_once, last - begin)
            transform_tiles(x, begin, count, down, across, shift, height, width, inputs, tiles, step, edge, zero)
            transform_results(
                dy, begin, count, down, across, (0, 0), out_height, out_width, outputs, results, result_step, edge, zero
            )  # fmt: skip
            for place in range(taken * taken):
                for panel in range(panels):
                    left = panel * panel_width
                    multiply_panel(
                        inputs, 1, count, advance(tiles, place * step), 0, 1, inputs,
                        advance(results, place * result_step + left), 0, outputs,
                        null_pointer(own), -np.inf, advance(own, place * area + left), outputs,
                        0.0 if begin == first else 1.0, min(panel_width, outputs - left),
                    )  # fmt: skip
        for place in range(0, area, lanes):
            turn_back(advance(own, place), taken * area, area, advance(partial, place), TAPS * area, area)

    return add_tiles


_add_twos = _gradient_in_tiles(TWO)
_add_fours = _gradient_in_tiles(FOUR)


@cpu_kernel
def _weight_gradient_in_tiles_cpu(x, dy, partial, workspace, numbers, start, stop):
    """x, dy flat [N, H, W, C], [N, H', W', K]; partial flat [chunks, 3, 3, C, K]; workspace [tasks, elements].

    One task a range of chunks; each chunk sums its own tiles.
    """
    tasks, chunks = workspace.shape[0], numbers[CHUNKS]
    side = numbers[SIDE]
    tiles = numbers[BATCH] * -(-numbers[OUT_HEIGHT] // side) * -(-numbers[OUT_WIDTH] // side)
    own = pointer(workspace, start * workspace.shape[1])
    for chunk in range(chunks * start // tasks, chunks * stop // tasks):
        first, last = tiles * chunk // chunks, tiles * (chunk + 1) // chunks
        target = pointer(partial, chunk * TAPS * TAPS * numbers[INPUTS] * numbers[OUTPUTS])
        if side == 2:
            _add_twos(x, dy, target, own, numbers, first, last)
        else:
            _add_fours(x, dy, target, own, numbers, first, last)


@cuda_kernel
def _weight_gradient_in_tiles_cuda(x, dy, partial, workspace, numbers):
    """The definition over a chunk's images and pixels. One thread an element, neighbours on neighbouring outputs.

    For checks in the interpreter, as the twin above.
    """
    height, width, inputs = numbers[HEIGHT], numbers[WIDTH], numbers[INPUTS]
    out_height, out_width, outputs = numbers[OUT_HEIGHT], numbers[OUT_WIDTH], numbers[OUTPUTS]
    chunks, pixels = numbers[CHUNKS], numbers[BATCH] * out_height * out_width
    element = cuda.blockIdx.x * BLOCK + cuda.threadIdx.x
    if element < partial.shape[0]:
        k, c = element % outputs, element // outputs % inputs
        tap, chunk = element // (outputs * inputs) % (TAPS * TAPS), element // (outputs * inputs * TAPS * TAPS)
        total = x.dtype.type(0)
        for pixel in range(pixels * chunk // chunks, pixels * (chunk + 1) // chunks):
            row = pixel // out_width % out_height + numbers[ROW_SHIFT] + tap // TAPS
            column = pixel % out_width + numbers[COLUMN_SHIFT] + tap % TAPS
            if row >= 0 and row < height and column >= 0 and column < width:
                image = pixel // (out_width * out_height) * height
                total += x[((image + row) * width + column) * inputs + c] * dy[pixel * outputs + k]
        partial[element] = total


weight_gradient_in_tiles = Kernel(
    cpu=_weight_gradient_in_tiles_cpu,
    cuda=_weight_gradient_in_tiles_cuda,
    tasks=lambda x, dy, partial, workspace, numbers: workspace.shape[0],
    work=lambda x, dy, partial, workspace, numbers: workspace.shape[0] * PARALLEL_WORK,
    blocks=lambda x, dy, partial, *_: -(-partial.shape[0] // BLOCK),
    requires=register_tile_driver,
)
