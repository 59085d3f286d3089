"""Bugs in convolution."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, twins

CONVOLUTION = (
    *bugs(
        "ops/convolution/geometry.py",
        ("sign", "dilation // common, last, -period))", "dilation // common, last, period))", gradients("conv2d]")),
        ("index", "last = used[0] + (number - 1) * period", "last = used[0] + number - 1", gradients("conv1d]")),
        ("bound", "(total // 2, total - total // 2)", "(total - total // 2, total // 2)", forward("conv1d]")),
    ),
    *bugs(
        "ops/convolution/weights.py",
        ("index", "target[j] = source[j * output_step]", "target[j] = source[j]", forward("conv2d]")),
        (
            "reduction",
            "target[k] += source[chunk * chunk_step + k]",
            "target[k] = source[chunk * chunk_step + k]",
            gradients("conv2d]"),
        ),
    ),
    *bugs(
        "ops/convolution/correlation.py",
        (
            "index",
            "                        row = phases[phase, SOURCE] + i * phases[phase, STRIDE] - low\n",
            "                        row = phases[phase, SOURCE] + i - low\n",
            forward("conv2d]"),
        ),
        (
            "bound",
            "        inside = advance(line, left * inputs)",
            "        inside = advance(line, left)",
            forward("conv2d]"),
        ),
        ("missing term", "0.0 if r == 0 else 1.0, columns,", "0.0, columns,", forward("conv2d]")),
        (
            "wrong axis",
            "top, bottom = _inside(row, spread, phases[phase, TAPS], height)",
            "top, bottom = _inside(row, spread, phases[phase, TAPS], width)",
            forward("conv2d:many-images"),
        ),
        (
            "wrong axis",
            "out_row % sizes[ROW_PHASES] * sizes[COLUMN_PHASES]",
            "out_row % sizes[ROW_PHASES] * sizes[ROW_PHASES]",
            twins("conv2d"),
        ),
    ),
    *bugs(
        "ops/convolution/weight_gradient.py",
        (
            "missing term",
            "null_pointer(c), -np.inf, c, outputs, beta if i == 0 else 1.0, columns,",
            "null_pointer(c), -np.inf, c, outputs, beta, columns,",
            gradients("conv2d:many-images"),
        ),
        (
            "missing term",
            "(first[j] + second[j]) + (third[j] + fourth[j])",
            "(first[j] + second[j]) + third[j]",
            gradients("conv2d]"),
        ),
        (
            "sign",
            "        row = top * stride - sizes[PADDING] + r * sizes[DILATION]\n",
            "        row = top * stride + sizes[PADDING] + r * sizes[DILATION]\n",
            gradients("conv2d]"),
        ),
        (
            "wrong axis",
            "columns = (sizes[ACROSS], sizes[STRIDE_ACROSS], sizes[PADDING_ACROSS], sizes[DILATION_ACROSS])",
            "columns = (sizes[ACROSS], sizes[STRIDE_ACROSS], sizes[PADDING], sizes[DILATION_ACROSS])",
            twins("conv2d"),
        ),
    ),
    *bugs(
        "ops/convolution/tiles.py",
        (
            "index",
            "tap = _walk(tap[0], tap[1], tap[2], DEPTH, across, inputs)",
            "tap = _walk(tap[0], tap[1], tap[2], DEPTH - 1, across, inputs)",
            "tests/test_cuda_convolution.py -k order_of_warps or first",
        ),
        (
            "bound",
            "own_taps = taps if start + at < last else 0",
            "own_taps = taps",
            "tests/test_cuda_convolution.py -k groups",
        ),
        (
            "missing barrier",
            "b0, b1, b2, b3)\n        cuda.syncthreads()\n\n    if not active:",
            "b0, b1, b2, b3)\n\n    if not active:",
            "tests/test_cuda_convolution.py -k order_of_warps",
        ),
    ),
    *bugs(
        "ops/convolution/depthwise.py",
        (
            "bound",
            "(size - 1 - source - (taps - 1) * spread) // stride + 1",
            "(size - 1 - source - (taps - 1) * spread) // stride + 2",
            forward("conv2d:depthwise"),
        ),
        (
            "index",
            "phases[phase, OFFSET] + (low * across + left) * channels",
            "phases[phase, OFFSET] + (low + left * across) * channels",
            forward("conv2d:depthwise"),
        ),
    ),
    *bugs(
        "ops/convolution/window.py",
        (
            "wrong axis",
            "offset = builder.add(rows[r], builder.mul(x_across, _integer(s)))",
            "offset = builder.add(rows[r], builder.mul(x_pixel, _integer(s)))",
            gradients("conv2d:depthwise"),
        ),
    ),
    *bugs(
        "ops/convolution/depthwise_gradient.py",
        ("index", "min(WINDOW, right - s)", "min(WINDOW, right)", gradients("conv2d:depthwise")),
    ),
)
