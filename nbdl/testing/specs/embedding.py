"""Embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops.embedding import embedding, embedding_reference
from nbdl.runtime.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

TABLE = np.ones((3, 2))
IDS = np.array([0, 2])


def _lookup(draw: Draw) -> dict[str, Any]:
    rows = draw.integer(1, 6)
    return {
        "input": draw.integers(draw.shape(0, 2, 4), 0, rows - 1),
        "weight": draw.array((rows, draw.integer(1, 5))),
    }


def _wide_lookup(draw: Draw) -> dict[str, Any]:
    """Rows of more elements than a CUDA block has threads."""
    return {"input": draw.integers((7,), 0, 2), "weight": draw.array((3, 150))}


SPECS = (
    OpSpec(
        function=embedding,
        reference=embedding_reference,
        inputs=_lookup,
        differentiable=("weight",),
        refusals=(
            Refusal(lambda: {"input": np.array([0, 3]), "weight": TABLE}, IndexRangeError, "input"),
            Refusal(lambda: {"input": np.array([-1]), "weight": TABLE}, IndexRangeError, "input"),
            Refusal(lambda: {"input": np.array([0.0]), "weight": TABLE}, DTypeError, "input"),
            Refusal(lambda: {"input": IDS, "weight": TABLE[0]}, ShapeError, "weight"),
            Refusal(lambda: {"input": IDS, "weight": TABLE.astype(np.int64)}, DTypeError, "weight"),
            Refusal(lambda: {"input": IDS, "weight": TABLE, "padding_idx": 3}, ArgumentError, "padding_idx"),
            Refusal(lambda: {"input": IDS, "weight": TABLE, "sparse": True}, ArgumentError, "sparse"),
            Refusal(lambda: {"input": IDS, "weight": TABLE, "max_norm": np.nan}, ArgumentError, "max_norm"),
        ),
        benchmark=lambda rng: {
            "input": rng.integers(0, 10_000, (64, 128)),
            "weight": rng.standard_normal((10_000, 256)),
        },
    ),
    OpSpec(
        function=embedding,
        reference=embedding_reference,
        inputs=_wide_lookup,
        differentiable=("weight",),
        variant="wide",
    ),
)
