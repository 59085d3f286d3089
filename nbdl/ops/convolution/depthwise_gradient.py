"""The gradient of the weights of a depthwise convolution: for each tap, products of the input and the gradient, summed.

Vectors run along the channels; the sums of up to 3 x 3 taps stay in registers while the pixels go by.
"""

from __future__ import annotations

from nbdl.ops.convolution.depthwise import taps_inside
from nbdl.ops.convolution.weight_gradient import (
    ACROSS,
    BATCH,
    DILATION,
    DILATION_ACROSS,
    HEIGHT,
    OUT_HEIGHT,
    OUT_WIDTH,
    OUTPUTS,
    PADDING,
    PADDING_ACROSS,
    STRIDE,
    STRIDE_ACROSS,
    TAPS,
    WIDTH,
    add_rows,
)
from nbdl.ops.convolution.window import TAPS as WINDOW
from nbdl.ops.convolution.window import correlate_window
from nbdl.runtime.jit import BLOCK, Kernel, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.simd import pointer


@cpu_kernel
def _depthwise_weight_gradient_cpu(x, dy, partial, sums, workspace, sizes, start, stop):
    """x, dy flat [N, H, W, C], [N, H', W', C]; partial [chunks, R S, C], summed in order by the caller.

    sums [chunks, C] for the sums of dy, the gradient of a bias, or [0, C]. workspace [tasks, 0]. One task a range of
    chunks, each a fixed range of result rows of all images, which is cut into rectangles whose pixels have the same
    taps inside of the image.
    """
    height, width, channels = sizes[HEIGHT], sizes[WIDTH], sizes[OUTPUTS]
    out_height, out_width = sizes[OUT_HEIGHT], sizes[OUT_WIDTH]
    stride, pixel_step = sizes[STRIDE], sizes[STRIDE_ACROSS]
    spread, between, across = sizes[DILATION], sizes[DILATION_ACROSS], sizes[ACROSS]
    chunks, tasks = partial.shape[0], workspace.shape[0]
    lines = sizes[BATCH] * out_height
    for chunk in range(chunks * start // tasks, chunks * stop // tasks):
        for tap in range(partial.shape[1]):
            for c in range(channels):
                partial[chunk, tap, c] = 0
        if sums.shape[0] > 0:
            for c in range(channels):
                sums[chunk, c] = 0
        line, last_line = lines * chunk // chunks, lines * (chunk + 1) // chunks
        while line < last_line:
            image, i = line // out_height, line % out_height
            bottom = min(out_height, i + last_line - line)
            line += bottom - i
            if sums.shape[0] > 0:
                rows = pointer(dy, (image * out_height + i) * out_width * channels)
                add_rows(rows, (bottom - i) * out_width, channels, channels, pointer(sums, chunk * channels))
            while i < bottom:
                low, high, end = taps_inside(i, bottom, -sizes[PADDING], stride, sizes[TAPS], spread, height)
                j = 0
                while j < out_width:
                    left, right, side = taps_inside(
                        j, out_width, -sizes[PADDING_ACROSS], pixel_step, across, between, width
                    )
                    for r in range(low, high, WINDOW):
                        for s in range(left, right, WINDOW):
                            row = image * height - sizes[PADDING] + i * stride + r * spread
                            column = j * pixel_step - sizes[PADDING_ACROSS] + s * between
                            correlate_window(
                                end - i, side - j, channels, min(WINDOW, high - r), min(WINDOW, right - s),
                                stride * width * channels, pixel_step * channels, spread * width * channels,
                                between * channels, across * channels, out_width * channels, channels,
                                pointer(x, (row * width + column) * channels),
                                pointer(partial, ((chunk * partial.shape[1]) + r * across + s) * channels),
                                pointer(dy, ((image * out_height + i) * out_width + j) * channels),
                            )  # fmt: skip
                    j = side
                i = end


@cuda_kernel
def _depthwise_weight_gradient_cuda(x, dy, partial, sums, workspace, sizes):
    """As the CPU twin. One block a tap of a chunk; a thread owns the channels c = threadIdx.x, + BLOCK, ..."""
    height, width, channels = sizes[HEIGHT], sizes[WIDTH], sizes[OUTPUTS]
    out_height, out_width = sizes[OUT_HEIGHT], sizes[OUT_WIDTH]
    chunks, taps = partial.shape[0], partial.shape[1]
    lines = sizes[BATCH] * out_height
    chunk, tap = cuda.blockIdx.x // taps, cuda.blockIdx.x % taps
    r, s = tap // sizes[ACROSS], tap % sizes[ACROSS]
    for c in range(cuda.threadIdx.x, channels, BLOCK):
        total = x.dtype.type(0)
        for line in range(lines * chunk // chunks, lines * (chunk + 1) // chunks):
            row = line % out_height * sizes[STRIDE] - sizes[PADDING] + r * sizes[DILATION]
            if row >= 0 and row < height:
                for j in range(out_width):
                    column = j * sizes[STRIDE_ACROSS] - sizes[PADDING_ACROSS] + s * sizes[DILATION_ACROSS]
                    if column >= 0 and column < width:
                        source = (line // out_height * height + row) * width + column
                        total += x[source * channels + c] * dy[(line * out_width + j) * channels + c]
        partial[chunk, tap, c] = total
    if tap == 0 and sums.shape[0] > 0:
        for c in range(cuda.threadIdx.x, channels, BLOCK):
            total = x.dtype.type(0)
            for pixel in range(lines * chunk // chunks * out_width, lines * (chunk + 1) // chunks * out_width):
                total += dy[pixel * channels + c]
            sums[chunk, c] = total


depthwise_weight_gradient = Kernel(
    cpu=_depthwise_weight_gradient_cpu,
    cuda=_depthwise_weight_gradient_cuda,
    tasks=lambda x, dy, partial, sums, workspace, sizes: workspace.shape[0],
    work=lambda x, dy, partial, sums, workspace, sizes: 4 * dy.shape[0],
    blocks=lambda x, dy, partial, *_: partial.shape[0] * partial.shape[1],
)
