"""Parts of matrices and grids. Functions without a tensor among their arguments: tests/test_creation.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops.creation import meshgrid, tril, triu
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

PAGE = "reference/creation"
LINE = Refusal(lambda: {"input": np.zeros(3)}, ShapeError, "input")
HALF = Refusal(lambda: {"input": np.zeros((2, 2)), "diagonal": 0.5}, ArgumentTypeError, "diagonal")


def _matrices(draw: Draw) -> dict[str, Any]:
    return {"input": draw.array(draw.shape(2, 3, 4)), "diagonal": draw.integer(-4, 4)}


def _wide(draw: Draw) -> dict[str, Any]:
    return {"input": draw.array((2, draw.integer(129, 150))), "diagonal": draw.integer(-1, 140)}


def _coordinates(draw: Draw) -> dict[str, Any]:
    return {
        "tensors": [draw.array((draw.integer(0, 4),)) for _ in range(draw.integer(1, 3))],
        "indexing": draw.choice(("ij", "xy")),
    }


def _grid(tensors: Any, indexing: str = "ij") -> Any:
    return meshgrid(*tensors, indexing=indexing)


def _grid_reference(tensors: Any, indexing: str = "ij") -> Any:
    return tuple(np.meshgrid(*tensors, indexing=indexing))  # type: ignore[call-overload]


_grid.__name__ = "meshgrid"

SPECS = [
    OpSpec(tril, lambda input, diagonal: np.tril(input, diagonal), _matrices, ("input",), refusals=(LINE, HALF)),
    OpSpec(triu, lambda input, diagonal: np.triu(input, diagonal), _matrices, ("input",), refusals=(LINE, HALF)),
    OpSpec(triu, lambda input, diagonal: np.triu(input, diagonal), _wide, ("input",), variant="blocks"),
    OpSpec(
        _grid,
        _grid_reference,
        _coordinates,
        ("tensors",),
        refusals=(Refusal(lambda: {"tensors": [np.zeros(2)], "indexing": "yx"}, ArgumentError, "indexing"),),
    ),
]
