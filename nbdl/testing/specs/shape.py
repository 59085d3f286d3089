"""Shape: views, joining and splitting, rearranging."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops import shape
from nbdl.runtime.errors import (
    ArgumentError,
    ArgumentTypeError,
    IndexRangeError,
    NbdlError,
    ShapeError,
)
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
    differentiable: tuple[str, ...] = ("input",),
    benchmark: Callable[[np.random.Generator], dict[str, Any]] | None = None,
    variant: str = "",
) -> OpSpec:
    return OpSpec(
        function=function,
        reference=reference,
        inputs=inputs,
        differentiable=differentiable,
        tolerance=EXACT,
        refusals=refusals,
        benchmark=benchmark,
        variant=variant,
    )


def _any(draw: Draw, min_rank: int = 0) -> np.ndarray:
    """An array of at most 64 elements."""
    return draw.array(draw.shape(min_rank, 3, 4))


def _plain(draw: Draw) -> dict[str, Any]:
    return {"input": _any(draw)}


def _with_dim(draw: Draw) -> dict[str, Any]:
    return {"input": (x := _any(draw, 1)), "dim": draw.dim(x.ndim)}


def _permutation(draw: Draw, count: int) -> tuple[int, ...]:
    """Dimensions in a drawn order, some counted from the back."""
    order = [int(dim) for dim in draw.rng.permutation(count)]
    return tuple(dim - count if draw.boolean() else dim for dim in order)


# ---------------------------------------------------------------- views


def _factors(draw: Draw) -> tuple[np.ndarray, tuple[int, ...]]:
    """An array and another shape for as many elements, at times with a -1."""
    sizes = [draw.integer(1, 4) for _ in range(draw.integer(1, 3))]
    x = draw.array(tuple(int(sizes[i]) for i in draw.rng.permutation(len(sizes))))
    if draw.boolean():
        sizes = [math.prod(sizes)]
    if draw.boolean():
        sizes[draw.integer(0, len(sizes) - 1)] = -1
    return x, tuple(sizes)


def _reshape(draw: Draw) -> dict[str, Any]:
    x, sizes = _factors(draw)
    return {"input": x, "shape": sizes}


def _view(draw: Draw) -> dict[str, Any]:
    x, sizes = _factors(draw)
    return {"input": np.ascontiguousarray(x), "shape": sizes}


def _as(draw: Draw) -> dict[str, Any]:
    x = _any(draw)
    return {"input": np.ascontiguousarray(x), "other": np.zeros(x.shape[::-1])}


def _flatten(draw: Draw) -> dict[str, Any]:
    x = _any(draw)
    first = draw.integer(0, max(x.ndim - 1, 0))
    return {"input": x, "start_dim": first, "end_dim": draw.integer(first, max(x.ndim - 1, 0))}


def flatten_reference(input, start_dim=0, end_dim=-1):
    """Reshape with the merged sizes multiplied."""
    if input.ndim == 0:
        return input.reshape(1)
    first, last = start_dim % input.ndim, end_dim % input.ndim
    sizes = input.shape
    return input.reshape(*sizes[:first], math.prod(sizes[first : last + 1]), *sizes[last + 1 :])


def _unflatten(draw: Draw) -> dict[str, Any]:
    a, b = draw.integer(1, 3), draw.integer(1, 3)
    before = draw.shape(0, 2, 3)
    x = draw.array((*before, a * b))
    return {"input": x, "dim": draw.choice((-1, len(before))), "sizes": draw.choice(((a, b), (a, -1)))}


def unflatten_reference(input, dim, sizes):
    """Reshape of the last dimension, its -1 replaced."""
    known = -math.prod(sizes) if -1 in sizes else 1
    return input.reshape(*input.shape[:-1], *(input.shape[-1] // known if s == -1 else s for s in sizes))


def _squeeze(draw: Draw) -> dict[str, Any]:
    x = draw.array(tuple(draw.choice((1, 2, 1, 3)) for _ in range(draw.integer(0, 4))))
    return {"input": x, "dim": draw.choice((None, draw.dim(x.ndim), tuple(range(x.ndim))))}


def squeeze_reference(input, dim=None):
    """NumPy's squeeze of the named dimensions whose size is 1."""
    dims = range(input.ndim) if dim is None else dim if isinstance(dim, tuple) else (dim,)
    return np.squeeze(input, tuple({d % max(input.ndim, 1) for d in dims if input.ndim and input.shape[d] == 1}))


