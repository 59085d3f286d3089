"""Similarities and distances of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops.distance import (
    cosine_similarity,
    cosine_similarity_reference,
    pairwise_distance,
    pairwise_distance_reference,
)
from nbdl.runtime.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

PAIR = np.ones((2, 3))


def _vectors(draw: Draw) -> dict[str, Any]:
    shape = draw.shape(min_rank=1, max_size=4)
    return {
        "x1": draw.array(shape, 0.3, 2.0),
        "x2": draw.array(draw.broadcastable(shape), -2.0, -0.3),
        "dim": draw.dim(len(shape)),
        "eps": draw.choice((1e-8, 1e-3)),
    }


def _long_vectors(draw: Draw) -> dict[str, Any]:
    shape = (draw.integer(1, 3), draw.integer(120, 300))
    return {"x1": draw.array(shape), "x2": draw.array(shape)}


def _points(draw: Draw) -> dict[str, Any]:
    shape = draw.shape(min_rank=1, max_size=4, min_size=1)
    return {
        "x1": draw.array(shape, 0.3, 2.0),
        "x2": draw.array(draw.broadcastable(shape), -2.0, -0.3),
        "p": draw.choice((2.0, 1.0, 3.0, 1.5)),
        "keepdim": draw.boolean(),
    }


SPECS = [
    OpSpec(
        function=cosine_similarity,
        reference=cosine_similarity_reference,
        inputs=_vectors,
        differentiable=("x1", "x2"),
        refusals=(
            Refusal(lambda: {"x1": PAIR.astype(np.int64), "x2": PAIR}, DTypeError, "x1"),
            Refusal(lambda: {"x1": PAIR, "x2": PAIR.astype(np.float32)}, DTypeError, "x2"),
            Refusal(lambda: {"x1": PAIR, "x2": np.ones((2, 4))}, ShapeError, "shape"),
            Refusal(lambda: {"x1": PAIR, "x2": PAIR, "dim": 2}, IndexRangeError, "dim"),
            Refusal(lambda: {"x1": PAIR, "x2": PAIR, "eps": 0.0}, ArgumentError, "eps"),
        ),
        benchmark=lambda rng: {"x1": rng.standard_normal((1024, 512)), "x2": rng.standard_normal((1024, 512))},
    ),
    OpSpec(
        function=cosine_similarity,
        reference=cosine_similarity_reference,
        inputs=_long_vectors,
        differentiable=("x1", "x2"),
        variant="long vectors",
    ),
    OpSpec(
        function=pairwise_distance,
        reference=pairwise_distance_reference,
        inputs=_points,
        differentiable=("x1", "x2"),
        refusals=(
            Refusal(lambda: {"x1": PAIR.astype(np.int64), "x2": PAIR}, DTypeError, "x1"),
            Refusal(lambda: {"x1": PAIR, "x2": PAIR.astype(np.float32)}, DTypeError, "x2"),
            Refusal(lambda: {"x1": PAIR, "x2": np.ones((2, 4))}, ShapeError, "shape"),
        ),
    ),
]
