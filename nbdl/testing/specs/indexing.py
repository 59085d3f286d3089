"""Indexing: subscripts, gather and scatter, slices by number, masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.autograd import Tensor
from nbdl.ops import indexing
from nbdl.ops.indexing.elements import gather_reference, scatter_add_reference, scatter_reference
from nbdl.ops.indexing.reductions import REDUCTIONS, scatter_reduce_reference
from nbdl.runtime.errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    IndexRangeError,
    NbdlError,
    ShapeError,
)
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

X = np.arange(6.0).reshape(2, 3)
HALVES = np.array([0.5])


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
        refusals=refusals,
        benchmark=benchmark,
        variant=variant,
    )


# ---------------------------------------------------------------- subscripts


def _basic_item(draw: Draw, size: int) -> Any:
    """An integer or a slice of positive step."""
    if size and draw.boolean():
        return draw.integer(-size, size - 1)
    start, stop, step = draw.integer(-4, 4), draw.integer(-4, 4), draw.integer(1, 3)
    return draw.choice((slice(None), slice(start, stop), slice(start, None, step), slice(None, stop, step)))


def _basic_index(draw: Draw) -> dict[str, Any]:
    x = draw.array(draw.shape(1, 3, 4))
    index: list[Any] = [_basic_item(draw, size) for size in x.shape[: draw.integer(0, x.ndim)]]
    if draw.boolean():
        index.insert(draw.integer(0, len(index)), None)
    if draw.boolean():
        index.append(...)
    return {"input": x, "index": tuple(index)}


def _number_index(draw: Draw) -> dict[str, Any]:
    """Arrays of integers that broadcast against each other, between slices; side by side, as NumPy agrees there."""
    x = draw.array(tuple(draw.integer(1, 4) for _ in range(draw.integer(1, 3))))
    shape = draw.shape(0, 2, 3)
    first = draw.integer(0, x.ndim - 1)
    index: list[Any] = [slice(None)] * first
    for size in x.shape[first : draw.integer(first + 1, x.ndim)]:
        index.append(draw.integers(draw.broadcastable(shape), -size, size - 1))
    return {"input": x, "index": tuple(index)}


def _mask_index(draw: Draw) -> dict[str, Any]:
    x = draw.array(draw.shape(1, 3, 4))
    return {"input": x, "index": (draw.booleans(x.shape[: draw.integer(1, x.ndim)]),)}


def _wide_index(draw: Draw) -> dict[str, Any]:
    """Rows of more elements than a CUDA block has threads."""
    return {"input": draw.array((3, 150)), "index": (draw.integers((5,), -3, 2),)}


def written(input: Tensor, index: Any, value: Tensor) -> Tensor:
    """A copy of the input with `copy[index] = value`."""
    result = input.clone()
    result[index] = value
    return result


def written_reference(input, index, value):
    """NumPy's assignment to a copy."""
    result = np.array(input)
    result[index] = value
    return result


def _write(choose: Callable[[Draw], dict[str, Any]]) -> Callable[[Draw], dict[str, Any]]:
    """The cases of reading with a value to write; places are made different, so that no order matters."""

    def inputs(draw: Draw) -> dict[str, Any]:
        case = choose(draw)
        x, index = case["input"], case["index"]
        places = np.arange(x.size).reshape(x.shape)[index]
        if len(np.unique(places)) != places.size:
            index = tuple(slice(None) for _ in x.shape)
            places = x
        return {"input": x, "index": index, "value": draw.array(draw.broadcastable(np.shape(places)))}

    return inputs


def _subscripts(function: Callable[..., Any], reference: Callable[..., Any], write: bool) -> tuple[OpSpec, ...]:
    kinds = {"basic": _basic_index, "numbers": _number_index, "mask": _mask_index}
    value = {"value": np.zeros(())} if write else {}
    refusals = (
        _refusal(IndexRangeError, "index", input=X, index=(2,), **value),
        _refusal(IndexRangeError, "index", input=X, index=(0, 0, 0), **value),
        _refusal(ArgumentError, "step", input=X, index=(slice(None, None, -1),), **value),
        Refusal(lambda: {"input": Tensor(X), "index": [[0, 2]], **value}, IndexRangeError, "index"),
        Refusal(lambda: {"input": Tensor(X), "index": HALVES, **value}, ArgumentTypeError, "index"),
        Refusal(lambda: {"input": Tensor(X), "index": np.array([True]), **value}, IndexRangeError, "mask"),
    )
    return tuple(
        _row(
            function,
            reference,
            _write(inputs) if write else inputs,
            *(refusals if kind == "basic" else ()),
            differentiable=("input", "value") if write else ("input",),
            benchmark=None
            if write or kind != "numbers"
            else lambda rng: {"input": rng.standard_normal((4096, 256)), "index": (rng.integers(0, 4096, 8192),)},
            variant=kind,
        )
        for kind, inputs in kinds.items()
    )