def _unsqueeze(draw: Draw) -> dict[str, Any]:
    return {"input": (x := _any(draw)), "dim": draw.dim(x.ndim + 1)}


def _transpose(draw: Draw) -> dict[str, Any]:
    x = _any(draw, 1)
    return {"input": x, "dim0": draw.dim(x.ndim), "dim1": draw.dim(x.ndim)}


def _swapaxes(draw: Draw) -> dict[str, Any]:
    x = _any(draw, 1)
    return {"input": x, "axis0": draw.dim(x.ndim), "axis1": draw.dim(x.ndim)}


def _permute(draw: Draw) -> dict[str, Any]:
    return {"input": (x := _any(draw)), "dims": _permutation(draw, x.ndim)}


def _movedim(draw: Draw) -> dict[str, Any]:
    x = _any(draw, 1)
    count = draw.integer(1, x.ndim)
    source, destination = _permutation(draw, x.ndim)[:count], _permutation(draw, x.ndim)[:count]
    if count == 1 and draw.boolean():
        return {"input": x, "source": source[0], "destination": destination[0]}
    return {"input": x, "source": source, "destination": destination}


def _expansion(draw: Draw) -> tuple[np.ndarray, tuple[int, ...]]:
    sizes = draw.shape(1, 3, 4)
    return draw.array(draw.broadcastable(sizes)), sizes


def _expand(draw: Draw) -> dict[str, Any]:
    x, sizes = _expansion(draw)
    lead = len(sizes) - x.ndim
    kept = tuple(-1 if i >= lead and x.shape[i - lead] == s and draw.boolean() else s for i, s in enumerate(sizes))
    return {"input": x, "sizes": kept}


def expand_reference(input, sizes):
    """NumPy's broadcast_to, with -1 for a size that stays."""
    lead = len(sizes) - input.ndim
    return np.broadcast_to(input, tuple(input.shape[i - lead] if s == -1 else s for i, s in enumerate(sizes)))


def _expand_as(draw: Draw) -> dict[str, Any]:
    x, sizes = _expansion(draw)
    return {"input": x, "other": np.zeros(sizes)}


def _broadcast_to(draw: Draw) -> dict[str, Any]:
    x, sizes = _expansion(draw)
    return {"input": x, "size": sizes}


