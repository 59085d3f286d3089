"""Bugs in padding, fold, unfold and transposed convolution."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, twins

WRITTEN = "tests/test_padding.py -k every_element_is_written"

PADDING = (
    *bugs(
        "ops/padding.py",
        (
            "index",
            "                first = origin + d_sources[left] * inner\n",
            "                first = origin + left * inner\n",
            forward("pad]"),
        ),
        (
            "bound",
            "                place = j if j < left else j + right - left\n                s = d_sources[place]\n"
            "                if s < 0:",
            "                place = j if j <= left else j + right - left\n                s = d_sources[place]\n"
            "                if s < 0:",
            forward("pad]"),
        ),
        ("missing term", "        if a < 0 or b < 0:\n", "        if a < 0:\n", forward("pad]")),
        (
            "wrong axis",
            "            origin = ((o * a_size + a) * b_size + b) * d * inner\n",
            "            origin = ((o * b_size + a) * a_size + b) * d * inner\n",
            forward("pad"),
        ),
        (
            "index",
            "        o, ja, jb = row // (a_places * b_places), row // b_places % a_places, row % b_places\n",
            "        o, ja, jb = row // (a_places * b_places), row // a_places % a_places, row % b_places\n",
            twins("pad"),
        ),
        (
            "sign",
            "    return np.where(i < size, i, 2 * (size - 1) - i)",
            "    return np.where(i < size, i, i - size)",
            forward("pad:reflect"),
        ),
        ("constant", "i, 2 * (size - 1) - i)", "i, 2 * size - 1 - i)", forward("pad:reflect")),
        ("bound", "i.clip(0, size - 1)", "i.clip(1, size - 1)", forward("pad:replicate")),
        ("missing term", "    return cut + (np.arange", "    return (np.arange", forward("pad:circular")),
        (
            "reduction",
            "                        target[np.uint64(to + head + i)] += source[np.uint64(first + i)]\n",
            "                        target[np.uint64(to + head + i)] = source[np.uint64(first + i)]\n",
            gradients("pad:re"),
        ),
        (
            "missing term",
            "                    for i in range(head):\n                        target[np.uint64(to + i)] = 0\n",
            "",
            gradients("pad]"),
        ),
        (
            "bound",
            "            for i in range(d * inner):\n",
            "            for i in range(inner):\n",
            WRITTEN,
        ),
        (
            "reduction",
            "                    if d_sources[place] == s:\n                        total += dy",
            "                    if d_sources[place] == s:\n                        total = dy",
            twins("pad:re"),
        ),
    ),
)

FOLD = (
    *bugs(
        "ops/fold.py",
        (
            "constant",
            "    return 0 if offset >= 0 else (step - 1 - offset) // step\n",
            "    return 0 if offset >= 0 else (step - offset) // step\n",
            forward("unfold]"),
        ),
        (
            "bound",
            "min(places, (size - 1 - offset) // step + 1)",
            "min(places, (size - 1 - offset) // step)",
            forward("unfold]"),
        ),
        (
            "wrong axis",
            "            h = i * step_h - margin_h + r * spread_h\n",
            "            h = i * step_w - margin_h + r * spread_h\n",
            forward("unfold]"),
        ),
        (
            "sign",
            "                    target[np.uint64(to + first + j)] = source[np.uint64(origin + j * step_w)]\n",
            "                    target[np.uint64(to + first + j)] = source[np.uint64(origin + j)]\n",
            forward("unfold]"),
        ),
        (
            "missing term",
            "            for j in range(columns - end):\n                target[np.uint64(to + end + j)] = 0\n",
            "",
            forward("unfold]"),
        ),
        (
            "sign",
            "        h, w = i * step_h - margin_h + r * spread_h, j",
            "        h, w = i * step_h + margin_h + r * spread_h, j",
            twins("unfold]"),
        ),
        (
            "reduction",
            "                        target[np.uint64(into + j)] += source[np.uint64(origin + j)]\n",
            "                        target[np.uint64(into + j)] = source[np.uint64(origin + j)]\n",
            forward("fold]"),
        ),
        (
            "missing term",
            "            if ahead < 0 or ahead % step_h != 0 or ahead // step_h >= rows:\n",
            "            if ahead < 0 or ahead // step_h >= rows:\n",
            forward("fold]"),
        ),
        (
            "index",
            "(((plane * taps_h + r) * taps_w + q) * rows",
            "(((plane * taps_h + r) * taps_h + q) * rows",
            forward("fold]"),
        ),
        (
            "bound",
            "beside % step_w == 0 and beside // step_w < columns",
            "beside % step_w == 0 and beside // step_w < columns - 1",
            twins("fold]"),
        ),
    ),
)

TRANSPOSED_CONVOLUTION = (
    *bugs(
        "ops/convolution/transposed.py",
        (
            "sign",
            "        size.append((n - 1) * step - 2 * edge + spread * (taps - 1) + 1 + extra)",
            "        size.append((n - 1) * step + 2 * edge + spread * (taps - 1) + 1 + extra)",
            forward("conv_transpose2d]"),
        ),
        (
            "missing term",
            "            dbias = sum_columns(dy.reshape(-1, dy.shape[3]))",
            "            dbias = dy.reshape(-1, dy.shape[3])[0].copy()",
            gradients("conv_transpose2d]"),
        ),
        (
            "wrong axis",
            "        options = (1, *steps), (0, *edges), (1, *spreads), groups\n",
            "        options = (*steps, 1), (*edges, 0), (*spreads, 1), groups\n",
            forward("conv_transpose1d]"),
        ),
        (
            "index",
            "weight_gradient(dy, x, weight.shape[2:], *ctx.options)",
            "weight_gradient(dy, x, weight.shape[:1:-1], *ctx.options)",
            gradients("conv_transpose2d]"),
        ),
    ),
)
