"""Convolutions on CUDA as matrix products in tiles: 128 rows by 64 columns a block, 32 results a thread.

The matrix of patches (Chetlur et al. 2014, section 3) exists in no memory: a thread that fetches a piece of it walks
through taps and channels by adding, and puts zeros where a tap lies outside of the image. Forward, and for the gradient
of the input, rows are places of the result, columns output channels, and the inner dimension runs over taps and input
channels. For the gradient of the weights rows are taps and input channels, and the inner dimension runs over places.

Pieces go through shared memory as those of a matrix product do (runtime/gemm/tiles.py): while a block multiplies one,
the next is on its way to its registers.
"""

from __future__ import annotations

import numpy as np

from nbdl.runtime.cuda.vectors import is_aligned, load4, store4
from nbdl.runtime.gemm.tiles import (
    DEPTH,
    HALF,
    PIECES,
    SIDE,
    SIDE_THREADS,
    corner_of,
    fetch4,
    keep4,
    multiplier,
    store_part,
    store_some,
)
from nbdl.runtime.jit import cuda, cuda_device

CHANNELS = HALF
"""Columns of a tile: output channels."""

PART = (8, 4)
"""What a thread computes."""

WEIGHTS = (2, DEPTH, CHANNELS + 4)
"""Two pieces of the second operand, the inner dimension first."""

FETCHING = CHANNELS * DEPTH // 4
"""Threads that fetch of the second operand, four elements each."""

FEW = 8
"""Places or output channels up to which a tile would be too empty to pay."""

ENOUGH_BLOCKS = 264
"""Blocks that keep the 132 multiprocessors of an H100 busy, two on each."""

LEAST_PLACES = 256
"""Places that a chunk of a gradient has at least, if there are as many."""

_multiply = multiplier(PART[1])


def are_full(places: int, outputs: int) -> bool:
    """The rule that gives a convolution to tiles: there are places and output channels of a group for part of one.

    With fewer, a thread a result does less in vain.
    """
    return min(places, outputs) > FEW


