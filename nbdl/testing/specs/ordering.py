"""Rows of what sorts, chooses by order and counts."""

from __future__ import annotations

import numpy as np

from nbdl.ops import ordering
from nbdl.ops.ordering import sorting
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal


def _rows(draw: Draw) -> dict[str, object]:
    shape = draw.shape(0, 3, max_size=6, min_size=1)
    return {"input": draw.array(shape, distinct=True), "dim": draw.dim(len(shape))}


def _sorted_rows(draw: Draw) -> dict[str, object]:
    return {**_rows(draw), "descending": draw.boolean()}


def _tied_rows(draw: Draw) -> dict[str, object]:
    shape = draw.shape(1, 2, max_size=7, min_size=1)
    return {"input": draw.array(shape, ties=True), "dim": draw.dim(len(shape)), "descending": draw.boolean()}


def _long_row(draw: Draw) -> dict[str, object]:
    return {"input": draw.array((2, draw.integer(129, 140)), distinct=True), "dim": 1, "descending": draw.boolean()}


def _chosen(draw: Draw) -> dict[str, object]:
    case = _rows(draw)
    return {**case, "k": draw.integer(1, _length(case)), "largest": draw.boolean()}


def _ranked(draw: Draw) -> dict[str, object]:
    case = _rows(draw)
    return {**case, "k": draw.integer(1, _length(case)), "keepdim": draw.boolean()}


def _length(case: dict[str, object]) -> int:
    input, dim = case["input"], case["dim"]
    return input.shape[dim] if input.ndim else 1


def _kthvalue_reference(input, k, dim=-1, keepdim=False):
    if input.ndim == 0:
        return input, np.zeros((), np.int64)
    order = np.take(np.argsort(input, axis=dim, kind="stable"), [k - 1], axis=dim)
    values = np.take_along_axis(input, order, axis=dim)
    return (values, order) if keepdim else (np.squeeze(values, dim), np.squeeze(order, dim))