# ---------------------------------------------------------------- along a dimension, element by element


def _elements(draw: Draw, unique: bool = False) -> dict[str, Any]:
    """An input, a dimension and an index that may be shorter than the input elsewhere."""
    x = draw.array(tuple(draw.integer(1, 4) for _ in range(draw.integer(1, 3))))
    dim = draw.integer(0, x.ndim - 1)
    size = x.shape[dim]
    count = draw.integer(0, size if unique else 5)
    shape = tuple(count if d == dim else draw.integer(1, s) for d, s in enumerate(x.shape))
    if unique:
        order = draw.rng.permuted(np.broadcast_to(np.arange(size), (*shape[:dim], *shape[dim + 1 :], size)), axis=-1)
        index = np.ascontiguousarray(np.moveaxis(order[..., :count], -1, dim))
    else:
        index = draw.integers(shape, 0, size - 1)
    return {"input": x, "dim": draw.choice((dim, dim - x.ndim)), "index": index}


def _with_source(draw: Draw, unique: bool = False) -> dict[str, Any]:
    case = _elements(draw, unique)
    larger = tuple(size + draw.integer(0, 1) for size in case["index"].shape)
    return {**case, "src": draw.array(larger)}


def _reduced(reduce: str) -> Callable[[Draw], dict[str, Any]]:
    """Values that differ, so that no extreme is a tie; zeros now and then, for products."""

    def inputs(draw: Draw) -> dict[str, Any]:
        case = _with_source(draw)
        x = draw.array(case["input"].shape, 0.5, 1.5, distinct=True)
        src = draw.array(case["src"].shape, 1.6, 2.6, distinct=True)
        if reduce == "prod" and src.size and draw.boolean():
            src[(0,) * src.ndim] = 0.0
        return {**case, "input": x, "src": src, "reduce": reduce, "include_self": draw.boolean()}

    return inputs


def _along(draw: Draw) -> dict[str, Any]:
    shape = tuple(draw.integer(1, 4) for _ in range(draw.integer(1, 3)))
    x = draw.array(shape)
    if draw.integer(0, 3) == 3:
        return {"input": x, "indices": draw.integers((draw.integer(1, 5),), -x.size, x.size - 1), "dim": None}
    dim = draw.integer(0, x.ndim - 1)
    sizes = tuple(draw.integer(1, 4) if d == dim else draw.choice((1, s)) for d, s in enumerate(shape))
    return {"input": x, "indices": draw.integers(sizes, -shape[dim], shape[dim] - 1), "dim": dim}


def take_along_reference(input, indices, dim):
    """NumPy's take_along_axis of the broadcast arrays."""
    if dim is None:
        return input.reshape(-1)[indices]
    shape = tuple(s if d == dim else i.shape[d] for i in (input,) for d, s in enumerate(indices.shape))
    return np.take_along_axis(input, np.broadcast_to(indices, shape), dim)


def _shared_refusals(**more: Any) -> tuple[Refusal, ...]:
    """What gather and every scatter refuse."""
    ids = np.zeros((1, 1), np.int64)
    return (
        _refusal(IndexRangeError, "index", input=X, dim=1, index=ids + 3, **more),
        _refusal(IndexRangeError, "index", input=X, dim=1, index=ids - 1, **more),
        _refusal(IndexRangeError, "dim", input=X, dim=2, index=ids, **more),
        _refusal(ShapeError, "index", input=X, dim=1, index=ids[0], **more),
        _refusal(ShapeError, "index", input=X, dim=0, index=np.zeros((1, 4), np.int64), **more),
        _refusal(DTypeError, "index", input=X, dim=1, index=HALVES.reshape(1, 1), **more),
    )


SOURCE = np.ones((1, 1))

_SCATTER_REDUCE_REFUSALS = (
    *_shared_refusals(src=SOURCE, reduce="sum"),
    _refusal(ArgumentError, "reduce", input=X, dim=1, index=np.zeros((1, 1), np.int64), src=SOURCE, reduce="median"),
)