def tiles_of(rows: int, columns: int) -> int:
    """The tiles that so many rows and columns of results need."""
    return -(-rows // SIDE) * -(-columns // CHANNELS)


def chunks_of(tiles: int, places: int) -> int:
    """Into how many chunks of places a gradient of so many tiles is cut: so that there is a block for everyone."""
    return max(1, min(-(-ENOUGH_BLOCKS // tiles), places // LEAST_PLACES))


# ---------------------------------------------------------------- patches


@cuda_device
def _walk(r, s, c, steps, across, inputs):
    """The tap and channel that lie `steps` elements behind (r, s, c) in a patch [taps, across, inputs]."""
    c += steps
    while c >= inputs:
        c -= inputs
        s += 1
        if s == across:
            s = 0
            r += 1
    return r, s, c


@cuda_device
def _tap(x, image, row, column, taps, r, c, height, width, channels):
    """One element of x [.., height, width, channels], zero outside of the image and from tap `taps` on."""
    if r < taps and row >= 0 and row < height and column >= 0 and column < width:
        return x[image + (row * width + column) * channels + c]
    return x.dtype.type(0)


@cuda_device
def fetch_patch(x, image, place, tap, taps, spreads, across, inputs, sizes, wide):
    """Four elements of the patch at a place (row, column), from the tap (r, s, c) on; zeros outside of image and patch.

    `image` is where in x the image and the group begin; sizes are (height, width, channels). `wide`: the four belong to
    one tap and may be fetched at once.
    """
    zero = x.dtype.type(0)
    r, s, c = tap
    height, width, channels = sizes
    row, column = place[0] + r * spreads[0], place[1] + s * spreads[1]
    if wide:
        if r < taps and row >= 0 and row < height and column >= 0 and column < width:
            return load4(x, image + (row * width + column) * channels + c)
        return zero, zero, zero, zero
    v0 = _tap(x, image, row, column, taps, r, c, height, width, channels)
    r, s, c = _walk(r, s, c, 1, across, inputs)
    row, column = place[0] + r * spreads[0], place[1] + s * spreads[1]
    v1 = _tap(x, image, row, column, taps, r, c, height, width, channels)
    r, s, c = _walk(r, s, c, 1, across, inputs)
    row, column = place[0] + r * spreads[0], place[1] + s * spreads[1]
    v2 = _tap(x, image, row, column, taps, r, c, height, width, channels)
    r, s, c = _walk(r, s, c, 1, across, inputs)
    row, column = place[0] + r * spreads[0], place[1] + s * spreads[1]
    v3 = _tap(x, image, row, column, taps, r, c, height, width, channels)
    return v0, v1, v2, v3


# ---------------------------------------------------------------- forward, and the gradient of the input


@cuda_device
def correlate_tile(x, packed, bias, y, floor, tile, batch, source, groups, inputs, result, outputs, panel, begin, axes):
    """One tile of y = max(floor, x * weight + bias).

    Args:
        tile: Which one: column tiles first, then those of the places, then groups.
        source, result: Height and width of x, of y.
        inputs, outputs: Channels of a group.
        panel: Columns of a panel of the packed weights [group, panel, r, s, c, column], a multiple of four.
        begin: Where the phase's weights begin.
        axes: For rows and for columns (first, step, count, source, stride, taps, spread), as in `geometry.Axis`.
    """
    down, over = axes
    first, step, count, source_row, stride, taps, spread = down
    first_over, step_over, count_over, source_column, stride_over, across, between = over
    inner_size, places = taps * across * inputs, batch * count * count_over
    left, top, group = corner_of(tile, places, outputs, SIDE, CHANNELS)
    a_pieces = cuda.shared.array(PIECES, x.dtype, 16)
    b_pieces = cuda.shared.array(WEIGHTS, x.dtype, 16)
    targets = cuda.shared.array(SIDE, np.int64)
    sums = cuda.local.array(PART, x.dtype)
    a_parts = cuda.local.array(8, x.dtype)
    b_parts = cuda.local.array(4, x.dtype)
    zero = x.dtype.type(0)
    for i in range(8):
        for j in range(4):
            sums[i, j] = zero
    thread = cuda.threadIdx.x
    row, column = thread // SIDE_THREADS * 4, thread % SIDE_THREADS * 4
    active = top + row < places and left + column < outputs

    # What the thread fetches of the patches: four neighbours of one place.
    lead, at = thread // 2, thread % 2 * 4
    n, i = (top + lead) // (count * count_over), (top + lead) // count_over % count
    j = (top + lead) % count_over
    if at == 0:
        row_from = (n * result[0] + first + i * step) * result[1]
        targets[lead] = ((row_from + first_over + j * step_over) * groups + group) * outputs
    channels = groups * inputs
    image = n * source[0] * source[1] * channels + group * inputs
    place, spreads = (source_row + i * stride, source_column + j * stride_over), (spread, between)
    sizes = (source[0], source[1], channels)
    own_taps = taps if top + lead < places and across > 0 else 0
    wide = inputs % 4 == 0 and is_aligned(x)
    tap = _walk(0, 0, at, 0, across, inputs)

    # What it fetches of the weights: four neighbouring columns of a panel, whose width is a multiple of four.
    b_at, b_column = thread // SIDE_THREADS, left + thread % SIDE_THREADS * 4
    b_end = inner_size if thread < FETCHING and b_column < outputs else 0
    panels = (outputs + panel - 1) // panel
    b_from = begin + ((group * panels + b_column // panel) * inner_size + b_at) * panel + b_column % panel

    half = 0
    for start in range(0, inner_size + DEPTH, DEPTH):
        # The first round only fetches, the last only multiplies.
        a0, a1, a2, a3 = fetch_patch(x, image, place, tap, own_taps, spreads, across, inputs, sizes, wide)
        tap = _walk(tap[0], tap[1], tap[2], DEPTH, across, inputs)
        b0, b1, b2, b3 = zero, zero, zero, zero
        if start + b_at < b_end:
            b0, b1, b2, b3 = load4(packed, b_from + start * panel)
        if start > 0 and active:
            _multiply(a_pieces, b_pieces, half, row, column, sums, a_parts, b_parts)
        half = 1 - half
        keep4(a_pieces, half, at, lead, True, a0, a1, a2, a3)
        if thread < FETCHING:
            store4(b_pieces, (half, b_at, b_column - left), b0, b1, b2, b3)
        cuda.syncthreads()

    if not active:
        return
    q = left + column
    wide = outputs % 4 == 0 and is_aligned(y)
    for part in range(8):
        r = part // 4 * HALF + row + part % 4
        left_over = outputs - q if top + r < places else 0
        v0, v1, v2, v3 = sums[0, 0], sums[0, 1], sums[0, 2], sums[0, 3]
        store_part(
            y, targets[r] + q, 1, left_over, wide, bias, group * outputs + q, 1, zero, floor, v0, v1, v2, v3
        )  # fmt: skip
        # Registers have no numbers that a loop could count: the next row of sums moves to where this one was.
        for i in range(7):
            for j in range(4):
                sums[i, j] = sums[i + 1, j]


# ---------------------------------------------------------------- the gradient of the weights


@cuda_device
def gradient_tile(x, dy, partial, sums, batch, source, groups, inputs, result, outputs, chunks, axes):
    """One block's tile of partial, flat [chunks, groups, R S, inputs, outputs]: a chunk's places summed.

    One block a tile: column tiles first, then those of the rows, then groups, then chunks.

    Args:
        sums: [chunks, K], where the blocks of the first rows add up dy, or [0, K].
        source, result: Height and width of x, of dy.
        inputs, outputs: Channels of a group.
        axes: For rows and for columns (taps, stride, padding, dilation).
    """
    taps, stride, padding, dilation = axes[0]
    across, stride_over, padding_over, dilation_over = axes[1]
    rows, places = taps * across * inputs, batch * result[0] * result[1]
    left, top, product = corner_of(cuda.blockIdx.x, rows, outputs, SIDE, CHANNELS)
    chunk, group = product // groups, product % groups
    first, last = places * chunk // chunks, places * (chunk + 1) // chunks
    a_pieces = cuda.shared.array(PIECES, x.dtype, 16)
    b_pieces = cuda.shared.array(WEIGHTS, x.dtype, 16)
    parts = cuda.local.array(PART, x.dtype)
    a_parts = cuda.local.array(8, x.dtype)
    b_parts = cuda.local.array(4, x.dtype)
    zero = x.dtype.type(0)
    for i in range(8):
        for j in range(4):
            parts[i, j] = zero
    thread = cuda.threadIdx.x
    row, column = thread // SIDE_THREADS * 4, thread % SIDE_THREADS * 4
    active = top + row < rows and left + column < outputs
    counting = sums.shape[0] > 0 and top == 0 and thread < CHANNELS
    total = zero

    # What the thread fetches of the patches: four neighbouring rows, at one place after the other.
    lead, at = top + thread % 32 * 4, thread // 32
    tap = (lead // inputs // across, lead // inputs % across, lead % inputs)
    n, i = (first + at) // (result[0] * result[1]), (first + at) // result[1] % result[0]
    j = (first + at) % result[1]
    channels = groups * inputs
    image_size = source[0] * source[1] * channels
    spreads, sizes = (dilation, dilation_over), (source[0], source[1], channels)
    wide = inputs % 4 == 0 and is_aligned(x)
    # And of dy: four neighbouring columns.
    b_at, b_column = thread // SIDE_THREADS, left + thread % SIDE_THREADS * 4
    b_left = outputs - b_column if thread < FETCHING else 0
    b_wide = outputs % 4 == 0 and is_aligned(dy)

    half = 0
    for start in range(first, last + DEPTH, DEPTH):
        # The first round only fetches, the last only multiplies.
        own_taps = taps if start + at < last else 0
        place = (i * stride - padding, j * stride_over - padding_over)
        a0, a1, a2, a3 = fetch_patch(
            x, n * image_size + group * inputs, place, tap, own_taps, spreads, across, inputs, sizes, wide
        )  # fmt: skip
        n, i, j = _walk(n, i, j, DEPTH, result[0], result[1])
        b_from = ((start + b_at) * groups + group) * outputs + b_column
        b0, b1, b2, b3 = fetch4(dy, b_from, 1, b_left if start + b_at < last else 0, b_wide)
        if start > first and active:
            _multiply(a_pieces, b_pieces, half, row, column, parts, a_parts, b_parts)
        if start > first and counting:
            for inner in range(DEPTH):
                total += b_pieces[half, inner, thread]
        half = 1 - half
        keep4(a_pieces, half, at, lead - top, False, a0, a1, a2, a3)
        if thread < FETCHING:
            store4(b_pieces, (half, b_at, b_column - left), b0, b1, b2, b3)
        cuda.syncthreads()

    if counting and left + thread < outputs:
        sums[chunk, group * outputs + left + thread] = total
    if not active:
        return
    q = left + column
    wide = outputs % 4 == 0 and is_aligned(partial)
    for part in range(8):
        r = top + part // 4 * HALF + row + part % 4
        target = ((chunk * groups + group) * rows + r) * outputs + q
        left_over = outputs - q if r < rows else 0
        store_some(partial, target, 1, left_over, wide, parts[0, 0], parts[0, 1], parts[0, 2], parts[0, 3])
        for i in range(7):
            for j in range(4):
                parts[i, j] = parts[i + 1, j]
