"""Bugs in operations on every element by itself."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, ops, twins

ELEMENTWISE = (
    *bugs(
        "ops/elementwise/maps.py",
        (
            "missing term",
            "            from_b = np.uint64(i * b_steps[0] + j * b_steps[1] + k * b_steps[2])",
            "            from_b = np.uint64(i * b_steps[0] + j * b_steps[1])",
            forward("mul:crosswise"),
        ),
        (
            "wrong axis",
            "            row, last = index // n3, index % n3\n"
            "            i, j, k = row // (n1 * n2), row // n2 % n1, row % n2",
            "            row, last = index // n3, index % n3\n"
            "            i, j, k = row // (n1 * n2), row // n1 % n2, row % n2",
            twins("mul:crosswise"),
        ),
        (
            "bound",
            "            for j in range(i, min(i + 4, y.size)):\n                y[j] = function(a[j], b[j])\n",
            "            for j in range(i, min(i + 4, y.size + 1)):\n                y[j] = function(a[j], b[j])\n",
            twins("mul]"),
        ),
    ),
    *bugs(
        "ops/elementwise/arithmetic.py",
        ("sign", "    return -dy * (y / b)", "    return dy * (y / b)", gradients("div]")),
        ("missing term", "    return -dy * y * y\n", "    return -dy * y\n", gradients("reciprocal")),
        (
            "missing term",
            "multiply_map(sum_to(dy, b_shape), ctx.alpha) if wants_b",
            "sum_to(dy, b_shape) if wants_b",
            gradients("add:alpha"),
        ),
    ),
    *bugs(
        "ops/elementwise/operands.py",
        (
            "race",
            "                kept = over_memory(x, arrays.copied)  # y takes its place\n",
            "                kept = x\n",
            "tests/test_in_place.py -k gradients_are_those",
        ),
    ),
    *bugs(
        "ops/elementwise/in_place.py",
        ("race", "        and is_apart\n", "", "tests/test_in_place.py -k a_part_of_it"),
        (
            "missing term",
            "        before._version, before._seen = input._version, input._seen\n",
            "",
            "tests/test_in_place.py -k must_stay",
        ),
        (
            "race",
            "before = _standing_for(input, cast_map(x))",
            "before = _standing_for(input, x)",
            "tests/test_in_place.py -k other_operands",
        ),
    ),
    *bugs(
        "ops/elementwise/angles.py",
        (
            "sign",
            "t2 * (type(x)(1 / 30) - t2 * inner)",
            "t2 * (type(x)(1 / 30) + t2 * inner)",
            "tests/test_elementwise.py -k small_arguments_of_sinc",
        ),
        (
            "missing term",
            "dy * pi * (t * cosine(t) - sine(t)) / t2",
            "dy * pi * cosine(t)",
            gradients("sinc"),
        ),
    ),
    *bugs(
        "ops/elementwise/comparison.py",
        (
            "sign",
            "    return math.copysign(type(x)(1), x) < type(x)(0)",
            "    return x < type(x)(0)",
            forward("signbit"),
        ),
    ),
    *bugs(
        "ops/elementwise/selection.py",
        (
            "sign",
            "    return type(dy)(0) if condition else dy",
            "    return dy if condition else type(dy)(0)",
            gradients("where]"),
        ),
    ),
    *bugs(
        "ops/elementwise/extrema.py",
        (
            "constant",
            "    return dy * (type(a)(0.5) if a == b else type(a)(0) if a < b else type(a)(1))",
            "    return dy * (type(a)(1) if a == b else type(a)(0) if a < b else type(a)(1))",
            "tests/test_elementwise.py -k share_the_gradient",
        ),
        (
            "bound",
            "    return dy if x > high or high < low else type(dy)(0)",
            "    return dy if x > low or high < low else type(dy)(0)",
            ops("test_gradients and clamp and tensors"),
        ),
    ),
    *bugs(
        "ops/elementwise/power.py",
        (
            "missing term",
            "    return left, type(a)(0) if flat else dy * y * log",
            "    return left, type(a)(0) if flat else dy * y",
            gradients("pow]"),
        ),
        ("constant", "type(y)(-0.5) * dy * (y * y * y)", "type(y)(-0.5) * dy * (y * y)", gradients("rsqrt")),
    ),
    *bugs(
        "ops/elementwise/blending.py",
        ("sign", "    return dy * (end - start)", "    return dy * (start - end)", gradients("lerp")),
        ("missing term", "    return dy * (value * b)\n", "    return dy * b\n", gradients("addcmul")),
        (
            "sign",
            "vecmath.log1p(vecmath.exp(-abs(a - b)))",
            "vecmath.log1p(vecmath.exp(abs(a - b)))",
            forward("logaddexp"),
        ),
    ),
    *bugs(
        "ops/elementwise/trigonometric.py",
        ("sign", "    return -dy * sine(x)", "    return dy * sine(x)", gradients("cos]")),
    ),
    *bugs(
        "ops/elementwise/exponential.py",
        ("missing term", "    return dy * (y + type(y)(1))", "    return dy * y", gradients("expm1")),
    ),
)


ACTIVATIONS = (
    *bugs(
        "ops/activation/rectifiers.py",
        ("index", "    return dy if x > type(x)(0) else dy * slope", "    return dy * slope", gradients("leaky_relu")),
        (
            "constant",
            "middle = dy * (x / type(x)(3) + type(x)(0.5))",
            "middle = dy * (x / type(x)(3) + type(x)(1))",
            gradients("hardswish"),
        ),
        (
            "sign",
            "    shrunk = x - limit if x > type(x)(0) else x + limit",
            "    shrunk = x - limit",
            forward("softshrink"),
        ),
    ),
    *bugs(
        "ops/activation/smooth.py",
        (
            "missing term",
            "probability + x * e * type(x)(_NORMAL_DENSITY)",
            "probability",
            gradients("gelu"),
        ),
        (
            "constant",
            "(type(x)(1) + type(x)(3) * cube)",
            "(type(x)(1) + type(x)(2) * cube)",
            gradients("gelu"),
        ),
        (
            "sign",
            "    return (x if negative else type(x)(0)) - vecmath.log1p(e)",
            "    return (x if negative else type(x)(0)) + vecmath.log1p(e)",
            forward("logsigmoid"),
        ),
        ("missing term", "    return x - t, t * t\n", "    return x - t, t\n", gradients("tanhshrink")),
    ),
    *bugs(
        "ops/activation/gated.py",
        (
            "wrong axis",
            "dy[row, j] * gate * x[row, 0, j]",
            "dy[row, j] * gate * x[row, 1, j]",
            gradients("glu"),
        ),
        (
            "index",
            "y.shape[1], BLOCK):\n        y[row, j]",
            "y.shape[1], BLOCK + 1):\n        y[row, j]",
            twins("glu"),
        ),
        (
            "reduction",
            "                    dweight[chunk, c] += total",
            "                    dweight[chunk, c] = total",
            gradients("prelu"),
        ),
        (
            "bound",
            "    count = (min(samples, first + ROWS) - first) * size\n    for c",
            "    count = (min(samples, first + ROWS) - first) * size - 1\n    for c",
            twins("prelu"),
        ),
    ),
    *bugs(
        "ops/activation/random_slopes.py",
        (
            "missing term",
            "    slope = lower + width * type(x)(uniform_float32(word))",
            "    slope = width * type(x)(uniform_float32(word))",
            forward("rrelu"),
        ),
    ),
    *bugs(
        "ops/dropout.py",
        ("sign", "    kept = word >= threshold", "    kept = word < threshold", forward("dropout]")),
        (
            "index",
            "        word = words[row % 4]\n        for",
            "        word = words[0]\n        for",
            forward("dropout2d"),
        ),
        (
            "bound",
            "min(4 * group + 4, x.shape[0])):",
            "min(4 * group + 3, x.shape[0])):",
            twins("dropout:many"),
        ),
        (
            "wrong axis",
            "for i in range(cuda.threadIdx.x, x.shape[1], BLOCK):",
            "for i in range(cuda.threadIdx.x, x.shape[0], BLOCK):",
            twins("dropout2d"),
        ),
        (
            "index",
            "first, sample = place * channels, place // places * channels",
            "first, sample = place * channels, place % places * channels",
            forward("dropout2d:channels"),
        ),
        (
            "sign",
            "            kept = tossed[np.uint64(sample + c)] == 0\n",
            "            kept = tossed[np.uint64(sample + c)] != 0\n",
            forward("dropout2d:channels"),
        ),
        (
            "index",
            "        kept = tosses[b, c] == 0\n",
            "        kept = tosses[0, c] == 0\n",
            twins("dropout2d:channels"),
        ),
    ),
)
