"""Bugs in recurrent layers."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, twins

RECURRENT = (
    *bugs(
        "ops/recurrent/lstm.py",
        ("index", "max(low, steps[s, BEFORE])", "max(low, 0)", forward("lstm]")),
        ("missing term", "total = dc[j] + dm[j] * o[j]", "total = dm[j] * o[j]", gradients("lstm]")),
        ("index", "df[j] = total * cell[j] * f[j]", "df[j] = total * g[j] * f[j]", gradients("lstm]")),
        ("sign", "dg[j] = total * gates[j] * (one - g[j] * g[j])", "dg[j] = total * gates[j] * (one + g[j] * g[j])",
         gradients("lstm]")),
        ("bound", "            if s or wants_dh:\n", "            if s > 1 or wants_dh:\n", "tests/test_recurrent.py"),
        ("constant", "            ones = 2 * wants_dbias", "            ones = 0", gradients("lstm]")),
        (
            "missing barrier",
            "                gates[row, j] = tanh(value) if 2 * size <= j and j < 3 * size else sigmoid(value)\n"
            "            cuda.syncthreads()\n",
            "                gates[row, j] = tanh(value) if 2 * size <= j and j < 3 * size else sigmoid(value)\n",
            twins("lstm"),
        ),
        ("wrong axis", "gemm(totals.T, hidden, dweight_hr)", "gemm(totals.T, cells, dweight_hr)",
         gradients("lstm:projection")),
    ),
    *bugs(
        "ops/recurrent/gru.py",
        ("sign", "result[j] = (one - z[j]) * n[j]", "result[j] = (one + z[j]) * n[j]", forward("gru]")),
        ("missing term", "        dh[j] *= z[j]\n", "        dh[j] *= one\n", gradients("gru]")),
        ("index", "dq[j] = through_n * gates[j]", "dq[j] = through_n * z[j]", gradients("gru]")),
        (
            "index",
            "                pointer(bias, 2 * size), biased,",
            "                pointer(bias, size), biased,",
            forward("gru]"),
        ),
        (
            "missing barrier",
            "                dh[b, j] = total * z\n            cuda.syncthreads()\n",
            "                dh[b, j] = total * z\n",
            twins("gru"),
        ),
    ),
    *bugs(
        "ops/recurrent/rnn.py",
        ("sign", "dz[j] = dh[j] * (one - y[j] * y[j])", "dz[j] = dh[j] * (one + y[j] * y[j])", gradients("rnn_tanh]")),
        ("bound", "dz[j] = zero if y[j] <= zero else dh[j]", "dz[j] = zero if y[j] < zero else dh[j]",
         gradients("rnn_relu]")),
    ),
    *bugs(
        "ops/recurrent/schedule.py",
        ("wrong axis", "if reverse else slice(None)", "if not reverse else slice(None)", forward("gru:two")),
        ("index", "steps[:-1, NEXT] = steps[1:, FIRST]", "steps[:-1, NEXT] = steps[:-1, FIRST]", forward("gru]")),
    ),
    *bugs(
        "ops/recurrent/products.py",
        ("bound", "c_row, beta, min(width, columns - left),", "c_row, beta, width,", forward("lstm]")),
        ("index", "target[k * width + i] = source[i * depth + k]", "target[k * width + i] = source[i * depth]",
         forward("lstm]")),
    ),
    *bugs(
        "ops/recurrent/layers.py",
        ("index", "firsts[number + direction], weights", "firsts[direction], weights", forward("gru:two")),
    ),
)  # fmt: skip
