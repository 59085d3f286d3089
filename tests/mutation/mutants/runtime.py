"""Bugs in the runtime: block primitives, arrays, random numbers, mathematics, matrix products."""

from __future__ import annotations

from tests.mutation.mutant import bugs, twins

RUNTIME = (
    *bugs(
        "runtime/cuda/primitives.py",
        (
            "missing barrier",
            "cuda.syncthreads()\n    value = partial[0]\n    for warp in range(1, WARPS):\n        value += partial",
            "value = partial[0]\n    for warp in range(1, WARPS):\n        value += partial",
            "tests/test_simt.py -k every_thread",
        ),
        (
            "missing barrier",
            "        value += partial[warp]\n    cuda.syncthreads()\n",
            "        value += partial[warp]\n",
            "tests/test_simt.py -k reduction",
        ),
        (
            "missing barrier",
            "        if partial[warp] > value or partial[warp] != partial[warp]:\n"
            "            value = partial[warp]\n    cuda.syncthreads()\n",
            "        if partial[warp] > value or partial[warp] != partial[warp]:\n            value = partial[warp]\n",
            "tests/test_simt.py -k reduction",
        ),
        (
            "race",
            "value = warp_sum(value)\n    if cuda.threadIdx.x % WARP == 0:\n        partial[cuda.threadIdx.x // WARP]",
            "value = warp_sum(value)\n    if cuda.threadIdx.x % WARP == 0:\n        partial[cuda.threadIdx.x % WARP]",
            "tests/test_simt.py -k every_thread",
        ),
        (
            "reduction",
            "        value += cuda.shfl_xor_sync(ALL_LANES, value, width)\n        width //= 2\n",
            "        value += cuda.shfl_xor_sync(ALL_LANES, value, width)\n        width //= 4\n",
            "tests/test_simt.py -k every_thread",
        ),
        (
            "bound",
            "    for warp in range(1, WARPS):\n        if partial[warp] < value",
            "    for warp in range(1, WARPS - 1):\n        if partial[warp] < value",
            "tests/test_simt.py -k every_thread",
        ),
        (
            "missing term",
            "if other > value or other != other:",
            "if other > value:",
            "tests/test_simt.py -k keep_nan",
        ),
    ),
    *bugs(
        "runtime/powers.py",
        (
            "missing term",
            "fma(b, high, -exponent) + b * low",
            "fma(b, high, -exponent)",
            "tests/test_powers.py -k accuracy",
        ),
        (
            "sign",
            "        y = copysign(y, a) if left == c.one else y\n",
            "        y = copysign(y, a) if left != c.zero else y\n",
            "tests/test_powers.py -k special",
        ),
        (
            "bound",
            "        left = left if steps < c.even else c.zero\n",
            "",
            "tests/test_powers.py -k special",
        ),
    ),
    *bugs(
        "runtime/arrays.py",
        (
            "index",
            "        i, j, k = row // (n1 * n2), row // n2 % n1, row % n2\n",
            "        i, j, k = row // (n1 * n2), row // n1 % n2, row % n2\n",
            "tests/test_runtime.py -k copy_into",
        ),
        (
            "index",
            "        y[target + last * y3] = x[source + last * x3]",
            "        y[target + last * y3] = x[source + last]",
            "tests/test_runtime.py -k any_layout",
        ),
        (
            "bound",
            "        for k in range(min(tall, n2 - first)):\n            y[target",
            "        for k in range(tall):\n            y[target",
            "tests/test_runtime.py -k any_layout",
        ),
        (
            "reduction",
            "        total[j] = partial[0, j]\n    for row in range(1, partial.shape[0]):",
            "        total[j] = partial[0, j]\n    for row in range(partial.shape[0]):",
            "tests/test_runtime.py -k sum_rows",
        ),
        (
            "bound",
            "        for row in range(1, partial.shape[0]):\n            value += partial[row, j]",
            "        for row in range(1, partial.shape[0] - 1):\n            value += partial[row, j]",
            twins("prelu"),
        ),
    ),
    *bugs(
        "runtime/transposition.py",
        (
            "index",
            "for apart in (1, 2, 4):",
            "for apart in (1, 4, 2, 4):",
            "tests/test_runtime.py -k turn_whole",
        ),
    ),
    *bugs(
        "runtime/philox.py",
        ("constant", "_ROUNDS = 10", "_ROUNDS = 9", "tests/test_philox.py -k known_answers"),
        (
            "missing term",
            "np.uint32(product0 >> _WORD) ^ counter3 ^ key1",
            "np.uint32(product0 >> _WORD) ^ counter3",
            "tests/test_philox.py -k known_answers",
        ),
        (
            "sign",
            "return radius * cos_turn(v), radius * sin_turn(v)\n\n\n@scalar\ndef normal_pair_float64",
            "return radius * cos_turn(v), radius * abs(sin_turn(v))\n\n\n@scalar\ndef normal_pair_float64",
            "tests/test_philox.py -k numbers_are_normal",
        ),
        (
            "missing term",
            " + (high * span_low >> _WORD) + (carry >> _WORD)",
            " + (high * span_low >> _WORD)",
            "tests/test_philox.py -k below",
        ),
        (
            "index",
            "        y[4 * group + 3] = fma(uniform_float32(d), width, low)",
            "        y[4 * group + 3] = fma(uniform_float32(c), width, low)",
            "tests/test_philox.py -k twin_gives_the_same_bits",
        ),
        (
            "bound",
            "    for i in range(4 * group, min(4 * group + 4, y.shape[0])):\n        y[i] = words[i % 4] < threshold",
            "    for i in range(4 * group, 4 * group + 4):\n        y[i] = words[i % 4] < threshold",
            "tests/test_philox.py -k twin_gives_the_same_bits",
        ),
        (
            "missing barrier",
            "    cuda.syncthreads()\n    if cuda.threadIdx.x == 0:\n",
            "    if cuda.threadIdx.x == 0:\n",
            "tests/test_philox.py -k permutes_alike",
        ),
    ),
    *bugs(
        "runtime/vecmath.py",
        (
            "sign",
            "r = fma(n, -c.ln2_low, fma(n, -c.ln2_high, x))\n        y =",
            "r = fma(n, c.ln2_low, fma(n, -c.ln2_high, x))\n        y =",
            "tests/test_vecmath.py -k test_accuracy and exp",
        ),
        (
            "missing term",
            "half * f), k * c.ln2_low)\n        y = fma(k, c.ln2_high, f - fma(half, f, -tail))\n        y = y if x",
            "half * f), c.zero)\n        y = fma(k, c.ln2_high, f - fma(half, f, -tail))\n        y = y if x",
            "tests/test_vecmath.py -k test_accuracy and log",
        ),
        ("constant", "0.12837916709551256,", "0.1283791670955,", "tests/test_vecmath.py -k test_accuracy and erf"),
        (
            "sign",
            "        return -cosine if quadrant == -c.one else y",
            "        return cosine if quadrant == -c.one else y",
            "tests/test_vecmath.py -k test_accuracy and sin_turn",
        ),
        (
            "missing term",
            "        return fma(lost * y, y - c.one if x < c.zero else -y, y)",
            "        return y",
            "tests/test_vecmath.py -k test_accuracy and sigmoid",
        ),
    ),
    *bugs(
        "runtime/gemm/blocks.py",
        (
            "reduction",
            "                    beta if start == 0 else 1.0, columns,",
            "                    beta, columns,",
            "tests/test_gemm.py -k blocked_and_packed",
        ),
        (
            "reduction",
            "advance(bias, left) if has_bias and start == 0 else",
            "advance(bias, left) if has_bias else",
            "tests/test_gemm.py -k blocked_and_packed",
        ),
        (
            "bound",
            "                for k in range(squares, depth):",
            "                for k in range(squares, depth - 1):",
            "tests/test_gemm.py -k beyond_the_last",
        ),
        (
            "wrong axis",
            "        left = unit % column_blocks * block_columns",
            "        left = unit % row_blocks * block_columns",
            "tests/test_gemm.py -k blocked_and_packed",
        ),
        (
            "index",
            "            source, target = advance(a, k * a_inner), advance(packed, k * packed_inner)",
            "            source, target = advance(a, k), advance(packed, k * packed_inner)",
            "tests/test_gemm.py -k blocked_and_packed",
        ),
    ),
    *bugs(
        "runtime/gemm/vector.py",
        (
            "missing term",
            "            y[j] += first + (x4 * b4[j] + x5 * b5[j] + x6 * b6[j] + x7 * b7[j])",
            "            y[j] += first",
            "tests/test_gemm.py -k agrees_with_the_definition",
        ),
    ),
    *bugs(
        "runtime/gemm/product.py",
        (
            "missing barrier",
            "                b_piece[inner, column] = value\n            cuda.syncthreads()\n",
            "                b_piece[inner, column] = value\n",
            "tests/test_gemm.py -k cuda_twin",
        ),
        (
            "missing barrier",
            "b_piece[inner, own_column + j]\n            cuda.syncthreads()\n",
            "b_piece[inner, own_column + j]\n",
            "tests/test_gemm.py -k cuda_twin",
        ),
        (
            "wrong axis",
            "b_piece[inner, own_column + j]",
            "b_piece[inner, own_row + j]",
            "tests/test_gemm.py -k cuda_twin",
        ),
        (
            "bound",
            "            if top + row < m and start + inner < k:",
            "            if top + row <= m and start + inner < k:",
            "tests/test_gemm.py -k cuda_twin",
        ),
    ),
    *bugs(
        "runtime/gemm/tiles.py",
        (
            "missing barrier",
            "        keep4(b_pieces, half, b_at, b_lead, b_along, b0, b1, b2, b3)\n        cuda.syncthreads()\n",
            "        keep4(b_pieces, half, b_at, b_lead, b_along, b0, b1, b2, b3)\n",
            "tests/test_cuda_gemm.py -k large",
        ),
    ),
    *bugs(
        "runtime/gemm/tensor_tiles.py",
        (
            "index",
            "a1 = register(a_pieces, half, row + 16 * i + 8, inner)",
            "a1 = register(a_pieces, half, row + 16 * i, inner + step // 2)",
            "tests/test_cuda_gemm.py -k tf32",
        ),
    ),
    *bugs(
        "runtime/halves.py",
        (
            "missing term",
            "    return np.uint16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)",
            "    return np.uint16((bits + 0x7FFF) >> 16)",
            "tests/test_cuda_gemm.py -k words_of_16",
        ),
    ),
    *bugs(
        "optim/scaling.py",
        (
            "sign",
            "            count += value - value != 0  # NaN for what is not finite",
            "            count += value != value",
            "tests/test_mixed_precision.py -k not_finite",
        ),
    ),
    *bugs(
        "runtime/simd.py",
        (
            "bound",
            '    whole = builder.icmp_signed(">=", columns, _integer(vectors * count))',
            '    whole = builder.icmp_signed(">=", columns, _integer(vectors * count - 1))',
            "tests/test_gemm.py -k beyond_the_last",
        ),
    ),
)
