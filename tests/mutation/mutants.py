"""The bugs to plant, file by file. A row: kind, the text that stands in the file once, its replacement, the tests."""

from __future__ import annotations

from tests.mutation.mutant import Mutant


def _bugs(file: str, *rows: tuple[str, str, str, str]) -> tuple[Mutant, ...]:
    return tuple(Mutant(f"nbdl/{file}", old, new, kind, tests) for kind, old, new, tests in rows)


def _ops(expression: str) -> str:
    return f"tests/test_ops.py -k {expression}"


def _forward(row: str) -> str:
    return _ops(f"test_forward_float64[{row}]")


def _gradients(row: str) -> str:
    return _ops(f"test_gradients[{row}]")


def _twins(row: str) -> str:
    return _ops(f"test_cuda_twins and {row}")


RUNTIME = (
    *_bugs(
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
    *_bugs(
        "runtime/arrays.py",
        (
            "index",
            "        i, j, k = row // (n1 * n2), row // n2 % n1, row % n2\n",
            "        i, j, k = row // (n1 * n2), row // n1 % n2, row % n2\n",
            "tests/test_runtime.py -k copy_into",
        ),
        (
            "bound",
            "for last in range(cuda.threadIdx.x, n3, BLOCK):",
            "for last in range(cuda.threadIdx.x, n3 + 1, BLOCK):",
            _twins("contiguous"),
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
            _twins("prelu"),
        ),
    ),
    *_bugs(
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
            "tests/test_philox.py -k integers",
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
    *_bugs(
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
    *_bugs(
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
            "tests/test_gemm.py -k agrees_with_the_definition",
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
    *_bugs(
        "runtime/gemm/vector.py",
        (
            "missing term",
            "            y[j] += first + (x4 * b4[j] + x5 * b5[j] + x6 * b6[j] + x7 * b7[j])",
            "            y[j] += first",
            "tests/test_gemm.py -k agrees_with_the_definition",
        ),
    ),
    *_bugs(
        "runtime/gemm/product.py",
        (
            "missing barrier",
            "            b_piece[inner, column] = value\n        cuda.syncthreads()\n",
            "            b_piece[inner, column] = value\n",
            "tests/test_gemm.py -k cuda_twin",
        ),
        (
            "missing barrier",
            "b_piece[inner, own_column + j]\n        cuda.syncthreads()\n",
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
    *_bugs(
        "runtime/simd.py",
        (
            "bound",
            '    whole = builder.icmp_signed(">=", columns, _integer(vectors * count))',
            '    whole = builder.icmp_signed(">=", columns, _integer(vectors * count - 1))',
            "tests/test_gemm.py -k agrees_with_the_definition",
        ),
    ),
)

ACTIVATIONS = (
    *_bugs(
        "ops/activation/rectifiers.py",
        ("index", "    return dy if x > type(x)(0) else dy * slope", "    return dy * slope", _gradients("leaky_relu")),
        (
            "constant",
            "middle = dy * (x / type(x)(3) + type(x)(0.5))",
            "middle = dy * (x / type(x)(3) + type(x)(1))",
            _gradients("hardswish"),
        ),
        (
            "sign",
            "    shrunk = x - limit if x > type(x)(0) else x + limit",
            "    shrunk = x - limit",
            _forward("softshrink"),
        ),
    ),
    *_bugs(
        "ops/activation/smooth.py",
        (
            "missing term",
            "    return dy * (probability + x * density)",
            "    return dy * probability",
            _gradients("gelu"),
        ),
        (
            "constant",
            "(type(x)(1) + type(x)(3) * cube)",
            "(type(x)(1) + type(x)(2) * cube)",
            _gradients("gelu"),
        ),
        (
            "sign",
            "    return dy / (type(x)(1) + vecmath.exp(x))",
            "    return dy / (type(x)(1) + vecmath.exp(-x))",
            _gradients("logsigmoid"),
        ),
        ("missing term", "    return dy * t * t\n", "    return dy * t\n", _gradients("tanhshrink")),
    ),
    *_bugs(
        "ops/activation/gated.py",
        (
            "wrong axis",
            "            dx[row, 0, j] = da\n            dx[row, 1, j] = da * x[row, 0, j]",
            "            dx[row, 0, j] = da\n            dx[row, 1, j] = da * x[row, 1, j]",
            _gradients("glu"),
        ),
        (
            "index",
            "y.shape[1], BLOCK):\n        y[row, j]",
            "y.shape[1], BLOCK + 1):\n        y[row, j]",
            _twins("glu"),
        ),
        (
            "reduction",
            "                    dweight[chunk, c] += total",
            "                    dweight[chunk, c] = total",
            _gradients("prelu"),
        ),
        (
            "bound",
            "min(samples, (chunk + 1) * ROWS)):\n            for i in range(size):",
            "min(samples, (chunk + 1) * ROWS - 1)):\n            for i in range(size):",
            _twins("prelu"),
        ),
    ),
    *_bugs(
        "ops/activation/random_slopes.py",
        (
            "missing term",
            "    slope = lower + width * type(x)(uniform_float32(word))",
            "    slope = width * type(x)(uniform_float32(word))",
            _forward("rrelu"),
        ),
    ),
    *_bugs(
        "ops/dropout.py",
        ("sign", "    kept = word >= threshold", "    kept = word < threshold", _forward("dropout")),
        (
            "index",
            "        word = words[row % 4]\n        for",
            "        word = words[0]\n        for",
            _forward("dropout2d"),
        ),
        (
            "bound",
            "min(4 * group + 4, x.shape[0])):",
            "min(4 * group + 3, x.shape[0])):",
            _twins("dropout"),
        ),
        (
            "wrong axis",
            "for i in range(cuda.threadIdx.x, x.shape[1], BLOCK):",
            "for i in range(cuda.threadIdx.x, x.shape[0], BLOCK):",
            _twins("dropout2d"),
        ),
    ),
)

ELEMENTWISE = (
    *_bugs(
        "ops/elementwise/maps.py",
        (
            "missing term",
            "            from_b = i * b_steps[0] + j * b_steps[1] + k * b_steps[2]\n            if",
            "            from_b = i * b_steps[0] + j * b_steps[1]\n            if",
            _forward("add"),
        ),
        (
            "wrong axis",
            "            row, last = index // n3, index % n3\n"
            "            i, j, k = row // (n1 * n2), row // n2 % n1, row % n2",
            "            row, last = index // n3, index % n3\n"
            "            i, j, k = row // (n1 * n2), row // n1 % n2, row % n2",
            _twins("add"),
        ),
        (
            "bound",
            "        if i < y.size:\n            y[i] = function(a[i], b[i])\n",
            "        if i <= y.size:\n            y[i] = function(a[i], b[i])\n",
            _twins("mul"),
        ),
    ),
    *_bugs(
        "ops/elementwise/arithmetic.py",
        ("sign", "    return -dy * (a / b / b)", "    return dy * (a / b / b)", _gradients("div")),
        ("missing term", "    return -dy * y * y\n", "    return -dy * y\n", _gradients("reciprocal")),
    ),
    *_bugs(
        "ops/elementwise/selection.py",
        (
            "constant",
            "    return dy * (type(a)(0.5) if a == b else type(a)(0) if a < b else type(a)(1))",
            "    return dy * (type(a)(1) if a == b else type(a)(0) if a < b else type(a)(1))",
            _ops("maximum and ties"),
        ),
        (
            "sign",
            "    return type(dy)(0) if condition else dy",
            "    return dy if condition else type(dy)(0)",
            _gradients("where"),
        ),
        (
            "bound",
            "    return dy if x > high or high < low else type(dy)(0)",
            "    return dy if x > low or high < low else type(dy)(0)",
            _ops("test_gradients and clamp and tensors"),
        ),
    ),
    *_bugs(
        "ops/elementwise/power.py",
        (
            "missing term",
            "    return type(a)(0) if flat else dy * type(a)(math.pow(a, b)) * vecmath.log(a)",
            "    return type(a)(0) if flat else dy * type(a)(math.pow(a, b))",
            _gradients("pow"),
        ),
        ("constant", "type(y)(-0.5) * dy * (y * y * y)", "type(y)(-0.5) * dy * (y * y)", _gradients("rsqrt")),
    ),
    *_bugs(
        "ops/elementwise/blending.py",
        ("sign", "    return dy * (end - start)", "    return dy * (start - end)", _gradients("lerp")),
        (
            "sign",
            "vecmath.log1p(vecmath.exp(-abs(a - b)))",
            "vecmath.log1p(vecmath.exp(abs(a - b)))",
            _forward("logaddexp"),
        ),
    ),
    *_bugs(
        "ops/elementwise/trigonometric.py",
        ("sign", "    return -dy * type(x)(math.sin(x))", "    return dy * type(x)(math.sin(x))", _gradients("cos")),
    ),
    *_bugs(
        "ops/elementwise/exponential.py",
        ("missing term", "    return dy * (y + type(y)(1))", "    return dy * y", _gradients("expm1")),
    ),
)

INDEXING = (
    *_bugs(
        "ops/indexing/rows.py",
        (
            "race",
            "        low, high = m * part // ranges, m * (part + 1) // ranges\n        first",
            "        low, high = m * part // ranges, m\n        first",
            _ops("test_threads and index_select"),
        ),
        (
            "race",
            "            for i in range(first + cuda.threadIdx.x, last, BLOCK):\n                dx[o, row, i] +=",
            "            for i in range(first, last):\n                dx[o, row, i] +=",
            _twins("index_select"),
        ),
        (
            "missing term",
            "            row = ids[k]\n            if low <= row < high and row != skip:",
            "            row = ids[k]\n            if low <= row < high:",
            "tests/test_nn.py -k embedding",
        ),
        (
            "index",
            "            y[o, k, i] = x[o, row, i]\n\n\n@cuda_kernel",
            "            y[o, k, i] = x[o, k, i]\n\n\n@cuda_kernel",
            _forward("index_select"),
        ),
    ),
    *_bugs(
        "ops/indexing/elements.py",
        (
            "reduction",
            "            for i in range(first, last):\n                y[o, ids[o, k, i], i] += values[o, k, i]",
            "            for i in range(first, last):\n                y[o, ids[o, k, i], i] = values[o, k, i]",
            _forward("scatter_add"),
        ),
        (
            "wrong axis",
            "element // size % k_count, element % size",
            "element // k_count % size, element % size",
            _twins("gather"),
        ),
    ),
    *_bugs(
        "ops/indexing/reductions.py",
        (
            "missing term",
            "    return dy / count if v == y else zero",
            "    return dy if v == y else zero",
            _ops("scatter_reduce"),
        ),
        (
            "missing term",
            "            return dy * (product / v)",
            "            return dy * product",
            _gradients("scatter_reduce"),
        ),
        (
            "constant",
            "                y[o, m, i] /= counts[o, m, i]",
            "                y[o, m, i] /= counts[o, m, i] + one",
            _forward("scatter_reduce"),
        ),
    ),
    *_bugs(
        "ops/embedding.py",
        (
            "index",
            "        count = dy.dtype.type(counts[ids[n]])\n        for",
            "        count = dy.dtype.type(counts[n])\n        for",
            "tests/test_nn.py -k embedding",
        ),
    ),
    *_bugs(
        "ops/shape/joining.py",
        (
            "index",
            "            y[row, column + j] = x[row, j]",
            "            y[row, j] = x[row, j]",
            _forward("cat"),
        ),
        (
            "bound",
            "for j in range(cuda.threadIdx.x, x.shape[1], BLOCK):",
            "for j in range(cuda.threadIdx.x, x.shape[1] - 1, BLOCK):",
            _twins("cat"),
        ),
    ),
)

OTHERS = (
    *_bugs(
        "ops/distance.py",
        (
            "missing term",
            "    return outer / max(other_norm, eps), outer * y / norm if norm > type(y)(0) else type(y)(0)",
            "    return outer / max(other_norm, eps), outer * y if norm > type(y)(0) else type(y)(0)",
            _gradients("cosine_similarity"),
        ),
        ("reduction", "block_sum(squares1), block_sum(squares2)", "block_sum(squares1), squares2", _twins("cosine")),
        (
            "race",
            "    if cuda.threadIdx.x == 0:\n        norm1[row] =",
            "    if cuda.threadIdx.x <= 1:\n        norm1[row] =",
            _twins("cosine"),
        ),
    ),
    *_bugs(
        "ops/matmul/linear.py",
        (
            "reduction",
            "        for row in range(chunk * ROWS + 1, min(n, (chunk + 1) * ROWS)):\n            for j",
            "        for row in range(chunk * ROWS, min(n, (chunk + 1) * ROWS)):\n            for j",
            _gradients("linear"),
        ),
    ),
    *_bugs(
        "ops/creation/matrices.py",
        (
            "bound",
            "            kept = j - i <= diagonal if lower else j - i >= diagonal\n",
            "            kept = j - i < diagonal if lower else j - i >= diagonal\n",
            _forward("tril"),
        ),
        (
            "wrong axis",
            "    r, i = cuda.blockIdx.x // n, cuda.blockIdx.x % n",
            "    r, i = cuda.blockIdx.x // m, cuda.blockIdx.x % m",
            _twins("tri"),
        ),
    ),
    *_bugs(
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

MUTANTS: tuple[Mutant, ...] = (*RUNTIME, *ACTIVATIONS, *ELEMENTWISE, *INDEXING, *OTHERS)
