"""Bugs in indexing, scattering and joining."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, ops, twins

INDEXING = (
    *bugs(
        "ops/indexing/rows.py",
        (
            "race",
            "        low, high = m * part // ranges, m * (part + 1) // ranges\n        first",
            "        low, high = m * part // ranges, m\n        first",
            ops("test_threads and index_select"),
        ),
        (
            "race",
            "            for i in range(first + cuda.threadIdx.x, last, BLOCK):\n                dx[o, row, i] +=",
            "            for i in range(first, last):\n                dx[o, row, i] +=",
            twins("index_select"),
        ),
        (
            "missing term",
            "            row = ids[k]\n            if low <= row < high and row != skip:",
            "            row = ids[k]\n            if low <= row < high:",
            "tests/test_indexing.py -k looked_up",
        ),
        (
            "index",
            "            y[o, k, i] = x[o, row, i]\n\n\n@cuda_kernel",
            "            y[o, k, i] = x[o, k, i]\n\n\n@cuda_kernel",
            forward("index_select]"),
        ),
    ),
    *bugs(
        "ops/indexing/elements.py",
        (
            "reduction",
            "                y[o, np.uint64(ids[o, k, column]), column] += values[o, k, column]",
            "                y[o, np.uint64(ids[o, k, column]), column] = values[o, k, column]",
            forward("scatter_add"),
        ),
        (
            "wrong axis",
            "element // size % count, element % size",
            "element // count % size, element % size",
            twins("gather]"),
        ),
    ),
    *bugs(
        "ops/indexing/reductions.py",
        (
            "missing term",
            "    return dy / count if v == y else zero",
            "    return dy if v == y else zero",
            "tests/test_indexing.py -k extremes_that_tie",
        ),
        (
            "missing term",
            "            return dy * (product / v)",
            "            return dy * product",
            gradients("scatter_reduce:prod"),
        ),
        (
            "constant",
            "                y[o, m, i] /= counts[o, m, i]",
            "                y[o, m, i] /= counts[o, m, i] + one",
            forward("scatter_reduce:mean"),
        ),
    ),
    *bugs(
        "ops/embedding.py",
        (
            "index",
            "        count = dy.dtype.type(counts[ids[n]])\n        for",
            "        count = dy.dtype.type(counts[n])\n        for",
            "tests/test_indexing.py -k looked_up",
        ),
    ),
)
