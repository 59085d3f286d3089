"""Convolution of arrays: the three products behind every convolution and transposed convolution.

    forward           y  from x and the weight
    input_gradient    dx from dy and the weight; it is also the forward pass of a transposed convolution
    weight_gradient   dW from x and dy

All take contiguous channels-last arrays, x [N, H, W, C] and y [N, H', W', K], and the weight [K, C / groups, R, S] in
its public order. A convolution of one dimension has H = R = 1. `padding` is that in front of each axis; how far the
zeros reach behind follows from the sizes of the result.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbdl.ops.convolution.correlation import choose_kernel
from nbdl.ops.convolution.depthwise import depthwise
from nbdl.ops.convolution.depthwise_gradient import depthwise_weight_gradient
from nbdl.ops.convolution.geometry import Pair
from nbdl.ops.convolution.plan import merged, plan_correlation
from nbdl.ops.convolution.weight_gradient import more_chunks, plan_weight_gradient, weight_gradient_kernel
from nbdl.ops.convolution.weights import STREAMS, fold_gradient, pack_weights
from nbdl.ops.convolution.winograd import TAPS, correlate_in_tiles, plan_tiles, weight_gradient_in_tiles
from nbdl.ops.convolution.winograd import Plan as TilePlan
from nbdl.ops.matmul.linear import sum_columns
from nbdl.runtime import arrays, memory, threads
from nbdl.runtime.precision import tile_side


def forward(
    x: Any, weight: Any, bias: Any, size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    floor: float = -math.inf,
) -> Any:  # fmt: skip
    """y [N, *size, K] = max(floor, x * weight + bias); bias [K] or None, floor = 0 a fused ReLU. NaN passes."""
    return _correlate(False, x, weight, bias, size, weight.shape[0], stride, padding, dilation, groups, floor)


def input_gradient(
    dy: Any, weight: Any, size: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    bias: Any = None, floor: float = -math.inf,
) -> Any:  # fmt: skip
    """dx [N, *size, C] for dy [N, H', W', K]; with a bias [C], the forward pass of a transposed convolution."""
    inputs = weight.shape[1] * groups
    return _correlate(True, dy, weight, bias, size, inputs, stride, padding, dilation, groups, floor)


def weight_gradient(x: Any, dy: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Any:
    """dweight [K, C / groups, *kernel] for x [N, H, W, C] and dy [N, H', W', K]."""
    return parameter_gradients(x, dy, kernel, stride, padding, dilation, groups, False)[0]


def parameter_gradients(
    x: Any, dy: Any, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, groups: int, with_bias: bool
) -> tuple[Any, Any]:
    """The gradients of the weight and of a bias [K], or None: both in one pass over dy."""
    batch, height, width, inputs = x.shape
    outputs = dy.shape[3]
    shape = (outputs, inputs // groups, *kernel)
    if not x.size or not dy.size:
        dbias = sum_columns(dy.reshape(-1, outputs)) if with_bias else None
        return arrays.full(shape, 0, x.dtype), dbias
    on_cpu = isinstance(x, np.ndarray)
    if on_cpu and kernel == (3, 3) and stride == dilation == (1, 1) and groups == 1:
        tiles = plan_tiles(
            tile_side(), batch, (height, width), inputs, dy.shape[1:3], outputs, padding, x.dtype.itemsize,
            threads._threads, gradient=True,
        )  # fmt: skip
        if tiles is not None:
            return _gradients_in_tiles(x, dy, tiles, with_bias)
    source, result = merged((height, width), dy.shape[1:3], kernel, stride, padding)
    plan = plan_weight_gradient(
        batch, source, inputs, result, outputs, kernel, stride, padding, dilation, groups,
        x.dtype.itemsize, threads._threads,
    )  # fmt: skip
    if not on_cpu:
        plan = more_chunks(plan)
    chunks, _, taps, _, columns = plan.partial
    partial = memory.empty(plan.partial, x.dtype)
    sums = memory.empty((chunks if with_bias else 0, outputs), x.dtype)
    workspace = memory.empty(plan.workspace, x.dtype)
    if plan.is_depthwise:
        shown = partial.reshape(chunks, taps, columns)
        depthwise_weight_gradient(x.reshape(-1), dy.reshape(-1), shown, sums, workspace, plan.sizes)
    else:
        weight_gradient_kernel(x.reshape(-1), dy.reshape(-1), partial.reshape(-1), sums, workspace, plan.sizes)
    return _folded(partial, shape), arrays.sum_rows(sums) if with_bias else None


def _gradients_in_tiles(x: Any, dy: Any, tiles: TilePlan, with_bias: bool) -> tuple[Any, Any]:
    inputs, outputs = x.shape[3], dy.shape[3]
    partial = memory.empty((tiles.chunks, 1, TAPS * TAPS, inputs, outputs), x.dtype)
    workspace = memory.empty(tiles.workspace, x.dtype)
    weight_gradient_in_tiles(x.reshape(-1), dy.reshape(-1), partial.reshape(-1), workspace, tiles.numbers)
    dbias = sum_columns(dy.reshape(-1, outputs)) if with_bias else None
    return _folded(partial, (outputs, inputs, TAPS, TAPS)), dbias


def _folded(partial: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of the weights from the partial ones of the chunks of images, added in order."""
    dweight = memory.empty(shape, partial.dtype)
    _, groups, taps, inputs, _ = partial.shape
    workspace = memory.empty((groups * -(-inputs // STREAMS), STREAMS * STREAMS * taps), partial.dtype)
    fold_gradient(partial, dweight.reshape(*shape[:2], -1), workspace)
    return dweight


def _correlate(
    backward: bool, x: Any, weight: Any, bias: Any, size: Pair, outputs: int, stride: Pair, padding: Pair,
    dilation: Pair, groups: int, floor: float,
) -> Any:  # fmt: skip
    batch, height, width, inputs = x.shape
    y = memory.empty((batch, *size, outputs), x.dtype)
    if not y.size:
        return y
    source, result = merged((height, width), size, weight.shape[2:], stride, padding)
    plan = plan_correlation(
        backward, batch, source, inputs, result, outputs, weight.shape[2:], stride, padding, dilation, groups,
        x.dtype.itemsize, threads._threads,
    )  # fmt: skip
    packed = memory.empty(plan.packed, x.dtype)
    pack_weights(arrays.contiguous(weight).reshape(-1), packed, plan.sizes, plan.phases)
    none = np.empty(0, x.dtype) if bias is None else arrays.contiguous(bias)
    on_cpu = isinstance(x, np.ndarray)
    if on_cpu and weight.shape[2:] == (3, 3) and stride == dilation == (1, 1) and groups == 1:
        before = (2 - padding[0], 2 - padding[1]) if backward else padding
        tiles = plan_tiles(
            tile_side(), batch, source, inputs, result, outputs, before, x.dtype.itemsize, threads._threads
        )  # fmt: skip
        if tiles is not None:
            workspace = memory.empty(tiles.workspace, x.dtype)
            correlate_in_tiles(
                x.reshape(-1), packed, none, y.reshape(-1), workspace, tiles.numbers, x.dtype.type(floor)
            )  # fmt: skip
            return y
    workspace = memory.empty(plan.workspace, x.dtype)
    kernel = depthwise if plan.is_depthwise else choose_kernel(x, plan.sizes, plan.phases)
    kernel(
        x.reshape(-1), packed, none, y.reshape(-1), workspace, plan.sizes, plan.phases, x.dtype.type(floor)
    )  # fmt: skip
    return y
