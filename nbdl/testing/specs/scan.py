"""Rows of the scans."""

from __future__ import annotations

import numpy as np

from nbdl.ops import scan
from nbdl.runtime.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from nbdl.testing.draw import Draw
from nbdl.testing.spec import OpSpec, Refusal


def _along(draw: Draw, **values: object) -> dict[str, object]:
    shape = draw.shape(0, 3, max_size=5, min_size=1)
    return {"input": draw.array(shape, **values), "dim": draw.dim(len(shape))}


def _many_rows(draw: Draw) -> dict[str, object]:
    """More rows than a CUDA block has threads."""
    return {"input": draw.array((draw.integer(129, 140), 2)), "dim": 1}


_WRONG_DIM = Refusal(lambda: {"input": np.zeros((2, 3)), "dim": 2}, IndexRangeError, "dim")


def _differences(draw: Draw) -> dict[str, object]:
    case = _along(draw)
    if case["input"].ndim == 0:
        case = {"input": draw.array((draw.integer(1, 5),)), "dim": -1}
    case["n"] = draw.integer(0, 3)
    for name in ("prepend", "append"):
        if draw.integer(0, 2) == 2:
            shape = list(case["input"].shape)
            shape[case["dim"]] = draw.integer(0, 2)
            case[name] = draw.array(tuple(shape))
    return case


def _diff_reference(input, n=1, dim=-1, prepend=None, append=None):
    if n == 0:
        return input
    joined = np.concatenate([part for part in (prepend, input, append) if part is not None], dim)
    return np.diff(joined, min(n, joined.shape[dim]), dim)


SPECS = [
    OpSpec(
        function=scan.diff,
        reference=_diff_reference,
        inputs=_differences,
        differentiable=("input", "prepend", "append"),
        refusals=(
            _WRONG_DIM,
            Refusal(lambda: {"input": np.zeros(())}, ShapeError, "input"),
            Refusal(lambda: {"input": np.zeros(3), "n": -1}, ArgumentError, "n"),
        ),
    ),
    OpSpec(
        function=scan.cumsum,
        reference=scan.cumsum_reference,
        inputs=_along,
        differentiable=("input",),
        refusals=(_WRONG_DIM,),
        benchmark=lambda rng: {"input": rng.standard_normal((2048, 768)), "dim": 1},
    ),
    OpSpec(
        function=scan.cumsum,
        reference=scan.cumsum_reference,
        inputs=_many_rows,
        differentiable=("input",),
        variant="many rows",
    ),
    OpSpec(
        function=scan.cumprod,
        reference=scan.cumprod_reference,
        inputs=_along,
        differentiable=("input",),
        refusals=(_WRONG_DIM,),
    ),
    OpSpec(
        function=scan.cumprod,
        reference=scan.cumprod_reference,
        inputs=lambda draw: _along(draw, ties=True),  # zeros among the factors
        differentiable=("input",),
        variant="zeros",
    ),
    OpSpec(
        function=scan.logcumsumexp,
        reference=scan.logcumsumexp_reference,
        inputs=_along,
        differentiable=("input",),
        refusals=(
            _WRONG_DIM,
            Refusal(lambda: {"input": np.zeros((2,), np.int64), "dim": 0}, DTypeError, "input"),
        ),
    ),
    OpSpec(
        function=scan.cummax,
        reference=scan.cummax_reference,
        inputs=lambda draw: _along(draw, distinct=True),
        differentiable=("input",),
        refusals=(_WRONG_DIM,),
    ),
    OpSpec(
        function=scan.cummin,
        reference=scan.cummin_reference,
        inputs=lambda draw: _along(draw, distinct=True),
        differentiable=("input",),
        refusals=(_WRONG_DIM,),
    ),
]
