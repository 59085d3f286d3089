"""Rows of what writes to a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops import indexing
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, NbdlError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

X = np.arange(6.0).reshape(2, 3)


def _refusal(error: type[NbdlError], mentions: str, **arguments: Any) -> Refusal:
    return Refusal(lambda: arguments, error, mentions)


def _row(
    function: Callable[..., Any],
    write: Callable[..., Any],
    inputs: Callable[[Draw], dict[str, Any]],
    values: str,
    *refusals: Refusal,
    variant: str = "",
) -> OpSpec:
    """A row whose reference runs `write` on a copy of the input."""

    def reference(input: Any, **arguments: Any) -> Any:
        result = np.array(input)
        write(result, **arguments)
        return result

    return OpSpec(function, reference, inputs, ("input", values), refusals=refusals, variant=variant)


# ---------------------------------------------------------------- by number


def _put_by_index(draw: Draw) -> dict[str, Any]:
    shape = draw.shape(1, 3, 4, min_size=1)
    chosen = draw.integer(1, len(shape))
    count = draw.integer(1, 3)
    accumulate = draw.boolean()
    places = [draw.rng.integers(-size, size, count) for size in shape[:chosen]]
    if not accumulate:  # of equal places the last would win here, any in PyTorch
        flat = np.ravel_multi_index([p % n for p, n in zip(places, shape[:chosen], strict=True)], shape[:chosen])
        kept = np.unique(flat, return_index=True)[1]
        places = [p[kept] for p in places]
    wanted = (len(places[0]), *shape[chosen:])
    return {
        "input": draw.array(shape),
        "indices": places,
        "values": draw.array(draw.choice((wanted, wanted[1:]))),
        "accumulate": accumulate,
    }


def _write_by_index(result: Any, indices: Any, values: Any, accumulate: bool) -> None:
    if accumulate:
        np.add.at(result, tuple(indices), values)
    else:
        result[tuple(indices)] = values


def _put_by_number(draw: Draw) -> dict[str, Any]:
    x = draw.array(draw.shape(0, 3, 3, min_size=1))
    count = draw.integer(1, x.size)
    index = draw.rng.permutation(x.size)[:count] - x.size * draw.rng.integers(0, 2, count)
    return {"input": x, "index": index, "source": draw.array((count,)), "accumulate": draw.boolean()}


def _write_by_number(result: Any, index: Any, source: Any, accumulate: bool) -> None:
    np.put(result, index, source + (np.take(result, index) if accumulate else 0))


# ---------------------------------------------------------------- slices and diagonals


def _one_slice(draw: Draw) -> dict[str, Any]:
    x = draw.array(draw.shape(1, 3, 4, min_size=1))
    dim = draw.dim(x.ndim)
    index = draw.integer(-x.shape[dim], x.shape[dim] - 1)
    return {"input": x, "src": draw.array(x.take(index, dim).shape), "dim": dim, "index": index}


def _write_slice(result: Any, src: Any, dim: int, index: int) -> None:
    np.moveaxis(result, dim, 0)[index] = src


def _steps(draw: Draw) -> dict[str, Any]:
    x = draw.array(draw.shape(1, 3, 4))
    case = {
        "dim": draw.dim(x.ndim),
        "start": draw.choice((None, 0, 1, -2)),
        "end": draw.choice((None, 3, -1)),
        "step": draw.integer(1, 2),
    }
    part = np.moveaxis(x, case["dim"], 0)[case["start"] : case["end"] : case["step"]]
    return {"input": x, "src": draw.array(np.moveaxis(part, 0, case["dim"]).shape), **case}


def _write_steps(result: Any, src: Any, dim: int, start: Any, end: Any, step: int) -> None:
    np.moveaxis(result, dim, 0)[start:end:step] = np.moveaxis(src, dim, 0)


def _one_diagonal(draw: Draw) -> dict[str, Any]:
    x = draw.array(draw.shape(2, 3, 4))
    first, second = (int(axis) for axis in draw.rng.permutation(x.ndim)[:2])
    options = {"offset": draw.integer(-2, 2), "dim1": first, "dim2": second}
    return {"input": x, "src": draw.array(x.diagonal(options["offset"], first, second).shape), **options}


def _write_diagonal(result: Any, src: Any, offset: int, dim1: int, dim2: int) -> None:
    shown = result.diagonal(offset, dim1, dim2)
    shown.flags.writeable = True
    shown[...] = src


SPECS = (
    _row(
        indexing.index_put,
        _write_by_index,
        _put_by_index,
        "values",
        _refusal(ArgumentTypeError, "indices", input=X, indices=np.array([0]), values=1.0),
        Refusal(lambda: {"input": X, "indices": (Tensor(np.array([2])),), "values": 1.0}, IndexRangeError, "index"),
        Refusal(lambda: {"input": X, "indices": (Tensor(np.array([1])),), "values": np.ones(2)}, ShapeError, "expand"),
        Refusal(
            lambda: {"input": X, "indices": (Tensor(np.array([1])),), "values": np.ones(3, int)}, DTypeError, "values"
        ),
    ),
    _row(
        indexing.put,
        _write_by_number,
        _put_by_number,
        "source",
        _refusal(ShapeError, "source", input=X, index=np.array([0, 1]), source=np.ones(3)),
        _refusal(DTypeError, "index", input=X, index=np.array([0.5]), source=np.ones(1)),
        _refusal(IndexRangeError, "index", input=X, index=np.array([6]), source=np.ones(1)),
    ),
    _row(
        indexing.select_scatter,
        _write_slice,
        _one_slice,
        "src",
        _refusal(ShapeError, "src", input=X, src=np.ones(2), dim=0, index=1),
        _refusal(IndexRangeError, "index", input=X, src=np.ones(3), dim=0, index=2),
    ),
    _row(
        indexing.slice_scatter,
        _write_steps,
        _steps,
        "src",
        _refusal(ShapeError, "src", input=X, src=np.ones((1, 3)), dim=0),
        _refusal(ArgumentError, "step", input=X, src=X, dim=0, step=0),
    ),
    _row(
        indexing.diagonal_scatter,
        _write_diagonal,
        _one_diagonal,
        "src",
        _refusal(ShapeError, "src", input=X, src=np.ones(3)),
        _refusal(ArgumentError, "dim2", input=X, src=np.ones(2), dim1=1, dim2=-1),
    ),
    _row(
        indexing.select_scatter,
        _write_slice,
        lambda draw: {"input": draw.array((2, 140)), "src": draw.array((140,)), "dim": 0, "index": 1},
        "src",
        variant="wide",
    ),
)
