"""One token through one block of a decoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.autograd import Tensor, wrap
from nbdl.ops.decoding import DecoderBlock, decoder_block_reference
from nbdl.runtime import arrays, memory
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec


def _block(parameters: list[Any], rms: bool, gated: bool, eps: float) -> DecoderBlock:
    """The block of eight vectors, of which two make a norm, and four matrices."""
    vectors, matrices = parameters[:8], parameters[8:]
    qkv, projection, expand, contract = matrices
    return DecoderBlock(
        (vectors[0], vectors[1]), qkv, vectors[2], projection, vectors[3],
        (vectors[4], vectors[5]), expand, vectors[6], contract, vectors[7], rms, gated, eps,
    )  # fmt: skip


def decoder_block(
    x: Tensor,
    keys: Tensor,
    values: Tensor,
    position: int,
    parameters: list[Tensor],
    rotation: Tensor | None,
    rms: bool,
    gated: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The block's result, and the caches with the new position: copies, so that the inputs stay."""
    block = _block([arrays.contiguous(parameter._array) for parameter in parameters], rms, gated, eps)
    kept = []
    for cache in (keys, values):
        copy = memory.empty(cache.shape, cache.dtype)
        arrays.copy_into(copy, cache._array)
        kept.append(copy)
    y = memory.empty(x.shape, x.dtype)
    turn = None if rotation is None else arrays.contiguous(rotation._array)
    workspace = block.workspace(x.shape[0], keys.shape[2])
    block(arrays.contiguous(x._array), kept[0], kept[1], position, turn, workspace, y)
    return wrap(y), wrap(kept[0]), wrap(kept[1])


def _reference(
    x: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    position: int,
    parameters: list[np.ndarray],
    rotation: np.ndarray | None,
    rms: bool,
    gated: bool,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keys, values = np.array(keys), np.array(values)
    block = _block([np.asarray(parameter, np.float64) for parameter in parameters], rms, gated, eps)
    return decoder_block_reference(x, keys, values, position, block, rotation), keys, values


def _inputs(draw: Draw, groups: int, share: int, features: int, hidden: int, places: int) -> dict[str, Any]:
    """A block of groups x share heads of so many features, its cache filled up to a drawn position."""
    heads, batch = groups * share, draw.integer(1, 2)
    width, joined = heads * features, (heads + 2 * groups) * features
    gated = draw.boolean()
    wide = hidden * (2 if gated else 1)
    vectors = [draw.array((size,), -1, 1) for size in (width, width, joined, width, width, width, wide, width)]
    shapes = ((joined, width), (width, width), (wide, width), (width, hidden))
    matrices = [draw.array(shape, -1, 1) / np.sqrt(shape[1]) for shape in shapes]
    rotation = None
    if features % 2 == 0 and draw.boolean():
        angles = draw.array((places, features // 2), -3, 3)
        rotation = np.concatenate([np.cos(angles), np.sin(angles)], 1)
    position = draw.integer(0, places - 1)
    caches = [draw.array((batch, groups, places, features), -1, 1) for _ in range(2)]
    return {
        "x": draw.array((batch, width)),
        "keys": caches[0],
        "values": caches[1],
        "position": position,
        "parameters": vectors + matrices,
        "rotation": rotation,
        "rms": draw.boolean(),
        "gated": gated,
        "eps": 1e-2,  # rows of one repeated value have no other variance
    }


def _small(draw: Draw) -> dict[str, Any]:
    return _inputs(
        draw, draw.integer(1, 2), draw.integer(1, 2), draw.integer(1, 4), draw.integer(1, 7), draw.integer(1, 5)
    )


TOLERANCE = {"float64": 1e-11, "float32": 1e-4}

SPECS = (
    OpSpec(decoder_block, _reference, _small, tolerance=TOLERANCE),
    OpSpec(
        decoder_block,
        _reference,
        lambda draw: _inputs(draw, 2, 2, 34, 131, 130),  # more than a block of threads
        tolerance=TOLERANCE,
        variant="wide",
    ),
)
