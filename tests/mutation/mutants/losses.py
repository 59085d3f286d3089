"""Bugs in softmax and in losses."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, ops, twins

SOFTMAX = bugs(
    "ops/softmax.py",
    (
        "missing term",
        "            dx[row, j] = y[row, j] * (dy[row, j] - total)",
        "            dx[row, j] = y[row, j] * dy[row, j]",
        gradients("softmax]"),
    ),
    (
        "missing term",
        "        for j in range(d):\n            for i in range(left, right):\n"
        "                e = exp(x[o, j, i] - highest[o, i])",
        "        for j in range(d):\n            for i in range(left, right):\n                e = exp(x[o, j, i])",
        forward("softmax:large"),
    ),
    (
        "reduction",
        "    scale = x.dtype.type(1) / block_sum(total)",
        "    scale = x.dtype.type(1) / total",
        twins("softmax:long"),
    ),
    (
        "reduction",
        "    highest = block_max(highest)\n    total = x.dtype.type(0)\n",
        "    total = x.dtype.type(0)\n",
        twins("softmax:long"),
    ),
    (
        "reduction",
        "            total += dy[row, j]\n        for j in range(d):\n            dx[row, j] = dy[row, j] - exp",
        "            total = dy[row, j]\n        for j in range(d):\n            dx[row, j] = dy[row, j] - exp",
        gradients("log_softmax]"),
    ),
    (
        "sign",
        "                dx[o, j, i] = dy[o, j, i] - exp(y[o, j, i]) * total[o, i]",
        "                dx[o, j, i] = dy[o, j, i] + exp(y[o, j, i]) * total[o, i]",
        gradients("log_softmax]"),
    ),
    (
        "wrong axis",
        "            dx[o, j, i] = y[o, j, i] * (dy[o, j, i] - amount)",
        "            dx[o, j, i] = y[o, j, i] * (dy[o, j, 0] - amount)",
        twins("softmax:many"),
    ),
)

LOSSES = (
    *bugs(
        "ops/loss/cross_entropy.py",
        ("missing term", "        dx[row, t] -= g * sharp\n", "", gradients("cross_entropy]")),
        ("reduction", "    high = warp_max(high)\n", "", twins("cross_entropy]")),
        (
            "missing term",
            "            kept += 1 if t != ignore else 0",
            "            kept += 1",
            forward("cross_entropy]"),
        ),
        (
            "index",
            "                    amount += weight[target[row]]",
            "                    amount += weight[row]",
            forward("cross_entropy"),
        ),
        (
            "sign",
            "            if j == t:\n                value -= g * sharp",
            "            if j == t:\n                value += g * sharp",
            twins("cross_entropy]"),
        ),
        (
            "constant",
            "                    loss += smoothing[0] / x.dtype.type(x.shape[1]) * smooth",
            "                    loss += smoothing[0] * smooth",
            forward("cross_entropy"),
        ),
    ),
    *bugs(
        "ops/loss/soft_cross_entropy.py",
        (
            "missing term",
            "dx[row, j] = g * (exp(x[row, j] - high) * (mass / total) - ",
            "dx[row, j] = g * (exp(x[row, j] - high) / total - ",
            gradients("cross_entropy:probabilities"),
        ),
    ),
    *bugs(
        "ops/loss/nll.py",
        (
            "wrong axis",
            "            value = x[place // inner, t, place % inner]\n"
            "            losses[place] = -(value * weight[t] if weight.shape[0] > 0 else value)\n\n\n@cuda",
            "            value = x[place % inner, t, place // inner]\n"
            "            losses[place] = -(value * weight[t] if weight.shape[0] > 0 else value)\n\n\n@cuda",
            forward("nll_loss"),
        ),
        (
            "sign",
            "dx[n, t, i] = -g * weight[t] if weight.shape[0] > 0 else -g",
            "dx[n, t, i] = g * weight[t] if weight.shape[0] > 0 else g",
            gradients("nll_loss"),
        ),
    ),
    *bugs(
        "ops/loss/pointwise.py",
        (
            "race",
            "        if cuda.threadIdx.x == 0:\n            partial[piece] = total",
            "        if cuda.threadIdx.x <= 1:\n            partial[piece] = total + cuda.threadIdx.x",
            twins("mse_loss"),
        ),
        (
            "bound",
            "min(piece * PIECE + PIECE, x.shape[0]))):\n                total +=",
            "min(piece * PIECE + PIECE - 1, x.shape[0]))):\n                total +=",
            forward("mse_loss:several"),
        ),
    ),
    *bugs(
        "ops/loss/regression.py",
        (
            "missing term",
            "HALF * size * size / beta if size < beta else size - HALF * beta",
            "HALF * size * size / beta if size < beta else size",
            forward("smooth_l1_loss"),
        ),
        (
            "missing term",
            "if abs(x - t) <= delta else delta * _absolute_by_input(x, t)",
            "if abs(x - t) <= delta else _absolute_by_input(x, t)",
            gradients("huber_loss"),
        ),
    ),
    *bugs(
        "ops/loss/binary.py",
        (
            "missing term",
            "    return dy * ((ONE - t) - (ONE + (positive - ONE) * t) * sigmoid(-x))",
            "    return dy * ((ONE - t) - sigmoid(-x))",
            gradients("binary_cross_entropy_with_logits"),
        ),
        (
            "constant",
            "    return (t - ONE) * _clamped_log1m(p) - t * _clamped_log(p)",
            "    return (t - ONE) * log1p(-p) - t * log(p)",
            ops("test_forward_float64[binary_cross_entropy:certain]"),
        ),
    ),
    *bugs(
        "ops/loss/divergence.py",
        (
            "missing term",
            "    return exp(t) * (t - x + ONE)",
            "    return exp(t) * (t - x)",
            gradients("kl_div:logarithms"),
        ),
    ),
)
