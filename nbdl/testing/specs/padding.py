"""Rows of padding."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbdl.ops import pad
from nbdl.ops.padding import pad_reference
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal


def any_dimensions(draw: Draw) -> dict[str, Any]:
    """Some of the last dimensions, grown or cut on either side."""
    shape = draw.shape(1, 4, 3)
    amounts = []
    for size in shape[::-1][: draw.integer(0, len(shape))]:
        before = draw.integer(-1, 3)
        amounts += [max(before, -size), draw.integer(-max(size + min(before, 0), 0), 3)]
    return {"input": draw.array(shape), "pad": tuple(amounts), "value": draw.choice((None, 1.5, -2.0))}


def images(mode: str, draw: Draw) -> dict[str, Any]:
    """Lines, images or volumes, with or without a batch."""
    count = draw.integer(1, 3)
    sizes = [draw.integer(1, 4 if count < 3 else 3) for _ in range(count)]
    lead = (draw.integer(0, 2), draw.integer(1, 2)) if draw.boolean() else (draw.integer(1, 2),)
    amounts: list[int] = []
    for size in sizes[::-1]:
        most = {"reflect": size - 1, "replicate": 4, "circular": size}[mode]
        before = draw.integer(min(-1, 1 - size) if size > 1 else 0, most)
        left = size + min(before, 0)
        most = min(most, left) if mode == "circular" else most
        after = draw.integer(1 - left if left > 1 else 0, most)
        if mode == "circular" and before > size + min(after, 0):
            before = size + min(after, 0)
        amounts += [before, after]
    return {"input": draw.array((*lead, *sizes)), "pad": tuple(amounts), "mode": mode}


def channels_last(draw: Draw) -> dict[str, Any]:
    """Images in channels-last memory, several blocks of elements."""
    shape = (2, 3 + draw.integer(0, 3), 5, 4)
    x = np.ascontiguousarray(draw.rng.uniform(-2.0, 2.0, shape).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    mode = draw.choice(("constant", "reflect", "replicate", "circular"))
    return {"input": x, "pad": tuple(draw.integer(-1, 2) for _ in range(4)), "mode": mode}


REFUSALS = (
    Refusal(lambda: {"input": [1.0], "pad": (1, 1)}, ArgumentTypeError, "input"),
    Refusal(lambda: {"input": np.ones((2, 3)), "pad": 1}, ArgumentTypeError, "pad"),
    Refusal(lambda: {"input": np.ones((2, 3)), "pad": (1.0, 1)}, ArgumentTypeError, "pad"),
    Refusal(lambda: {"input": np.ones((2, 3)), "pad": (1, 1, 1)}, ArgumentError, "pad"),
    Refusal(lambda: {"input": np.ones((2, 3)), "pad": (1,) * 6}, ArgumentError, "pad"),
    Refusal(lambda: {"input": np.ones((2, 3)), "pad": (-2, -2)}, ArgumentError, "pad"),
    Refusal(lambda: {"input": np.ones((2, 3)), "pad": (-4, 4)}, ArgumentError, "pad"),
    Refusal(lambda: {"input": np.ones((2, 3)), "pad": (1, 1), "mode": "mirror"}, ArgumentError, "mode"),
    Refusal(lambda: {"input": np.ones((2, 3)), "pad": (1, 1), "value": "0"}, ArgumentTypeError, "value"),
    Refusal(lambda: {"input": np.ones((2, 3), np.int8), "pad": (1, 1), "value": 200}, ArgumentError, "value"),
    Refusal(lambda: {"input": np.ones((2, 3), np.int8), "pad": (1, 1), "value": np.nan}, ArgumentError, "value"),
)

IMAGE_REFUSALS = (
    Refusal(lambda: {"input": np.ones((2, 3)), "pad": (1, 1), "value": 1.0}, ArgumentError, "value"),
    Refusal(lambda: {"input": np.ones((2, 3)), "pad": ()}, ArgumentError, "pad"),
    Refusal(lambda: {"input": np.ones((2, 2, 2, 2, 2)), "pad": (1,) * 8}, ArgumentError, "pad"),
    Refusal(lambda: {"input": np.ones(3), "pad": (1, 1)}, ShapeError, "input"),
    Refusal(lambda: {"input": np.ones((2, 2, 2, 2)), "pad": (1, 1)}, ShapeError, "input"),
    Refusal(lambda: {"input": np.ones((2, 3)), "pad": (-2, -2)}, ArgumentError, "pad"),
)

NO_ELEMENTS = Refusal(lambda: {"input": np.ones((2, 0, 3)), "pad": (1, 1)}, ShapeError, "input")
NONE_LEFT = Refusal(lambda: {"input": np.ones((2, 3)), "pad": (-2, -1)}, ArgumentError, "pad")

PARTICULAR = {
    "reflect": (
        NO_ELEMENTS,
        NONE_LEFT,
        Refusal(lambda: {"input": np.ones((2, 3)), "pad": (3, 0)}, ArgumentError, "pad"),
    ),
    "replicate": (NO_ELEMENTS, NONE_LEFT),
    "circular": (
        Refusal(lambda: {"input": np.ones((2, 3)), "pad": (0, 4)}, ArgumentError, "pad"),
        Refusal(lambda: {"input": np.ones((2, 3)), "pad": (3, -1)}, ArgumentError, "pad"),
    ),
}


def in_mode(refusal: Refusal, mode: str) -> Refusal:
    """The same bad arguments, with another mode than the default."""
    return Refusal(lambda: {**refusal.arguments(), "mode": mode}, refusal.error, refusal.mentions)


SPECS = [
    OpSpec(
        pad,
        pad_reference,
        any_dimensions,
        ("input",),
        refusals=REFUSALS,
        benchmark=lambda rng: {"input": rng.standard_normal((32, 64, 32, 32)), "pad": (1, 1, 1, 1)},
    ),
    *[
        OpSpec(
            pad,
            pad_reference,
            functools.partial(images, mode),
            ("input",),
            refusals=tuple(in_mode(refusal, mode) for refusal in (*IMAGE_REFUSALS, *PARTICULAR[mode])),
            variant=mode,
        )
        for mode in ("reflect", "replicate", "circular")
    ],
    OpSpec(
        pad,
        pad_reference,
        lambda draw: {"input": draw.array((2, 1, 1, 1, 2, 1)), "pad": tuple(draw.integer(0, 1) for _ in range(12))},
        ("input",),
        variant="six dimensions",
    ),
    OpSpec(
        pad,
        pad_reference,
        lambda draw: {"input": draw.integers(draw.shape(1, 3, 4), -9, 9), "pad": (1, 2), "value": 2.7},
        variant="integers",
    ),
    OpSpec(pad, pad_reference, channels_last, ("input",), variant="channels last"),
]
