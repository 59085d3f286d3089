"""Bugs in operations that do the work of two, and in rotary positions."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, twins

TOGETHER = "tests/test_fused.py -k activation_are_those_apart"
ROW = "tests/test_fused.py -k row_have_the_bits"
WANTED = "tests/test_fused.py -k row_give_the_gradients"
WATCHED = "tests/test_fused.py -k who_watches_launches"
SUMS = "tests/test_fused.py -k a_sum_with_a_norm"

FUSED = (
    *bugs(
        "runtime/gemm/bending.py",
        (
            "index",
            "                slopes = advance(line, to_slope)",
            "                slopes = advance(c, to_slope)",
            TOGETHER,
        ),
        (
            "bound",
            "        for i in range(rows):",
            "        for i in range(rows - 1):",
            TOGETHER,
        ),
    ),
    *bugs(
        "runtime/gemm/blocks.py",
        (
            "missing term",
            "                bend_block(bend, columns, rows, block_c, c_column, to_slope)",
            "                bend_block(bend, columns, rows, block_c, c_column, 0)",
            TOGETHER,
        ),
        (
            "reduction",
            "                    if last and bend != 0:",
            "                    if bend != 0:",
            TOGETHER,
        ),
        (
            "wrong axis",
            "                bend_block(bend, 1, columns, block_c, 0, to_slope)",
            "                bend_block(bend, 1, rows, block_c, 0, to_slope)",
            TOGETHER,
        ),
    ),
    *bugs(
        "runtime/gemm/product.py",
        (
            "index",
            "                    c[at + c_size] = slope",
            "                    c[at + m * n - n] = slope",
            twins("linear_gelu"),
        ),
    ),
    *bugs(
        "ops/matmul/linear.py",
        (
            "missing term",
            "    return dh * slope",
            "    return dh",
            gradients("linear_gelu"),
        ),
    ),
    *bugs(
        "ops/matmul/programs.py",
        ("sign", "zero if line[FLOOR] else", "zero if not line[FLOOR] else", ROW),
        (
            "index",
            "            slopes = result._replace(offset=result.offset + shape.rows * columns)",
            "            slopes = result._replace(offset=result.offset + columns)",
            ROW,
        ),
        (
            "missing term",
            "        operands = [b, a, c, bias] if call.turned else [a, b, c, bias]",
            "        operands = [a, b, c, bias]",
            ROW,
        ),
        (
            "race",
            "            dy, here, there = _Matrix(ROOM, *dh[1:3], there), there, here",
            "            dy = _Matrix(ROOM, *dh[1:3], there)",
            ROW,
        ),
        (
            "bound",
            "        self._workspace = max(self._workspace, tasks * elements)",
            "        self._workspace = min(self._workspace, tasks * elements)",
            ROW,
        ),
        (
            "wrong axis",
            "            writer.product(dy.turned, before, dweight)",
            "            writer.product(before.turned, dy, dweight)",
            ROW,
        ),
        (
            "index",
            "self._of_layer(WEIGHTS + 2 * layers + shape.place(l)",
            "self._of_layer(WEIGHTS + 2 * (layers + l)",
            WANTED,
        ),
        (
            "index",
            "activation.curve is not None and any(wants[shape.place(l) :])",
            "activation.curve is not None and any(wants)",
            WANTED,
        ),
        (
            "missing term",
            "        if not any(wants_below):",
            "        if not wants_below[-1]:",
            WANTED,
        ),
        (
            "missing term",
            "PRODUCT, gemm_kernel if curve is None else curve.kernel,",
            "PRODUCT, gemm_kernel,",
            "tests/test_fused.py -k row_of_layers_runs_the_cuda_twins",
        ),
        (
            "index",
            "            array, first = operands[line[column]], line[column + 1] // dtype.itemsize",
            "            array, first = operands[line[column]], line[column + 1]",
            WATCHED,
        ),
    ),
    *bugs(
        "ops/rotary.py",
        (
            "sign",
            "                y[target + i] = left * c - right * s",
            "                y[target + i] = left * c + right * s",
            forward("rotary"),
        ),
        (
            "sign",
            "        return rotated(dy, ctx.table, -1, ctx.interleaved), None, None",
            "        return rotated(dy, ctx.table, 1, ctx.interleaved), None, None",
            gradients("rotary"),
        ),
        (
            "index",
            "                y[target + i + i + np.uint64(1)] = right * c + left * s",
            "                y[target + i + np.uint64(1)] = right * c + left * s",
            forward("rotary"),
        ),
        (
            "wrong axis",
            "        row = np.uint64(a * table_a + t)",
            "        row = np.uint64(b * table_a + t)",
            forward("rotary"),
        ),
        (
            "missing term",
            "    return (turns - type(turns)(math.floor(turns))) + fma(position, low, rest)",
            "    return turns - type(turns)(math.floor(turns))",
            "tests/test_fused.py -k far_positions",
        ),
        (
            "index",
            "        y[target + step * i + apart] = right * c + left * s",
            "        y[target + step * i + 1] = right * c + left * s",
            twins("rotary"),
        ),
    ),
    *bugs(
        "ops/activation/swiglu.py",
        (
            "missing term",
            "    return up * fma(silu, type(gate)(1) - sigmoid, sigmoid), silu",
            "    return up * sigmoid, silu",
            gradients("swiglu"),
        ),
        (
            "constant",
            "    if i < y.size:",
            "    if i < y.size - 1:",
            twins("swiglu"),
        ),
    ),
    *bugs(
        "ops/normalization/residual.py",
        (
            "missing barrier",
            "    cuda.syncthreads()  # every thread reads the row's first element\n",
            "",
            twins("residual_layer_norm"),
        ),
        (
            "index",
            "            denormalize_two_rows(dtotal, dy,",
            "            denormalize_two_rows(dy, dy,",
            SUMS,
        ),
        (
            "bound",
            "        if last % 2 == 0:",
            "        if last % 2 == 1:",
            SUMS,
        ),
        (
            "missing term",
            "            unscale_row(dtotal, dy, total",
            "            unscale_row(None, dy, total",
            SUMS,
        ),
    ),
    *bugs(
        "ops/softmax.py",
        (
            "bound",
            "unsigned(last * d)):\n            flat[i] = short_exp(flat[i])",
            "unsigned(last * d - 1)):\n            flat[i] = short_exp(flat[i])",
            forward("softmax"),
        ),
    ),
)
