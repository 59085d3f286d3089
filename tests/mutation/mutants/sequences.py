"""Bugs in CTC and in embedding bags."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, twins

SEQUENCES = (
    *bugs(
        "ops/loss/ctc.py",
        (
            "missing term",
            "    return highest + log(exp(a - highest) + exp(b - highest) + exp(c - highest))",
            "    return highest + log(exp(a - highest) + exp(b - highest))",
            forward("ctc_loss"),
        ),
        (
            "index",
            "    return targets[first + s // 2] if s % 2 == 1 else blank",
            "    return targets[s // 2] if s % 2 == 1 else blank",
            forward("ctc_loss]"),
        ),
        (
            "bound",
            "                if s > 1 and label != _label(targets, first, s - 2, blank):\n"
            "                    two = alpha[n, t - 1, s - 2]\n                alpha[n, t, s] = _log_sum("
            "alpha[n, t - 1, s], one, two) + x[t, n, label]\n        before",
            "                if s > 1:\n"
            "                    two = alpha[n, t - 1, s - 2]\n                alpha[n, t, s] = _log_sum("
            "alpha[n, t - 1, s], one, two) + x[t, n, label]\n        before",
            forward("ctc_loss"),
        ),
        (
            "bound",
            "                    beta[n, now, s] = x[t, n, label] if s > places - 3 else lowest\n"
            "                else:\n                    one = beta[n, 1 - now, s + 1] if s + 1 < places else lowest\n"
            "                    two = lowest\n                    if s + 2 < places and",
            "                    beta[n, now, s] = x[t, n, label] if s > places - 2 else lowest\n"
            "                else:\n                    one = beta[n, 1 - now, s + 1] if s + 1 < places else lowest\n"
            "                    two = lowest\n                    if s + 2 < places and",
            gradients("ctc_loss]"),
        ),
        (
            "sign",
            "                dx[t, n, label] -= exp(alpha[n, t, s] + beta[n, now, s] - x[t, n, label] + nll[n])",
            "                dx[t, n, label] -= exp(alpha[n, t, s] + beta[n, now, s] + x[t, n, label] + nll[n])",
            gradients("ctc_loss]"),
        ),
        (
            "missing barrier",
            "        cuda.syncthreads()\n    if cuda.threadIdx.x == 0:\n        if steps == 0:",
            "        cuda.syncwarp()\n    if cuda.threadIdx.x == 0:\n        if steps == 0:",
            twins("ctc_loss:long"),
        ),
        (
            "wrong axis",
            "    losses[n] = loss / nll.dtype.type(max(sizes[n], 1) * nll.shape[0]) if mean else loss\n\n\n"
            "@cuda_kernel",
            "    losses[n] = loss / nll.dtype.type(nll.shape[0]) if mean else loss\n\n\n@cuda_kernel",
            forward("ctc_loss]"),
        ),
    ),
    *bugs(
        "ops/embedding_bag.py",
        (
            "bound",
            "    for k in range(edges[b], edges[b + 1]):\n        if ids[k] != padding:\n            count += 1\n",
            "    for k in range(edges[b], edges[b + 1]):\n        count += 1\n",
            twins("embedding_bag:padding"),
        ),
        (
            "missing term",
            "        if mode == MEAN and count > 0:\n            for j in range(d):\n"
            "                y[b, j] /= weight.dtype.type(count)\n",
            "",
            forward("embedding_bag]"),
        ),
        (
            "missing term",
            "            factor = share * scale[k] if scale.shape[0] > 0 else share\n"
            "            for j in range(dy.shape[1]):",
            "            factor = share\n            for j in range(dy.shape[1]):",
            gradients("embedding_bag:weighted"),
        ),
        (
            "sign",
            "                    if best[b, j] < 0 or weight[row, j] > y[b, j]:",
            "                    if best[b, j] < 0 or weight[row, j] < y[b, j]:",
            forward("embedding_bag]"),
        ),
        (
            "index",
            "                    total += dy[b, j] * weight[ids[k], j]\n            dscale[k] = total",
            "                    total += dy[b, j] * weight[k % weight.shape[0], j]\n            dscale[k] = total",
            gradients("embedding_bag:weighted"),
        ),
        (
            "reduction",
            "        total = warp_sum(total)\n",
            "",
            twins("embedding_bag:weighted"),
        ),
    ),
)
