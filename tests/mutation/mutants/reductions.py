"""Bugs in reductions, scans and orders."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, twins

REDUCTIONS = (
    *bugs(
        "ops/reduction/fold.py",
        (
            "reduction",
            "                total = combine(total, part)",
            "                total = part",
            forward("sum:long"),
        ),
        ("reduction", "        step = 16\n", "        step = 8\n", twins("sum:long")),
        (
            "bound",
            "            for r in range(fours, last):",
            "            for r in range(fours + 1, last):",
            forward("sum:many"),
        ),
        (
            "reduction",
            "            total = y.dtype.type(identity)\n            for r in range(c * rows,",
            "            total = y.dtype.type(0)\n            for r in range(c * rows,",
            twins("amin:many"),
        ),
        ("bound", "min((c + 1) * rows, x.shape[1])", "(c + 1) * rows", twins("sum:long")),
    ),
    *bugs(
        "ops/reduction/spread.py",
        (
            "bound",
            "        for i in range(cuda.threadIdx.x, inner, cuda.blockDim.x):",
            "        for i in range(cuda.threadIdx.x, inner - 1, cuda.blockDim.x):",
            twins("var"),
        ),
    ),
    *bugs(
        "ops/reduction/extreme_places.py",
        (
            "missing term",
            "            if beats(other, best) or (not beats(best, other) and place < first):",
            "            if beats(other, best):",
            twins("argmax:ties"),
        ),
        (
            "wrong axis",
            "            dx[o, index[o, k, i], i] = dy[o, k, i]\n\n\nput",
            "            dx[o, index[o, k, i], i] = dy[o, k, 0]\n\n\nput",
            twins("max"),
        ),
    ),
    *bugs(
        "ops/reduction/extremes.py",
        ("missing term", "    return dy / ties", "    return dy", "tests/test_reduction.py -k share_the_gradient"),
    ),
    *bugs(
        "ops/reduction/moments.py",
        ("constant", "    return (dy + dy) / divisor", "    return dy / divisor", gradients("var")),
    ),
    *bugs(
        "ops/reduction/products.py",
        (
            "missing term",
            "    return product if x == 0 and zeros == 1 else ZERO",
            "    return ZERO",
            gradients("prod:zeros"),
        ),
    ),
    *bugs(
        "ops/reduction/norms.py",
        (
            "missing term",
            "    return dy / y**exponent if y != 0 else ZERO",
            "    return dy if y != 0 else ZERO",
            gradients("vector_norm"),
        ),
    ),
    *bugs(
        "ops/reduction/log_sum_exp.py",
        ("missing term", "    return log(total) + highest", "    return log(total)", forward("logsumexp")),
    ),
    *bugs(
        "ops/ordering/stable_order.py",
        (
            "index",
            "take_right = _comes_before(x[row, order[row, right]], x[row, order[row, left]], descending)",
            "take_right = not _comes_before(x[row, order[row, left]], x[row, order[row, right]], descending)",
            "tests/test_ordering.py -k stable",
        ),
        ("missing term", "        key = np.int64(0) if x == 0 else key\n", "", "tests/test_ordering.py -k stable"),
        (
            "bound",
            "            if high - low == width + width:",
            "            if high - low >= width:",
            "tests/test_ordering.py -k stable",
        ),
        (
            "missing term",
            "            if before or (equal and j < i):",
            "            if before:",
            twins("sort"),
        ),
    ),
    *bugs(
        "ops/ordering/counting.py",
        (
            "bound",
            "np.uint64(known[middle] <= value) << shift",
            "np.uint64(known[middle] < value) << shift",
            "tests/test_ordering.py -k wherever",
        ),
    ),
    *bugs(
        "ops/ordering/quantiles.py",
        ("constant", "        ranks = (q * (size - 1))", "        ranks = (q * size)", forward("quantile")),
        (
            "missing term",
            "lerp(gather(rows, -1, below.to(INT64)), gather(rows, -1, ranks.ceil",
            "lerp(gather(rows, -1, below.to(INT64)), gather(rows, -1, ranks.floor",
            forward("quantile"),
        ),
    ),
    *bugs(
        "ops/scan.py",
        (
            "sign",
            "        i = size - 1 - step if backwards else step",
            "        i = step",
            gradients("cumsum"),
        ),
        (
            "constant",
            "range(zero, size):  # the zero itself left out of every product\n        if i > zero:",
            "range(zero, size):  # the zero itself left out of every product\n        if i >= zero:",
            gradients("cumprod"),
        ),
    ),
)
