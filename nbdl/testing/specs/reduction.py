"""Rows of the reductions.

A row draws shapes, dimensions and layouts; its variants take the paths that small inputs do not: lines so long that
they are folded in chunks, dimensions that are no neighbours, integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbdl.ops.reduction import extremes, log_sum_exp, moments, norms, products, sums, truth
from nbdl.runtime.errors import ArgumentError, ArgumentTypeError, DTypeError, IndexRangeError, NbdlError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal

# ---------------------------------------------------------------- inputs


def draw_dims(draw: Draw, rank: int) -> Any:
    """One dimension, several, or None for all."""
    if rank == 0 or draw.integer(0, 3) == 0:
        return None
    if draw.boolean():
        return draw.dim(rank)
    chosen = [axis for axis in range(rank) if draw.boolean()] or [0]
    return tuple(axis - rank if draw.boolean() else axis for axis in chosen)


def over_dims(
    keepdim: bool = True, min_size: int = 0, min_rank: int = 0, **values: Any
) -> Callable[[Draw], dict[str, Any]]:
    """Any shape, any dimensions of it."""

    def inputs(draw: Draw) -> dict[str, Any]:
        shape = draw.shape(min_rank, 3, 4, min_size)
        case = {"input": draw.array(shape, **values), "dim": draw_dims(draw, len(shape))}
        return case | ({"keepdim": draw.boolean()} if keepdim else {})

    return inputs


def along_dim(**values: Any) -> Callable[[Draw], dict[str, Any]]:
    """Any shape without empty dimensions, one dimension of it or all."""

    def inputs(draw: Draw) -> dict[str, Any]:
        shape = draw.shape(0, 3, 4, min_size=1)
        dim = draw.dim(len(shape)) if shape and draw.integer(0, 2) else None
        return {"input": draw.array(shape, **values), "dim": dim, "keepdim": draw.boolean() and dim is not None}

    return inputs


def integers(low: int, high: int, dims: bool = True) -> Callable[[Draw], dict[str, Any]]:
    """Integers, folded as rows and as columns."""

    def inputs(draw: Draw) -> dict[str, Any]:
        shape = draw.shape(2, 3, 4, min_size=1)
        return {"input": draw.integers(shape, low, high)} | ({"dim": draw.dim(len(shape))} if dims else {})

    return inputs


def long_rows(**values: Any) -> Callable[[Draw], dict[str, Any]]:
    """Rows of more elements than one task folds."""
    return lambda draw: {"input": draw.array((draw.integer(1, 2), draw.integer(4097, 4100)), **values), "dim": 1}


def long_columns(**values: Any) -> Callable[[Draw], dict[str, Any]]:
    """Columns of more elements than one task folds; 1031 is prime, so no rows are folded side by side."""
    return lambda draw: {"input": draw.array((1031, draw.integer(2, 3)), **values), "dim": 0}


def narrow_columns(**values: Any) -> Callable[[Draw], dict[str, Any]]:
    """A few long columns, of which several rows are folded side by side."""
    return lambda draw: {"input": draw.array((192, draw.integer(2, 3)), **values), "dim": 0}


def many_columns(**values: Any) -> Callable[[Draw], dict[str, Any]]:
    """More columns than a block has, and a dimension between two others."""
    return lambda draw: {"input": draw.array((2, draw.integer(3, 5), draw.integer(257, 300)), **values), "dim": 1}


# ---------------------------------------------------------------- refusals


def refusal(error: type[NbdlError], mentions: str, **arguments: Any) -> Refusal:
    """Bad arguments for an input of [2, 3]."""
    return Refusal(lambda: {"input": np.ones((2, 3)), **arguments}, error, mentions)


WRONG_DIM = refusal(IndexRangeError, "dim", dim=2)
WRONG_DIM_TYPE = refusal(ArgumentTypeError, "dim", dim=1.5)
TWICE = refusal(ArgumentError, "dim", dim=(0, -2))
NO_FLOATS = Refusal(lambda: {"input": np.ones((2, 3), np.int64)}, DTypeError, "input")
EMPTY = Refusal(lambda: {"input": np.ones((2, 0)), "dim": 1}, ShapeError, "input")

# ---------------------------------------------------------------- rows


def fold_rows(
    function: Callable[..., Any],
    reference: Callable[..., Any],
    differentiable: bool = True,
    refusals: tuple[Refusal, ...] = (WRONG_DIM, WRONG_DIM_TYPE, TWICE),
    options: dict[str, Any] | None = None,
    keepdim: bool = True,
    min_size: int = 0,
    name: str = "",
    long_values: dict[str, Any] | None = None,
    benchmark: bool = False,
    **values: Any,
) -> list[OpSpec]:
    """The rows of one fold: any dimensions, long rows, long columns, narrow columns, many columns."""
    given = options or {}
    drawings = {
        "": over_dims(keepdim, min_size, **values),
        "long rows": long_rows(**(long_values or values)),
        "long columns": long_columns(**(long_values or values)),
        "narrow columns": narrow_columns(**(long_values or values)),
        "many columns": many_columns(**values),
    }
    return [
        OpSpec(
            function=function,
            reference=reference,
            inputs=lambda draw, inputs=inputs: inputs(draw) | given,
            differentiable=("input",) if differentiable else (),
            tolerance={"float64": 1e-11, "float32": 1e-4},
            refusals=refusals if not variant else (),
            benchmark=(lambda rng: {"input": rng.standard_normal((2048, 768)), "dim": 1, **given})
            if benchmark and not variant
            else None,
            variant=", ".join(part for part in (name, variant) if part),
        )
        for variant, inputs in drawings.items()
    ]


def place_rows(function: Callable[..., Any], reference: Callable[..., Any], differentiable: bool) -> list[OpSpec]:
    """The rows of an operation that tells where extremes stand."""
    wanted = ("input",) if differentiable else ()
    return [
        OpSpec(function, reference, along_dim(distinct=True), wanted, refusals=(WRONG_DIM, EMPTY)),
        OpSpec(function, reference, along_dim(ties=True), variant="ties"),
        OpSpec(function, reference, integers(-3, 3), variant="integers"),
        OpSpec(
            function,
            reference,
            lambda draw: {"input": draw.array((draw.integer(1, 3), draw.integer(100, 200)), ties=True), "dim": 1},
            variant="wide rows",
        ),
        OpSpec(function, reference, many_columns(distinct=True), wanted, variant="many columns"),
    ]


def with_nan(draw: Draw) -> dict[str, Any]:
    """Some elements are NaN."""
    case = over_dims()(draw)
    values = case["input"].copy()
    values[draw.rng.random(values.shape) < 0.3] = np.nan
    return case | {"input": values}


def some_nan(draw: Draw) -> dict[str, Any]:
    """Some elements are NaN, but not the first."""
    values = np.array(draw.array((draw.integer(1, 9),)))
    values[1:][draw.rng.random(values.size - 1) < 0.3] = np.nan
    return {"input": values}


def with_infinities(draw: Draw) -> dict[str, Any]:
    """Some elements are infinite."""
    case = over_dims()(draw)
    values = case["input"].copy()
    chance = draw.rng.random(values.shape)
    values[chance < 0.3] = -np.inf
    values[chance > 0.95] = np.inf
    return case | {"input": values}


def truths(draw: Draw) -> dict[str, Any]:
    """Bools over any dimensions."""
    shape = draw.shape(0, 3, 4)
    return {"input": draw.booleans(shape), "dim": draw_dims(draw, len(shape)), "keepdim": draw.boolean()}


def spread_values(draw: Draw) -> dict[str, Any]:
    """Several elements that differ, so that their deviation is not near 0."""
    shape = draw.shape(1, 3, 4, min_size=2)
    return {
        "input": draw.array(tuple(max(size, 2) for size in shape), distinct=True),
        "dim": draw_dims(draw, len(shape)),
        "correction": draw.choice((1, 0, 0.5)),
        "keepdim": draw.boolean(),
    }


def few_elements(draw: Draw) -> dict[str, Any]:
    """As few elements as the correction or fewer."""
    return {"input": draw.array((3, draw.integer(0, 2))), "dim": 1, "correction": draw.choice((1, 0, 2))}


def moment_rows(function: Callable[..., Any], reference: Callable[..., Any]) -> list[OpSpec]:
    """The rows of a moment."""
    return [
        OpSpec(
            function,
            reference,
            spread_values,
            ("input",),
            refusals=(
                WRONG_DIM,
                TWICE,
                NO_FLOATS,
                refusal(ArgumentTypeError, "correction", correction="1"),
                refusal(ArgumentError, "correction", correction=math.inf),
            ),
        ),
        OpSpec(function, reference, few_elements, variant="few elements"),
        OpSpec(function, reference, long_rows(), ("input",), {"float64": 1e-11, "float32": 1e-4}, variant="long rows"),
        OpSpec(
            function, reference, long_columns(), ("input",), {"float64": 1e-11, "float32": 1e-4}, variant="long columns"
        ),
    ]


def two_tensors(draw: Draw) -> dict[str, Any]:
    """Two tensors whose shapes broadcast to each other."""
    shape = draw.shape(0, 3, 4)
    return {"input": draw.array(shape), "other": draw.array(draw.broadcastable(shape))}


NORM_REFUSALS = (
    WRONG_DIM,
    TWICE,
    NO_FLOATS,
    Refusal(lambda: {"input": np.ones((2, 0)), "ord": math.inf, "dim": 1}, ShapeError, "input"),
    refusal(ArgumentTypeError, "ord", ord="2"),
    refusal(ArgumentError, "ord", ord=math.nan),
)

SPECS = [
    *fold_rows(sums.sum, sums.sum_reference, benchmark=True),
    OpSpec(sums.sum, sums.sum_reference, integers(-9, 9), variant="integers"),
    OpSpec(sums.sum, sums.sum_reference, truths, variant="bools"),
    *fold_rows(sums.mean, sums.mean_reference, refusals=(WRONG_DIM, TWICE, NO_FLOATS), benchmark=True),
    *fold_rows(sums.nansum, sums.nansum_reference),
    OpSpec(sums.nansum, sums.nansum_reference, with_nan, ("input",), variant="nan"),
    *fold_rows(sums.nanmean, sums.nanmean_reference, refusals=(WRONG_DIM, TWICE, NO_FLOATS)),
    OpSpec(sums.nanmean, sums.nanmean_reference, with_nan, variant="nan"),
    OpSpec(sums.nanmean, sums.nanmean_reference, some_nan, ("input",), variant="some nan"),
    *fold_rows(sums.count_nonzero, sums.count_nonzero_reference, differentiable=False, keepdim=False, ties=True),
    *fold_rows(truth.all, truth.all_reference, differentiable=False, ties=True),
    OpSpec(truth.all, truth.all_reference, truths, variant="bools"),
    *fold_rows(truth.any, truth.any_reference, differentiable=False, ties=True),
    OpSpec(truth.any, truth.any_reference, truths, variant="bools"),
    *[
        row
        for row in fold_rows(
            products.prod,
            products.prod_reference,
            refusals=(WRONG_DIM,),
            long_values={"low": 0.999, "high": 1.001},
        )
        if row.variant
    ],
    OpSpec(products.prod, products.prod_reference, along_dim(), ("input",), refusals=(WRONG_DIM,)),
    OpSpec(products.prod, products.prod_reference, along_dim(ties=True), ("input",), variant="zeros"),
    OpSpec(products.prod, products.prod_reference, integers(-3, 3), variant="integers"),
    *fold_rows(
        extremes.amax,
        extremes.amax_reference,
        refusals=(WRONG_DIM, TWICE, EMPTY),
        min_size=1,
        benchmark=True,
        distinct=True,
    ),
    OpSpec(extremes.amax, extremes.amax_reference, over_dims(min_size=1, ties=True), ("input",), variant="ties"),
    *fold_rows(extremes.amin, extremes.amin_reference, refusals=(WRONG_DIM, TWICE, EMPTY), min_size=1, distinct=True),
    OpSpec(extremes.amin, extremes.amin_reference, over_dims(min_size=1, ties=True), ("input",), variant="ties"),
    *[
        OpSpec(function, reference, inputs, variant=f"integers, {variant}")
        for function, reference in (
            (extremes.amax, extremes.amax_reference),
            (extremes.amin, extremes.amin_reference),
        )
        for variant, inputs in (
            ("rows", lambda draw: {"input": draw.integers((3, 4), -5, 5), "dim": 1}),
            ("columns", lambda draw: {"input": draw.integers((3, 4), -5, 5), "dim": 0}),
        )
    ],
    OpSpec(
        extremes.aminmax, extremes.aminmax_reference, along_dim(distinct=True), ("input",), refusals=(WRONG_DIM, EMPTY)
    ),
    *place_rows(extremes.argmax, extremes.argmax_reference, differentiable=False),
    *place_rows(extremes.argmin, extremes.argmin_reference, differentiable=False),
    *place_rows(extremes.max, extremes.max_reference, differentiable=True),
    *place_rows(extremes.min, extremes.min_reference, differentiable=True),
    OpSpec(extremes.max, extremes.max_reference, two_tensors, ("input", "other"), variant="two tensors"),
    OpSpec(extremes.min, extremes.min_reference, two_tensors, ("input", "other"), variant="two tensors"),
    *[
        OpSpec(function, reference, inputs, variant=f"integers, {variant}")
        for function, reference in (
            (extremes.argmax, extremes.argmax_reference),
            (extremes.argmin, extremes.argmin_reference),
        )
        for variant, inputs in (
            ("rows", lambda draw: {"input": draw.integers((3, 4), -5, 5), "dim": 1}),
            ("columns", lambda draw: {"input": draw.integers((3, 4), -5, 5), "dim": 0}),
        )
    ],
    *moment_rows(moments.var, moments.var_reference),
    *moment_rows(moments.std, moments.std_reference),
    OpSpec(moments.var_mean, moments.var_mean_reference, spread_values, ("input",), refusals=(WRONG_DIM, NO_FLOATS)),
    OpSpec(moments.std_mean, moments.std_mean_reference, spread_values, ("input",), refusals=(WRONG_DIM, NO_FLOATS)),
    *fold_rows(norms.vector_norm, norms.vector_norm_reference, refusals=NORM_REFUSALS, avoid=(0.0,)),
    *[
        row
        for order in (0.0, 1.0, 3.0, 1.5, -1.0)
        for row in fold_rows(
            norms.vector_norm,
            norms.vector_norm_reference,
            options={"ord": order},
            refusals=(),
            min_size=1,
            name=f"order {order:g}",
            avoid=(0.0,),
        )
    ],
    *[
        row
        for order in (math.inf, -math.inf)
        for row in fold_rows(
            norms.vector_norm,
            norms.vector_norm_reference,
            options={"ord": order},
            refusals=(),
            min_size=1,
            name=f"order {order:g}",
            low=0.3,
            distinct=True,
        )
    ],
    *[
        OpSpec(
            norms.vector_norm,
            norms.vector_norm_reference,
            lambda draw, order=order, shape=shape: {
                "input": draw.array(shape, 0.3, 2.0, distinct=True),
                "ord": order,
                "dim": (0, 2),
            },
            ("input",),
            variant=f"order {order:g}, dimensions apart, {shape[1]}",
        )
        for order in (2.0, 1.0, math.inf, -math.inf)
        for shape in ((3, 1, 4), (2, 3, 4))
    ],
    OpSpec(
        norms.norm,
        norms.norm_reference,
        lambda draw: over_dims(avoid=(0.0,))(draw) | {"p": draw.choice(("fro", 1.0, 2.0, 3.0))},
        ("input",),
        refusals=(WRONG_DIM, NO_FLOATS, refusal(ArgumentError, "p", p="nuc")),
        benchmark=lambda rng: {"input": rng.standard_normal((2048, 768)), "dim": 1},
    ),
    OpSpec(
        norms.normalize,
        norms.normalize_reference,
        lambda draw: {
            "input": draw.array((*draw.shape(1, 2, 4), 3), avoid=(0.0,)),
            "dim": -1,
            "p": draw.choice((2.0, 1.0)),
        },
        ("input",),
        refusals=(WRONG_DIM, NO_FLOATS),
    ),
    *fold_rows(log_sum_exp.logsumexp, log_sum_exp.logsumexp_reference, refusals=(WRONG_DIM, TWICE)),
    OpSpec(log_sum_exp.logsumexp, log_sum_exp.logsumexp_reference, with_infinities, variant="infinities"),
]
