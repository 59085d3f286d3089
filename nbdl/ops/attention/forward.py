r"""The forward pass of attention: scores, probabilities and their mean of the values, a block of keys at a time.

For a query $i$, the largest score so far is $m$, the sum of exponentials relative to it $l$ and the sum of values $o$.
A block of scores $s_j$ with the maximum $m'$ turns them into

$$
m \leftarrow \max(m, m'), \qquad l \leftarrow e^{m_{old} - m}\, l + \sum_j e^{s_j - m}, \qquad
o \leftarrow e^{m_{old} - m}\, o + \sum_j e^{s_j - m} v_j,
$$

and in the end $y_i = o / l$. Saved is $m + \log l$, from which the backward pass finds any probability again; it is
infinity for a query that may look at no key.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops.attention.rows import (
    ROW,
    add_bias,
    drop,
    exponentials,
    fill_row,
    forbid,
    kept,
    largest,
    masked,
    rounded_up,
    scale_row,
    strided_dot,
)
from nbdl.ops.reduction.fold import maximum
from nbdl.runtime.cuda.primitives import WARP, warp_max, warp_sum
from nbdl.runtime.gemm import multiply_panel, multiply_row, pack_columns, pack_rows, register_tile_driver
from nbdl.runtime.jit import Kernel, cpu_function, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.simd import advance, null_pointer, pointer, tile_rows, vector_lanes
from nbdl.runtime.vecmath import exp, log

# ---------------------------------------------------------------- pieces


@cpu_function
def multiply_scores(rows, keys, first_key, depth, x, x_row, x_inner, panels, scores, scores_row):
    """scores [rows, keys] = x [rows, depth] and packed panels of keys; query 0 looks at `first_key` of them.

    Each further query looks at one more: panels leave out the rows that do not look at them.
    """
    width = 2 * vector_lanes(x)
    for left in range(0, keys, width):
        top = max(0, left + 1 - first_key)
        multiply_panel(
            rows - top, 1, depth, advance(x, top * x_row), 0, x_row, x_inner, advance(panels, left * depth), 0, width,
            null_pointer(x), -np.inf, advance(scores, top * scores_row + left), scores_row, 0.0,
            min(width, keys - left),
        )  # fmt: skip


@cpu_function
def multiply_values(rows, keys, first_key, scores, scores_row, values, values_row, columns, y, y_row, beta):
    """y [rows, columns] = beta y + scores [rows, keys] values; query 0 looks at `first_key` keys, each further at more.

    A tile of rows ends with the last key that one of them looks at.
    """
    width, most = 2 * vector_lanes(scores), tile_rows(scores)
    tiles = (rows + most - 1) // most
    row = 0
    for tile in range(tiles):
        height = (rows - row + tiles - tile - 1) // (tiles - tile)
        depth = min(keys, first_key + row + height - 1)
        if depth > 0:
            for left in range(0, columns, width):
                multiply_panel(
                    height, 1, depth, advance(scores, row * scores_row), 0, scores_row, 1,
                    advance(values, left), 0, values_row,
                    null_pointer(y), -np.inf, advance(y, row * y_row + left), y_row, beta, min(width, columns - left),
                )  # fmt: skip
        row += height


@cpu_function
def normalise(row, size, scale, before, bias, allowed, at, mask_step, zero, one, lowest):
    """row [size]: scores -> exponentials relative to the largest, `before` included. Returns that and their sum."""
    if bias.shape[0] > 0:
        add_bias(row, size, scale, pointer(bias, at), mask_step)
        scale = one
    elif allowed.shape[0] > 0:
        forbid(row, size, scale, pointer(allowed, at), mask_step, zero, lowest)
        scale = one
    elif not scale > zero:
        scale_row(row, size, scale)
        scale = one
    end = rounded_up(size, ROW)
    fill_row(row, size, end, lowest)
    highest = maximum(largest(row, end, scale, lowest), before)
    return highest, exponentials(row, end, scale, zero if highest == lowest else highest, zero)


# ---------------------------------------------------------------- kernels


@cpu_kernel
def _attention_cpu(
    q, k, v, bias, allowed, random, threshold, keep_scale, scale, places, sizes, workspace, y, logs, start, stop
):
    """q, k, v, bias, allowed, y: flat arrays; places [P, 5] of q, k, v, the mask and y; sizes as `plan.Sizes`.

    logs [P * L]. workspace [tasks, elements]. One task a range of blocks of queries; no two tasks write one row.
    """
    problems, group, queries, keys, features, columns = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    q_row, q_inner, k_row, k_inner, v_row, v_inner = sizes[6], sizes[7], sizes[8], sizes[9], sizes[10], sizes[11]
    y_row, mask_row, mask_step, causal = sizes[12], sizes[13], sizes[14], sizes[15] != 0
    block_rows, block_keys, copy_v, v_width = sizes[16], sizes[17], sizes[18] != 0, sizes[19]
    zero, one, lowest = y.dtype.type(0), y.dtype.type(1), y.dtype.type(-np.inf)
    tasks = workspace.shape[0]
    blocks = -(-queries // block_rows)
    scores = pointer(workspace, start * workspace.shape[1])
    width, most = 2 * vector_lanes(scores), tile_rows(scores)
    scores_row = rounded_up(block_keys, ROW) + width
    maxima = advance(scores, block_rows * scores_row)
    sums = advance(maxima, block_rows)
    packed_keys = advance(sums, block_rows)
    packed_values = advance(packed_keys, rounded_up(keys, width) * features)
    packed = -1
    for unit in range(problems * blocks * start // tasks, problems * blocks * stop // tasks):
        problem, turn = unit // blocks, unit % blocks
        # The first and the last block by turns: of a triangle, any range of units is a fair share.
        top = (turn // 2 if turn % 2 == 0 else blocks - 1 - turn // 2) * block_rows
        first_row = problem * queries + top
        rows = min(block_rows, queries - top)
        x = pointer(q, places[problem, 0] + top * q_row)
        item_k, item_v = pointer(k, places[problem, 1]), pointer(v, places[problem, 2])
        result = pointer(y, places[problem, 4] + top * y_row)
        if queries == 1:
            many = 1 if causal else keys
            multiply_row(
                many, features, x, q_inner, item_k, k_inner, k_row, x, 0, False, lowest, scores, zero, packed_keys, zero
            )
            maxima[0], sums[0] = normalise(
                scores, many, scale, lowest, bias, allowed, places[problem, 3], mask_step, zero, one, lowest
            )
            if threshold > 0:
                drop(scores, many, problem * ((keys + 3) // 4), random, threshold, keep_scale, zero)
            multiply_row(
                columns, many, scores, 1, item_v, v_row, v_inner, x, 0, False, lowest, result, zero, packed_keys, zero
            )
        else:
            if problem // group != packed:
                packed = problem // group
                pack_columns(item_k, k_inner, k_row, features, keys, width, packed_keys)
                if copy_v:
                    pack_rows(item_v, v_row, v_inner, keys, columns, packed_values, v_width, 1)
            values, values_row = (packed_values, v_width) if copy_v else (item_v, v_row)
            visible = min(keys, top + rows) if causal else keys
            for left in range(0, visible, block_keys):
                many = min(block_keys, visible - left)
                first_key = top + 1 - left if causal else many
                multiply_scores(
                    rows, many, first_key, features, x, q_row, q_inner, advance(packed_keys, left * features),
                    scores, scores_row,
                )  # fmt: skip
                for i in range(rows):
                    row = advance(scores, i * scores_row)
                    looked_at = max(0, min(many, first_key + i))
                    before = maxima[i] if left > 0 else lowest
                    highest, total = normalise(
                        row, looked_at, scale, before, bias, allowed,
                        places[problem, 3] + (top + i) * mask_row + left * mask_step, mask_step, zero, one, lowest,
                    )  # fmt: skip
                    fill_row(row, looked_at, min(many, looked_at + most), zero)
                    if left > 0:
                        factor = exp(before - (zero if highest == lowest else highest))
                        total += factor * sums[i]
                        if factor != one:
                            scale_row(advance(result, i * y_row), columns, factor)
                    maxima[i], sums[i] = highest, total
                    if threshold > 0:
                        words = (first_row + i) * ((keys + 3) // 4) + left // 4
                        drop(row, looked_at, words, random, threshold, keep_scale, zero)
                multiply_values(
                    rows, many, first_key, scores, scores_row, advance(values, left * values_row), values_row,
                    columns, result, y_row, zero if left == 0 else one,
                )  # fmt: skip
        for i in range(rows):
            highest, total = maxima[i], sums[i]
            scale_row(advance(result, i * y_row), columns, zero if total == zero else one / total)
            logs[first_row + i] = -lowest if total == zero else highest + log(total)


@cuda_kernel
def _attention_cuda(
    q, k, v, bias, allowed, random, threshold, keep_scale, scale, places, sizes, workspace, y, logs
):  # fmt: skip
    """As the CPU twin, without its blocks and packing. One warp a query: a lane a key, then a lane a column of y."""
    queries, keys, features, columns = sizes[2], sizes[3], sizes[4], sizes[5]
    q_row, q_inner, k_row, k_inner, v_row, v_inner = sizes[6], sizes[7], sizes[8], sizes[9], sizes[10], sizes[11]
    y_row, mask_row, mask_step, causal = sizes[12], sizes[13], sizes[14], sizes[15] != 0
    weights = cuda.shared.array(WARP, y.dtype)
    zero, lowest = y.dtype.type(0), y.dtype.type(-np.inf)
    problem, i = cuda.blockIdx.x // queries, cuda.blockIdx.x % queries
    lane = cuda.threadIdx.x
    x = places[problem, 0] + i * q_row
    result = places[problem, 4] + i * y_row
    visible = min(keys, i + 1) if causal else keys
    highest, total = lowest, zero
    for first in range(0, visible, WARP):
        j = first + lane
        score = lowest
        if j < visible:
            score = scale * strided_dot(q, x, q_inner, k, places[problem, 1] + j * k_row, k_inner, features)
            score = masked(score, bias, allowed, places[problem, 3] + i * mask_row + j * mask_step)
        before = highest
        highest = warp_max(score)
        if before > highest or before != before:
            highest = before
        shift = zero if highest == lowest else highest
        e = exp(score - shift)
        factor = exp(before - shift)
        total = factor * total + warp_sum(e)
        if threshold > 0:
            e *= kept(problem * queries + i, j, keys, random, threshold, keep_scale)
        weights[lane] = e
        cuda.syncwarp()
        for d in range(lane, columns, WARP):
            value = zero
            for t in range(min(WARP, visible - first)):
                value += weights[t] * v[places[problem, 2] + (first + t) * v_row + d * v_inner]
            y[result + d] = value if first == 0 else factor * y[result + d] + value
        cuda.syncwarp()
    for d in range(lane, columns, WARP):
        y[result + d] = zero if total == zero else y[result + d] / total
    if lane == 0:
        logs[cuda.blockIdx.x] = -lowest if total == zero else highest + log(total)


def attention_work(q: Any, k: Any, v: Any, *others: Any) -> int:
    """Scalar operations, about: enough for threads or not."""
    problems, _, queries, keys, features, columns = others[7][:6].tolist()
    return int(problems * queries * keys * (features + columns))


attention = Kernel(
    cpu=_attention_cpu,
    cuda=_attention_cuda,
    tasks=lambda *arguments: arguments[11].shape[0],
    work=attention_work,
    blocks=lambda *arguments: arguments[13].shape[0],
    threads=WARP,
    requires=register_tile_driver,
)
