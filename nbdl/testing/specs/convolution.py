"""Rows of the convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl import ops
from nbdl.ops.convolution.direct import conv1d_reference, conv2d_reference, conv2d_relu_reference
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

TOLERANCE = {"float64": 1e-12, "float32": 1e-4}


def _padding(draw: Draw, rank: int) -> Any:
    """Each form of the argument."""
    choice = draw.integer(0, 3)
    if choice < 2:
        return ("valid", "same")[choice]
    return draw.integer(0, 2) if choice == 2 else tuple(draw.integer(0, 2) for _ in range(rank))


def _case(
    draw: Draw,
    rank: int,
    batch: int | None,
    inputs: int,
    outputs: int,
    groups: int,
    most: int,
    kernel: int = 3,
    least: int = 1,
) -> dict[str, Any]:
    """Kernels of `least` to `kernel` taps, up to `most` places for them, any stride, padding and dilation."""
    padding = _padding(draw, rank)
    stride = [1 if padding == "same" else draw.integer(1, 3) for _ in range(rank)]
    dilation = [draw.integer(1, 2) for _ in range(rank)]
    taps = [draw.integer(least, kernel) for _ in range(rank)]
    sizes = [spread * (n - 1) + draw.integer(1, most) for spread, n in zip(dilation, taps, strict=True)]
    lead = () if batch is None else (batch,)
    case = {
        "input": draw.array((*lead, groups * inputs, *sizes)),
        "weight": draw.array((groups * outputs, inputs, *taps)),
        "stride": tuple(stride),
        "padding": padding,
        "dilation": tuple(dilation),
        "groups": groups,
    }
    if draw.boolean():
        case["bias"] = draw.array((groups * outputs,))
    return case


def _images(draw: Draw) -> dict[str, Any]:
    return _case(draw, 2, draw.choice((1, 2, None, 0)), draw.integer(1, 5), draw.integer(1, 3), 1, 3, 2)


def _sequences(draw: Draw) -> dict[str, Any]:
    batch, groups = draw.choice((2, 1, None, 0)), draw.integer(1, 2)
    return _case(draw, 1, batch, draw.integer(1, 4), draw.integer(1, 3), groups, 5, 5)


def _grouped(draw: Draw) -> dict[str, Any]:
    return _case(draw, 2, draw.integer(1, 2), draw.choice((1, 2, 4)), draw.integer(1, 2), draw.integer(2, 3), 3, 2)


def _depthwise(draw: Draw) -> dict[str, Any]:
    return _case(draw, 2, draw.integer(1, 2), 1, draw.choice((1, 1, 2)), draw.integer(2, 5), 3)


def _many_images(draw: Draw) -> dict[str, Any]:
    """More images than a row has pixels, also in each of the two chunks of the gradient of the weights."""
    return _case(draw, 2, draw.integer(16, 19), draw.integer(4, 5), draw.integer(1, 3), 1, 3, 3, 3)


def _many_channels(draw: Draw) -> dict[str, Any]:
    """Channels of several panels, and results of more than one CUDA block."""
    return _case(draw, 2, 2, draw.integer(17, 20), draw.integer(33, 40), 1, 6, 2)


def _wide_rows(draw: Draw) -> dict[str, Any]:
    """Rows of more than one tile, in one dimension."""
    case = _case(draw, 1, draw.integer(1, 2), draw.integer(1, 6), draw.integer(1, 3), 1, 3, 3)
    return {**case, "input": draw.array((*case["input"].shape[:2], draw.integer(40, 70)))}


def _pointwise(draw: Draw) -> dict[str, Any]:
    """A 1x1 kernel: a matrix product."""
    batch, height, width = draw.integer(0, 2), draw.integer(1, 3), draw.integer(1, 3)
    inputs, outputs = draw.integer(1, 4), draw.integer(1, 4)
    return {
        "input": draw.array((batch, inputs, height, width)),
        "weight": draw.array((outputs, inputs, 1, 1)),
        "bias": draw.array((outputs,)) if draw.boolean() else None,
    }


def _in_tiles(draw: Draw) -> dict[str, Any]:
    """A 3x3 kernel over whole vectors of channels: float32 goes in tiles, forward and backward; odd sizes cut some."""
    padding = (draw.integer(0, 2), draw.integer(0, 2))
    height, width = draw.integer(7, 8) + 2 - 2 * padding[0], draw.integer(15, 16) + 2 - 2 * padding[1]
    return {
        "input": draw.array((2, 16, height, width)),
        "weight": draw.array((16, 16, 3, 3)),
        "bias": draw.array((16,)) if draw.boolean() else None,
        "padding": padding,
    }


def _ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def _refused(error: Any, mentions: str, **changes: Any) -> Refusal:
    """Two 4x4 images of 4 channels and a 3x3 kernel, something of them changed."""
    return Refusal(lambda: {"input": _ones(2, 4, 4, 4), "weight": _ones(2, 4, 3, 3), **changes}, error, mentions)


IMAGE_REFUSALS = (
    _refused(ShapeError, "input", weight=_ones(2, 4, 5, 5)),
    _refused(ShapeError, "input", weight=_ones(2, 4, 3, 3), dilation=2),
    _refused(ShapeError, "input", weight=_ones(2, 3, 3, 3)),
    _refused(ShapeError, "input", input=_ones(4, 4)),
    _refused(ShapeError, "weight", weight=_ones(2, 4, 3)),
    _refused(ShapeError, "weight", weight=_ones(3, 2, 3, 3), groups=2),
    _refused(ShapeError, "groups", groups=3),
    _refused(ShapeError, "bias", bias=_ones(3)),
    _refused(ArgumentError, "groups", groups=0),
    _refused(ArgumentError, "stride", stride=0),
    _refused(ArgumentError, "stride", stride=(1, 1, 1)),
    _refused(ArgumentError, "dilation", dilation=0),
    _refused(ArgumentError, "padding", padding=-1),
    _refused(ArgumentError, "padding", padding="full"),
    _refused(ArgumentError, "padding", padding="same", stride=2),
    _refused(ArgumentTypeError, "stride", stride=1.5),
    _refused(DTypeError, "input", input=_ones(2, 4, 4, 4, dtype=np.int64)),
    _refused(DTypeError, "weight", weight=_ones(2, 4, 3, 3, dtype=np.float64)),
    _refused(DTypeError, "bias", bias=_ones(2, dtype=np.float64)),
)

SEQUENCE_REFUSALS = (
    Refusal(lambda: {"input": _ones(2, 4, 2), "weight": _ones(2, 4, 3)}, ShapeError, "input"),
    Refusal(lambda: {"input": _ones(2, 4, 4, 4), "weight": _ones(2, 4, 3)}, ShapeError, "input"),
    Refusal(lambda: {"input": _ones(2, 4, 4), "weight": _ones(2, 4, 3), "stride": 0}, ArgumentError, "stride"),
    Refusal(lambda: {"input": _ones(2, 4, 4), "weight": _ones(2, 4, 3), "padding": (1, 1)}, ArgumentError, "padding"),
)


REFERENCES = {
    ops.conv1d: conv1d_reference,
    ops.conv2d: conv2d_reference,
    ops.conv2d_relu: conv2d_relu_reference,
}


def _row(function: Any, inputs: Any, variant: str = "", refusals: tuple[Refusal, ...] = (), **options: Any) -> OpSpec:
    return OpSpec(
        function=function,
        reference=REFERENCES[function],
        inputs=inputs,
        differentiable=("input", "weight", "bias"),
        tolerance=TOLERANCE,
        refusals=refusals,
        variant=variant,
        **options,
    )


SPECS = (
    _row(
        ops.conv2d,
        _images,
        refusals=IMAGE_REFUSALS,
        benchmark=lambda rng: {
            "input": rng.standard_normal((32, 64, 32, 32)).astype(np.float32),
            "weight": rng.standard_normal((64, 64, 3, 3)).astype(np.float32),
            "bias": rng.standard_normal(64).astype(np.float32),
            "padding": 1,
        },
    ),
    _row(ops.conv2d, _grouped, "groups"),
    _row(ops.conv2d, _depthwise, "depthwise"),
    _row(ops.conv2d, _many_images, "many-images"),
    _row(ops.conv2d, _many_channels, "many-channels"),
    _row(ops.conv2d, _pointwise, "1x1"),
    _row(ops.conv2d, _in_tiles, "in tiles"),
    _row(ops.conv2d_relu, _images, refusals=IMAGE_REFUSALS),
    _row(ops.conv2d_relu, _many_channels, "many channels"),
    _row(ops.conv1d, _sequences, refusals=SEQUENCE_REFUSALS),
    _row(ops.conv1d, _wide_rows, "wide-rows"),
)
