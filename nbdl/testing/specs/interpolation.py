"""Rows of interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops import interpolate
from nbdl.ops.interpolation import interpolate_reference
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

MODES = (
    ("nearest", "nearest-exact", "linear", "area"),
    ("nearest", "bilinear", "bicubic", "nearest-exact", "area", "lanczos"),
)


def options(draw: Draw, mode: str, sizes: tuple[int, ...]) -> dict[str, Any]:
    """A mode's options, and a new size or a factor. With antialias PyTorch is wrong where the new width is 1."""
    arguments: dict[str, Any] = {"mode": mode}
    if mode == "lanczos" or (mode in ("bilinear", "bicubic") and draw.boolean()):
        arguments["antialias"] = True
    if draw.boolean():
        wanted = tuple(draw.integer(2 if "antialias" in arguments else 1, 7) for _ in sizes)
        arguments["size"] = wanted if draw.boolean() else wanted[0]
    else:
        # of sizes that are no multiples, so that no place of float32 falls on the edge between two pixels
        shrink = () if "antialias" in arguments else (0.5,)
        factors = tuple(draw.choice((2, 1.7, 2.9, *shrink)) if size > 1 else 2 for size in sizes)
        arguments["scale_factor"] = factors if draw.boolean() or mode == "area" else max(factors)
        arguments["recompute_scale_factor"] = True if mode == "area" or draw.boolean() else None
    if mode in ("linear", "bilinear", "bicubic"):
        arguments["align_corners"] = draw.choice((None, False, True))
    return arguments


def lines_and_images(draw: Draw) -> dict[str, Any]:
    """Lines or images of every mode."""
    dims = draw.integer(1, 2)
    sizes = tuple(draw.integer(1, 6 if dims == 1 else 4) for _ in range(dims))
    x = draw.array((*draw.choice(((1, 2), (2, 1), (0, 1))), *sizes))
    return {"input": x, **options(draw, draw.choice(MODES[dims - 1]), sizes)}


def many_channels(draw: Draw) -> dict[str, Any]:
    """Channels of several vectors and a rest, more elements than a block has threads."""
    shape = (2, 17 + draw.integer(0, 20), 3, 4)
    x = np.ascontiguousarray(draw.array(shape).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return {"input": x, **options(draw, draw.choice(MODES[1]), shape[2:])}


def refusal(error: type, mentions: str, **arguments: Any) -> Refusal:
    """Arguments for an image that must be refused."""
    return Refusal(lambda: {"input": np.ones((1, 2, 3, 3)), **arguments}, error, mentions)


SPECS = [
    OpSpec(
        interpolate,
        interpolate_reference,
        lines_and_images,
        ("input",),
        refusals=(
            refusal(ArgumentTypeError, "input", input=[1.0], size=2),
            refusal(DTypeError, "input", input=np.ones((1, 2, 3), np.int64), size=2),
            refusal(ShapeError, "input", input=np.ones((2, 3)), size=2),
            refusal(ShapeError, "input", input=np.ones((1, 0, 3)), size=2),
            refusal(ArgumentError, "size"),
            refusal(ArgumentError, "size", size=2, scale_factor=2.0),
            refusal(ArgumentError, "size", size=(2, 2, 2)),
            refusal(ArgumentTypeError, "size", size=2.0),
            refusal(ShapeError, "size", size=0),
            refusal(ShapeError, "scale_factor", scale_factor=0.1),
            refusal(ArgumentError, "scale_factor", scale_factor=np.inf),
            refusal(ArgumentError, "mode", size=2, mode="cubic"),
            refusal(ArgumentError, "mode", size=2, mode="linear"),
            refusal(ArgumentError, "mode", input=np.ones((1, 2, 3)), size=2, mode="bilinear"),
            refusal(ArgumentError, "align_corners", size=2, align_corners=True),
            refusal(ArgumentError, "align_corners", size=2, mode="lanczos", antialias=True, align_corners=True),
            refusal(ArgumentError, "antialias", size=2, antialias=True),
            refusal(ArgumentError, "antialias", size=2, mode="lanczos"),
            refusal(ArgumentError, "recompute_scale_factor", size=2, recompute_scale_factor=True),
        ),
        benchmark=lambda rng: {"input": rng.standard_normal((16, 64, 16, 16)), "scale_factor": 2.0, "mode": "bilinear"},
    ),
    OpSpec(interpolate, interpolate_reference, many_channels, ("input",), variant="many channels"),
]
