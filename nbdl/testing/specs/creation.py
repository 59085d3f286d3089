"""Parts of matrices and grids. Functions without a tensor among their arguments: tests/test_creation.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops.creation import arange, eye, meshgrid, multinomial, tril, triu
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

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


def _steps(draw: Draw) -> dict[str, Any]:
    step = draw.choice((1, 2, -3))
    start = draw.integer(-5, 5)
    return {"start": start, "end": start + step * draw.integer(0, 5), "step": step}


def _sizes(draw: Draw) -> dict[str, Any]:
    return {"n": draw.integer(0, 4), "m": draw.integer(0, 4), "dtype": np.dtype(np.int64)}


def _certainties(draw: Draw) -> dict[str, Any]:
    rows, classes = draw.integer(1, 3), draw.integer(1, 4)
    weights = np.zeros((rows, classes))
    weights[np.arange(rows), draw.integers((rows,), 0, classes - 1)] = 2
    return {"input": draw.lay_out(weights, allow_broadcast=False), "num_samples": 3, "replacement": True}


def _certain_reference(input: Any, num_samples: int, replacement: bool) -> Any:
    return np.repeat(input.argmax(axis=1)[:, None], num_samples, axis=1)


NEGATIVE = Refusal(lambda: {"input": -np.ones(3), "num_samples": 1}, ArgumentError, "input")

SPECS = [
    OpSpec(
        arange,
        lambda start, end, step: np.arange(start, end, step),
        _steps,
        refusals=(Refusal(lambda: {"start": 0, "end": 5, "step": 0}, ArgumentError, "step"),),
    ),
    OpSpec(
        eye,
        lambda n, m, dtype: np.eye(n, m, dtype=dtype),
        _sizes,
        refusals=(Refusal(lambda: {"n": -1}, ArgumentError, "n"),),
    ),
    OpSpec(multinomial, _certain_reference, _certainties, refusals=(NEGATIVE,)),
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
