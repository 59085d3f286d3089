"""Rows of pixel and channel shuffles."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops import channel_shuffle, pixel_shuffle, pixel_unshuffle
from nbdl.ops.pixel_shuffle import channel_shuffle_reference, pixel_shuffle_reference, pixel_unshuffle_reference
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal


def channels_to_pixels(draw: Draw) -> dict[str, Any]:
    """A few planes, at times many dimensions before them."""
    r = draw.integer(1, 3)
    outer = draw.shape(0, 2, 2, min_size=1)
    shape = (*outer, draw.integer(1, 2) * r * r, draw.integer(1, 3), draw.integer(1, 3))
    return {"input": draw.array(shape), "upscale_factor": r}


def pixels_to_channels(draw: Draw) -> dict[str, Any]:
    """The other way round."""
    r = draw.integer(1, 3)
    outer = draw.shape(0, 2, 2, min_size=1)
    shape = (*outer, draw.integer(1, 2), draw.integer(1, 3) * r, draw.integer(1, 3) * r)
    return {"input": draw.array(shape), "downscale_factor": r}


def long_rows(draw: Draw) -> dict[str, Any]:
    """Rows of more pixels than a block has threads."""
    return {"input": draw.array((4, 2, draw.integer(65, 80))), "upscale_factor": 2}


def long_rows_back(draw: Draw) -> dict[str, Any]:
    """The other way round."""
    return {"input": draw.array((1, 4, 2 * draw.integer(65, 80))), "downscale_factor": 2}


def groups(draw: Draw) -> dict[str, Any]:
    """Lines, images or volumes of grouped channels."""
    count = draw.integer(1, 3)
    sizes = draw.shape(1, 3, 3)
    return {"input": draw.array((draw.integer(0, 2), count * draw.integer(1, 3), *sizes)), "groups": count}


SPECS = [
    OpSpec(
        pixel_shuffle,
        pixel_shuffle_reference,
        channels_to_pixels,
        ("input",),
        refusals=(
            Refusal(lambda: {"input": np.ones((3, 2, 2)), "upscale_factor": 2}, ShapeError, "input"),
            Refusal(lambda: {"input": np.ones((4, 2)), "upscale_factor": 2}, ShapeError, "input"),
            Refusal(lambda: {"input": [1.0], "upscale_factor": 2}, ArgumentTypeError, "input"),
            Refusal(lambda: {"input": np.ones((4, 2, 2)), "upscale_factor": 0}, ArgumentError, "upscale_factor"),
        ),
        benchmark=lambda rng: {"input": rng.standard_normal((8, 64, 32, 32)), "upscale_factor": 2},
    ),
    OpSpec(pixel_shuffle, pixel_shuffle_reference, long_rows, ("input",), variant="long rows"),
    OpSpec(
        pixel_unshuffle,
        pixel_unshuffle_reference,
        pixels_to_channels,
        ("input",),
        refusals=(
            Refusal(lambda: {"input": np.ones((1, 3, 2)), "downscale_factor": 2}, ShapeError, "input"),
            Refusal(lambda: {"input": np.ones((1, 2, 2)), "downscale_factor": 1.0}, ArgumentTypeError, "downscale"),
        ),
        benchmark=lambda rng: {"input": rng.standard_normal((8, 16, 64, 64)), "downscale_factor": 2},
    ),
    OpSpec(pixel_unshuffle, pixel_unshuffle_reference, long_rows_back, ("input",), variant="long rows"),
    OpSpec(
        channel_shuffle,
        channel_shuffle_reference,
        groups,
        ("input",),
        refusals=(
            Refusal(lambda: {"input": np.ones((1, 3, 2)), "groups": 2}, ArgumentError, "groups"),
            Refusal(lambda: {"input": np.ones((1, 4)), "groups": 2}, ShapeError, "input"),
        ),
    ),
]