@functools.wraps(shape.broadcast_tensors)
def _broadcast_tensors(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return shape.broadcast_tensors(*tensors)


def _broadcast(draw: Draw) -> dict[str, Any]:
    sizes = draw.shape(0, 3, 3)
    return {"tensors": [draw.array(draw.broadcastable(sizes)) for _ in range(draw.integer(1, 3))]}


def _diagonal(draw: Draw) -> dict[str, Any]:
    x = _any(draw, 2)
    first, second = _permutation(draw, x.ndim)[:2]
    return {"input": x, "offset": draw.integer(-3, 3), "dim1": first, "dim2": second}


VIEWS = (
    _row(
        shape.reshape,
        lambda input, shape: input.reshape(shape),
        _reshape,
        _refusal(ShapeError, "shape", input=X, shape=(4, 2)),
        _refusal(ShapeError, "shape", input=X, shape=(-1, -1)),
        _refusal(ArgumentTypeError, "shape", input=X, shape=(1.5, 4)),
        benchmark=lambda rng: {"input": rng.standard_normal((512, 512)).T, "shape": (-1,)},
    ),
    _row(
        shape.reshape,
        lambda input, shape: input.reshape(shape),
        lambda draw: {"input": draw.array((33, 18)).T, "shape": (-1,)},  # several tiles of a transposing copy
        variant="turned",
    ),
    _row(
        shape.view,
        lambda input, shape: input.reshape(shape),
        _view,
        _refusal(ShapeError, "reshape", input=X.T, shape=(6,)),
    ),
    _row(
        shape.view_as,
        lambda input, other: input.reshape(other.shape),
        _as,
        _refusal(ShapeError, "shape", input=X, other=X[0]),
    ),
    _row(
        shape.reshape_as,
        lambda input, other: input.reshape(other.shape),
        _as,
        _refusal(ShapeError, "shape", input=X, other=X[0]),
    ),
    _row(
        shape.flatten,
        flatten_reference,
        _flatten,
        _refusal(ArgumentError, "end_dim", input=X, start_dim=1, end_dim=0),
        _refusal(IndexRangeError, "start_dim", input=X, start_dim=2),
    ),
    _row(shape.ravel, lambda input: np.ravel(input), _plain),
    _row(
        shape.unflatten,
        unflatten_reference,
        _unflatten,
        _refusal(ShapeError, "sizes", input=X, dim=1, sizes=(2, 2)),
    ),
    _row(shape.squeeze, squeeze_reference, _squeeze, _refusal(IndexRangeError, "dim", input=X, dim=2)),
    _row(
        shape.unsqueeze,
        lambda input, dim: np.expand_dims(input, dim),
        _unsqueeze,
        _refusal(IndexRangeError, "dim", input=X, dim=3),
    ),
    _row(
        shape.transpose,
        lambda input, dim0, dim1: np.swapaxes(input, dim0, dim1),
        _transpose,
        _refusal(IndexRangeError, "dim1", input=X, dim0=0, dim1=2),
    ),
    _row(shape.swapdims, lambda input, dim0, dim1: np.swapaxes(input, dim0, dim1), _transpose),
    _row(shape.swapaxes, lambda input, axis0, axis1: np.swapaxes(input, axis0, axis1), _swapaxes),
    _row(
        shape.t,
        lambda input: np.transpose(input),
        lambda draw: {"input": draw.array(draw.shape(0, 2, 5))},
        _refusal(ShapeError, "input", input=np.zeros((1, 1, 1))),
    ),
    _row(
        shape.matrix_transpose,
        lambda input: np.swapaxes(input, -1, -2),
        lambda draw: {"input": _any(draw, 2)},
        _refusal(ShapeError, "input", input=X[0]),
    ),
    _row(
        shape.permute,
        lambda input, dims: np.transpose(input, dims),
        _permute,
        _refusal(ShapeError, "dims", input=X, dims=(0,)),
        _refusal(ArgumentError, "dims", input=X, dims=(0, -2)),
        _refusal(IndexRangeError, "dims", input=X, dims=(0, 2)),
        benchmark=lambda rng: {"input": rng.standard_normal((64, 64, 64)), "dims": (2, 0, 1)},
    ),
    _row(
        shape.movedim,
        lambda input, source, destination: np.moveaxis(input, source, destination),
        _movedim,
        _refusal(ArgumentError, "destination", input=X, source=(0, 1), destination=(0,)),
        _refusal(ArgumentError, "source", input=X, source=(0, 0), destination=(0, 1)),
        _refusal(IndexRangeError, "source", input=X, source=2, destination=0),
    ),
    _row(shape.moveaxis, lambda input, source, destination: np.moveaxis(input, source, destination), _movedim),
    _row(
        shape.expand,
        expand_reference,
        _expand,
        _refusal(ShapeError, "sizes", input=X, sizes=(2, 4)),
        _refusal(ShapeError, "sizes", input=X, sizes=(3,)),
        benchmark=lambda rng: {"input": rng.standard_normal((512, 1)), "sizes": (512, 512)},
    ),
    _row(shape.expand_as, lambda input, other: np.broadcast_to(input, other.shape), _expand_as),
    _row(
        shape.broadcast_to,
        lambda input, size: np.broadcast_to(input, size),
        _broadcast_to,
        _refusal(ShapeError, "size", input=X, size=(2, 4)),
    ),
    _row(
        _broadcast_tensors,
        lambda tensors: np.broadcast_arrays(*tensors),
        _broadcast,
        Refusal(lambda: {"tensors": [Tensor(X), Tensor(X.T)]}, ShapeError, "tensors"),
        differentiable=("tensors",),
    ),
    _row(
        shape.diagonal,
        lambda input, offset, dim1, dim2: np.diagonal(input, offset, dim1, dim2),
        _diagonal,
        _refusal(ArgumentError, "dim2", input=X, dim1=1, dim2=-1),
        _refusal(IndexRangeError, "dim2", input=X[0]),
    ),
)

# ---------------------------------------------------------------- joining and splitting


def _parts(draw: Draw) -> tuple[list[np.ndarray], int]:
    sizes = list(draw.shape(1, 3, 3))
    dim = draw.dim(len(sizes))
    parts = []
    for _ in range(draw.integer(1, 3)):
        sizes[dim] = draw.integer(0, 3)
        parts.append(draw.array(tuple(sizes)))
    return parts, dim


def _cat(draw: Draw) -> dict[str, Any]:
    parts, dim = _parts(draw)
    if draw.integer(0, 4) == 4:
        parts.append(np.zeros(0))
    return {"tensors": parts, "dim": dim}


def cat_reference(tensors, dim=0):
    """NumPy's concatenate without the empty vectors that stand for nothing."""
    kept = [tensor for tensor in tensors if tensor.shape != (0,)] or tensors
    return np.concatenate(kept, dim)


def _concatenate(draw: Draw) -> dict[str, Any]:
    parts, dim = _parts(draw)
    return {"tensors": parts, "axis": dim}


def _same(draw: Draw, min_rank: int = 0) -> list[np.ndarray]:
    sizes = draw.shape(min_rank, 2, 4)
    return [draw.array(sizes) for _ in range(draw.integer(1, 3))]


def _stack(draw: Draw) -> dict[str, Any]:
    parts = _same(draw)
    return {"tensors": parts, "dim": draw.dim(parts[0].ndim + 1)}


def _tensors(*arrays: np.ndarray) -> Callable[[], dict[str, Any]]:
    return lambda: {"tensors": [Tensor(array) for array in arrays]}


def _split(draw: Draw) -> dict[str, Any]:
    x = _any(draw, 1)
    dim = draw.dim(x.ndim)
    size = x.shape[dim]
    if draw.boolean():
        first = draw.integer(0, size)
        return {"tensor": x, "split_size_or_sections": [first, 0, size - first], "dim": dim}
    return {"tensor": x, "split_size_or_sections": draw.integer(1, 3), "dim": dim}


def split_reference(tensor, split_size_or_sections, dim=0):
    """NumPy's split before every start of a part."""
    given, size = split_size_or_sections, tensor.shape[dim]
    if isinstance(given, int):
        return tuple(np.split(tensor, list(range(given, size, given)), dim))
    return tuple(np.split(tensor, np.cumsum(given)[:-1], dim))


def _chunk(draw: Draw) -> dict[str, Any]:
    return {**_with_dim(draw), "chunks": draw.integer(1, 4)}


def chunk_reference(input, chunks, dim=0):
    """Parts of one size, as large as the number of chunks asks for."""
    size = input.shape[dim]
    if size == 0:
        return (input,) * chunks
    return split_reference(input, -(-size // chunks), dim)


def _tensor_split(draw: Draw) -> dict[str, Any]:
    case = _with_dim(draw)
    return {**case, "indices_or_sections": draw.choice((draw.integer(1, 4), (1,), (3, 1), (-1, 9), ()))}


JOINING = (
    _row(
        shape.cat,
        cat_reference,
        _cat,
        Refusal(lambda: {"tensors": []}, ArgumentTypeError, "tensors"),
        Refusal(_tensors(X, X[0]), ShapeError, "tensors[1]"),
        Refusal(_tensors(X, X[:, :2]), ShapeError, "tensors[1]"),
        Refusal(_tensors(np.zeros(())), ShapeError, "tensors[0]"),
        Refusal(lambda: {"tensors": [Tensor(X)], "dim": 2}, IndexRangeError, "dim"),
        differentiable=("tensors",),
        benchmark=lambda rng: {"tensors": [rng.standard_normal((256, 256)) for _ in range(4)], "dim": 1},
    ),
    _row(
        shape.cat,
        cat_reference,
        lambda draw: {"tensors": [draw.array((2, 150)), draw.array((2, 131))], "dim": 1},  # rows of several blocks
        differentiable=("tensors",),
        variant="wide",
    ),
    _row(shape.concat, cat_reference, _cat, differentiable=("tensors",)),
    _row(
        shape.concatenate,
        lambda tensors, axis: np.concatenate(tensors, axis),
        _concatenate,
        differentiable=("tensors",),
    ),
    _row(
        shape.stack,
        lambda tensors, dim: np.stack(tensors, dim),
        _stack,
        Refusal(_tensors(X, X[0]), ShapeError, "tensors[1]"),
        Refusal(lambda: {"tensors": [Tensor(X)], "dim": 3}, IndexRangeError, "dim"),
        differentiable=("tensors",),
        benchmark=lambda rng: {"tensors": [rng.standard_normal((64, 256)) for _ in range(16)]},
    ),
    _row(
        shape.hstack,
        lambda tensors: np.hstack(tensors),
        lambda draw: {"tensors": _same(draw)},
        differentiable=("tensors",),
    ),
    _row(
        shape.vstack,
        lambda tensors: np.vstack(tensors),
        lambda draw: {"tensors": _same(draw)},
        differentiable=("tensors",),
    ),
    _row(
        shape.split,
        split_reference,
        _split,
        _refusal(ArgumentError, "split_size_or_sections", tensor=X, split_size_or_sections=[1, 2]),
        _refusal(IndexRangeError, "dim", tensor=X, split_size_or_sections=1, dim=2),
        differentiable=("tensor",),
    ),
    _row(
        shape.chunk,
        chunk_reference,
        _chunk,
        _refusal(ArgumentError, "chunks", input=X, chunks=0),
        _refusal(ShapeError, "input", input=np.zeros(()), chunks=1),
    ),
    _row(
        shape.tensor_split,
        lambda input, indices_or_sections, dim: tuple(np.array_split(input, indices_or_sections, dim)),
        _tensor_split,
        _refusal(ArgumentError, "indices_or_sections", input=X, indices_or_sections=0),
    ),
    _row(
        shape.unbind,
        lambda input, dim: tuple(np.moveaxis(input, dim, 0)),
        _with_dim,
        _refusal(ShapeError, "input", input=np.zeros(())),
    ),
)

# ---------------------------------------------------------------- rearranging


def _repeat(draw: Draw) -> dict[str, Any]:
    x = draw.array(draw.shape(0, 2, 3))
    return {"input": x, "repeats": tuple(draw.integer(0, 3) for _ in range(x.ndim + draw.integer(0, 1)))}


def _tile(draw: Draw) -> dict[str, Any]:
    x = draw.array(draw.shape(0, 2, 3))
    return {"input": x, "dims": tuple(draw.integer(0, 3) for _ in range(draw.integer(0, x.ndim + 1)))}


def _repeat_interleave(draw: Draw) -> dict[str, Any]:
    x = draw.array(draw.shape(1, 2, 4))
    dim = draw.choice((None, draw.dim(x.ndim)))
    size = x.size if dim is None else x.shape[dim]
    return {"input": x, "repeats": draw.choice((draw.integer(0, 3), draw.integers((size,), 0, 3))), "dim": dim}


def _flip(draw: Draw) -> dict[str, Any]:
    x = _any(draw)
    return {"input": x, "dims": _permutation(draw, x.ndim)[: draw.integer(0, x.ndim)]}


def _rot90(draw: Draw) -> dict[str, Any]:
    x = _any(draw, 2)
    return {"input": x, "k": draw.integer(-5, 5), "dims": _permutation(draw, x.ndim)[:2]}


def _roll(draw: Draw) -> dict[str, Any]:
    x = _any(draw, 1)
    if draw.boolean():
        return {"input": x, "shifts": draw.integer(-5, 5), "dims": draw.choice((None, draw.dim(x.ndim)))}
    dims = tuple(draw.dim(x.ndim) for _ in range(draw.integer(1, 3)))
    return {"input": x, "shifts": tuple(draw.integer(-5, 5) for _ in dims), "dims": dims}


def _diag(draw: Draw) -> dict[str, Any]:
    return {"input": draw.array(draw.shape(1, 2, 5)), "diagonal": draw.integer(-3, 3)}


REARRANGING = (
    _row(
        shape.repeat,
        lambda input, repeats: np.tile(input, repeats),
        _repeat,
        _refusal(ShapeError, "repeats", input=X, repeats=(2,)),
        _refusal(ArgumentError, "repeats", input=X, repeats=(2, -1)),
        benchmark=lambda rng: {"input": rng.standard_normal((128, 128)), "repeats": (4, 4)},
    ),
    _row(shape.tile, lambda input, dims: np.tile(input, dims) if dims else input, _tile),
    _row(
        shape.repeat_interleave,
        lambda input, repeats, dim: np.repeat(input, repeats, dim),
        _repeat_interleave,
        _refusal(ArgumentError, "repeats", input=X, repeats=-1),
        _refusal(ShapeError, "repeats", input=X, repeats=np.array([1, 2, 3]), dim=0),
        _refusal(ArgumentTypeError, "repeats", input=X, repeats=np.array([1.0, 2.0]), dim=0),
        _refusal(ArgumentError, "output_size", input=X, repeats=2, dim=0, output_size=3),
    ),
    _row(
        shape.flip,
        lambda input, dims: np.flip(input, dims),
        _flip,
        _refusal(ArgumentError, "dims", input=X, dims=(0, -2)),
        _refusal(IndexRangeError, "dims", input=X, dims=(2,)),
        benchmark=lambda rng: {"input": rng.standard_normal((512, 512)), "dims": (1,)},
    ),
    _row(
        shape.fliplr,
        lambda input: np.fliplr(input),
        lambda draw: {"input": _any(draw, 2)},
        _refusal(ShapeError, "input", input=X[0]),
    ),
    _row(
        shape.flipud,
        lambda input: np.flipud(input),
        lambda draw: {"input": _any(draw, 1)},
        _refusal(ShapeError, "input", input=np.zeros(())),
    ),
    _row(
        shape.rot90,
        lambda input, k, dims: np.rot90(input, k, dims),
        _rot90,
        _refusal(ArgumentError, "dims", input=X, dims=(0,)),
        _refusal(ArgumentError, "dims", input=X, dims=(0, -2)),
        _refusal(ShapeError, "input", input=X[0]),
    ),
    _row(
        shape.roll,
        lambda input, shifts, dims: np.roll(input, shifts, dims),
        _roll,
        _refusal(ArgumentError, "shifts", input=X, shifts=(1, 2)),
        _refusal(ArgumentError, "shifts", input=X, shifts=(1, 2), dims=(0,)),
        _refusal(IndexRangeError, "dims", input=X, shifts=1, dims=2),
        benchmark=lambda rng: {"input": rng.standard_normal((512, 512)), "shifts": (3, 5), "dims": (0, 1)},
    ),
    _row(
        shape.diag,
        lambda input, diagonal: np.diag(input, diagonal),
        _diag,
        _refusal(ShapeError, "input", input=np.zeros((1, 1, 1))),
    ),
)

SPECS = (*VIEWS, *JOINING, *REARRANGING)
