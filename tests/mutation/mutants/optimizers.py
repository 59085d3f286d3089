"""Bugs in optimizer steps and clipping."""

from __future__ import annotations

from tests.mutation.mutant import bugs

OPTIMIZERS = (
    *bugs(
        "optim/adam.py",
        (
            "missing term",
            "                top = max(largest[i], s)",
            "                top = s",
            "tests/test_optim.py -k test_trajectory and Adam",
        ),
        (
            "missing term",
            "        s0, s1 = beta2 * s0 + (one - beta2) * g0 * g0, beta2 * s1",
            "        s0, s1 = beta2 * s0 + (one - beta2) * g0, beta2 * s1",
            "tests/test_optim.py -k test_cuda_twins and Adam",
        ),
    ),
    *bugs(
        "optim/sgd.py",
        (
            "missing term",
            "                x[i] -= lr * (g + mu * b if nesterov else b)",
            "                x[i] -= lr * (mu * b if nesterov else b)",
            "tests/test_optim.py -k test_trajectory and SGD",
        ),
        (
            "race",
            "    if momentum == 0:\n        for i in range(4 * cuda.threadIdx.x, n, 4 * BLOCK):",
            "    if momentum == 0:\n        for i in range(0, n, 4):",
            "tests/test_optim.py -k test_cuda_twins and SGD",
        ),
    ),
    *bugs(
        "optim/adaptive.py",
        (
            "sign",
            "                s -= a * a",
            "                s += a * a",
            "tests/test_optim.py -k test_trajectory and RMSprop",
        ),
        (
            "reduction",
            "            s = total[i] + g * g",
            "            s = g * g",
            "tests/test_optim.py -k test_trajectory and Adagrad",
        ),
        (
            "index",
            "            deltas[i] = rho * deltas[i] + (one - rho) * d * d",
            "            deltas[i] = rho * deltas[i] + (one - rho) * g * g",
            "tests/test_optim.py -k test_trajectory and Adadelta",
        ),
    ),
    *bugs(
        "optim/clipping.py",
        (
            "constant",
            "            norm[0] = total ** (1.0 / order)",
            "            norm[0] = total ** 0.5",
            "tests/test_optim.py -k clip_grad_norm",
        ),
    ),
)
