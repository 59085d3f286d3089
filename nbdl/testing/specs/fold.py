"""Rows of fold and unfold."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops import fold, unfold
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

# The module, not the function of the same name that the package shows.
from nbdl.ops.fold import fold_reference, unfold_reference  # isort: skip


def both(draw: Draw, low: int, high: int) -> Any:
    """An integer for both axes, or one for each."""
    return draw.integer(low, high) if draw.boolean() else (draw.integer(low, high), draw.integer(low, high))


def window(draw: Draw, most: int) -> tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]:
    """A window's arguments, an image size that it fits in, and the number of its places along both axes."""
    options = {
        "kernel_size": both(draw, 1, 3),
        "dilation": both(draw, 1, 2),
        "padding": both(draw, 0, 2),
        "stride": both(draw, 1, 3),
    }
    image, places = [], []
    for axis in range(2):
        taps, spread, margin, step = (np.broadcast_to(option, 2)[axis] for option in options.values())
        least = max(int(spread * (taps - 1) + 1 - 2 * margin), 1)
        image.append(draw.integer(least, max(least, most)))
        places.append(int((image[-1] + 2 * margin - spread * (taps - 1) - 1) // step + 1))
    return options, tuple(image), tuple(places)


def images(draw: Draw) -> dict[str, Any]:
    """Images, with or without a batch."""
    options, image, _ = window(draw, 5)
    lead = (draw.integer(0, 2), draw.integer(1, 2)) if draw.boolean() else (draw.integer(1, 2),)
    return {"input": draw.array((*lead, *image)), **options}


def columns(draw: Draw) -> dict[str, Any]:
    """Columns, with or without a batch."""
    options, image, places = window(draw, 3)
    rows = draw.integer(1, 2) * int(np.prod(np.broadcast_to(options["kernel_size"], 2)))
    lead = (draw.integer(0, 2),) if draw.boolean() else ()
    return {"input": draw.array((*lead, rows, int(np.prod(places)))), "output_size": image, **options}


def wide_images(draw: Draw) -> dict[str, Any]:
    """More elements than a CUDA block has threads."""
    return {"input": draw.array((2, 3, draw.integer(5, 7), 9)), "kernel_size": 3, "padding": 1}


def wide_columns(draw: Draw) -> dict[str, Any]:
    """More pixels than a CUDA block has threads."""
    height = draw.integer(5, 7)
    return {"input": draw.array((2, 27, height * 9)), "output_size": (height, 9), "kernel_size": 3, "padding": 1}


UNFOLD_REFUSALS = (
    Refusal(lambda: {"input": [[[1.0]]], "kernel_size": 1}, ArgumentTypeError, "input"),
    Refusal(lambda: {"input": np.ones((4, 5)), "kernel_size": 2}, ShapeError, "input"),
    Refusal(lambda: {"input": np.ones((1, 0, 4, 5)), "kernel_size": 2}, ShapeError, "input"),
    Refusal(lambda: {"input": np.ones((1, 4, 5), np.int64), "kernel_size": 2}, DTypeError, "input"),
    Refusal(lambda: {"input": np.ones((1, 4, 5)), "kernel_size": 6}, ShapeError, "kernel_size"),
    Refusal(lambda: {"input": np.ones((1, 4, 5)), "kernel_size": 0}, ArgumentError, "kernel_size"),
    Refusal(lambda: {"input": np.ones((1, 4, 5)), "kernel_size": (1, 1, 1)}, ArgumentError, "kernel_size"),
    Refusal(lambda: {"input": np.ones((1, 4, 5)), "kernel_size": 1.0}, ArgumentTypeError, "kernel_size"),
    Refusal(lambda: {"input": np.ones((1, 4, 5)), "kernel_size": 2, "dilation": 0}, ArgumentError, "dilation"),
    Refusal(lambda: {"input": np.ones((1, 4, 5)), "kernel_size": 2, "padding": -1}, ArgumentError, "padding"),
    Refusal(lambda: {"input": np.ones((1, 4, 5)), "kernel_size": 2, "stride": 0}, ArgumentError, "stride"),
)

FOLD_REFUSALS = (
    Refusal(lambda: {"input": [[1.0]], "output_size": 1, "kernel_size": 1}, ArgumentTypeError, "input"),
    Refusal(lambda: {"input": np.ones((1, 1, 4, 12)), "output_size": 4, "kernel_size": 2}, ShapeError, "input"),
    Refusal(lambda: {"input": np.ones((4, 12), np.int64), "output_size": 4, "kernel_size": 2}, DTypeError, "input"),
    Refusal(lambda: {"input": np.ones((4, 11)), "output_size": (4, 5), "kernel_size": 2}, ShapeError, "input"),
    Refusal(lambda: {"input": np.ones((6, 12)), "output_size": (4, 5), "kernel_size": 2}, ShapeError, "input"),
    Refusal(lambda: {"input": np.ones((0, 12)), "output_size": (4, 5), "kernel_size": 2}, ShapeError, "input"),
    Refusal(lambda: {"input": np.ones((4, 1)), "output_size": (1, 5), "kernel_size": 2}, ShapeError, "kernel_size"),
    Refusal(lambda: {"input": np.ones((4, 1)), "output_size": -1, "kernel_size": 2}, ArgumentError, "output_size"),
    Refusal(
        lambda: {"input": np.ones((4, 1)), "output_size": 2, "kernel_size": 2, "stride": 0}, ArgumentError, "stride"
    ),
)

SPECS = [
    OpSpec(
        unfold,
        unfold_reference,
        images,
        ("input",),
        refusals=UNFOLD_REFUSALS,
        benchmark=lambda rng: {"input": rng.standard_normal((16, 32, 32, 32)), "kernel_size": 3, "padding": 1},
    ),
    OpSpec(unfold, unfold_reference, wide_images, ("input",), variant="wide"),
    OpSpec(
        fold,
        fold_reference,
        columns,
        ("input",),
        refusals=FOLD_REFUSALS,
        benchmark=lambda rng: {
            "input": rng.standard_normal((16, 288, 1024)),
            "output_size": 32,
            "kernel_size": 3,
            "padding": 1,
        },
    ),
    OpSpec(fold, fold_reference, wide_columns, ("input",), variant="wide"),
]