ELEMENTS = (
    _row(
        indexing.gather,
        gather_reference,
        _elements,
        *_shared_refusals(),
        benchmark=lambda rng: {
            "input": rng.standard_normal((1024, 256)),
            "dim": 1,
            "index": rng.integers(0, 256, (1024, 256)),
        },
    ),
    _row(
        indexing.take_along_dim,
        take_along_reference,
        _along,
        _refusal(IndexRangeError, "indices", input=X, indices=np.array([[3]]), dim=1),
        _refusal(ShapeError, "indices", input=X, indices=np.array([0]), dim=1),
        _refusal(DTypeError, "indices", input=X, indices=HALVES, dim=None),
    ),
    _row(
        indexing.scatter,
        scatter_reference,
        lambda draw: _with_source(draw, unique=True),
        *_shared_refusals(src=SOURCE),
        _refusal(ArgumentError, "reduce", input=X, dim=1, index=np.zeros((1, 1), np.int64), src=1.0, reduce="mean"),
        differentiable=("input", "src"),
    ),
    _row(
        indexing.scatter,
        scatter_reference,
        lambda draw: {**_elements(draw), "src": draw.number(-2, 2)},
        variant="number",
    ),
    _row(
        indexing.scatter_add,
        scatter_add_reference,
        _with_source,
        *_shared_refusals(src=SOURCE),
        _refusal(ShapeError, "src", input=X, dim=1, index=np.zeros((1, 2), np.int64), src=SOURCE),
        differentiable=("input", "src"),
        benchmark=lambda rng: {
            "input": rng.standard_normal((256, 256)),
            "dim": 0,
            "index": rng.integers(0, 256, (1024, 256)),
            "src": rng.standard_normal((1024, 256)),
        },
    ),
    *(
        _row(
            indexing.scatter_reduce,
            scatter_reduce_reference,
            _reduced(reduce),
            *(_SCATTER_REDUCE_REFUSALS if reduce == "sum" else ()),
            differentiable=("input", "src"),
            variant=reduce,
        )
        for reduce in REDUCTIONS
    ),
)

# ---------------------------------------------------------------- along a dimension, slice by slice


def _slices(draw: Draw) -> dict[str, Any]:
    x = draw.array(tuple(draw.integer(1, 4) for _ in range(draw.integer(1, 3))))
    dim = draw.integer(0, x.ndim - 1)
    return {"input": x, "dim": dim, "index": draw.integers((draw.integer(0, 5),), 0, x.shape[dim] - 1)}


def _slices_and_source(draw: Draw, unique: bool = False) -> dict[str, Any]:
    case = _slices(draw)
    x, dim = case["input"], case["dim"]
    if unique:
        case["index"] = np.array(draw.rng.permutation(x.shape[dim])[: draw.integer(0, x.shape[dim])], np.int64)
    shape = tuple(len(case["index"]) if d == dim else s for d, s in enumerate(x.shape))
    return {**case, "source": draw.array(shape)}


def index_add_reference(input, dim, index, source, alpha=1.0):
    """NumPy's add.at along the dimension."""
    result = np.array(input)
    np.add.at(np.moveaxis(result, dim, 0), index, alpha * np.moveaxis(source, dim, 0))
    return result


def index_copy_reference(input, dim, index, source):
    """NumPy's assignment along the dimension."""
    result = np.array(input)
    np.moveaxis(result, dim, 0)[index] = np.moveaxis(source, dim, 0)
    return result


def index_fill_reference(input, dim, index, value):
    """NumPy's assignment of one value along the dimension."""
    result = np.array(input)
    np.moveaxis(result, dim, 0)[index] = value
    return result


def _one_slice(draw: Draw) -> dict[str, Any]:
    x = draw.array(tuple(draw.integer(1, 4) for _ in range(draw.integer(1, 3))))
    dim = draw.dim(x.ndim)
    return {"input": x, "dim": dim, "index": draw.integer(-x.shape[dim], x.shape[dim] - 1)}


def _narrow(draw: Draw) -> dict[str, Any]:
    x = draw.array(tuple(draw.integer(1, 4) for _ in range(draw.integer(1, 3))))
    dim = draw.dim(x.ndim)
    first = draw.integer(0, x.shape[dim])
    return {"input": x, "dim": dim, "start": first, "length": draw.integer(0, x.shape[dim] - first)}


def narrow_reference(input, dim, start, length):
    """NumPy's take of consecutive slices."""
    return np.take(input, np.arange(start, start + length), dim)


THREE = np.array([3])
FIRST = np.array([0])

