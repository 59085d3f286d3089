"""Bugs in products, distances, creation and initial values."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, twins

OTHERS = (
    *bugs(
        "ops/distance/sets.py",
        ("missing term", "** (p - type(p)(1))", "** p", gradients("cdist")),
        ("wrong axis", "array.transpose(0, 2, 1)", "array", gradients("cdist")),
        (
            "index",
            "index // y.shape[2], index % y.shape[2]",
            "index // y.shape[2], index % y.shape[1]",
            twins("cdist"),
        ),
        ("sign", "size > total or size", "size < total or size", forward("cdist")),
    ),
    *bugs(
        "ops/distance/vectors.py",
        (
            "missing term",
            "    return outer / max(other_norm, eps), outer * y / norm if norm > type(y)(0) else type(y)(0)",
            "    return outer / max(other_norm, eps), outer * y if norm > type(y)(0) else type(y)(0)",
            gradients("cosine_similarity"),
        ),
        ("reduction", "block_sum(squares1), block_sum(squares2)", "block_sum(squares1), squares2", twins("cosine")),
        (
            "race",
            "    if cuda.threadIdx.x == 0:\n        norm1[row] =",
            "    if cuda.threadIdx.x <= 1:\n        norm1[row] =",
            twins("cosine"),
        ),
    ),
    *bugs(
        "ops/matmul/affine.py",
        ("missing term", "product if alpha == 1 else mul(product, alpha)", "product", forward("addmm")),
        (
            "wrong axis",
            "reshape(permute(batch1, (1, 0, 2)), (n, b * k))",
            "reshape(batch1, (n, b * k))",
            forward("addbmm"),
        ),
    ),
    *bugs(
        "ops/matmul/contractions.py",
        ("sign", "    return sub(mul(roll(a, -1, dim)", "    return sub(mul(roll(a, 1, dim)", forward("cross")),
        ("wrong axis", "for n in a for size in (n, 1)]", "for n in a for size in (1, n)]", forward("kron")),
    ),
    *bugs(
        "ops/matmul/linear.py",
        (
            "reduction",
            "        for row in range(chunk * ROWS + 1, min(n, (chunk + 1) * ROWS)):\n            for j",
            "        for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):\n            for j",
            gradients("linear"),
        ),
    ),
    *bugs(
        "ops/creation/matrices.py",
        (
            "bound",
            "            kept = j - i <= diagonal if lower else j - i >= diagonal\n",
            "            kept = j - i < diagonal if lower else j - i >= diagonal\n",
            forward("tril"),
        ),
        (
            "wrong axis",
            "    r, i = cuda.blockIdx.x // n, cuda.blockIdx.x % n",
            "    r, i = cuda.blockIdx.x // m, cuda.blockIdx.x % m",
            twins("tri"),
        ),
    ),
    *bugs(
        "ops/initialization.py",
        (
            "sign",
            "                    v[k, j] -= product * v[i, j]",
            "                    v[k, j] += product * v[i, j]",
            "tests/test_nn.py -k structured_schemes",
        ),
        (
            "missing term",
            "exp(peak - type(z)(0.5) * z * z)",
            "exp(peak - type(z)(0.5) * z)",
            "tests/test_nn.py -k uniform_and_normal_schemes",
        ),
    ),
)
