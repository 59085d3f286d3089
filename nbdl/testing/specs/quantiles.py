"""Rows of quantiles and of the median without NaN."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbdl.ops import ordering
from nbdl.runtime.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint")
X = np.arange(6.0).reshape(2, 3)


def _rows(draw: Draw) -> dict[str, Any]:
    shape = draw.shape(0, 3, max_size=5, min_size=1)
    dim = draw.choice((draw.dim(len(shape)), None))
    return {"input": draw.array(shape, distinct=True), "dim": dim, "keepdim": draw.boolean()}


def _quantiles(draw: Draw) -> dict[str, Any]:
    """Parts that are multiples of no row's steps: on a step the gradient has a kink."""
    parts = draw.choice((np.array(0.37), np.array([0.13, 0.87, 0.41]), np.array([0.59])))
    return {**_rows(draw), "q": parts, "interpolation": draw.choice(INTERPOLATIONS)}


def _with_nan(case: dict[str, Any], draw: Draw) -> dict[str, Any]:
    values = np.array(case["input"])
    missing = draw.rng.integers(0, 4, values.shape) == 0
    if missing.size:
        missing.reshape(-1)[0] = False
    return {**case, "input": np.asarray(np.where(missing, np.nan, values))}


def quantile_reference(input, q, dim=None, keepdim=False, interpolation="linear"):
    """The definition, in float64."""
    axis = None if input.ndim == 0 else dim
    return np.quantile(input, q, axis=axis, keepdims=keepdim, method=interpolation)


def nanquantile_reference(input, q, dim=None, keepdim=False, interpolation="linear"):
    """The definition, in float64, row by row."""
    axis = None if input.ndim == 0 else dim
    if axis is None:
        rows, kept = input.reshape(1, -1), (1,) * input.ndim
    else:
        moved = np.moveaxis(input, axis, -1)
        rows, kept = moved.reshape(-1, moved.shape[-1]), (*input.shape[:axis], 1, *input.shape[axis:][1:])
        if axis < 0:
            kept = tuple(1 if k == axis + input.ndim else n for k, n in enumerate(input.shape))
    parts = np.atleast_1d(q)
    values = np.array(
        [
            [
                np.quantile(row[~np.isnan(row)], p, method=interpolation) if (~np.isnan(row)).any() else np.nan
                for row in rows
            ]
            for p in parts
        ]
    ).reshape(len(parts), *kept)
    if not keepdim:
        values = values.reshape(len(parts)) if axis is None else np.squeeze(values, 1 + axis % input.ndim)
    return values if np.ndim(q) else values[0]


def _nanmedian_reference(input, dim=None, keepdim=False):
    if dim is None or input.ndim == 0:
        values = np.sort(input[~np.isnan(input)], axis=None)
        value = values[(values.size - 1) // 2] if values.size else np.float64(np.nan)
        return value if dim is None else (value, np.zeros((), np.int64))
    order = np.argsort(input, axis=dim, kind="stable")
    middle = np.maximum((~np.isnan(input)).sum(dim, keepdims=True) - 1, 0) // 2
    places = np.take_along_axis(order, middle, dim)
    values = np.take_along_axis(input, places, dim)
    return (values, places) if keepdim else (np.squeeze(values, dim), np.squeeze(places, dim))


REFUSALS = (
    Refusal(lambda: {"input": X, "q": 1.5}, ArgumentError, "q"),
    Refusal(lambda: {"input": X, "q": np.array([0.5, -1.0])}, ArgumentError, "q"),
    Refusal(lambda: {"input": X, "q": np.array([0.5], np.float32)}, DTypeError, "q"),
    Refusal(lambda: {"input": X, "q": np.full((1, 1), 0.5)}, ShapeError, "q"),
    Refusal(lambda: {"input": X.astype(np.int64), "q": 0.5}, DTypeError, "input"),
    Refusal(lambda: {"input": np.zeros((0, 3)), "q": 0.5, "dim": 0}, ShapeError, "input"),
    Refusal(lambda: {"input": X, "q": 0.5, "dim": 2}, IndexRangeError, "dim"),
    Refusal(lambda: {"input": X, "q": 0.5, "interpolation": "cubic"}, ArgumentError, "interpolation"),
)

SPECS = (
    OpSpec(ordering.quantile, quantile_reference, _quantiles, ("input",), refusals=REFUSALS),
    OpSpec(
        ordering.quantile,
        quantile_reference,
        lambda draw: {"input": draw.array((2, draw.integer(129, 140)), distinct=True), "q": np.array(0.37), "dim": 1},
        ("input",),
        variant="long row",
    ),
    OpSpec(
        ordering.nanquantile,
        nanquantile_reference,
        lambda draw: _with_nan(_quantiles(draw), draw),
        refusals=REFUSALS,
    ),
    OpSpec(ordering.nanquantile, nanquantile_reference, _quantiles, ("input",), variant="no nan"),
    OpSpec(
        ordering.nanmedian,
        _nanmedian_reference,
        lambda draw: _with_nan({**(case := _rows(draw)), "keepdim": case["keepdim"] and case["dim"] is not None}, draw),
        refusals=(Refusal(lambda: {"input": np.zeros((0, 3)), "dim": 0}, ShapeError, "input"),),
    ),
    OpSpec(
        ordering.nanmedian,
        _nanmedian_reference,
        lambda draw: {"input": draw.array(draw.shape(0, 2, 5, min_size=1), distinct=True)},
        ("input",),
        variant="all",
    ),
)
