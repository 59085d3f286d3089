"""Diagonal matrices, and tensors brought to a rank, joined there and split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops import shape
from nbdl.runtime.errors import ArgumentError, IndexRangeError, NbdlError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

EXACT = {"float64": 1e-12, "float32": 1e-6}
X = np.arange(6.0).reshape(2, 3)


def _refusal(error: type[NbdlError], mentions: str, **arguments: Any) -> Refusal:
    return Refusal(lambda: arguments, error, mentions)


def _row(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    inputs: Callable[[Draw], dict[str, Any]],
    *refusals: Refusal,
    differentiable: str = "input",
) -> OpSpec:
    return OpSpec(function, reference, inputs, (differentiable,), EXACT, refusals)


# ---------------------------------------------------------------- diagonals


def _embedded(draw: Draw) -> dict[str, Any]:
    x = draw.array(draw.shape(1, 3, 3))
    first, second = draw.rng.permutation(x.ndim + 1)[:2]
    return {"input": x, "offset": draw.integer(-2, 2), "dim1": int(first), "dim2": int(second) - x.ndim - 1}


def diag_embed_reference(input, offset=0, dim1=-2, dim2=-1):
    """One matrix after another."""
    size = input.shape[-1] + abs(offset)
    result = np.zeros((*input.shape[:-1], size, size))
    for place in np.ndindex(input.shape[:-1]):
        result[place] = np.diag(input[place], offset)
    return np.moveaxis(result, (-2, -1), (dim1, dim2))


# ---------------------------------------------------------------- any number of tensors


def _together(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of any number of tensors, with all of them as one argument."""

    def together(tensors: list[Any]) -> Any:
        return function(*tensors)

    together.__name__ = function.__name__
    return together


def _some(draw: Draw, most: int = 3) -> list[np.ndarray]:
    return [draw.array(draw.shape(0, most, 3)) for _ in range(draw.integer(1, 3))]


def _same_rank(draw: Draw) -> dict[str, Any]:
    sizes = draw.shape(0, 3, 3)
    return {"tensors": [draw.array(sizes) for _ in range(draw.integer(1, 3))]}


def _block_reference(tensors):
    blocks = [np.atleast_2d(x) for x in tensors]
    result = np.zeros(tuple(sum(block.shape[axis] for block in blocks) for axis in (0, 1)))
    row = column = 0
    for block in blocks:
        result[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return result


def _product_reference(tensors):
    if len(tensors) == 1:
        return tensors[0]
    return np.stack([grid.ravel() for grid in np.meshgrid(*tensors, indexing="ij")], 1)


def _numpy_tuple(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda tensors: [function(x) for x in tensors]


def _parted(draw: Draw, dim: int, rank: int) -> dict[str, Any]:
    sizes = list(draw.shape(rank, rank + 1, 3, min_size=1))
    parts = draw.integer(1, 3)
    dim = min(dim, len(sizes) - 1)
    sizes[dim] *= parts
    return {
        "input": draw.array(tuple(sizes)),
        "indices_or_sections": draw.choice((parts, [1], [0, 2], [])),
    }


SPECS = (
    _row(
        shape.diag_embed,
        diag_embed_reference,
        _embedded,
        _refusal(ShapeError, "input", input=np.zeros(())),
        _refusal(ArgumentError, "dim2", input=X, dim1=-1),
        _refusal(IndexRangeError, "dim1", input=X, dim1=3),
    ),
    _row(
        shape.diagflat,
        lambda input, offset: np.diagflat(input, offset),
        lambda draw: {"input": draw.array(draw.shape(0, 2, 3)), "offset": draw.integer(-2, 2)},
    ),
    *[
        _row(
            _together(function),
            _numpy_tuple(reference),
            lambda draw: {"tensors": _some(draw)[:2] + [draw.array((2,))]},
            differentiable="tensors",
        )
        for function, reference in (
            (shape.atleast_1d, np.atleast_1d),
            (shape.atleast_2d, np.atleast_2d),
            (shape.atleast_3d, np.atleast_3d),
        )
    ],
    _row(shape.dstack, lambda tensors: np.dstack(tensors), _same_rank, differentiable="tensors"),
    _row(shape.column_stack, lambda tensors: np.column_stack(tensors), _same_rank, differentiable="tensors"),
    _row(
        _together(shape.block_diag),
        _block_reference,
        lambda draw: {"tensors": _some(draw, 2)},
        Refusal(lambda: {"tensors": [Tensor(np.zeros((1, 1, 1)))]}, ShapeError, "tensors[0]"),
        differentiable="tensors",
    ),
    _row(
        _together(shape.cartesian_prod),
        _product_reference,
        lambda draw: {"tensors": [draw.array(draw.shape(1, 1, 4)) for _ in range(draw.integer(1, 3))]},
        Refusal(lambda: {"tensors": [Tensor(X)]}, ShapeError, "tensors[0]"),
        differentiable="tensors",
    ),
    _row(
        shape.hsplit,
        lambda input, indices_or_sections: np.hsplit(input, indices_or_sections),
        lambda draw: _parted(draw, 1, 1),
        _refusal(ShapeError, "indices_or_sections", input=X, indices_or_sections=2),
        _refusal(ShapeError, "input", input=np.zeros(()), indices_or_sections=1),
    ),
    _row(
        shape.vsplit,
        lambda input, indices_or_sections: np.vsplit(input, indices_or_sections),
        lambda draw: _parted(draw, 0, 2),
        _refusal(ShapeError, "input", input=X[0], indices_or_sections=1),
    ),
    _row(
        shape.dsplit,
        lambda input, indices_or_sections: np.dsplit(input, indices_or_sections),
        lambda draw: _parted(draw, 2, 3),
        _refusal(ShapeError, "input", input=X, indices_or_sections=1),
    ),
)