def _median_reference(input, dim=None, keepdim=False):
    if dim is None:
        return np.sort(input, axis=None)[(input.size - 1) // 2]
    return _kthvalue_reference(input, (_length({"input": input, "dim": dim}) + 1) // 2, dim, keepdim)


def _unique_reference(input, return_inverse, return_counts):
    values, inverse, counts = np.unique(input, return_inverse=True, return_counts=True)
    results = [
        values,
        *([inverse.reshape(input.shape)] if return_inverse else []),
        *([counts] if return_counts else []),
    ]
    return tuple(results)


def _sliced(draw: Draw) -> dict[str, object]:
    shape = draw.shape(1, 3, max_size=4)
    return {
        "input": draw.array(shape, -0.5, 0.5, ties=True),
        "return_inverse": draw.boolean(),
        "return_counts": draw.boolean(),
        "dim": draw.dim(len(shape)),
    }


def _unique_slices_reference(input, return_inverse, return_counts, dim):
    if input.shape[dim] == 0:
        values, inverse, counts = input, np.zeros(0, np.int64), np.zeros(0, np.int64)
    else:
        values, inverse, counts = np.unique(input, return_inverse=True, return_counts=True, axis=dim)
    return (values, *([inverse.reshape(-1)] if return_inverse else []), *([counts] if return_counts else []))


def _consecutive_reference(input, return_inverse, return_counts, dim=None):
    slices = input.reshape(-1) if dim is None else np.moveaxis(input, dim, 0)
    starts = [k for k in range(len(slices)) if k == 0 or not np.array_equal(slices[k], slices[k - 1])]
    counts = np.diff([*starts, len(slices)]) if starts else np.zeros(0, np.int64)
    values = slices[np.array(starts, np.int64)]
    inverse = np.repeat(np.arange(len(starts)), counts)
    results = [values if dim is None else np.moveaxis(values, 0, dim)]
    if return_inverse:
        results.append(inverse.reshape(input.shape) if dim is None else inverse)
    return (*results, *([counts] if return_counts else []))


def _sought(draw: Draw) -> dict[str, object]:
    elements, known = draw.array(draw.shape(0, 2), ties=True), draw.array(draw.shape(0, 2), ties=True)
    return {"elements": elements, "test_elements": known, "invert": draw.boolean()}


def _searched(draw: Draw) -> dict[str, object]:
    edges = np.sort(draw.rng.integers(-4, 5, draw.integer(1, 9)) / 2)
    return {"sorted_sequence": edges, "input": draw.array(draw.shape(1, 2), ties=True), "right": draw.boolean()}


_WRONG_DIM = Refusal(lambda: {"input": np.zeros((2, 3)), "dim": 2}, IndexRangeError, "dim")
_WRONG_DIM_OF_K = Refusal(lambda: {"input": np.zeros((2, 3)), "k": 1, "dim": 2}, IndexRangeError, "dim")
_FEW = Refusal(lambda: {"input": np.zeros((2, 3)), "k": 4, "dim": 1}, ArgumentError, "k")

SPECS = [
    OpSpec(
        function=ordering.sort,
        reference=sorting.sort_reference,
        inputs=_sorted_rows,
        differentiable=("input",),
        refusals=(_WRONG_DIM,),
        benchmark=lambda rng: {"input": rng.standard_normal((256, 1000))},
    ),
    OpSpec(function=ordering.sort, reference=sorting.sort_reference, inputs=_tied_rows, variant="ties"),
    OpSpec(
        function=ordering.sort,
        reference=sorting.sort_reference,
        inputs=_long_row,
        differentiable=("input",),
        variant="long row",
    ),
    OpSpec(function=ordering.argsort, reference=sorting.argsort_reference, inputs=_sorted_rows, refusals=(_WRONG_DIM,)),
    OpSpec(
        function=ordering.topk,
        reference=sorting.topk_reference,
        inputs=_chosen,
        differentiable=("input",),
        refusals=(
            _WRONG_DIM_OF_K,
            _FEW,
        ),
    ),
    OpSpec(
        function=ordering.kthvalue,
        reference=_kthvalue_reference,
        inputs=_ranked,
        differentiable=("input",),
        refusals=(_WRONG_DIM_OF_K, _FEW, Refusal(lambda: {"input": np.zeros(3), "k": 0}, ArgumentError, "k")),
    ),
    OpSpec(
        function=ordering.median,
        reference=_median_reference,
        inputs=lambda draw: {**_rows(draw), "keepdim": draw.boolean()},
        differentiable=("input",),
        refusals=(_WRONG_DIM, Refusal(lambda: {"input": np.zeros((0, 3)), "dim": 0}, ShapeError, "input")),
    ),
    OpSpec(
        function=ordering.median,
        reference=_median_reference,
        inputs=lambda draw: {"input": draw.array(draw.shape(0, 3, min_size=1), distinct=True)},
        differentiable=("input",),
        variant="all",
    ),
    OpSpec(
        function=ordering.median,
        reference=_median_reference,
        inputs=lambda draw: {"input": draw.array(draw.shape(1, 2, min_size=1), ties=True)},
        variant="ties",
    ),
    OpSpec(
        function=ordering.unique,
        reference=_unique_reference,
        inputs=lambda draw: {
            "input": draw.array(draw.shape(0, 2, max_size=6), ties=True),
            "return_inverse": draw.boolean(),
            "return_counts": draw.boolean(),
        },
    ),
    OpSpec(
        function=ordering.unique,
        reference=_unique_slices_reference,
        inputs=_sliced,
        refusals=(_WRONG_DIM,),
        variant="slices",
    ),
    OpSpec(
        function=ordering.unique_consecutive,
        reference=_consecutive_reference,
        inputs=lambda draw: {**(case := _sliced(draw)), "dim": draw.choice((None, case["dim"]))},
        refusals=(_WRONG_DIM,),
    ),
    OpSpec(
        function=ordering.isin,
        reference=lambda elements, test_elements, invert: np.isin(elements, test_elements, invert=invert),
        inputs=_sought,
        refusals=(Refusal(lambda: {"elements": 1, "test_elements": 2}, ArgumentTypeError, "elements"),),
    ),
    OpSpec(
        function=ordering.msort,
        reference=lambda input: np.sort(input, 0) if input.ndim else input,
        inputs=lambda draw: {"input": _rows(draw)["input"]},
        differentiable=("input",),
    ),
    OpSpec(
        function=ordering.searchsorted,
        reference=lambda sorted_sequence, input, side, sorter: np.searchsorted(sorted_sequence, input, side, sorter),
        inputs=lambda draw: {
            "sorted_sequence": (edges := draw.array((draw.integer(1, 6),), ties=True)),
            "input": draw.array(draw.shape(1, 2), ties=True),
            "side": draw.choice(("left", "right")),
            "sorter": np.argsort(edges),
        },
        refusals=(
            Refusal(lambda: {"sorted_sequence": np.zeros(3), "input": 1.0, "side": "up"}, ArgumentError, "side"),
            Refusal(
                lambda: {"sorted_sequence": np.zeros(3), "input": 1.0, "sorter": np.zeros(3)}, DTypeError, "sorter"
            ),
        ),
        variant="sorter",
    ),
    OpSpec(
        function=ordering.searchsorted,
        reference=lambda sorted_sequence, input, right: np.searchsorted(
            sorted_sequence, input, "right" if right else "left"
        ),
        inputs=_searched,
        refusals=(
            Refusal(
                lambda: {"sorted_sequence": np.zeros((2, 3)), "input": np.zeros((3, 3))}, ShapeError, "sorted_sequence"
            ),
        ),
    ),
    OpSpec(
        function=ordering.bucketize,
        reference=lambda input, boundaries, right: np.searchsorted(boundaries, input, "right" if right else "left"),
        inputs=lambda draw: {
            "input": (case := _searched(draw))["input"],
            "boundaries": case["sorted_sequence"],
            "right": case["right"],
        },
        refusals=(Refusal(lambda: {"input": np.zeros(3), "boundaries": np.zeros((2, 2))}, ShapeError, "boundaries"),),
    ),
    OpSpec(
        function=ordering.bincount,
        reference=lambda input, weights, minlength: np.bincount(input, weights, minlength),
        inputs=lambda draw: {
            "input": draw.integers((size := draw.integer(0, 12),), 0, 5),
            "weights": draw.array((size,)),
            "minlength": draw.integer(0, 8),
        },
        refusals=(
            Refusal(lambda: {"input": np.array([1, -1])}, ArgumentError, "input"),
            Refusal(lambda: {"input": np.zeros(2)}, DTypeError, "input"),
            Refusal(lambda: {"input": np.array([1, 1]), "weights": np.zeros(3)}, ShapeError, "weights"),
        ),
    ),
    OpSpec(
        function=ordering.histc,
        reference=lambda input, bins, min, max: np.histogram(input, bins, (min, max))[0].astype(float),
        inputs=lambda draw: {
            "input": draw.array(draw.shape(0, 2, max_size=6)),
            "bins": draw.choice([1, 2, 4, 8]),
            "min": -2.0,
            "max": 1.5,
        },
        refusals=(
            Refusal(lambda: {"input": np.zeros(2), "min": 1.0, "max": 0.0}, ArgumentError, "max"),
            Refusal(lambda: {"input": np.zeros(2, np.int64)}, DTypeError, "input"),
            Refusal(lambda: {"input": np.zeros(2), "bins": 0}, ArgumentError, "bins"),
        ),
    ),
]
