"""Bugs in pooling, interpolation and pixel shuffles."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, twins

POOLING = (
    *bugs(
        "ops/pooling/windows.py",
        (
            "bound",
            "(count - 1) * stride >= size + padding:",
            "(count - 1) * stride > size + padding:",
            forward("avg_pool"),
        ),
        (
            "missing term",
            "dtype=np.int64) * stride - padding",
            "dtype=np.int64) * stride",
            forward("max_pool2d"),
        ),
        (
            "constant",
            "counts = np.minimum(starts + kernel, size + padding) - starts",
            "counts = np.full_like(starts, kernel)",
            forward("avg_pool"),
        ),
        ("constant", "step = dilation // math.gcd(stride, dilation)", "step = dilation", gradients("max_pool")),
        ("index", "+ padding\n    lowest = np.maximum", "\n    lowest = np.maximum", gradients("max_pool")),
        (
            "bound",
            "-(-(part + 1) * size // max(parts, 1)) - 1",
            "(part + 1) * size // max(parts, 1) - 1",
            forward("adaptive_max_pool"),
        ),
    ),
    *bugs(
        "ops/pooling/max.py",
        ("missing term", "(value > best) | (value != value)", "value > best", forward("max_pool2d:ties")),
        (
            "bound",
            "(value > best) | (value != value)",
            "(value >= best) | (value != value)",
            forward("max_pool2d:ties"),
        ),
        (
            "index",
            "place_v = place.dtype.type(h * width + v)",
            "place_v = place.dtype.type(h * width + u)",
            forward("max_pool"),
        ),
        (
            "constant",
            "_larger(x[n, 2 * i + 1, 2 * j, c], BOTTOM_LEFT, best",
            "_larger(x[n, 2 * i + 1, 2 * j, c], TOP_RIGHT, best",
            gradients("max_pool2d:pairs"),
        ),
        (
            "reduction",
            "dx[n, h, w, c] += gradient if",
            "dx[n, h, w, c] = gradient if",
            gradients("max_pool2d:many"),
        ),
        ("index", "right = np.uint8(h % 2 * 2 + 1)", "right = np.uint8(h % 2 + 1)", gradients("max_pool2d:pairs")),
        (
            "wrong axis",
            "where = place.dtype.type(h * x.shape[2] + w)",
            "where = place.dtype.type(h * x.shape[1] + w)",
            twins("max_pool2d"),
        ),
        (
            "missing term",
            "if value > best or value != value or where < 0:",
            "if value > best or where < 0:",
            twins("max_pool2d:ties"),
        ),
        (
            "reduction",
            "total += dy[n, i, j, c]",
            "total = dy[n, i, j, c]",
            twins("max_pool2d:many"),
        ),
        ("wrong axis", "== h % 2 * 2 + w % 2:", "== w % 2 * 2 + h % 2:", twins("max_pool2d:pairs")),
    ),
    *bugs(
        "ops/pooling/average.py",
        (
            "missing term",
            "            count = y.dtype.type(row_counts[i] * column_counts[j])",
            "            count = y.dtype.type(row_counts[i])",
            forward("avg_pool2d"),
        ),
        (
            "missing term",
            "/ dx.dtype.type(row_counts[i] * column_counts[j])\n                    if is_first:",
            "/ dx.dtype.type(row_counts[i])\n                    if is_first:",
            gradients("avg_pool2d"),
        ),
        (
            "sign",
            "dx[n, h, w, c] += dy[n, i, j, c] * part",
            "dx[n, h, w, c] -= dy[n, i, j, c] * part",
            gradients("avg_pool2d:many"),
        ),
        (
            "wrong axis",
            "n, i, j = pixel // (out_height * out_width), pixel // out_width % out_height, pixel % out_width",
            "n, i, j = pixel // (out_height * out_width), pixel // out_height % out_height, pixel % out_width",
            twins("avg_pool2d"),
        ),
    ),
    *bugs(
        "ops/pooling/power.py",
        (
            "missing term",
            "pow(mul(mul(sign(mean), relu(abs(mean))), size), 1 / norm_type)",
            "pow(mul(sign(mean), relu(abs(mean))), 1 / norm_type)",
            forward("lp_pool"),
        ),
    ),
    *bugs(
        "ops/pooling/unpooling.py",
        (
            "constant",
            "+ kernel - 2 * pad\n"
            "        for size, step, kernel, pad in zip(input.shape[-dims:], strides, kernels, paddings,",
            "+ kernel - pad\n"
            "        for size, step, kernel, pad in zip(input.shape[-dims:], strides, kernels, paddings,",
            forward("max_unpool"),
        ),
    ),
)

INTERPOLATION = bugs(
    "ops/interpolation.py",
    (
        "missing term",
        "else (outputs + 0.5) * step - 0.5",
        "else (outputs + 0.5) * step",
        forward("interpolate"),
    ),
    ("sign", "[1 - part, part]", "[part, 1 - part]", forward("interpolate")),
    ("constant", "- places, -0.75)", "- places, -0.5)", forward("interpolate")),
    ("missing term", "dtype=np.float32) + shift) * step)", "dtype=np.float32)) * step)", forward("interpolate")),
    (
        "bound",
        "_STRETCHED[mode]\n    stretch = max(step, 1.0)",
        "_STRETCHED[mode]\n    stretch = step",
        forward("interpolate"),
    ),
    ("index", "        input_weights[by_input],\n", "        input_weights,\n", gradients("interpolate")),
    (
        "missing term",
        "weight = row_weights[r] * column_weights[s]",
        "weight = column_weights[s]",
        forward("interpolate"),
    ),
    (
        "reduction",
        "y[n, i, j, c] += weight * x[n, h, w, c]",
        "y[n, i, j, c] = weight * x[n, h, w, c]",
        forward("interpolate"),
    ),
    (
        "missing term",
        "total += row_weights[r] * column_weights[s] * x",
        "total += row_weights[r] * x",
        twins("interpolate"),
    ),
)

SHUFFLES = bugs(
    "ops/pixel_shuffle.py",
    ("wrong axis", "= x[p, i, j, h, w]", "= x[p, j, i, h, w]", forward("pixel_shuffle")),
    ("index", "= x[p, row, w * r + j]", "= x[p, row, j * width + w]", forward("pixel_unshuffle")),
    (
        "wrong axis",
        "= x[p, row % r, column % r, row // r, column // r]",
        "= x[p, column % r, row % r, row // r, column // r]",
        twins("pixel_shuffle"),
    ),
    (
        "wrong axis",
        "y[p, row % r, column % r, row // r, column // r] =",
        "y[p, column % r, row % r, row // r, column // r] =",
        twins("pixel_unshuffle"),
    ),
    (
        "wrong axis",
        "(n, groups, channels // groups, *sizes)",
        "(n, channels // groups, groups, *sizes)",
        forward("channel_shuffle"),
    ),
)
