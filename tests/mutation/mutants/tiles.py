"""Bugs in convolutions that go in tiles, and in the vector code that turns a tile."""

from __future__ import annotations

from tests.mutation.mutant import bugs, twins

ERRORS = "tests/test_convolution_tiles.py -k errors_of_each_precision"

TILES = (
    *bugs(
        "ops/convolution/winograd.py",
        (
            "sign",
            "[0, 1, -1, 8, -8, 1]",
            "[0, 1, -1, 8, 8, 1]",
            ERRORS,
        ),
        (
            "missing term",
            "[1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]",
            "[1 / 2, -1 / 2, 0], [0, 0, 1]]",
            ERRORS,
        ),
        (
            "bound",
            "            if 0 <= row + i < height and 0 <= column + j < width:",
            "            if 0 <= row + i < height and 0 <= column + j <= width:",
            ERRORS,
        ),
        (
            "bound",
            "    for i in range(min(side, height - row)):",
            "    for i in range(min(side, height - row - 1)):",
            ERRORS,
        ),
        (
            "wrong axis",
            "            column = tile % across * apart + shift[1]",
            "            column = tile % down * apart + shift[1]",
            ERRORS,
        ),
        (
            "reduction",
            "                        0.0 if begin == first else 1.0, min(panel_width, outputs - left),",
            "                        0.0, min(panel_width, outputs - left),",
            ERRORS,
        ),
        (
            "race",
            "        target = pointer(partial, chunk * TAPS * TAPS * numbers[INPUTS] * numbers[OUTPUTS])",
            "        target = pointer(partial, 0)",
            ERRORS,
        ),
        (
            "index",
            "        first_column = pixel % out_width + numbers[COLUMN_SHIFT]",
            "        first_column = pixel % out_height + numbers[COLUMN_SHIFT]",
            twins("conv2d:in"),
        ),
        (
            "missing term",
            "        if bias.shape[0] > 0:\n            total = bias[k]\n        for r in range(TAPS):",
            "        for r in range(TAPS):",
            twins("conv2d:in"),
        ),
    ),
    *bugs(
        "runtime/sandwich.py",
        (
            "sign",
            "            total = builder.fsub(total, term, flags=_FAST)",
            "            total = builder.fadd(total, term, flags=_FAST)",
            ERRORS,
        ),
        (
            "missing term",
            "                    total = builder.fadd(value, added)",
            "                    total = value",
            ERRORS,
        ),
    ),
)
