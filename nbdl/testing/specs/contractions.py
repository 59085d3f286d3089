"""Products of matrices added to a tensor, and sums of products with names of their own."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl import ops
from nbdl.ops.matmul.affine import addbmm_reference, addmm_reference, addr_reference
from nbdl.runtime.errors import ArgumentError, DTypeError, IndexRangeError, NbdlError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def _ones(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def _refusal(error: type[NbdlError], mentions: str, **arguments: Any) -> Refusal:
    return Refusal(lambda: arguments, error, mentions)


def _row(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    inputs: Callable[[Draw], dict[str, Any]],
    differentiable: tuple[str, ...],
    *refusals: Refusal,
) -> OpSpec:
    return OpSpec(function, reference, inputs, differentiable, TOLERANCE, refusals)


# ---------------------------------------------------------------- added to a tensor


def _added(draw: Draw, left: str, right: str, result: tuple[int, ...], *shapes: tuple[int, ...]) -> dict[str, Any]:
    return {
        "input": draw.array(draw.choice((result, draw.broadcastable(result)))),
        left: draw.array(shapes[0]),
        right: draw.array(shapes[1]),
        "beta": draw.choice((1, 0.5, 0, -2)),
        "alpha": draw.choice((1, 0.5, 0, -2)),
    }


def _sizes(draw: Draw, count: int) -> tuple[int, ...]:
    return tuple(draw.choice((2, 1, 3, 4, 0, 5)) for _ in range(count))


def _addmm(draw: Draw) -> dict[str, Any]:
    n, k, m = _sizes(draw, 3)
    return _added(draw, "mat1", "mat2", (n, m), (n, k), (k, m))


def _addmv(draw: Draw) -> dict[str, Any]:
    n, k = _sizes(draw, 2)
    return _added(draw, "mat", "vec", (n,), (n, k), (k,))


def _addr(draw: Draw) -> dict[str, Any]:
    n, m = _sizes(draw, 2)
    return _added(draw, "vec1", "vec2", (n, m), (n,), (m,))


def _batches(draw: Draw, summed: bool) -> dict[str, Any]:
    b, (n, k, m) = draw.integer(1, 3), _sizes(draw, 3)
    return _added(draw, "batch1", "batch2", (n, m) if summed else (b, n, m), (b, n, k), (b, k, m))


AFFINE = (
    _row(
        ops.addmm,
        addmm_reference,
        _addmm,
        ("input", "mat1", "mat2"),
        _refusal(ShapeError, "input", input=_ones(3), mat1=_ones(2, 3), mat2=_ones(3, 2)),
        _refusal(ShapeError, "mat2", input=_ones(2), mat1=_ones(2, 3), mat2=_ones(2, 2)),
        _refusal(DTypeError, "input", input=_ones(2, dtype=np.float64), mat1=_ones(2, 3), mat2=_ones(3, 2)),
        _refusal(ArgumentError, "alpha", input=_ones(2), mat1=_ones(2, 3), mat2=_ones(3, 2), alpha=np.inf),
    ),
    _row(
        ops.addmv,
        lambda input, mat, vec, **factors: addmm_reference(input, mat, vec, **factors),
        _addmv,
        ("input", "mat", "vec"),
        _refusal(ShapeError, "vec", input=_ones(2), mat=_ones(2, 3), vec=_ones(2)),
    ),
    _row(
        ops.addr,
        addr_reference,
        _addr,
        ("input", "vec1", "vec2"),
        _refusal(ShapeError, "vec1", input=_ones(2), vec1=_ones(2, 2), vec2=_ones(2)),
    ),
    _row(
        ops.baddbmm,
        lambda input, batch1, batch2, **factors: addmm_reference(input, batch1, batch2, **factors),
        lambda draw: _batches(draw, summed=False),
        ("input", "batch1", "batch2"),
        _refusal(ShapeError, "batch2", input=_ones(2), batch1=_ones(2, 2, 3), batch2=_ones(1, 3, 2)),
    ),
    _row(
        ops.addbmm,
        addbmm_reference,
        lambda draw: _batches(draw, summed=True),
        ("input", "batch1", "batch2"),
        _refusal(ShapeError, "batch2", input=_ones(2), batch1=_ones(2, 2, 3), batch2=_ones(1, 3, 2)),
    ),
)

# ---------------------------------------------------------------- contractions


def _tensordot(draw: Draw) -> dict[str, Any]:
    shared = draw.shape(0, 2, 3, min_size=1)
    a, b = draw.shape(0, 2, 3), draw.shape(0, 2, 3)
    if draw.boolean():
        return {"a": draw.array((*a, *shared)), "b": draw.array((*shared, *b)), "dims": len(shared)}
    dims = [list(range(len(a), len(a) + len(shared))), [-k for k in range(1, len(shared) + 1)]]
    return {"a": draw.array((*a, *shared)), "b": draw.array((*b, *shared[::-1])), "dims": dims}


def _inner(draw: Draw) -> dict[str, Any]:
    k = draw.integer(1, 4)
    if draw.integer(0, 4) == 4:
        return {"input": draw.array(()), "other": draw.array(draw.shape(0, 2, 4))}
    return {"input": draw.array((*draw.shape(0, 2, 3), k)), "other": draw.array((*draw.shape(0, 2, 3), k))}


def _inner_reference(input, other):
    return np.inner(input, other)


def _crossed(draw: Draw) -> dict[str, Any]:
    shape = list(draw.shape(0, 2, 4))
    place = draw.integer(0, len(shape))
    other = [1 if draw.integer(0, 3) == 3 else size for size in shape]
    for sizes in (shape, other):
        sizes.insert(place, 3)
    dims = (place, place - len(shape)) if 3 in shape[:place] else (place, place - len(shape), None)
    return {"input": draw.array(tuple(shape)), "other": draw.array(tuple(other)), "dim": draw.choice(dims)}


def _cross_reference(input, other, dim):
    axis = input.shape.index(3) if dim is None else dim
    a, b = (np.moveaxis(x, axis, -1) for x in np.broadcast_arrays(input, other))
    return np.moveaxis(np.cross(a, b), -1, axis)


def _square(draw: Draw) -> dict[str, Any]:
    n = draw.integer(1, 3)
    return {"input": draw.array((*draw.shape(0, 1, 3), n, n), -1, 1), "n": draw.integer(0, 5)}


def _chain(draw: Draw) -> dict[str, Any]:
    sizes = [draw.integer(1, 4) for _ in range(draw.integer(2, 5))]
    return {"matrices": [draw.array(pair) for pair in itertools.pairwise(sizes)]}


def chain_matmul(matrices: list[Any]) -> Any:
    """`ops.chain_matmul` with its operands as one argument."""
    return ops.chain_matmul(*matrices)


CONTRACTIONS = (
    _row(
        ops.tensordot,
        lambda a, b, dims: np.tensordot(a, b, dims),
        _tensordot,
        ("a", "b"),
        _refusal(ShapeError, "b", a=_ones(2, 3), b=_ones(2, 3), dims=1),
        _refusal(ArgumentError, "dims", a=_ones(2, 3), b=_ones(3, 2), dims=([1], [0, 1])),
        _refusal(ArgumentError, "dims", a=_ones(2, 3), b=_ones(3, 2), dims=3),
        _refusal(IndexRangeError, "dims[0]", a=_ones(2, 3), b=_ones(3, 2), dims=([2], [0])),
        _refusal(DTypeError, "b", a=_ones(2, 3), b=_ones(3, 2, dtype=np.float64), dims=1),
    ),
    _row(
        ops.inner,
        _inner_reference,
        _inner,
        ("input", "other"),
        _refusal(ShapeError, "other", input=_ones(2, 3), other=_ones(2)),
    ),
    _row(
        ops.vdot,
        lambda input, other: np.vdot(input, other),
        lambda draw: {"input": draw.array((k := draw.integer(0, 9),)), "other": draw.array((k,))},
        ("input", "other"),
        _refusal(ShapeError, "other", input=_ones(2), other=_ones(3)),
    ),
    _row(
        ops.kron,
        lambda input, other: np.kron(input, other),
        lambda draw: {"input": draw.array(draw.shape(0, 3, 2)), "other": draw.array(draw.shape(0, 3, 3))},
        ("input", "other"),
    ),
    _row(
        ops.trace,
        lambda input: np.trace(input),
        lambda draw: {"input": draw.array(_sizes(draw, 2))},
        ("input",),
        _refusal(ShapeError, "input", input=_ones(2)),
    ),
    _row(
        ops.cross,
        _cross_reference,
        _crossed,
        ("input", "other"),
        _refusal(ShapeError, "input", input=_ones(2), other=_ones(2)),
        _refusal(ShapeError, "other", input=_ones(3), other=_ones(1, 3)),
        _refusal(ShapeError, "input", input=_ones(3, 2), other=_ones(3, 2), dim=1),
        _refusal(IndexRangeError, "dim", input=_ones(3), other=_ones(3), dim=1),
    ),
    _row(
        ops.matrix_power,
        lambda input, n: np.linalg.matrix_power(input, n),
        _square,
        ("input",),
        _refusal(ShapeError, "input", input=_ones(2, 3), n=1),
        _refusal(ArgumentError, "n", input=_ones(2, 2), n=-1),
        _refusal(DTypeError, "input", input=_ones(2, 2, dtype=np.int64), n=1),
    ),
    _row(
        chain_matmul,
        lambda matrices: functools.reduce(np.matmul, matrices),
        _chain,
        ("matrices",),
        Refusal(lambda: {"matrices": []}, ArgumentError, "matrices"),
    ),
)

SPECS = (*AFFINE, *CONTRACTIONS)
