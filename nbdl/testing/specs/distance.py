"""Similarities and distances of vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.ops.distance.sets import cdist, cdist_reference, pdist, pdist_reference
from nbdl.ops.distance.vectors import (
    cosine_similarity,
    cosine_similarity_reference,
    dist,
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


EXPONENTS = (2.0, 1.0, 3.0, 1.5, np.inf, 0.0)


def _two_sets(draw: Draw) -> dict[str, Any]:
    lead, size = draw.shape(0, 2, 2), draw.integer(1, 3)
    return {
        "x1": draw.array((*draw.broadcastable(lead), draw.integer(1, 3), size), 0.3, 2.0),
        "x2": draw.array((*draw.broadcastable(lead), draw.integer(1, 3), size), -2.0, -0.3),
        "p": draw.choice(EXPONENTS),
    }


def _sets_by(p: float) -> Callable[[Draw], dict[str, Any]]:
    return lambda draw: {**_two_sets(draw), "p": p}


def _many_vectors(draw: Draw) -> dict[str, Any]:
    """More distances than a CUDA block has threads."""
    return {"x1": draw.array((12, 2), 0.3, 2.0), "x2": draw.array((draw.integer(11, 13), 2), -2.0, -0.3)}


def _one_set(draw: Draw) -> dict[str, Any]:
    return {"input": draw.array((draw.integer(0, 5), draw.integer(1, 3)), distinct=True), "p": draw.choice(EXPONENTS)}


SPECS = [
    OpSpec(
        function=cdist,
        reference=cdist_reference,
        inputs=_two_sets,
        differentiable=("x1", "x2"),
        refusals=(
            Refusal(lambda: {"x1": PAIR, "x2": np.ones((2, 4))}, ShapeError, "x2"),
            Refusal(lambda: {"x1": PAIR[0], "x2": PAIR}, ShapeError, "x1"),
            Refusal(lambda: {"x1": PAIR, "x2": PAIR.astype(np.float32)}, DTypeError, "x2"),
            Refusal(lambda: {"x1": PAIR, "x2": PAIR, "p": -1.0}, ArgumentError, "p"),
            Refusal(lambda: {"x1": PAIR, "x2": PAIR, "compute_mode": "fast"}, ArgumentError, "compute_mode"),
        ),
        benchmark=lambda rng: {"x1": rng.standard_normal((256, 64)), "x2": rng.standard_normal((256, 64))},
    ),
    OpSpec(
        function=cdist,
        reference=cdist_reference,
        inputs=_many_vectors,
        differentiable=("x1", "x2"),
        variant="many vectors",
    ),
    *(
        OpSpec(
            function=cdist,
            reference=cdist_reference,
            inputs=_sets_by(p),
            differentiable=("x1", "x2"),
            variant=name,
        )
        for name, p in (("unequal", 0.0), ("sizes", 1.0), ("powers", 3.0), ("largest", np.inf))
    ),
    OpSpec(
        function=dist,
        reference=lambda input, other, p: np.linalg.norm((input - other).ravel(), p),
        inputs=lambda draw: {
            "input": draw.array(shape := draw.shape(max_size=4, min_size=1), 0.3, 2.0),
            "other": draw.array(draw.broadcastable(shape), -2.0, -0.3),
            "p": draw.choice(EXPONENTS[:4]),
        },
        differentiable=("input", "other"),
        refusals=(Refusal(lambda: {"input": PAIR, "other": PAIR.astype(np.float32)}, DTypeError, "other"),),
    ),
    OpSpec(
        function=pdist,
        reference=pdist_reference,
        inputs=_one_set,
        differentiable=("input",),
        refusals=(
            Refusal(lambda: {"input": PAIR[0]}, ShapeError, "input"),
            Refusal(lambda: {"input": PAIR, "p": -1.0}, ArgumentError, "p"),
        ),
    ),
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