SLICES = (
    _row(
        indexing.index_select,
        lambda input, dim, index: np.take(input, index, dim),
        _slices,
        _refusal(IndexRangeError, "index", input=X, dim=1, index=THREE),
        _refusal(IndexRangeError, "index", input=X, dim=1, index=-THREE),
        _refusal(ShapeError, "index", input=X, dim=1, index=np.zeros((1, 1), np.int64)),
        _refusal(DTypeError, "index", input=X, dim=1, index=HALVES),
        _refusal(ArgumentTypeError, "index", input=X, dim=1, index=0),
    ),
    _row(
        indexing.index_add,
        index_add_reference,
        lambda draw: {**_slices_and_source(draw), "alpha": draw.choice((1, 0.5))},
        _refusal(ShapeError, "source", input=X, dim=1, index=FIRST, source=np.ones((2, 2))),
        _refusal(IndexRangeError, "index", input=X, dim=1, index=THREE, source=np.ones((2, 1))),
        differentiable=("input", "source"),
        benchmark=lambda rng: {
            "input": rng.standard_normal((4096, 256)),
            "dim": 0,
            "index": rng.integers(0, 4096, 8192),
            "source": rng.standard_normal((8192, 256)),
        },
    ),
    _row(
        indexing.index_copy,
        index_copy_reference,
        lambda draw: _slices_and_source(draw, unique=True),
        _refusal(ShapeError, "source", input=X, dim=1, index=FIRST, source=np.ones((2, 2))),
        differentiable=("input", "source"),
    ),
    _row(
        indexing.index_fill,
        index_fill_reference,
        lambda draw: {**_slices(draw), "value": draw.number(-2, 2)},
        _refusal(IndexRangeError, "index", input=X, dim=1, index=THREE, value=0.0),
        _refusal(ShapeError, "value", input=X, dim=1, index=FIRST, value=HALVES),
    ),
    _row(
        indexing.select,
        lambda input, dim, index: np.take(input, index, dim),
        _one_slice,
        _refusal(IndexRangeError, "index", input=X, dim=1, index=3),
        _refusal(IndexRangeError, "dim", input=X, dim=2, index=0),
    ),
    _row(
        indexing.narrow,
        narrow_reference,
        _narrow,
        _refusal(IndexRangeError, "length", input=X, dim=1, start=2, length=2),
        _refusal(IndexRangeError, "start", input=X, dim=1, start=4, length=0),
    ),
)

# ---------------------------------------------------------------- elements and masks


def _take(draw: Draw) -> dict[str, Any]:
    x = draw.array(tuple(draw.integer(1, 3) for _ in range(draw.integer(0, 3))))
    return {"input": x, "index": draw.integers(draw.shape(0, 2, 4), -x.size, x.size - 1)}


def _masked(draw: Draw) -> dict[str, Any]:
    shape = draw.shape(0, 3, 4)
    return {"input": draw.array(draw.broadcastable(shape)), "mask": draw.booleans(draw.broadcastable(shape))}


def masked_select_reference(input, mask):
    """NumPy's subscript by a mask of the broadcast arrays."""
    x, where = np.broadcast_arrays(input, mask)
    return x[where]


def _masked_scatter(draw: Draw) -> dict[str, Any]:
    x = draw.array(draw.shape(0, 3, 4))
    return {"input": x, "mask": draw.booleans(x.shape), "source": draw.array((x.size + draw.integer(0, 2),))}


def masked_scatter_reference(input, mask, source):
    """NumPy's assignment by a mask."""
    result = np.array(input)
    result[mask] = source[: int(mask.sum())]
    return result


def _sparse(draw: Draw) -> dict[str, Any]:
    return {"input": draw.array(draw.shape(1, 3, 4), -1, 1, ties=True)}


ELSE = np.zeros(2)

MASKS = (
    _row(
        indexing.take,
        lambda input, index: input.reshape(-1)[index],
        _take,
        _refusal(IndexRangeError, "index", input=X, index=np.array([6])),
        _refusal(DTypeError, "index", input=X, index=HALVES),
    ),
    _row(
        indexing.masked_select,
        masked_select_reference,
        _masked,
        _refusal(DTypeError, "mask", input=X, mask=X),
        _refusal(ShapeError, "tensors", input=X, mask=np.array([True, False])),
    ),
    _row(
        indexing.masked_scatter,
        masked_scatter_reference,
        _masked_scatter,
        _refusal(ArgumentError, "source", input=X, mask=X > 0, source=ELSE),
        _refusal(DTypeError, "mask", input=X, mask=X, source=ELSE),
        differentiable=("input", "source"),
    ),
    _row(indexing.nonzero, lambda input: np.argwhere(input), _sparse, differentiable=()),
    _row(indexing.argwhere, lambda input: np.argwhere(input), _sparse, differentiable=()),
    _row(
        indexing.one_hot,
        lambda tensor, num_classes: np.eye(num_classes, dtype=np.int64)[tensor],
        lambda draw: {"tensor": draw.integers(draw.shape(0, 2, 4), 0, 3), "num_classes": draw.integer(4, 6)},
        _refusal(IndexRangeError, "tensor", tensor=THREE, num_classes=3),
        _refusal(IndexRangeError, "tensor", tensor=-THREE),
        _refusal(DTypeError, "tensor", tensor=HALVES),
        _refusal(ArgumentError, "num_classes", tensor=FIRST, num_classes=0),
        differentiable=(),
    ),
)

SPECS = (
    *_subscripts(indexing.getitem, lambda input, index: input[index], write=False),
    *_subscripts(written, written_reference, write=True),
    _row(indexing.getitem, lambda input, index: input[index], _wide_index, variant="wide"),
    *ELEMENTS,
    *SLICES,
    *MASKS,
)
