"""Rows of the transposed convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops import conv_transpose1d, conv_transpose2d
from nbdl.ops.convolution.transposed import conv_transpose1d_reference, conv_transpose2d_reference
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

TOLERANCE = {"float64": 1e-12, "float32": 1e-4}
WANTED = ("input", "weight", "bias")


def case(
    draw: Draw, rank: int, batch: int | None, inputs: int, outputs: int, groups: int, most: int, taps: int = 3
) -> dict[str, Any]:
    """Any stride, padding, output padding and dilation that leave something over."""
    steps = [draw.integer(1, 3) for _ in range(rank)]
    spreads = [draw.integer(1, 2) for _ in range(rank)]
    more = [draw.integer(0, max(step, spread) - 1) for step, spread in zip(steps, spreads, strict=True)]
    kernel = [draw.integer(1, taps) for _ in range(rank)]
    sizes = [draw.integer(1, most) for _ in range(rank)]
    edges = []
    for n, step, spread, extra, k in zip(sizes, steps, spreads, more, kernel, strict=True):
        grown = (n - 1) * step + spread * (k - 1) + 1 + extra
        edges.append(draw.integer(0, min(2, (grown - 1) // 2)))
    arguments = {
        "input": draw.array((*(() if batch is None else (batch,)), groups * inputs, *sizes)),
        "weight": draw.array((groups * inputs, outputs, *kernel)),
        "stride": tuple(steps),
        "padding": tuple(edges),
        "output_padding": tuple(more),
        "groups": groups,
        "dilation": tuple(spreads),
    }
    if draw.boolean():
        arguments["bias"] = draw.array((groups * outputs,))
    return arguments


def images(draw: Draw) -> dict[str, Any]:
    """Images, with or without a batch."""
    return case(draw, 2, draw.choice((1, 2, None, 0)), draw.integer(1, 4), draw.integer(1, 3), 1, 3, 2)


def sequences(draw: Draw) -> dict[str, Any]:
    """Sequences, with or without a batch, in groups at times."""
    return case(draw, 1, draw.choice((2, 1, None, 0)), draw.integer(1, 3), draw.integer(1, 3), draw.integer(1, 2), 5)


def grouped(draw: Draw) -> dict[str, Any]:
    """Groups, one channel each at times."""
    return case(draw, 2, draw.integer(1, 2), draw.integer(1, 2), draw.integer(1, 2), draw.integer(2, 3), 2, 2)


def many_channels(draw: Draw) -> dict[str, Any]:
    """Channels of several panels, and results of more than one CUDA block."""
    return case(draw, 2, 2, draw.integer(17, 20), draw.integer(33, 40), 1, 4, 2)


def square(draw: Draw) -> dict[str, Any]:
    """One integer for both axes, and the defaults."""
    return {
        "input": draw.array((draw.integer(1, 2), 2, 3, draw.integer(1, 3))),
        "weight": draw.array((2, draw.integer(1, 2), 2, 2)),
        "stride": draw.integer(1, 2),
    }


def _ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def _refused(error: Any, mentions: str, **changes: Any) -> Refusal:
    """Two 4x4 images of 4 channels and a 3x3 kernel, something of them changed."""
    return Refusal(lambda: {"input": _ones(2, 4, 4, 4), "weight": _ones(4, 2, 3, 3), **changes}, error, mentions)


IMAGE_REFUSALS = (
    _refused(ShapeError, "input", input=_ones(2, 3, 4, 4)),
    _refused(ShapeError, "input", input=_ones(4, 4)),
    _refused(ShapeError, "input", input=_ones(2, 4, 0, 4)),
    _refused(ShapeError, "weight", weight=_ones(4, 2, 3)),
    _refused(ShapeError, "weight", weight=_ones(4, 2, 0, 3)),
    _refused(ShapeError, "groups", groups=3),
    _refused(ShapeError, "bias", bias=_ones(4)),
    _refused(ShapeError, "bias", bias=_ones(2), groups=2),
    _refused(ShapeError, "padding", padding=3),
    _refused(ArgumentError, "padding", padding=-1),
    _refused(ArgumentTypeError, "padding", padding="same"),
    _refused(ArgumentError, "output_padding", output_padding=1),
    _refused(ArgumentError, "output_padding", output_padding=(1, 0), stride=(1, 2)),
    _refused(ArgumentError, "output_padding", output_padding=-1),
    _refused(ArgumentError, "groups", groups=0),
    _refused(ArgumentError, "stride", stride=0),
    _refused(ArgumentError, "stride", stride=(1, 1, 1)),
    _refused(ArgumentError, "dilation", dilation=0),
    _refused(DTypeError, "input", input=_ones(2, 4, 4, 4, dtype=np.int64)),
    _refused(DTypeError, "weight", weight=_ones(4, 2, 3, 3, dtype=np.float64)),
    _refused(DTypeError, "bias", bias=_ones(2, dtype=np.float64)),
)

SEQUENCE_REFUSALS = (
    Refusal(lambda: {"input": _ones(2, 4, 4), "weight": _ones(4, 2, 3, 3)}, ShapeError, "weight"),
    Refusal(lambda: {"input": _ones(2, 2, 4, 4), "weight": _ones(4, 2, 3)}, ShapeError, "input"),
    Refusal(lambda: {"input": _ones(2, 4, 4), "weight": _ones(4, 2, 3), "stride": (1, 1)}, ArgumentError, "stride"),
)


def row(variant: str, inputs: Any, **options: Any) -> OpSpec:
    """A row of conv_transpose2d."""
    return OpSpec(
        conv_transpose2d,
        conv_transpose2d_reference,
        inputs,
        WANTED,
        tolerance=TOLERANCE,
        variant=variant,
        **options,
    )


SPECS = [
    row(
        "",
        images,
        refusals=IMAGE_REFUSALS,
        benchmark=lambda rng: {
            "input": rng.standard_normal((32, 64, 16, 16)),
            "weight": rng.standard_normal((64, 32, 4, 4)),
            "stride": 2,
            "padding": 1,
        },
    ),
    row("groups", grouped),
    row("many channels", many_channels),
    row("square", square),
    OpSpec(
        conv_transpose1d,
        conv_transpose1d_reference,
        sequences,
        WANTED,
        tolerance=TOLERANCE,
        refusals=SEQUENCE_REFUSALS,
    ),
]
