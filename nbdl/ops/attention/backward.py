r"""The backward pass of attention: probabilities are found again from the scores and the saved logarithm.

With the saved $\lambda_i = \log \sum_j e^{s_{ij}}$, what dropout multiplies with, $m_{ij}$, and
$\delta_i = dy_i \cdot y_i$, which is $\sum_j p_{ij}\, dp_{ij}$:

$$
p_{ij} = e^{s_{ij} - \lambda_i}, \qquad dv_j = \sum_i m_{ij}\, p_{ij}\, dy_i, \qquad dp_{ij} = m_{ij}\, dy_i \cdot v_j,
$$
$$
ds_{ij} = p_{ij} (dp_{ij} - \delta_i), \qquad
dq_i = \alpha \sum_j ds_{ij}\, k_j, \qquad dk_j = \alpha \sum_i ds_{ij}\, q_i.
$$

A block of keys stays near while all queries that look at it go by. Its dk and dv are sums of its own; dq is added to,
block after block, by one task for each item, or, where there are few items, in several parts that are added at last.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops.attention.forward import attention_work, multiply_scores, multiply_values
from nbdl.ops.attention.rows import (
    ROW,
    add_bias,
    dot,
    drop,
    fill_row,
    forbid,
    kept,
    masked,
    rounded_up,
    scale_row,
    score_gradients,
    strided_dot,
)
from nbdl.runtime.cuda.primitives import WARP
from nbdl.runtime.gemm import multiply_panel, pack_columns, pack_rows, register_tile_driver
from nbdl.runtime.jit import Kernel, cpu_function, cpu_kernel, cuda, cuda_kernel
from nbdl.runtime.simd import advance, null_pointer, pointer, tile_rows, vector_lanes
from nbdl.runtime.vecmath import exp

# ---------------------------------------------------------------- pieces


@cpu_function
def multiply_keys(rows, keys, first_key, scores, scores_row, x, x_row, columns, y, y_row):
    """y [keys, columns] += scores [rows, keys] transposed times x [rows, columns], for keys that are looked at.

    Query 0 looks at `first_key` keys, each further at one more.
    """
    width, most = 2 * vector_lanes(scores), tile_rows(scores)
    tiles = (keys + most - 1) // most
    key = 0
    for tile in range(tiles):
        height = (keys - key + tiles - tile - 1) // (tiles - tile)
        top = max(0, key + 1 - first_key)
        for left in range(0, columns, width):
            multiply_panel(
                height, 1, rows - top, advance(scores, top * scores_row + key), 0, 1, scores_row,
                advance(x, top * x_row + left), 0, x_row,
                null_pointer(y), -np.inf, advance(y, key * y_row + left), y_row, 1.0, min(width, columns - left),
            )  # fmt: skip
        key += height


@cpu_function
def dot_rows(rows, columns, a, a_row, a_inner, b, b_row, products, zero):
    """products [rows] = the products of the rows of a, of any strides, and of b."""
    for i in range(rows):
        x, y = advance(a, i * a_row), advance(b, i * b_row)
        if a_inner == 1:
            products[i] = dot(x, y, columns, zero)
        else:
            total = zero
            for j in range(columns):
                total += x[j * a_inner] * y[j]
            products[i] = total


# ---------------------------------------------------------------- kernels


@cpu_kernel
def _attention_backward_cpu(
    q, k, v, bias, allowed, random, threshold, keep_scale, scale, places, sizes, workspace, y, logs, dy,
    dq, dk, dv, dbias, start, stop,
):  # fmt: skip
    """As `_attention_cpu`; dy, dq [splits, ...], dk, dv flat, their places in [P, 5: 9]; dbias [P * L * S] or empty.

    workspace [tasks, elements]. One task a range of units, a unit some key blocks of an item; no two write one element.
    """
    problems, group, queries, keys, features, columns = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    q_row, q_inner, k_row, k_inner, v_row, v_inner = sizes[6], sizes[7], sizes[8], sizes[9], sizes[10], sizes[11]
    y_row, mask_row, mask_step, causal = sizes[12], sizes[13], sizes[14], sizes[15] != 0
    block_rows, block_keys, copy_q, copy_k, copy_dy = sizes[16], sizes[17], sizes[18], sizes[19], sizes[20]
    dy_row, dy_inner, dq_row, dk_row, dv_row = sizes[21], sizes[22], sizes[23], sizes[24], sizes[25]
    splits, dq_size, wants_dbias = sizes[26], sizes[27], dbias.shape[0] > 0
    zero, one, lowest = y.dtype.type(0), y.dtype.type(1), y.dtype.type(-np.inf)
    tasks = workspace.shape[0]
    scores = pointer(workspace, start * workspace.shape[1])
    width, lanes, most = 2 * vector_lanes(scores), vector_lanes(scores), tile_rows(scores)
    scores_row = rounded_up(block_keys, ROW) + width
    q_width, v_width = rounded_up(features, lanes), rounded_up(columns, lanes)
    dscores = advance(scores, block_rows * scores_row)
    keys_panels = advance(dscores, block_rows * scores_row)
    values_panels = advance(keys_panels, rounded_up(block_keys, width) * features)
    packed_k = advance(values_panels, rounded_up(block_keys, width) * columns)
    packed_q = advance(packed_k, block_keys * q_width)
    packed_dy = advance(packed_q, block_rows * q_width)
    deltas = advance(packed_dy, block_rows * v_width)
    key_blocks = -(-keys // block_keys)
    units = problems // group * splits
    for unit in range(units * start // tasks, units * stop // tasks):
        first_problem, split = unit // splits * group, unit % splits
        for head in range(group):
            problem = first_problem + head
            dot_rows(
                queries, columns, pointer(dy, places[problem, 5]), dy_row, dy_inner,
                pointer(y, places[problem, 4]), y_row, advance(deltas, head * queries), zero,
            )  # fmt: skip
            for i in range(queries):
                fill_row(pointer(dq, split * dq_size + places[problem, 6] + i * dq_row), 0, features, zero)
        for turn in range((key_blocks + splits - 1) // splits):
            # Forwards and backwards by turns: of a triangle, every split is a fair share.
            block = turn * splits + (split if turn % 2 == 0 else splits - 1 - split)
            left = block * block_keys
            many = min(block_keys, keys - left)
            if many <= 0:
                continue
            block_k = pointer(k, places[first_problem, 1] + left * k_row)
            block_v = pointer(v, places[first_problem, 2] + left * v_row)
            block_dk = pointer(dk, places[first_problem, 7] + left * dk_row)
            block_dv = pointer(dv, places[first_problem, 8] + left * dv_row)
            pack_columns(block_k, k_inner, k_row, features, many, width, keys_panels)
            pack_columns(block_v, v_inner, v_row, columns, many, width, values_panels)
            b_k, b_k_row = block_k, k_row
            if copy_k:
                pack_rows(block_k, k_row, k_inner, many, features, packed_k, q_width, 1)
                b_k, b_k_row = packed_k, q_width
            for j in range(many):
                fill_row(advance(block_dk, j * dk_row), 0, features, zero)
                fill_row(advance(block_dv, j * dv_row), 0, columns, zero)
            for head in range(group):
                problem = first_problem + head
                for top in range(min(left, queries) if causal else 0, queries, block_rows):
                    rows = min(block_rows, queries - top)
                    first_key = top + 1 - left if causal else many
                    seen = min(many, first_key + rows - 1)
                    x, x_row, x_inner = pointer(q, places[problem, 0] + top * q_row), q_row, q_inner
                    if copy_q:
                        pack_rows(x, x_row, x_inner, rows, features, packed_q, q_width, 1)
                        x, x_row, x_inner = packed_q, q_width, 1
                    g, g_row, g_inner = pointer(dy, places[problem, 5] + top * dy_row), dy_row, dy_inner
                    if copy_dy:
                        pack_rows(g, g_row, g_inner, rows, columns, packed_dy, v_width, 1)
                        g, g_row, g_inner = packed_dy, v_width, 1
                    multiply_scores(rows, seen, first_key, features, x, x_row, x_inner, keys_panels, scores, scores_row)
                    multiply_scores(
                        rows, seen, first_key, columns, g, g_row, g_inner, values_panels, dscores, scores_row
                    )
                    for i in range(rows):
                        row, drow = advance(scores, i * scores_row), advance(dscores, i * scores_row)
                        looked_at = min(seen, first_key + i)
                        end = rounded_up(looked_at, ROW)
                        absolute = problem * queries + top + i
                        logarithm, delta = logs[absolute], deltas[head * queries + top + i]
                        factor = scale
                        at = places[problem, 3] + (top + i) * mask_row + left * mask_step
                        if bias.shape[0] > 0:
                            add_bias(row, looked_at, scale, pointer(bias, at), mask_step)
                            factor = one
                        elif allowed.shape[0] > 0:
                            forbid(row, looked_at, scale, pointer(allowed, at), mask_step, zero, lowest)
                            factor = one
                        words = absolute * ((keys + 3) // 4) + left // 4
                        if threshold > 0:
                            drop(drow, looked_at, words, random, threshold, keep_scale, zero)
                        score_gradients(row, drow, end, factor, one if wants_dbias else scale, logarithm, delta)
                        if wants_dbias:
                            target = pointer(dbias, absolute * keys + left)
                            for j in range(looked_at):
                                target[j] = drow[j]
                            scale_row(drow, looked_at, scale)
                        if threshold > 0:
                            drop(row, looked_at, words, random, threshold, keep_scale, zero)
                        fill_row(row, looked_at, min(seen, looked_at + most), zero)
                        fill_row(drow, looked_at, min(seen, looked_at + most), zero)
                    multiply_values(
                        rows, seen, first_key, dscores, scores_row, b_k, b_k_row, features,
                        pointer(dq, split * dq_size + places[problem, 6] + top * dq_row), dq_row, one,
                    )  # fmt: skip
                    multiply_keys(rows, seen, first_key, dscores, scores_row, x, x_row, features, block_dk, dk_row)
                    multiply_keys(rows, seen, first_key, scores, scores_row, g, g_row, columns, block_dv, dv_row)


@cuda_kernel
def _attention_backward_cuda(
    q, k, v, bias, allowed, random, threshold, keep_scale, scale, places, sizes, workspace, y, logs, dy,
    dq, dk, dv, dbias,
):  # fmt: skip
    """As the CPU twin, without its blocks and packing, dq in its first part alone.

    One warp a query, for dq and dbias, then one warp a key, for dk and dv: a lane a score, then a lane a column.
    """
    problems, group, queries, keys, features, columns = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5]
    q_row, q_inner, k_row, k_inner, v_row, v_inner = sizes[6], sizes[7], sizes[8], sizes[9], sizes[10], sizes[11]
    y_row, mask_row, mask_step, causal = sizes[12], sizes[13], sizes[14], sizes[15] != 0
    dy_row, dy_inner, dq_row, dk_row, dv_row = sizes[21], sizes[22], sizes[23], sizes[24], sizes[25]
    splits, dq_size = sizes[26], sizes[27]
    zero = y.dtype.type(0)
    dscores = cuda.shared.array(WARP, y.dtype)
    weights = cuda.shared.array(WARP, y.dtype)
    lane = cuda.threadIdx.x
    is_query = cuda.blockIdx.x < problems * queries
    if is_query:
        head, i = cuda.blockIdx.x // queries, cuda.blockIdx.x % queries
        problem, stop_problem, j = head, head + 1, 0
    else:
        item = (cuda.blockIdx.x - problems * queries) // keys
        i, j = 0, (cuda.blockIdx.x - problems * queries) % keys
        problem, stop_problem = item * group, item * group + group
    at_dk, at_dv = places[problem, 7] + j * dk_row, places[problem, 8] + j * dv_row
    at_dq = places[problem, 6] + i * dq_row
    if is_query:
        for d in range(lane, features, WARP):
            for split in range(splits):
                dq[split * dq_size + at_dq + d] = zero
    else:
        for d in range(lane, features, WARP):
            dk[at_dk + d] = zero
        for d in range(lane, columns, WARP):
            dv[at_dv + d] = zero
    while problem < stop_problem:
        if is_query:
            begin, end = 0, min(keys, i + 1) if causal else keys
        else:
            begin, end = j if causal else 0, queries
        for first in range(begin, end, WARP):
            if is_query:
                j = first + lane
            else:
                i = first + lane
            weight, dscore = zero, zero
            if first + lane < end:
                at_q, at_k = places[problem, 0] + i * q_row, places[problem, 1] + j * k_row
                at_y, at_dy = places[problem, 4] + i * y_row, places[problem, 5] + i * dy_row
                score = scale * strided_dot(q, at_q, q_inner, k, at_k, k_inner, features)
                score = masked(score, bias, allowed, places[problem, 3] + i * mask_row + j * mask_step)
                row = problem * queries + i
                weight = exp(score - logs[row])
                dweight = strided_dot(dy, at_dy, dy_inner, v, places[problem, 2] + j * v_row, v_inner, columns)
                dscore = weight
                if threshold > 0:
                    factor = kept(row, j, keys, random, threshold, keep_scale)
                    weight *= factor
                    dweight *= factor
                dscore *= dweight - strided_dot(dy, at_dy, dy_inner, y, at_y, 1, columns)
                if is_query and dbias.shape[0] > 0:
                    dbias[row * keys + j] = dscore
            dscores[lane] = scale * dscore
            weights[lane] = weight
            cuda.syncwarp()
            for d in range(lane, features, WARP):
                total = zero
                for t in range(min(WARP, end - first)):
                    if is_query:
                        total += dscores[t] * k[places[problem, 1] + (first + t) * k_row + d * k_inner]
                    else:
                        total += dscores[t] * q[places[problem, 0] + (first + t) * q_row + d * q_inner]
                if is_query:
                    dq[at_dq + d] += total
                else:
                    dk[at_dk + d] += total
            if not is_query:
                for d in range(lane, columns, WARP):
                    total = zero
                    for t in range(min(WARP, end - first)):
                        total += weights[t] * dy[places[problem, 5] + (first + t) * dy_row + d * dy_inner]
                    dv[at_dv + d] += total
            cuda.syncwarp()
        problem += 1


def _blocks(*arguments: Any) -> int:
    problems, group, queries, keys = arguments[10][:4].tolist()
    return int(problems * queries + problems // group * keys)


attention_backward = Kernel(
    cpu=_attention_backward_cpu,
    cuda=_attention_backward_cuda,
    tasks=lambda *arguments: arguments[11].shape[0],
    work=attention_work,
    blocks=_blocks,
    threads=WARP,
    requires=register_tile_driver,
)
