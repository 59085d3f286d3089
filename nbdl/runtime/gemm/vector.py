"""A row times a matrix, y = act(beta y + x B + bias): as fast as memory gives B, so B is read once, in long pieces."""

from __future__ import annotations

from nbdl.runtime.jit import cpu_function
from nbdl.runtime.simd import advance

STRIP = 1024
"""Columns whose sums stay in the first cache while the rows of B go by."""

GRAIN = 512
"""Blocks of columns are multiples of it, and so of a vector loop's step: whatever the blocks, each column is summed by
the same instructions, and the same last columns are left to the loop for the rest."""


@cpu_function
def multiply_row(n, k, x, x_inner, b, b_inner, b_column, bias, bias_step, has_bias, floor, y, beta, workspace, zero):
    """Sets y [n]; x [k], b [k, n] and bias of any strides. The workspace holds k elements where x has a stride."""
    if x_inner != 1:
        for i in range(k):
            workspace[i] = x[i * x_inner]
        x = workspace
    for left in range(0, n, STRIP):
        columns = min(STRIP, n - left)
        strip = advance(y, left)
        for j in range(columns):
            old = beta * strip[j] if beta != 0 else beta
            strip[j] = old + bias[(left + j) * bias_step] if has_bias else old
        if b_inner == 1 and (b_column != 1 or n == 1):
            _add_dots(columns, k, x, advance(b, left * b_column), b_column, strip, zero)
        else:
            _add_rows(columns, k, x, advance(b, left * b_column), b_inner, b_column, strip)
        for j in range(columns):
            strip[j] = floor if floor > strip[j] else strip[j]


@cpu_function
def _add_rows(columns, k, x, b, b_inner, b_column, y):
    """Adds x b to y [columns], eight rows of b at a time."""
    whole = k // 8 * 8 if b_column == 1 else 0
    for i in range(0, whole, 8):
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        x4, x5, x6, x7 = x[i + 4], x[i + 5], x[i + 6], x[i + 7]
        b0, b4 = advance(b, i * b_inner), advance(b, (i + 4) * b_inner)
        b1, b2, b3 = advance(b0, b_inner), advance(b0, 2 * b_inner), advance(b0, 3 * b_inner)
        b5, b6, b7 = advance(b4, b_inner), advance(b4, 2 * b_inner), advance(b4, 3 * b_inner)
        for j in range(columns):
            first = x0 * b0[j] + x1 * b1[j] + x2 * b2[j] + x3 * b3[j]
            y[j] += first + (x4 * b4[j] + x5 * b5[j] + x6 * b6[j] + x7 * b7[j])
    for i in range(whole, k):
        for j in range(columns):
            y[j] += x[i] * b[i * b_inner + j * b_column]


@cpu_function
def _add_dots(columns, k, x, b, b_column, y, zero):
    """The same where the columns of b are contiguous, four columns at a time."""
    whole = columns // 4 * 4
    for j in range(0, whole, 4):
        b0 = advance(b, j * b_column)
        b1, b2, b3 = advance(b0, b_column), advance(b0, 2 * b_column), advance(b0, 3 * b_column)
        sum0 = sum1 = sum2 = sum3 = zero
        for i in range(k):
            sum0 += x[i] * b0[i]
            sum1 += x[i] * b1[i]
            sum2 += x[i] * b2[i]
            sum3 += x[i] * b3[i]
        y[j] += sum0
        y[j + 1] += sum1
        y[j + 2] += sum2
        y[j + 3] += sum3
    for j in range(whole, columns):
        total = zero
        for i in range(k):
            total += x[i] * b[j * b_column + i]
        y[j] += total
