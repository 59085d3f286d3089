"""Bugs in attention."""

from __future__ import annotations

from tests.mutation.mutant import bugs, forward, gradients, twins

ROW = "scaled_dot_product_attention"
BLOCKS = "tests/test_attention.py -k several_blocks"

ATTENTION = (
    *bugs(
        "ops/attention/forward.py",
        ("bound", "        top = max(0, left + 1 - first_key)", "        top = max(0, left + 2 - first_key)", BLOCKS),
        ("bound", "        depth = min(keys, first_key + row + height - 1)",
         "        depth = min(keys, first_key + row + height - 2)", forward(ROW + ":long")),
        ("missing term", "                        total += factor * sums[i]\n", "", BLOCKS),
        ("missing term",
         "                            scale_row(advance(result, i * y_row), columns, factor)\n",
         "                            factor = one\n", BLOCKS),
        ("index", "                    before = maxima[i] if left > 0 else lowest",
         "                    before = maxima[0] if left > 0 else lowest", BLOCKS),
        ("index", "            if problem // group != packed:\n",
         "            if packed < 0:\n", forward(ROW)),
        ("index", "words = (first_row + i) * ((keys + 3) // 4) + left // 4",
         "words = (first_row + i) * (keys // 4) + left // 4", forward(ROW + ":dropout")),
        ("bound", "            many = 1 if causal else keys", "            many = keys", forward(ROW + "]")),
        ("constant", "logs[first_row + i] = -lowest if total == zero else highest + log(total)",
         "logs[first_row + i] = lowest if total == zero else highest + log(total)",
         "tests/test_attention.py -k nothing"),
        ("missing barrier", "        weights[lane] = e\n        cuda.syncwarp()\n", "        weights[lane] = e\n",
         twins(ROW)),
        ("sign", "        e = exp(score - shift)\n        factor = exp(before - shift)",
         "        e = exp(score - shift)\n        factor = exp(shift - before)", twins(ROW + ":long")),
    ),
    *bugs(
        "ops/attention/backward.py",
        ("index", "        top = max(0, key + 1 - first_key)", "        top = max(0, key + 2 - first_key)",
         gradients(ROW + "]")),
        ("index", "block = turn * splits + (split if turn % 2 == 0 else splits - 1 - split)",
         "block = turn * splits + (split if turn % 2 == 0 else split - 1)", "tests/test_attention.py -k take_turns"),
        ("index", "advance(deltas, head * queries), zero,", "advance(deltas, 0), zero,",
         gradients(ROW + ":grouped")),
        ("missing term",
         "                        if threshold > 0:\n"
         "                            drop(row, looked_at, words, random, threshold, keep_scale, zero)\n"
         "                        fill_row(row",
         "                        fill_row(row", gradients(ROW + ":dropout")),
        ("wrong axis", "scores, scores_row, g, g_row, columns, block_dv, dv_row)",
         "scores, scores_row, x, x_row, columns, block_dv, dv_row)", gradients(ROW + "]")),
        ("constant", "                            scale_row(drow, looked_at, scale)\n", "",
         gradients(ROW + ":additive")),
        ("bound", "for top in range(min(left, queries) if causal else 0, queries, block_rows)",
         "for top in range(min(left + block_rows, queries) if causal else 0, queries, block_rows)",
         gradients(ROW + "]")),
        ("missing barrier", "            weights[lane] = weight\n            cuda.syncwarp()\n",
         "            weights[lane] = weight\n", twins(ROW)),
        ("sign", "                dscore *= dweight - strided_dot", "                dscore *= dweight + strided_dot",
         twins(ROW + "]")),
    ),
    *bugs(
        "ops/attention/rows.py",
        ("sign", "drow[j] = scale * (p * (drow[j] - delta))", "drow[j] = scale * (p * (drow[j] + delta))",
         gradients(ROW + "]")),
        ("index", "row[j] = scale * row[j] + bias[j * step]", "row[j] = scale * row[j] + bias[j]",
         forward(ROW + ":additive")),
        ("missing term", "            row[j] = scale * row[j] + (nothing if allowed[j] != 0 else forbidden)",
         "            row[j] = scale * row[j] + (nothing if allowed[0] != 0 else forbidden)", forward(ROW + ":mask")),
    ),
    *bugs(
        "ops/attention/plan.py",
        ("wrong axis", "        (k_shape[:-2], k_steps[:-2], group),\n        (v_shape[:-2], v_steps[:-2], group),\n"
         "        (lead, mask_steps", "        (k_shape[:-2], v_steps[:-2], group),\n"
         "        (v_shape[:-2], v_steps[:-2], group),\n        (lead, mask_steps", forward(ROW + ":grouped")),
    ),
    *bugs(
        "ops/shape/joining.py",
        ("index", " or address_of(part) != place or ", " or ", "tests/test_shape.py -k any_order"),
    ),
)  # fmt: skip
