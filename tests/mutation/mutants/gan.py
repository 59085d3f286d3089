"""Bugs in averages of weights, normalized weights and games."""

from __future__ import annotations

from tests.mutation.mutant import bugs

ADVERSARIAL = (
    *bugs(
        "optim/averaging.py",
        (
            "sign",
            "                average[i] += near * (value[i] - average[i])\n        else:",
            "                average[i] -= near * (value[i] - average[i])\n        else:",
            "tests/test_gan.py -k test_average",
        ),
        (
            "constant",
            "            for i in range(n):\n                average[i] = value[i] - far * (value[i] - average[i])",
            "            for i in range(n):\n                average[i] = value[i] - near * (value[i] - average[i])",
            "tests/test_gan.py -k test_average",
        ),
        (
            "race",
            "        for i in range(cuda.threadIdx.x, n, BLOCK):\n            average[i] += near",
            "        for i in range(n):\n            average[i] += near",
            "tests/test_gan.py -k test_average",
        ),
        (
            "index",
            "    value = array_at(addresses[p, 1] + skipped, n, like)\n    near = like.dtype.type(weight)",
            "    value = array_at(addresses[p, 0] + skipped, n, like)\n    near = like.dtype.type(weight)",
            "tests/test_gan.py -k test_average",
        ),
        (
            "constant",
            "        average_(averages, values, 1 / (int(num_averaged) + 1))",
            "        average_(averages, values, 1 / (int(num_averaged) + 2))",
            "tests/test_gan.py -k test_an_equal_average",
        ),
    ),
    *bugs(
        "nn/utils/spectral_norm.py",
        (
            "missing term",
            "                kept_u.copy_(u)\n",
            "",
            "tests/test_gan.py -k test_vectors_turn",
        ),
        (
            "wrong axis",
            "        if self.dim != 0:",
            "        if self.dim < 0:",
            "tests/test_gan.py -k test_spectral_norm",
        ),
        (
            "missing term",
            "        return original / ops.dot(u, ops.mv(rows, v))",
            "        return original / ops.dot(u, ops.mv(rows.detach(), v))",
            "tests/test_gan.py -k test_gradients_of_normalized",
        ),
    ),
    *bugs(
        "nn/utils/weight_norm.py",
        (
            "wrong axis",
            "        others = tuple(d for d in range(weight.ndim) if d != self.dim)",
            "        others = (self.dim,)",
            "tests/test_gan.py -k test_weight_norm",
        ),
    ),
    *bugs(
        "models/gan/game.py",
        (
            "sign",
            '        """The part of the value that depends on the generator."""\n        return -_cross',
            '        """The part of the value that depends on the generator."""\n        return _cross',
            "tests/test_gan.py -k test_losses",
        ),
        (
            "sign",
            "ops.relu(1 - real).mean() + ops.relu(1 + fake).mean()",
            "ops.relu(1 - real).mean() + ops.relu(1 - fake).mean()",
            "tests/test_gan.py -k test_losses",
        ),
    ),
)
