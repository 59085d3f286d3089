"""Bugs in normalizations."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, ops, twins

NORMALIZATION = (
    *bugs(
        "ops/normalization/batch_columns.py",
        (
            "missing term",
            "            squares[p, j] = max(squares[p, j] - total * total * share, x.dtype.type(0))\n"
            "            mean[p, j] = x[first, j]",
            "            squares[p, j] = max(squares[p, j], x.dtype.type(0))\n            mean[p, j] = x[first, j]",
            forward("batch_norm"),
        ),
        (
            "missing term",
            "            scale[c] += squares[p, c] + n * (means[p, c] - mean[c]) * (means[p, c] - mean[c])",
            "            scale[c] += squares[p, c]",
            forward("batch_norm:many"),
        ),
        (
            "index",
            "    return min(ROWS, rows - part // side * ROWS)",
            "    return min(ROWS, rows - part * ROWS)",
            forward("batch_norm:many"),
        ),
        (
            "bound",
            "        for row in range(fours, last):\n            for j in range(columns):\n                sums",
            "        for row in range(fours + 1, last):\n            for j in range(columns):\n                sums",
            gradients("batch_norm"),
        ),
        (
            "sign",
            "            offset[c] = -share * scale[c] * dbias[c]\n\n\n@cuda_kernel",
            "            offset[c] = share * scale[c] * dbias[c]\n\n\n@cuda_kernel",
            gradients("batch_norm"),
        ),
        (
            "constant",
            "momentum * (spread / max(count - number(1), number(1)) - running_var[c])",
            "momentum * (spread / count - running_var[c])",
            forward("batch_norm:running"),
        ),
        (
            "index",
            "    first = p * ROWS\n    for j in range(cuda.threadIdx.x, x.shape[1], BLOCK):",
            "    first = p * ROWS\n    for j in range(cuda.threadIdx.x, x.shape[1], 2 * BLOCK):",
            twins("batch_norm:many"),
        ),
    ),
    *bugs(
        "ops/normalization/batch_norm.py",
        (
            "wrong axis",
            "        i, c = plane // channels, plane % channels\n",
            "        i, c = plane % channels, plane // channels\n",
            forward("batch_norm:evaluation"),
        ),
        (
            "missing term",
            "                dx[i, c, s] = factor * dy[i, c, s] + slope * (x[i, c, s] - mu) + offset\n\n\n@cuda_kernel",
            "                dx[i, c, s] = factor * dy[i, c, s] + offset\n\n\n@cuda_kernel",
            gradients("batch_norm"),
        ),
        (
            "constant",
            "share = x.dtype.type(channels / x.size if ctx.batch else 0)",
            "share = x.dtype.type(channels / x.size)",
            gradients("batch_norm:evaluation"),
        ),
        (
            "reduction",
            "    total = block_sum(total)\n    products = block_sum(products)\n",
            "    total = block_sum(total)\n",
            twins("batch_norm"),
        ),
        (
            "race",
            "    if cuda.threadIdx.x == 0:\n        dbias[c]",
            "    if cuda.threadIdx.x <= 1:\n        dbias[c]",
            twins("batch_norm"),
        ),
    ),
    *bugs(
        "ops/normalization/layer_norm.py",
        (
            "missing term",
            "            dx[row, j] = r * (dy[row, j] * weight[j] - mean_g - (x[row, j] - mu) * (r * mean_gx))",
            "            dx[row, j] = r * (dy[row, j] * weight[j] - mean_g)",
            gradients("layer_norm"),
        ),
        (
            "bound",
            "        last = min(n, (chunk + 1) * ROWS) - 1",
            "        last = min(n, chunk * ROWS + 63) - 1",
            gradients("layer_norm:long"),
        ),
        (
            "bound",
            "        if last % 2 == 0:",
            "        if last % 2 == 0 and last > 0:",
            gradients("layer_norm"),
        ),
        (
            "index",
            "        dweight[chunk, j] += dy[row, j] * normal + dy[below, j] * normal_below",
            "        dweight[chunk, j] += dy[row, j] * normal + dy[below, j] * normal",
            gradients("layer_norm"),
        ),
        ("reduction", "mean_g = block_sum(sum_g) * share", "mean_g = sum_g * share", twins("layer_norm")),
    ),
    *bugs(
        "ops/normalization/rms_norm.py",
        (
            "constant",
            "    back = products * (r * share)",
            "    back = products * share",
            gradients("rms_norm"),
        ),
        (
            "sign",
            "        a, b = r * (ga * wa - a * back), r * (gb * wb - b * back)",
            "        a, b = r * (ga * wa + a * back), r * (gb * wb - b * back)",
            twins("rms_norm"),
        ),
    ),
    *bugs(
        "ops/normalization/group_norm.py",
        (
            "wrong axis",
            "        n, g = task // groups, task % groups\n        total =",
            "        n, g = task % groups, task // groups\n        total =",
            ops("test_forward_float64[group_norm or test_forward_float64[instance_norm"),
        ),
        (
            "missing term",
            "                sum_gx += weight[c] * dweight[n, c]\n",
            "                sum_gx += dweight[n, c]\n",
            gradients("group_norm"),
        ),
        (
            "index",
            "        dx[n, c, s] = r * weight[c] * dy[n, c, s]",
            "        dx[n, c, s] = r * weight[g] * dy[n, c, s]",
            twins("group_norm"),
        ),
        (
            "sign",
            "running[c] += momentum * (total * factor - running[c])\n\n\n@cuda",
            "running[c] -= momentum * (total * factor - running[c])\n\n\n@cuda",
            forward("instance_norm:running"),
        ),
    ),
    *bugs(
        "ops/normalization/local_response_norm.py",
        (
            "bound",
            "        for offset in range(-min((size - 1) // 2, channels), min(size // 2, channels) + 1):",
            "        for offset in range(-min(size // 2, channels), min((size - 1) // 2, channels) + 1):",
            gradients("local_response_norm"),
        ),
        ("sign", "    return exp(-beta * log(d))", "    return exp(beta * log(d))", forward("local_response_norm")),
    ),
)
